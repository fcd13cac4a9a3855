//! Judges the VMs of a scope again after their baseline or profile changed, without waiting for their next attestation.
//!
//! The change asks for it in its own transaction ([`reappraisals::enqueue`]). Every replica claims what waits and notes
//! every few seconds how far it came; a claim ends by itself, so that another replica goes on where one died. A VM that
//! its present baseline and profile judged last is passed over, unless the work says otherwise: going over a VM twice, or
//! over one that attested meanwhile, changes nothing.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::task::JoinHandle;
use veriboot_store::reappraisals::{self, Claimed, Progress, Step};
use veriboot_store::{StoreError, new_id};
use veriboot_wire::Reappraisal;

use crate::attest::{Again, MAX_TOGETHER, ReappraiseError, judge_again};
use crate::{ApiError, AppState, background};

/// VMs that are looked for at once.
const PAGE: u32 = 12_000;
/// Groups of [`MAX_TOGETHER`] VMs that are judged at the same time: while one is written, the next ones are judged.
const AT_ONCE: usize = 3;
/// How long nothing is noted, while there is something to do: much less than a claim lasts.
const NOTE: Duration = Duration::from_secs(10);
/// How long a claim lasts without a note.
const CLAIM_S: i64 = 60;
/// How often is looked for work that nobody waits for.
const PAUSE: Duration = Duration::from_secs(2);
/// How long a change waits for its VMs before it answers; the rest goes on in the background.
const BEFORE_THE_ANSWER: Duration = Duration::from_secs(5);

/// Does what waits until `stop` turns true.
pub async fn run(state: AppState, stop: watch::Receiver<bool>) {
    let wake = &state.wakes.reappraisals;
    background::repeat(stop, PAUSE, wake, "cannot judge VMs again", || drain(&state)).await;
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
    state.wakes.reappraisals.notify_one();
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
    let Claimed { reappraisal, always, mut after_id } = claimed;
    loop {
        let (scope, after) = (reappraisal.scope.clone(), after_id.clone());
        let vms = state.store.read(move |tx| reappraisals::ids_after(tx, &scope, &after, PAGE)).await?;
        let at_the_end = vms.is_empty();
        let until = Instant::now() + NOTE;
        let step = step(state, vms, always, deadline.map_or(until, |deadline| deadline.min(until))).await;
        after_id = step.last_id.unwrap_or(after_id);
        let late = deadline.is_some_and(|deadline| Instant::now() >= deadline);
        let now = state.clock.now();
        let (id, by, after_id) = (reappraisal.id.clone(), me.clone(), after_id.clone());
        // What failed is tried again when the claim ends: other work has its turn before.
        let until = if late && step.failed.is_none() { now } else { now.plus_s(CLAIM_S) };
        let kept = state
            .store
            .write(move |tx| {
                let finished_at = at_the_end.then_some(now);
                let step = Step { after_id: &after_id, progress: step.progress, until, finished_at };
                reappraisals::advance(tx, &id, &by, &step)
            })
            .await;
        if let Some(error) = step.failed {
            return Err(error);
        }
        let kept = kept?;
        if at_the_end && kept {
            let Reappraisal { id, because, .. } = &reappraisal;
            tracing::info!(reappraisal = id, because, "all VMs are judged again");
        }
        if at_the_end || late || !kept {
            return Ok(true);
        }
    }
}

/// How far a step came.
#[derive(Default)]
struct Stepped {
    progress: Progress,
    /// The last VM of those that are done, from the first one on; `None` when none is.
    last_id: Option<String>,
    /// Why it ended early.
    failed: Option<StoreError>,
}

/// VMs that are judged together, and what became of them.
type Part = (Vec<String>, Result<Progress, StoreError>);

/// Judges some VMs again; begins with no more of them after `until`.
async fn step(state: &AppState, vms: Vec<String>, always: bool, until: Instant) -> Stepped {
    let mut parts = vms.chunks(MAX_TOGETHER).map(<[_]>::to_vec);
    let mut running: VecDeque<JoinHandle<Part>> = VecDeque::new();
    let mut stepped = Stepped::default();
    let mut first = true;
    loop {
        while running.len() < AT_ONCE && stepped.failed.is_none() && (first || Instant::now() < until) {
            let Some(part) = parts.next() else { break };
            first = false;
            running.push_back(tokio::spawn(judge(state.clone(), part, always)));
        }
        let Some(done) = running.pop_front() else { return stepped };
        match done.await {
            // What comes behind one that failed is looked at again.
            _ if stepped.failed.is_some() => {}
            Ok((vms, Ok(progress))) => {
                stepped.progress.add(progress);
                stepped.last_id = vms.into_iter().next_back().or(stepped.last_id);
            }
            Ok((_, Err(error))) => stepped.failed = Some(error),
            Err(error) => {
                tracing::error!(%error, "judging VMs again ended");
                stepped.failed = Some(StoreError::Busy);
            }
        }
    }
}

/// Judges VMs together. Where that panics, each by itself: one that does is passed over.
async fn judge(state: AppState, vms: Vec<String>, always: bool) -> Part {
    let together = {
        let (state, vms) = (state.clone(), vms.clone());
        tokio::spawn(async move { judge_again(&state, &vms, always).await })
    };
    let judged = match together.await {
        Ok(judged) => judged,
        Err(error) => {
            tracing::error!(%error, "judging VMs again panicked: each by itself");
            let mut judged = Vec::with_capacity(vms.len());
            for id in &vms {
                let (state, id) = (state.clone(), [id.clone()]);
                let alone = tokio::spawn(async move { judge_again(&state, &id, always).await });
                match alone.await {
                    Ok(Ok(one)) => judged.extend(one),
                    Ok(Err(error)) => return (vms, Err(error)),
                    Err(error) => judged.push(Err(ReappraiseError::Broken(error.to_string()))),
                }
            }
            Ok(judged)
        }
    };
    let progress = judged.map(|judged| {
        let mut progress = Progress::default();
        vms.iter().zip(&judged).for_each(|(vm, judged)| count(&mut progress, vm, judged));
        progress
    });
    (vms, progress)
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
