//! Changes of a VM's status that no attestation makes: each is an event, and the checks of posture follow.

use serde_json::json;
use veriboot_store::events::{self, NewEvent};
use veriboot_store::vms::{self, VmRow};
use veriboot_store::{StoreError, Tx};
use veriboot_wire::{Severity, Time, VmStatus};

/// Why a VM waits whose monitoring was switched on: health is what judging its last evidence again says, and nothing before.
pub(crate) const JUDGED_AGAIN: &str =
    "Integrity monitoring was switched on: its last evidence is judged again.";

/// Whether judging evidence again says what this VM's status is. What an agent has to end by attesting is not ended
/// so: silence, a fault that it reports, a further enrolment of a VM that was healthy, which waits then. One that was
/// unhealthy stays unhealthy when it enrols again, for its last evidence; judged again, that says what it is worth, and an
/// agent that attests no more is told of by its silence.
pub(crate) fn follows_evidence(vm: &VmRow) -> bool {
    match vm.status {
        VmStatus::Healthy | VmStatus::Unhealthy => true,
        VmStatus::Pending => vm.status_detail.as_deref() == Some(JUDGED_AGAIN),
        VmStatus::Error => vm.fault.is_none(),
        VmStatus::Stale | VmStatus::Unmonitored => false,
    }
}

/// Sets the status, and tells of it when it is another one.
pub(crate) fn set(
    tx: &mut dyn Tx,
    vm: &VmRow,
    to: VmStatus,
    detail: Option<&str>,
    at: Time,
) -> Result<(), StoreError> {
    vms::set_status(tx, &vm.id, to, detail)?;
    changed(tx, vm, to, detail, at)?;
    crate::posture::refresh(tx, &vm.id, at)
}

/// Tells of a status that was set already; `vm` is the record before.
pub(crate) fn changed(
    tx: &mut dyn Tx,
    vm: &VmRow,
    to: VmStatus,
    detail: Option<&str>,
    at: Time,
) -> Result<(), StoreError> {
    if vm.status == to {
        return Ok(());
    }
    let severity = match to {
        VmStatus::Unhealthy | VmStatus::Stale | VmStatus::Error => Severity::Medium,
        VmStatus::Pending | VmStatus::Healthy | VmStatus::Unmonitored => Severity::Info,
    };
    let message = format!("{} is {to}, was {}", vm.name, vm.status);
    let data = json!({ "before": vm.status, "after": to, "detail": detail, "message": message });
    append(tx, vm, "vm.status-changed", severity, &data, at)
}

/// What a fault that the agent reports makes of a status.
pub(crate) fn with_fault(status: VmStatus) -> VmStatus {
    match status {
        VmStatus::Unhealthy | VmStatus::Stale | VmStatus::Unmonitored => status,
        VmStatus::Pending | VmStatus::Healthy | VmStatus::Error => VmStatus::Error,
    }
}

/// Tells of something else about a VM, for the record.
pub(crate) fn tell(
    tx: &mut dyn Tx,
    vm: &VmRow,
    kind: &str,
    data: &serde_json::Value,
    at: Time,
) -> Result<(), StoreError> {
    append(tx, vm, kind, Severity::Info, data, at)
}

fn append(
    tx: &mut dyn Tx,
    vm: &VmRow,
    kind: &str,
    severity: Severity,
    data: &serde_json::Value,
    at: Time,
) -> Result<(), StoreError> {
    let event = NewEvent {
        at,
        kind,
        severity,
        group: Some(&vm.group),
        scale_set: vm.scale_set.as_deref(),
        vm_id: Some(&vm.id),
        vm_name: Some(&vm.name),
        subject: Some(&vm.id),
        data,
    };
    events::append(tx, &event)?;
    Ok(())
}
