//! The monitoring switch: takes a change of a setting to the VMs of its scope.
//!
//! The change and the work that follows from it are written in one transaction. Every replica claims what waits and notes
//! in the transaction of each batch how far it came; a claim ends by itself, so that another replica goes on where one
//! died. Each VM takes what its most specific setting says at that moment: going over a VM twice changes nothing.

use std::time::{Duration, Instant};

use tokio::sync::watch;
use veriboot_store::monitoring::{self, ClaimedSwitch, SwitchStep};
use veriboot_store::vms::{self, VmRow};
use veriboot_store::{StoreError, Tx, attestations, deadlines, new_id, reappraisals, reappraise_queue};
use veriboot_wire::{Monitoring, MonitoringSwitch, Time, Verdict, VmStatus};

use crate::{ApiError, AppState, alerts, background, posture, status};

/// VMs of one transaction.
const STEP: u32 = 100;
/// How long a claim lasts without a note.
const CLAIM_S: i64 = 60;
/// How often is looked for work that nobody waits for.
const PAUSE: Duration = Duration::from_secs(2);
/// How long a change waits for its VMs before it answers; the rest goes on in the background.
const BEFORE_THE_ANSWER: Duration = Duration::from_secs(3);

/// Does what waits until `stop` turns true.
pub async fn run(state: AppState, stop: watch::Receiver<bool>) {
    let wake = &state.wakes.monitoring;
    background::repeat(stop, PAUSE, wake, "cannot switch the monitoring of VMs", || drain(&state)).await;
}

/// Does all work that is there and that nobody else has.
///
/// # Errors
/// [`StoreError`]; what was noted before it stays.
pub async fn drain(state: &AppState) -> Result<(), StoreError> {
    while state.store.read(monitoring::pending).await? > 0 && work(state, None, None).await? {}
    Ok(())
}

/// Works on this one for a few seconds and gives how far it came.
///
/// # Errors
/// [`ApiError`] when the database does not answer.
pub(crate) async fn drive(state: &AppState, asked: MonitoringSwitch) -> Result<MonitoringSwitch, ApiError> {
    if asked.finished_at.is_some() {
        return Ok(asked);
    }
    let deadline = Instant::now() + BEFORE_THE_ANSWER;
    if let Err(error) = work(state, Some(&asked.id), Some(deadline)).await {
        tracing::warn!(code = error.code(), %error, "the monitoring of VMs is switched later");
    }
    state.wakes.monitoring.notify_one();
    let id = asked.id.clone();
    Ok(state.read(move |tx| Ok(monitoring::switch_by_id(tx, &id)?)).await?.unwrap_or(asked))
}

/// Claims one switch and does it, to its end or to the deadline. `false` when there is none.
async fn work(state: &AppState, only: Option<&str>, deadline: Option<Instant>) -> Result<bool, StoreError> {
    let now = state.clock.now();
    let me = new_id(now);
    let (only, by) = (only.map(str::to_owned), me.clone());
    let claim = move |tx: &mut dyn Tx| monitoring::claim(tx, only.as_deref(), &by, now, now.plus_s(CLAIM_S));
    let Some(claimed) = state.store.write(claim).await? else { return Ok(false) };
    let ClaimedSwitch { switch, mut after_name } = claimed;
    loop {
        let now = state.clock.now();
        let late = deadline.is_some_and(|deadline| Instant::now() >= deadline);
        let (by, of, after) = (me.clone(), switch.clone(), after_name.clone());
        let batch = state.store.write(move |tx| step(tx, &of, &by, &after, late, now)).await?;
        let Some(Batch { last, switched }) = batch else { return Ok(true) };
        for (vm, enabled) in switched {
            let VmRow { id: vm, name, group, .. } = &vm;
            tracing::info!(vm, name, group, enabled, "integrity monitoring switched");
        }
        match last {
            Some(last) if !late => after_name = last,
            Some(_) => return Ok(true),
            None => {
                tracing::info!(
                    switch = switch.id,
                    vms = switch.vms,
                    "integrity monitoring of a scope is switched"
                );
                return Ok(true);
            }
        }
    }
}

/// What one transaction did.
struct Batch {
    /// The last VM that was looked at; `None` at the end.
    last: Option<String>,
    switched: Vec<(VmRow, bool)>,
}

/// `None` when somebody else has the switch by now: nothing was written then.
fn step(
    tx: &mut dyn Tx,
    switch: &MonitoringSwitch,
    by: &str,
    after: &str,
    late: bool,
    now: Time,
) -> Result<Option<Batch>, StoreError> {
    let vms = reappraisals::vms_after(tx, &switch.scope, after, STEP)?;
    let last = vms.last().map(|vm| vm.name.clone());
    let note = SwitchStep {
        after_name: last.as_deref().unwrap_or(after),
        done: u64::try_from(vms.len()).unwrap_or(0),
        switched: 0,
        until: if late { now } else { now.plus_s(CLAIM_S) },
        finished_at: last.is_none().then_some(now),
    };
    let mut switched = Vec::new();
    for vm in &vms {
        if let Some(vm) = vms::by_id(tx, &vm.id)?
            && let Some(enabled) = settle(tx, &vm, now)?
        {
            switched.push((vm, enabled));
        }
    }
    let note = SwitchStep { switched: u64::try_from(switched.len()).unwrap_or(0), ..note };
    if !monitoring::advance(tx, &switch.id, by, &note)? {
        // Whoever has it now finds these VMs done.
        return Ok(None);
    }
    Ok(Some(Batch { last, switched }))
}

/// Gives a VM the monitoring that its most specific setting says; `Some` with what it is now when that is another one.
fn settle(tx: &mut dyn Tx, vm: &VmRow, now: Time) -> Result<Option<bool>, StoreError> {
    let monitoring = Monitoring::of(monitoring::for_place(tx, vm.place())?.as_ref());
    if monitoring.enabled == vm.monitoring {
        return Ok(None);
    }
    let (status, detail) = if monitoring.enabled { resumed(tx, vm)? } else { paused(&monitoring) };
    deadlines::switch(tx, &vm.id, monitoring.enabled, status, detail.as_deref(), now)?;
    if monitoring.enabled {
        // What it showed meanwhile raised nothing: it is judged again, with its alerts.
        if vm.last_attestation_id.is_some() {
            reappraise_queue::queue(tx, &vm.id, now)?;
        }
    } else {
        alerts::resolve_all(tx, &vm.id, "integrity monitoring was disabled", now)?;
    }
    status::changed(tx, vm, status, detail.as_deref(), now)?;
    // Who is judged again is assessed then, and not for the moment before.
    if detail.as_deref() != Some(status::JUDGED_AGAIN) {
        posture::refresh(tx, &vm.id, now)?;
    }
    Ok(Some(monitoring.enabled))
}

/// Status and its explanation while monitoring is off.
pub(crate) fn paused(monitoring: &Monitoring) -> (VmStatus, Option<String>) {
    (VmStatus::Unmonitored, Some(format!("Integrity monitoring is {}.", monitoring.text)))
}

/// The status of a VM whose monitoring was switched on, until its last evidence is judged again: what failed has failed,
/// and nothing is healthy before that says so.
fn resumed(tx: &mut dyn Tx, vm: &VmRow) -> Result<(VmStatus, Option<String>), StoreError> {
    if let Some(fault) = &vm.fault {
        return Ok((VmStatus::Error, Some(fault.clone())));
    }
    let last = match &vm.last_attestation_id {
        Some(id) => attestations::by_id(tx, id)?,
        None => None,
    };
    Ok(match last {
        None => (VmStatus::Pending, None),
        Some(last) if last.verdict == Verdict::Healthy => {
            (VmStatus::Pending, Some(status::JUDGED_AGAIN.to_owned()))
        }
        Some(last) => {
            let failing = last.findings.iter().find(|finding| finding.fails());
            (VmStatus::Unhealthy, failing.map(|finding| finding.message.clone()))
        }
    })
}
