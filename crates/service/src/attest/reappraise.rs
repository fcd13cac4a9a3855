//! Judges what VMs sent last once more, after what judges them changed.

mod judge;
mod parts;
mod record;
mod stored;
mod unjudged;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use veriboot_store::proposals::Rejection;
use veriboot_store::{StoreError, Tx};
use veriboot_wire::{Attestation, Verdict};

use judge::{Repeat, judge};
use parts::Parts;
use record::{Done, Recorded, record_all};

use crate::{AppState, journal};

pub(crate) use parts::MAX_TOGETHER;
pub(super) use stored::{Stored, stored};

/// How often it is repeated because the VM attested meanwhile.
const MAX_ROUNDS: u32 = 4;
/// Runs of a transaction of several VMs that others get in the way of.
const MAX_RUNS: u32 = 3;

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
/// What one VM's records or writes fail at fails that VM alone ([`ReappraiseError::Store`]).
///
/// # Errors
/// [`StoreError`] when the database failed: what was committed before it stays, and has been told.
pub async fn judge_again(
    state: &AppState,
    vm_ids: &[String],
    always: bool,
) -> Result<Vec<Result<Again, ReappraiseError>>, StoreError> {
    let mut ended: HashMap<String, Result<Again, ReappraiseError>> = HashMap::with_capacity(vm_ids.len());
    let mut rejections: HashMap<String, Rejection> = HashMap::new();
    for _ in 0..MAX_ROUNDS {
        let waiting = vm_ids.iter().filter(|id| !ended.contains_key(*id)).cloned().collect::<Vec<_>>();
        if waiting.is_empty() {
            break;
        }
        let mut repeats = Vec::with_capacity(waiting.len());
        for (id, found) in waiting.iter().zip(stored_all(state, &waiting).await?) {
            let judged = match found {
                Ok(stored) => judge(state, stored, rejections.get(id).cloned(), always).await,
                Err(error) => Err(error),
            };
            match judged {
                Ok(Some(repeat)) => repeats.push(Arc::new(repeat)),
                Ok(None) => drop(ended.insert(id.clone(), Ok(Again::Same))),
                Err(ReappraiseError::Store(error)) if !is_of_one(&error) => return Err(error),
                Err(error) => drop(ended.insert(id.clone(), Err(error))),
            }
            // Others have their turn between two VMs.
            tokio::task::yield_now().await;
        }
        let mut parts = Parts::of(repeats, state.attest.judged_together.load(Ordering::Relaxed));
        while let Some(part) = parts.next() {
            let recorded = record(state, &part).await;
            parts.learn(&part, recorded.as_ref().err());
            state.attest.judged_together.store(parts.together, Ordering::Relaxed);
            match recorded {
                Ok(recorded) => {
                    for (repeat, recorded) in part.iter().zip(recorded) {
                        let id = repeat.vm.id.clone();
                        match recorded {
                            Recorded::Done(done) => {
                                note(state, repeat, &done);
                                let attestation = Box::new(repeat.attestation.clone());
                                ended.insert(id, Ok(Again::Judged { attestation, before: repeat.before }));
                            }
                            Recorded::Overtaken => {}
                            Recorded::Rejection(Some(stands)) => drop(rejections.insert(id, stands)),
                            Recorded::Rejection(None) => drop(rejections.remove(&id)),
                        }
                    }
                }
                Err(error) if !is_of_one(&error) => return Err(error),
                // Of one alone: its own attestations are faster. The halves of several are tried by themselves.
                Err(StoreError::Contended) => {}
                Err(error) => {
                    if let [one] = part.as_slice() {
                        ended.insert(one.vm.id.clone(), Err(ReappraiseError::Store(error)));
                    }
                }
            }
        }
    }
    let ended = vm_ids.iter().map(|id| ended.remove(id).unwrap_or(Err(ReappraiseError::Overtaken)));
    let ended: Vec<_> = ended.collect();
    // What fails with each of many VMs is not about these VMs.
    match ended.first() {
        Some(Err(ReappraiseError::Store(error)))
            if ended.len() > 1 && ended.iter().all(|one| matches!(one, Err(ReappraiseError::Store(_)))) =>
        {
            Err(error.clone())
        }
        _ => Ok(ended),
    }
}

/// Whether an error is about what was written, and not about the database: others may fare better.
fn is_of_one(error: &StoreError) -> bool {
    matches!(
        error,
        StoreError::Contended
            | StoreError::Corrupt { .. }
            | StoreError::Conflict { .. }
            | StoreError::Failed { .. }
    )
}

/// What is stored of VMs. One whose records cannot be read does not keep the others from being judged.
async fn stored_all(
    state: &AppState,
    vm_ids: &[String],
) -> Result<Vec<Result<Stored, ReappraiseError>>, StoreError> {
    let ids = vm_ids.to_vec();
    let all = move |tx: &mut dyn Tx| stored::all(tx, &ids.iter().map(String::as_str).collect::<Vec<_>>());
    match state.store.read(all).await {
        Err(StoreError::Corrupt { .. }) => {}
        found => return found,
    }
    let mut found = Vec::with_capacity(vm_ids.len());
    for id in vm_ids {
        found.push(match stored(state, id).await {
            Err(ReappraiseError::Store(error)) if !is_of_one(&error) => return Err(error),
            found => found,
        });
    }
    Ok(found)
}

/// Writes what became of VMs, in one transaction.
async fn record(state: &AppState, part: &[Arc<Repeat>]) -> Result<Vec<Recorded>, StoreError> {
    let reopen_window_s = state.config.alerts.reopen_window_s;
    let repeats = part.to_vec();
    let mut runs = 0;
    let write = move |tx: &mut dyn Tx| {
        runs += 1;
        // Fewer have better luck.
        if runs > MAX_RUNS && repeats.len() > 1 {
            return Err(StoreError::Contended);
        }
        record_all(tx, &repeats, reopen_window_s)
    };
    // Those of one replica would only be in each other's way. One alone waits for nobody.
    let _turn = match part.len() {
        1 => None,
        _ => Some(state.attest.judging_again.lock().await),
    };
    state.store.write(write).await
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
