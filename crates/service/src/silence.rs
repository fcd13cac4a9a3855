//! Agents that stopped reporting.
//!
//! Every replica looks; whoever commits first turns a VM stale, and the others do not find it any more. Silence is
//! counted from the last appraised evidence or the first enrolment (`silent_after` in the VM's row, found by an index).
//! Reported faults and further enrolments put it off once, so that no agent avoids attesting by talking about something
//! else. Nobody is called silent for what was not its fault: an outage of the service and a clock that was set put the
//! deadlines off ([`crate::heartbeat`]), a maintenance window does, and a VM that left by its inventory is no longer
//! expected. docs/silence.md tells all of it.

use std::time::Duration;

use tokio::sync::watch;
use veriboot_store::heartbeats::{self, OutageCause, Pulse};
use veriboot_store::vms::VmRow;
use veriboot_store::{StoreError, Tx, deadlines, events, inventory, maintenance, vms};
use veriboot_wire::{Absence, AlertReason, Time, VmStatus};

use crate::alerts::AlertChanges;
use crate::heartbeat::{self, Beating};
use crate::{AppState, alerts, status};

/// VMs that one transaction judges.
const BATCH: u32 = 100;
/// How far a maintenance window puts a deadline off at once, seconds: one that is ended early is noticed by then.
const MAINTENANCE_STEP_S: i64 = 3600;
/// Deadlines that one transaction moves.
const MOVED_AT_ONCE: u32 = 1000;

/// Watches for silent agents until `stop` turns true.
pub async fn run(state: AppState, mut stop: watch::Receiver<bool>) {
    // Several beats fit into what is no outage yet.
    let pause = Duration::from_millis(u64::try_from(heartbeat::limit_ms(&state.config) / 4).unwrap_or(1000));
    loop {
        match sweep(&state).await {
            Ok(_) => {}
            // Only a look was lost: the rows are still due at the next one.
            Err(error) => tracing::warn!(code = error.code(), %error, "cannot look for silent agents"),
        }
        tokio::select! {
            _ = stop.wait_for(|stop| *stop) => return,
            () = tokio::time::sleep(pause) => {}
        }
    }
}

/// Beats, turns every VM stale that has been silent for too long by now, and says how many.
///
/// # Errors
/// [`StoreError`]; what was committed before it stays.
pub async fn sweep(state: &AppState) -> Result<usize, StoreError> {
    let mut memory = state.heart.memory().await;
    let mut total = 0;
    loop {
        let beating = Beating::new(state, &memory);
        let look = Look {
            trusted: memory.disagreement_ms.is_none(),
            pull_in: memory.deadlines_ahead,
            longest_s: state.config.silence_limit_s(),
            reopen_window_s: state.config.alerts.reopen_window_s,
        };
        let write = beating.clone();
        let looked = state.store.write(move |tx| look.at(tx, &write)).await?;
        if look.pull_in && looked.pulled_in < u64::from(MOVED_AT_ONCE) {
            memory.deadlines_ahead = false;
        }
        beating.committed(state, &mut memory, &looked.pulse);
        for (VmRow { id: vm, name, group, .. }, changes) in &looked.stale {
            let reason = AlertReason::AgentSilent;
            match changes.suppressed.is_empty() {
                true => tracing::info!(vm, name, group, %reason, "VM is stale, alert raised"),
                false => tracing::info!(vm, name, group, %reason, "VM is stale, alert suppressed by a rule"),
            }
            changes.raised.iter().for_each(|reason| state.metrics.alert_raised(*reason));
            changes.suppressed.iter().for_each(|(reason, _)| state.metrics.alert_suppressed(*reason));
        }
        for VmRow { id: vm, name, group, .. } in &looked.left {
            tracing::info!(vm, name, group, "VM is no longer expected: its inventory says that it left");
        }
        state.metrics.silent(looked.stale.len(), looked.left.len());
        total += looked.stale.len();
        if !looked.more {
            // Rules end by the clock, too: not by one that another replica contradicts.
            if memory.disagreement_ms.is_none() {
                alerts::resurface(state).await?;
            }
            return Ok(total);
        }
    }
}

/// How one transaction looks.
#[derive(Clone, Copy)]
struct Look {
    /// Whether the replicas agreed about the time.
    trusted: bool,
    /// Whether deadlines may be too far away.
    pull_in: bool,
    /// The silence limit of the configuration, seconds.
    longest_s: u32,
    /// An alert that was resolved at most this long ago comes back as the same one, seconds.
    reopen_window_s: u32,
}

/// What one transaction did.
#[derive(Default)]
struct Looked {
    pulse: Pulse,
    stale: Vec<(VmRow, AlertChanges)>,
    left: Vec<VmRow>,
    pulled_in: u64,
    more: bool,
}

impl Look {
    /// The beat comes first: nobody is judged at a time that is not known to follow on the last one. Rows are chosen and
    /// changed in one transaction, so that none is chosen twice.
    fn at(self, tx: &mut dyn Tx, beating: &Beating) -> Result<Looked, StoreError> {
        let now = beating.now;
        let mut looked = Looked { pulse: beating.write(tx)?, ..Looked::default() };
        if !self.pull_in && looked.pulse.ended.as_ref().is_some_and(|o| o.cause == OutageCause::ClockStep) {
            // Deadlines are brought back first, in the next transaction.
            looked.more = true;
            return Ok(looked);
        }
        if self.pull_in {
            looked.pulled_in = deadlines::pull_in(tx, now, self.longest_s, MOVED_AT_ONCE)?;
            if looked.pulled_in == u64::from(MOVED_AT_ONCE) {
                looked.more = true;
                return Ok(looked);
            }
        }
        if !self.trusted {
            return Ok(looked);
        }
        if let Some(outage) = heartbeats::last_outage(tx)? {
            let end = outage.until.min(now);
            let moved = deadlines::put_off_after_outage(tx, end, now, MOVED_AT_ONCE)?;
            if moved == u64::from(MOVED_AT_ONCE) {
                looked.more = true;
                return Ok(looked);
            }
        }
        let due = vms::due_for_silence(tx, now, BATCH)?;
        looked.more = due.len() >= BATCH as usize;
        events::hold(tx, |tx| {
            for vm in due {
                match judge(tx, &vm, self.reopen_window_s, now)? {
                    Silent::Excused => {}
                    Silent::Left => looked.left.push(vm),
                    Silent::Stale(changes) => looked.stale.push((vm, changes)),
                }
            }
            Ok(looked)
        })
    }
}

/// What a silence turned out to be.
enum Silent {
    /// Its deadline was moved.
    Excused,
    /// It is no longer expected; that is new.
    Left,
    /// Its agent is silent.
    Stale(AlertChanges),
}

fn judge(tx: &mut dyn Tx, vm: &VmRow, reopen_window_s: u32, now: Time) -> Result<Silent, StoreError> {
    if let Some(window) = maintenance::covers(tx, vm.place(), vm.silence_limit_s, now)? {
        deadlines::put_off(tx, &vm.id, window.ends_at.min(now.plus_s(MAINTENANCE_STEP_S)))?;
        return Ok(Silent::Excused);
    }
    if let Some(absence) = inventory::absent_since(tx, &vm.id)? {
        return absent(tx, vm, absence, now);
    }
    let message = message(vm);
    status::set(tx, vm, VmStatus::Stale, Some(&message), now)?;
    alerts::agent_silent(tx, &vm.id, &message, reopen_window_s, now).map(Silent::Stale)
}

/// A member that left by scale-in is not silent. It is looked at again after one silence limit: it may have started again
/// without its agent.
fn absent(tx: &mut dyn Tx, vm: &VmRow, absence: Absence, now: Time) -> Result<Silent, StoreError> {
    let left = leave(tx, vm, absence, now)?;
    deadlines::put_off(tx, &vm.id, now)?;
    Ok(if left { Silent::Left } else { Silent::Excused })
}

/// Lets VMs go that are stale already, where their inventory says now that they left: nobody waits for them any more.
pub(crate) fn let_go(tx: &mut dyn Tx, vm_ids: &[String], now: Time) -> Result<(), StoreError> {
    for id in vm_ids {
        let stale = vms::by_id(tx, id)?.filter(|vm| vm.monitoring && vm.status == VmStatus::Stale);
        let Some(vm) = stale else { continue };
        if let Some(absence) = inventory::absent_since(tx, id)? {
            absent(tx, &vm, absence, now)?;
        }
    }
    Ok(())
}

/// Says in its status that a VM is no longer expected, and ends its alert `agent-silent`. `false` when it said so already.
/// The next attestation brings it back.
///
/// # Errors
/// [`StoreError`].
pub fn leave(tx: &mut dyn Tx, vm: &VmRow, absence: Absence, now: Time) -> Result<bool, StoreError> {
    let what = match absence {
        Absence::Gone { .. } => "gone from its inventory",
        Absence::Stopped { .. } => "stopped, by its inventory,",
    };
    let detail = format!("The VM is {what} since {}. It returns by itself when it attests.", absence.since());
    if vm.status == VmStatus::Unmonitored && vm.status_detail.as_ref() == Some(&detail) {
        return Ok(false);
    }
    status::set(tx, vm, VmStatus::Unmonitored, Some(&detail), now)?;
    alerts::no_longer_silent(tx, &vm.id, "the VM left by its inventory", now)?;
    Ok(true)
}

fn message(vm: &VmRow) -> String {
    let since = vm.last_attested_at.unwrap_or(vm.enrolled_at);
    let silent = match vm.last_attested_at {
        Some(_) => format!("The VM has not attested since {since}"),
        None => format!("The VM has not attested since it enrolled at {since}"),
    };
    match (vm.last_seen_at.filter(|seen| *seen > since), &vm.fault) {
        (Some(seen), Some(fault)) => {
            format!("{silent}. Its agent was last heard of at {seen} and reports a fault: {fault}")
        }
        (Some(seen), None) => format!("{silent}. Its agent was last heard of at {seen}, without evidence."),
        (None, _) => format!("{silent}, and nothing was heard from its agent."),
    }
}
