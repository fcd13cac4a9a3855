//! Judges what VMs sent last once more, after what judges them changed.

mod judge;
mod record;
mod stored;
mod unjudged;

use std::collections::HashMap;
use std::sync::Arc;

use veriboot_store::StoreError;
use veriboot_store::proposals::Rejection;
use veriboot_wire::{Attestation, Verdict};

use judge::{Repeat, judge};
use record::{Done, Recorded, record_all};

use crate::{AppState, journal};

pub(super) use stored::{Stored, stored};

/// How often it is repeated because the VM attested meanwhile.
const MAX_ROUNDS: u32 = 4;

/// Why nothing was judged again. Nothing was written.
#[derive(Debug, thiserror::Error)]
pub enum ReappraiseError {
    /// There is no such VM.
    #[error("there is no such VM")]
    UnknownVm,
    /// The VM has never attested, its last quote was not believed, or its AK is another one since.
    #[error("there is no quote of this VM that could be believed")]
    NoEvidence,
    /// The evidence cannot be appraised.
    #[error("the stored evidence cannot be appraised: {0}")]
    Broken(String),
    /// The VM attests faster than this can follow; its own attestations use the new baseline.
    #[error("the VM attested meanwhile")]
    Overtaken,
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What judging a VM again came to.
#[derive(Debug)]
pub enum Again {
    /// It was judged, and stored as a further attestation.
    Judged {
        /// That attestation.
        attestation: Box<Attestation>,
        /// The verdict before.
        before: Verdict,
    },
    /// What holds now judged it already.
    Same,
}

impl Again {
    /// Whether the verdict is another one.
    pub fn turned(&self) -> bool {
        matches!(self, Self::Judged { attestation, before } if attestation.verdict != *before)
    }
}

/// [`judge_again`] for one VM, whatever judged it last.
///
/// # Errors
/// [`ReappraiseError`].
pub async fn reappraise(state: &AppState, vm_id: &str) -> Result<Attestation, ReappraiseError> {
    match judge_again(state, &[vm_id.to_owned()], true).await?.pop() {
        Some(Ok(Again::Judged { attestation, .. })) => Ok(*attestation),
        Some(Err(error)) => Err(error),
        Some(Ok(Again::Same)) | None => Err(ReappraiseError::Overtaken),
    }
}

/// Judges the last stored evidence of VMs, which are different ones, by what is trusted now, and stores that as a further
/// attestation of each; in one transaction for all of them. Gives what became of each, in their order. With `always`, also
/// those that the baseline and profile of now judged last.
///
/// Nothing becomes fresher by it: a VM's last attestation stays as old as its evidence, no token is made, and a VM that
/// is stale or reports a fault stays so. Evidence that cannot be judged leaves no VM healthy: its status is `error`
/// then, with the alert `appraisal-failed`.
///
/// # Errors
/// [`StoreError`] when the database failed: what was committed before it stays.
pub async fn judge_again(
    state: &AppState,
    vm_ids: &[String],
    always: bool,
) -> Result<Vec<Result<Again, ReappraiseError>>, StoreError> {
    let mut ended: HashMap<&str, Result<Again, ReappraiseError>> = HashMap::with_capacity(vm_ids.len());
    let mut rejections: HashMap<String, Rejection> = HashMap::new();
    let mut waiting: Vec<&str> = vm_ids.iter().map(String::as_str).collect();
    for _ in 0..MAX_ROUNDS {
        if waiting.is_empty() {
            break;
        }
        let mut repeats = Vec::with_capacity(waiting.len());
        for (id, found) in waiting.iter().zip(stored_all(state, &waiting).await?) {
            let judged = match found {
                Ok(stored) => judge(state, stored, rejections.get(*id).cloned(), always).await,
                Err(error) => Err(error),
            };
            match judged {
                Ok(Some(repeat)) => repeats.push(repeat),
                Ok(None) => drop(ended.insert(id, Ok(Again::Same))),
                Err(ReappraiseError::Store(error)) => return Err(error),
                Err(error) => drop(ended.insert(id, Err(error))),
            }
            // Others have their turn between two VMs.
            tokio::task::yield_now().await;
        }
        waiting.retain(|id| !ended.contains_key(id));
        for (repeat, recorded) in record(state, repeats).await? {
            match recorded {
                Recorded::Done(done) => {
                    let Some(at) = waiting.iter().position(|id| *id == repeat.vm.id) else { continue };
                    note(state, &repeat, &done);
                    let attestation = Box::new(repeat.attestation.clone());
                    let again = Again::Judged { attestation, before: repeat.before };
                    ended.insert(waiting.swap_remove(at), Ok(again));
                }
                Recorded::Overtaken => {}
                Recorded::Rejection(Some(stands)) => {
                    rejections.insert(repeat.vm.id.clone(), stands);
                }
                Recorded::Rejection(None) => drop(rejections.remove(&repeat.vm.id)),
            }
        }
    }
    let ended = vm_ids.iter().map(|id| ended.remove(id.as_str()).unwrap_or(Err(ReappraiseError::Overtaken)));
    Ok(ended.collect())
}

/// What is stored of VMs. One whose records cannot be read does not keep the others from being judged.
async fn stored_all(
    state: &AppState,
    vm_ids: &[&str],
) -> Result<Vec<Result<Stored, ReappraiseError>>, StoreError> {
    let ids: Vec<String> = vm_ids.iter().map(|id| (*id).to_owned()).collect();
    let all = move |tx: &mut dyn veriboot_store::Tx| {
        stored::all(tx, &ids.iter().map(String::as_str).collect::<Vec<_>>())
    };
    match state.store.read(all).await {
        Err(StoreError::Corrupt { .. }) => {}
        found => return found,
    }
    let mut found = Vec::with_capacity(vm_ids.len());
    for id in vm_ids {
        found.push(match stored(state, id).await {
            Err(ReappraiseError::Store(StoreError::Corrupt { cause })) => Err(ReappraiseError::Broken(cause)),
            Err(ReappraiseError::Store(error)) => return Err(error),
            found => found,
        });
    }
    Ok(found)
}

/// Writes what became of VMs, in one transaction; in several, when others keep changing what it touches.
async fn record(state: &AppState, repeats: Vec<Repeat>) -> Result<Vec<(Arc<Repeat>, Recorded)>, StoreError> {
    let reopen_window_s = state.config.alerts.reopen_window_s;
    let mut done = Vec::with_capacity(repeats.len());
    let mut parts = vec![repeats.into_iter().map(Arc::new).collect::<Vec<_>>()];
    while let Some(mut part) = parts.pop() {
        if part.is_empty() {
            continue;
        }
        let repeats = part.clone();
        let recorded = {
            // Those of one replica would only be in each other's way.
            let _turn = state.attest.judging_again.lock().await;
            state.store.write(move |tx| record_all(tx, &repeats, reopen_window_s)).await
        };
        match recorded {
            Ok(recorded) => done.extend(part.into_iter().zip(recorded)),
            Err(StoreError::Contended) if part.len() > 1 => {
                let second = part.split_off(part.len() / 2);
                parts.extend([second, part]);
            }
            Err(error) => return Err(error),
        }
    }
    Ok(done)
}

/// Tells what was stored of a VM: metrics and the log.
fn note(state: &AppState, repeat: &Repeat, done: &Done) {
    done.alerts.raised.iter().for_each(|reason| state.metrics.alert_raised(*reason));
    done.alerts.suppressed.iter().for_each(|(reason, _)| state.metrics.alert_suppressed(*reason));
    journal::followed(&repeat.vm, &done.proposals);
    journal::attested(&journal::Attested {
        before: &repeat.vm,
        status: done.status,
        code: repeat.judged.outcome.primary().map(|finding| finding.code.as_str()),
        learned: None,
        alerts: &done.alerts,
    });
}
