//! All resources assessed once more: on the hour, after a start with other references, and when nothing was assessed yet.
//!
//! A sweep is a row in the database. Every replica claims what waits and notes after each batch how far it came; a claim
//! ends by itself, so that another replica goes on where one died. A batch is first compared on a reader; the writer sees
//! only those resources of which something came out differently, and writes that when what it rests on is still the same. Batches are as large as the writer has time for.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use veriboot_posture::{CheckId, Tally, checks};
use veriboot_store::assessments::{self, NewPoint, Phase, Sweep};
use veriboot_store::{StoreError, Tx, inventory, new_id};
use veriboot_wire::Time;

use super::{resource, sets, settings};
use crate::AppState;

/// Resources of the first batch.
const BATCH: u32 = 500;
/// Fewest and most resources of a batch: large ones write pages that many resources share once.
const MIN_BATCH: u32 = 250;
const MAX_BATCH: u32 = 4000;
/// How long a batch shall take of the writer, at most: attestations wait for as long.
const HOLD_MS: i64 = 400;
/// How long a claim lasts without a note.
const CLAIM_S: i64 = 60;
/// How often is looked for sweeps that wait.
const PAUSE: Duration = Duration::from_secs(5);
/// Days that points of the trend are kept.
const POINTS_DAYS: i64 = 400;
const DAY_S: i64 = 86_400;

/// Sweeps until `stop` turns true.
pub async fn run(state: AppState, mut stop: watch::Receiver<bool>) {
    if let Err(error) = start(&state).await {
        tracing::warn!(code = error.code(), %error, "the references of posture cannot be kept");
    }
    loop {
        let done = tokio::select! {
            _ = stop.wait_for(|stop| *stop) => return,
            done = look(&state) => done,
        };
        if let Err(error) = done {
            // Only time was lost: the sweep is there again when its claim ends.
            tracing::warn!(code = error.code(), %error, "cannot assess VMs again");
        }
        tokio::select! {
            _ = stop.wait_for(|stop| *stop) => return,
            () = tokio::time::sleep(PAUSE) => {}
        }
    }
}

/// Keeps the references of this replica, and asks for a sweep where they, or the checks, are others than before.
async fn start(state: &AppState) -> Result<(), StoreError> {
    let (config, now) = (state.config.posture.clone(), state.clock.now());
    state
        .store
        .write(move |tx| {
            let known: Vec<&str> = CheckId::ALL.iter().map(|check| check.as_str()).collect();
            assessments::remove_unknown_checks(tx, &known)?;
            if settings::keep(tx, &config)? {
                assessments::enqueue(tx, "what evidence is held against changed", now)?;
            }
            Ok(())
        })
        .await
}

/// Asks for a sweep when the last one is old enough, and does what waits.
async fn look(state: &AppState) -> Result<(), StoreError> {
    let (now, pause_s) = (state.clock.now(), i64::from(state.config.posture.sweep_interval_s));
    let last = state.store.read(assessments::latest).await?;
    if last.is_none_or(|last| last.created_at.plus_s(pause_s) <= now || last.created_at > now) {
        state.store.write(move |tx: &mut dyn Tx| assessments::enqueue(tx, "the time", now)).await?;
    }
    drain(state).await
}

/// Does all sweeps that wait and that nobody else has, then looks at scale sets whose members changed.
///
/// # Errors
/// [`StoreError`]; what was noted before it stays.
pub async fn drain(state: &AppState) -> Result<(), StoreError> {
    sweeps(state).await?;
    sets::evaluate(state).await
}

async fn sweeps(state: &AppState) -> Result<(), StoreError> {
    loop {
        if state.store.read(assessments::pending).await? == 0 {
            return Ok(());
        }
        let now = state.clock.now();
        let me = new_id(now);
        let by = me.clone();
        let claim = move |tx: &mut dyn Tx| assessments::claim(tx, &by, now, now.plus_s(CLAIM_S));
        let Some(sweep) = state.store.write(claim).await? else { return Ok(()) };
        work(state, sweep, &me).await?;
    }
}

/// Does a claimed sweep to its end, or until somebody else has it. While the writer has one batch, the next is compared: what
/// becomes of a resource meanwhile is for the transaction that changes it.
async fn work(state: &AppState, mut sweep: Sweep, me: &str) -> Result<(), StoreError> {
    let mut size = BATCH;
    let mut batch = read(state, &sweep, size).await?;
    loop {
        let (now, phase) = (state.clock.now(), sweep.phase);
        match batch.last.take() {
            Some(last) => sweep.after_id = last,
            None if phase == Phase::Vms => {
                sweep.phase = Phase::Items;
                sweep.after_id = String::new();
            }
            None => sweep.finished_at = Some(now),
        }
        sweep.looked_at += batch.looked_at;
        sweep.changed += batch.different.count();
        let writes = batch.different.count() > 0;
        let write = write(state, sweep.clone(), me, phase, batch.different, now);
        let began = state.clock.monotonic_ms();
        if sweep.finished_at.is_some() {
            if write.await? {
                let Sweep { because, looked_at, changed, .. } = &sweep;
                tracing::info!(because, looked_at, changed, "all VMs are assessed again");
            }
            return Ok(());
        }
        let write = async {
            let kept = write.await;
            (kept, state.clock.monotonic_ms() - began)
        };
        let ((kept, took_ms), next) = tokio::join!(write, read(state, &sweep, size));
        if !kept? {
            return Ok(());
        }
        batch = next?;
        if writes {
            size = next_size(size, took_ms);
        }
    }
}

/// Writes what is different of a batch and notes how far the sweep came. `false` when somebody else has it by now.
async fn write(
    state: &AppState,
    sweep: Sweep,
    me: &str,
    phase: Phase,
    different: Different,
    now: Time,
) -> Result<bool, StoreError> {
    let different = Arc::new(different);
    let (by, noted, compared) = (me.to_owned(), sweep.clone(), Arc::clone(&different));
    let written = state.store.try_write(move |tx| {
        if let Different::Compared(compared) = &*compared {
            assessments::read_along_indexes(tx)?;
            if !compared.write_if_it_stands(tx, now)? {
                return Err(Failed::Overtaken);
            }
        } else {
            refresh(tx, phase, &compared.ids(), now)?;
        }
        Ok(end(tx, &noted, &by, now)?)
    });
    match written.await {
        Ok(kept) => Ok(kept),
        Err(Failed::Store(error)) => Err(error),
        // Somebody was faster with some of them: all are compared once more, by the one who writes.
        Err(Failed::Overtaken) => {
            let (by, ids) = (me.to_owned(), different.ids());
            let again = state.store.write(move |tx| {
                refresh(tx, phase, &ids, now)?;
                end(tx, &sweep, &by, now)
            });
            again.await
        }
    }
}

fn end(tx: &mut dyn Tx, sweep: &Sweep, by: &str, now: Time) -> Result<bool, StoreError> {
    if sweep.finished_at.is_some() {
        note_scores(tx, now)?;
        assessments::mark_all_sets(tx)?;
    }
    assessments::advance(tx, sweep, by, now.plus_s(CLAIM_S))
}

/// Why a batch was not written.
enum Failed {
    Store(StoreError),
    /// What it rests on has become another since it was compared.
    Overtaken,
}

impl From<StoreError> for Failed {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// Resources of the next batch, after a batch of `size` that took so long.
fn next_size(size: u32, took_ms: i64) -> u32 {
    let wanted = i64::from(size).saturating_mul(HOLD_MS) / took_ms.max(1);
    let most = size.saturating_mul(2).min(MAX_BATCH);
    u32::try_from(wanted).unwrap_or(MAX_BATCH).clamp(MIN_BATCH, most)
}

/// Compares the batch that a sweep comes to next.
async fn read(state: &AppState, sweep: &Sweep, size: u32) -> Result<Batch, StoreError> {
    let (now, phase, after) = (state.clock.now(), sweep.phase, sweep.after_id.clone());
    state.store.read(move |tx| compare(tx, phase, &after, size, now)).await
}

/// A batch of resources, compared.
struct Batch {
    looked_at: u64,
    /// Id of the last one; `None` when there was none.
    last: Option<String>,
    different: Different,
}

/// Those of which something comes out differently.
enum Different {
    /// VMs, with what is to be written.
    Compared(resource::Compared),
    /// Ids, to be compared by the one who writes.
    Ids(Vec<String>),
}

impl Different {
    fn count(&self) -> u64 {
        match self {
            Self::Compared(compared) => compared.different() as u64,
            Self::Ids(ids) => ids.len() as u64,
        }
    }

    fn ids(&self) -> Vec<String> {
        match self {
            Self::Compared(compared) => compared.vms().iter().map(|vm| vm.id.clone()).collect(),
            Self::Ids(ids) => ids.clone(),
        }
    }
}

fn compare(tx: &mut dyn Tx, phase: Phase, after: &str, size: u32, now: Time) -> Result<Batch, StoreError> {
    assessments::read_along_indexes(tx)?;
    match phase {
        Phase::Vms => {
            let vms = assessments::inputs_after(tx, after, size)?;
            let (looked_at, last) = (vms.len() as u64, vms.last().map(|vm| vm.id.clone()));
            let unread = vms.iter().filter(|vm| resource::lacks_log_facts(vm)).map(|vm| vm.id.clone());
            let unread: Vec<String> = unread.collect();
            let mut compared = resource::compare_vms(tx, vms, now)?;
            compared.keep_different();
            let mut different = Different::Compared(compared);
            if !unread.is_empty() {
                // A log is to be read for posture first, by the one who writes what it shows.
                different = Different::Ids(ordered([unread, different.ids()].concat()));
            }
            Ok(Batch { looked_at, last, different })
        }
        Phase::Items => {
            let references = settings::current(tx)?;
            let items = inventory::unmatched(tx, after, size)?;
            let changes = resource::item_changes(tx, &items, &references, now)?;
            let ids = changes.into_iter().map(|change| change.is.resource_id).collect();
            let (looked_at, last) = (items.len() as u64, items.into_iter().next_back().map(|item| item.id));
            Ok(Batch { looked_at, last, different: Different::Ids(ordered(ids)) })
        }
    }
}

fn ordered(mut ids: Vec<String>) -> Vec<String> {
    ids.sort_unstable();
    ids.dedup();
    ids
}

fn refresh(tx: &mut dyn Tx, phase: Phase, ids: &[String], now: Time) -> Result<(), StoreError> {
    if ids.is_empty() {
        return Ok(());
    }
    assessments::read_along_indexes(tx)?;
    match phase {
        Phase::Vms => super::vms(tx, ids, false, now),
        Phase::Items => super::items(tx, ids, false, now),
    }
}

/// A point of the trend for the fleet and for every group.
fn note_scores(tx: &mut dyn Tx, now: Time) -> Result<(), StoreError> {
    let Some(any_check) = checks().first() else { return Ok(()) };
    let mut groups = std::collections::BTreeMap::<String, (Tally, u64)>::new();
    for count in assessments::counts_by_group(tx)? {
        for name in [String::new(), count.group] {
            let (tally, resources) = groups.entry(name).or_default();
            tally.add(&count.check, count.status, count.count);
            if count.check == any_check.id {
                *resources += count.count;
            }
        }
    }
    let points: Vec<NewPoint> = groups
        .into_iter()
        .map(|(group, (tally, resources))| NewPoint {
            group,
            healthy_weight: tally.healthy_weight,
            applicable_weight: tally.applicable_weight,
            resources,
        })
        .collect();
    assessments::put_points(tx, &points, now)?;
    assessments::purge_points(tx, now.plus_s(-POINTS_DAYS * DAY_S)).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_grow_and_shrink_with_what_they_take() {
        assert_eq!(next_size(500, 0), 1000);
        assert_eq!(next_size(500, HOLD_MS / 5), 1000);
        assert_eq!(next_size(500, HOLD_MS), 500);
        assert_eq!(next_size(500, HOLD_MS * 2), 250);
        assert_eq!(next_size(500, i64::MAX), MIN_BATCH);
        assert_eq!(next_size(MAX_BATCH, 1), MAX_BATCH);
        assert_eq!(next_size(500, -1000), 1000, "a clock that runs backwards");
    }
}
