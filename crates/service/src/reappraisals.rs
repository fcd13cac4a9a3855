//! Judges the VMs of a scope again after their baseline or profile changed, without waiting for their next attestation.
//!
//! The change asks for it in its own transaction ([`reappraisals::enqueue`]). Every replica claims what waits and notes
//! after a few VMs how far it came; a claim ends by itself, so that another replica goes on where one died. A VM that
//! its present baseline and profile judged last is passed over, unless the work says otherwise: going over a VM twice, or
//! over one that attested meanwhile, changes nothing.

use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::task::JoinSet;
use veriboot_store::reappraisals::{self, Claimed, Progress, Step};
use veriboot_store::{StoreError, new_id};
use veriboot_wire::Reappraisal;

use crate::attest::{Again, ReappraiseError, judge_again};
use crate::{ApiError, AppState, background};

/// VMs between two notes of how far it came.
const STEP: u32 = 3000;
/// VMs that are judged in one transaction: agents that attest wait for its end, a tenth of a second. Less takes longer in all.
const TOGETHER: usize = 300;
/// So many of these at the same time: while one is written, the next one is judged.
const AT_ONCE: usize = 2;
/// How long a claim lasts without a note.
const CLAIM_S: i64 = 60;
/// How often is looked for work that nobody waits for.
const PAUSE: Duration = Duration::from_secs(2);
/// How long a change waits for its VMs before it answers; the rest goes on in the background.
const BEFORE_THE_ANSWER: Duration = Duration::from_secs(5);

/// Does what waits until `stop` turns true.
pub async fn run(state: AppState, stop: watch::Receiver<bool>) {
    background::repeat(stop, PAUSE, "cannot judge VMs again", || drain(&state)).await;
}

/// Does all work that is there and that nobody else has.
///
/// # Errors
/// [`StoreError`]; what was noted before it stays.
pub async fn drain(state: &AppState) -> Result<(), StoreError> {
    while work(state, None, None).await? {}
    Ok(())
}

/// Works on this one for a few seconds and gives how far it came: the VMs of a small scope are judged when a change of
/// their baseline is answered.
///
/// # Errors
/// [`ApiError`] when the database does not answer.
pub(crate) async fn drive(state: &AppState, asked: Reappraisal) -> Result<Reappraisal, ApiError> {
    if asked.finished_at.is_some() {
        return Ok(asked);
    }
    let deadline = Instant::now() + BEFORE_THE_ANSWER;
    if let Err(error) = work(state, Some(&asked.id), Some(deadline)).await {
        tracing::warn!(code = error.code(), %error, "VMs are judged again later");
    }
    let id = asked.id.clone();
    Ok(state.read(move |tx| Ok(reappraisals::by_id(tx, &id)?)).await?.unwrap_or(asked))
}

/// Claims one piece of work and does it, to its end or to the deadline. `false` when there is none.
async fn work(state: &AppState, only: Option<&str>, deadline: Option<Instant>) -> Result<bool, StoreError> {
    let me = new_id(state.clock.now());
    let (only, by) = (only.map(str::to_owned), me.clone());
    let now = state.clock.now();
    let claim = move |tx: &mut dyn veriboot_store::Tx| {
        reappraisals::claim(tx, only.as_deref(), &by, now, now.plus_s(CLAIM_S))
    };
    let Some(claimed) = state.store.write(claim).await? else { return Ok(false) };
    let Claimed { reappraisal, always, mut after_name } = claimed;
    loop {
        let (scope, after) = (reappraisal.scope.clone(), after_name.clone());
        let vms = state.store.read(move |tx| reappraisals::vms_after(tx, &scope, &after, STEP)).await?;
        let last = vms.last().map(|vm| vm.name.clone());
        let progress = step(state, vms, always).await;
        let failed = progress.is_err();
        let at_the_end = !failed && last.is_none();
        if !failed {
            after_name = last.unwrap_or(after_name);
        }
        // What failed is tried again, by whoever claims it next.
        let ends = failed || deadline.is_some_and(|deadline| Instant::now() >= deadline);
        let now = state.clock.now();
        let (id, by, name) = (reappraisal.id.clone(), me.clone(), after_name.clone());
        let noted = progress.as_ref().map_or_else(|_| Progress::default(), Clone::clone);
        let kept = state
            .store
            .write(move |tx| {
                let step = Step {
                    after_name: &name,
                    progress: noted,
                    until: if ends { now } else { now.plus_s(CLAIM_S) },
                    finished_at: at_the_end.then_some(now),
                };
                reappraisals::advance(tx, &id, &by, &step)
            })
            .await;
        progress?;
        let kept = kept?;
        if at_the_end && kept {
            let Reappraisal { id, because, .. } = &reappraisal;
            tracing::info!(reappraisal = id, because, "all VMs are judged again");
        }
        if at_the_end || ends || !kept {
            return Ok(true);
        }
    }
}

/// Judges some VMs again.
async fn step(
    state: &AppState,
    vms: Vec<reappraisals::VmInScope>,
    always: bool,
) -> Result<Progress, StoreError> {
    let mut progress = Progress::default();
    let mut running = JoinSet::new();
    let ids: Vec<String> = vms.into_iter().map(|vm| vm.id).collect();
    let mut waiting = ids.chunks(TOGETHER);
    loop {
        while running.len() < AT_ONCE {
            let Some(some) = waiting.next() else { break };
            let (state, some) = (state.clone(), some.to_vec());
            running.spawn(async move {
                let judged = judge_again(&state, &some, always).await;
                (some, judged)
            });
        }
        let Some(done) = running.join_next().await else { return Ok(progress) };
        match done {
            Ok((vms, judged)) => {
                vms.iter().zip(judged?).for_each(|(vm, judged)| count(&mut progress, vm, &judged))
            }
            Err(error) => {
                tracing::error!(%error, "judging VMs again failed");
                return Err(StoreError::Busy);
            }
        }
    }
}

fn count(progress: &mut Progress, vm: &str, judged: &Result<Again, ReappraiseError>) {
    progress.done += 1;
    match judged {
        Ok(again) => progress.turned += u64::from(again.turned()),
        Err(error @ (ReappraiseError::Broken(_) | ReappraiseError::Store(_))) => {
            tracing::error!(vm, %error, "a VM cannot be judged again");
            progress.failed += 1;
        }
        // Nothing to judge; or its own attestation was faster, and is judged by what holds now.
        Err(ReappraiseError::UnknownVm | ReappraiseError::NoEvidence | ReappraiseError::Overtaken) => {}
    }
}
