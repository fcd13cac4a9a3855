//! Judges the VMs again that a decision about a proposal concerns, without waiting for their next attestation.
//!
//! The decision queues them in its own transaction. Every replica claims what waits, a few VMs at a time; a claim ends
//! by itself, so that what a replica that died had claimed is done by another.

use std::time::Duration;

use tokio::sync::watch;
use veriboot_store::reappraise_queue::{self, Claimed};
use veriboot_store::{StoreError, Tx};

use crate::attest::{ReappraiseError, judge_again};
use crate::{ApiError, AppState, background, posture};

/// VMs that are judged in one transaction.
const TOGETHER: u32 = 64;
/// How long a claim lasts. Judging that many takes a fraction of a second.
const CLAIM_S: i64 = 60;
/// How often is looked for what nobody waits for.
const PAUSE: Duration = Duration::from_secs(2);
/// VMs that a request judges before it answers; the rest goes on in the background.
const BEFORE_THE_ANSWER: u64 = 64;

/// Judges what waits until `stop` turns true.
pub async fn run(state: AppState, stop: watch::Receiver<bool>) {
    background::repeat(stop, PAUSE, &state.wakes.members, "cannot judge VMs again", || async {
        drain(&state, u64::MAX).await.map(drop)
    })
    .await;
}

/// Judges what a request has queued, as far as that is quick.
pub(crate) async fn judge_some(state: &AppState) {
    if let Err(error) = drain(state, BEFORE_THE_ANSWER).await {
        tracing::warn!(code = error.code(), %error, "cannot judge VMs again yet");
    }
    state.wakes.members.notify_one();
}

/// Judges VMs that wait, up to about `most`, and says how many.
///
/// # Errors
/// [`StoreError`]; what was not done is there still.
pub async fn drain(state: &AppState, most: u64) -> Result<u64, StoreError> {
    let mut total = 0;
    while total < most {
        if state.store.read(reappraise_queue::pending).await? == 0 {
            break;
        }
        let now = state.clock.now();
        let claimed = state
            .store
            .write(move |tx: &mut dyn Tx| reappraise_queue::claim(tx, TOGETHER, now, now.plus_s(CLAIM_S)))
            .await?;
        if claimed.is_empty() {
            break;
        }
        total += u64::try_from(claimed.len()).unwrap_or(u64::MAX);
        again(state, claimed).await?;
    }
    Ok(total)
}

async fn again(state: &AppState, claimed: Vec<Claimed>) -> Result<(), StoreError> {
    let ids: Vec<String> = claimed.iter().map(|one| one.vm_id.clone()).collect();
    let mut unjudged = Vec::new();
    let judged = {
        let (state, ids) = (state.clone(), ids.clone());
        tokio::spawn(async move { judge_again(&state, &ids, true).await })
    };
    let judged = match judged.await {
        Ok(judged) => judged?,
        Err(error) => {
            // They come again when their claims end, and attest by themselves before.
            tracing::error!(%error, "judging VMs again ended");
            return Ok(());
        }
    };
    for (vm, judged) in ids.iter().zip(judged) {
        match judged {
            Ok(_) | Err(ReappraiseError::UnknownVm) => {}
            Err(ReappraiseError::NoEvidence) => unjudged.push(vm.clone()),
            // Its own attestations are judged by what is decided.
            Err(ReappraiseError::Overtaken) => {}
            Err(error @ (ReappraiseError::Broken(_) | ReappraiseError::Store(_))) => {
                tracing::warn!(vm, %error, "a VM cannot be judged again; its next attestation is");
            }
        }
    }
    let now = state.clock.now();
    let done = move |tx: &mut dyn Tx| {
        for vm in &unjudged {
            // Whoever queued it left its checks to the judging.
            posture::refresh(tx, vm, now)?;
        }
        claimed.iter().try_for_each(|one| reappraise_queue::done(tx, one))
    };
    state.store.write(done).await
}

/// VMs that wait, for tests and metrics.
///
/// # Errors
/// What became of the database.
pub async fn waiting(state: &AppState) -> Result<u64, ApiError> {
    state.read(|tx| Ok(reappraise_queue::pending(tx)?)).await
}
