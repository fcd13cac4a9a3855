//! Agents that stopped reporting.
//!
//! Every replica looks; whoever commits first turns a VM stale, and the others do not find it any more. Silence is
//! counted from the last appraised evidence or the first enrolment (`silent_after` in the VM's row). Reported faults and
//! further enrolments put it off once, so that no agent avoids attesting by talking about something else.

use std::time::Duration;

use tokio::sync::watch;
use veriboot_store::vms::VmRow;
use veriboot_store::{StoreError, Tx, vms};
use veriboot_wire::{AlertReason, Time, VmStatus};

use crate::{AppState, alerts};

/// VMs that one transaction turns stale.
const BATCH: u32 = 100;
/// The longest wait between two looks.
const MAX_PAUSE_S: u32 = 30;

/// Watches for silent agents until `stop` turns true.
pub async fn run(state: AppState, mut stop: watch::Receiver<bool>) {
    let pause = (state.config.silence_limit_s() / 4).clamp(1, MAX_PAUSE_S);
    loop {
        match sweep(&state).await {
            Ok(_) => {}
            // Only a look was lost: the rows are still due at the next one.
            Err(error) => tracing::warn!(code = error.code(), %error, "cannot look for silent agents"),
        }
        tokio::select! {
            _ = stop.wait_for(|stop| *stop) => return,
            () = tokio::time::sleep(Duration::from_secs(u64::from(pause))) => {}
        }
    }
}

/// Turns every VM stale that has been silent for too long by now, and says how many.
///
/// # Errors
/// [`StoreError`]; what was committed before it stays.
pub async fn sweep(state: &AppState) -> Result<usize, StoreError> {
    let mut total = 0;
    loop {
        let now = state.clock.now();
        if state.store.read(move |tx| vms::due_for_silence(tx, now, 1)).await?.is_empty() {
            return Ok(total);
        }
        let stale = state.store.write(move |tx| turn_stale(tx, now)).await?;
        for VmRow { id: vm, name, group, .. } in &stale {
            tracing::info!(vm, name, group, reason = %AlertReason::AgentSilent, "VM is stale, alert raised");
            state.metrics.alert_raised(AlertReason::AgentSilent);
        }
        let count = stale.len();
        total += count;
        if count == 0 {
            return Ok(total);
        }
    }
}

/// Rows are chosen and changed in one transaction, so that none is chosen twice.
fn turn_stale(tx: &mut dyn Tx, now: Time) -> Result<Vec<VmRow>, StoreError> {
    let due = vms::due_for_silence(tx, now, BATCH)?;
    for vm in &due {
        let message = message(vm);
        vms::set_status(tx, &vm.id, VmStatus::Stale, Some(&message))?;
        alerts::agent_silent(tx, &vm.id, &message, now)?;
    }
    Ok(due)
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
