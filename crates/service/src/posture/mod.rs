//! Assessments kept up to date: who is assessed, when, and on what.
//!
//! * An attestation, a fault, silence, an enrolment and the monitoring switch call [`refresh`] in their own transaction.
//!   What the assessments of a VM rest on has a key in its record: while that is the same, nothing is read or written.
//! * A change of the inventory calls [`refresh_items`] in its transaction.
//! * Everything else (a new release, other references, the time) is found by the sweep ([`run`]), which compares all
//!   resources once an hour and writes only what came out differently.
//!
//! What checks come to for whole scale sets is counted a few seconds after their members changed (`sets.rs`).
//!
//! Whenever a VM is assessed, its items of the inventory are held against its evidence, and a contradiction that appears or
//! goes is told (`contradictions.rs`).
//!
//! What evidence is held against ([`veriboot_wire::PostureReferences`]) is kept in the database, so that all replicas
//! assess alike.

mod contradictions;
mod difference;
mod key;
mod resource;
mod sets;
mod settings;
mod sweep;

pub use sweep::{drain, run};

pub(crate) use key::After;
pub(crate) use settings::current as references;

use veriboot_appraisal::LogReport;
use veriboot_posture::LogFacts;
use veriboot_store::vms::VmRow;
use veriboot_store::{StoreError, Tx, assessments, inventory};
use veriboot_wire::Time;

/// Assesses a VM again after something about it changed. Does nothing while the key of what its assessments rest on is
/// the one that they were made with, and when there is no such VM.
///
/// # Errors
/// [`StoreError`].
pub fn refresh(tx: &mut dyn Tx, vm_id: &str, now: Time) -> Result<(), StoreError> {
    let Some(vm) = assessments::inputs_of(tx, vm_id)? else { return Ok(()) };
    if vm.posture_key.as_deref() == Some(key::of_inputs(&vm).as_str()) {
        return Ok(());
    }
    resource::assess_vms(tx, vec![vm], true, now)
}

/// [`refresh`] at the end of the transaction of an attestation: `before` is the VM's record before it, `after` what was
/// written, `report` its log where that was examined. Costs a hash when nothing is different.
pub(crate) fn after_attestation(
    tx: &mut dyn Tx,
    before: &VmRow,
    after: &After<'_>,
    report: Option<&LogReport>,
    now: Time,
) -> Result<(), StoreError> {
    if before.posture_key.as_deref() == Some(after.key(before).as_str()) {
        return Ok(());
    }
    if let Some(report) = report.filter(|report| {
        Some(report.sha256.as_str()) == after.log_sha256 && before.log_sha256.as_ref() != Some(&report.sha256)
    }) {
        let facts = serde_json::to_string(&LogFacts::of(report)).unwrap_or_default();
        assessments::put_log_facts(tx, &before.id, &report.sha256, &facts)?;
    }
    refresh(tx, &before.id, now)
}

/// Assesses VMs again whose last evidence was judged again, each with its log where that was examined: no log is read in
/// this transaction that was.
pub(crate) fn after_judging(
    tx: &mut dyn Tx,
    judged: &[(&str, Option<&LogReport>)],
    now: Time,
) -> Result<(), StoreError> {
    let ids: Vec<String> = judged.iter().map(|(id, _)| (*id).to_owned()).collect();
    let mut vms = assessments::inputs_of_all(tx, &ids)?;
    for vm in vms.iter_mut().filter(|vm| resource::lacks_log_facts(vm)) {
        let report = judged.iter().find(|(id, _)| *id == vm.id).and_then(|(_, report)| *report);
        let Some(report) = report.filter(|report| Some(&report.sha256) == vm.log_sha256.as_ref()) else {
            continue;
        };
        let facts = serde_json::to_string(&LogFacts::of(report)).unwrap_or_default();
        assessments::put_log_facts(tx, &vm.id, &report.sha256, &facts)?;
        vm.log_facts = Some(facts);
    }
    resource::assess_vms(tx, vms, true, now)
}

/// Assesses inventory items again after they were added, changed, linked, unlinked or lost. An item that is an enrolled
/// VM is no resource of its own: its VM is assessed in its place. Of an item that was unlinked, the VM that it was is for
/// [`refresh_vms`].
///
/// # Errors
/// [`StoreError`].
pub fn refresh_items(tx: &mut dyn Tx, item_ids: &[String], now: Time) -> Result<(), StoreError> {
    items(tx, item_ids, true, now)
}

fn items(tx: &mut dyn Tx, item_ids: &[String], tell_first: bool, now: Time) -> Result<(), StoreError> {
    let mut vm_ids = Vec::new();
    let mut alone = Vec::new();
    for id in item_ids {
        match inventory::by_id(tx, id)? {
            Some(item) if item.vm_id.is_none() && item.gone_at.is_none() => alone.push(item),
            found => {
                assessments::remove(tx, id)?;
                vm_ids.extend(found.and_then(|item| item.vm_id));
            }
        }
    }
    vms(tx, &vm_ids, tell_first, now)?;
    resource::assess_items(tx, &alone, tell_first, now)
}

/// Assesses VMs again after something changed that is not in their records, such as what the inventory says about them.
///
/// # Errors
/// [`StoreError`].
pub fn refresh_vms(tx: &mut dyn Tx, vm_ids: &[String], now: Time) -> Result<(), StoreError> {
    vms(tx, vm_ids, true, now)
}

fn vms(tx: &mut dyn Tx, vm_ids: &[String], tell_first: bool, now: Time) -> Result<(), StoreError> {
    let mut ids = vm_ids.to_vec();
    ids.sort_unstable();
    ids.dedup();
    let vms = assessments::inputs_of_all(tx, &ids)?;
    resource::assess_vms(tx, vms, tell_first, now)
}
