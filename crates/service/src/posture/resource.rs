//! VMs and inventory items assessed, a batch at a time.

use std::collections::BTreeSet;

use veriboot_posture::{ItemFacts, LogFacts, ResourceFacts, VmFacts, assess_all};
use veriboot_store::assessments::{self, ItemInputs, VmInputs};
use veriboot_store::{StoreError, Tx, logs};
use veriboot_wire::{Assessment, FactState, InventoryItem, PostureReferences, ResourceKind, Time};

use super::difference::{Change, Resource, changes, write};
use super::{key, settings};

/// Assesses VMs in this transaction, whatever their keys are.
pub(super) fn assess_vms(
    tx: &mut dyn Tx,
    mut vms: Vec<VmInputs>,
    tell_first: bool,
    now: Time,
) -> Result<(), StoreError> {
    if vms.is_empty() {
        return Ok(());
    }
    vms.sort_by(|a, b| a.id.cmp(&b.id));
    read_missing_logs(tx, &mut vms)?;
    let compared = compare_vms(tx, vms, now)?;
    all(compared.write(tx, tell_first, now)?)
}

/// Nobody but this transaction has changed what it has read.
fn all(written: bool) -> Result<(), StoreError> {
    if written { Ok(()) } else { Err(StoreError::Contended) }
}

/// VMs, what their assessments rest on, and what is different of them.
pub(super) struct Compared {
    vms: Vec<VmInputs>,
    items: Vec<ItemInputs>,
    references: PostureReferences,
    changes: Vec<Change>,
}

impl Compared {
    /// VMs that were compared, ordered by id.
    pub(super) fn vms(&self) -> &[VmInputs] {
        &self.vms
    }

    /// Leaves out those of which nothing is different.
    pub(super) fn keep_different(&mut self) {
        let Self { vms, items, changes, .. } = self;
        let ids: BTreeSet<&str> = changes.iter().map(|change| change.is.resource_id.as_str()).collect();
        vms.retain(|vm| ids.contains(vm.id.as_str()));
        items.retain(|item| ids.contains(item.vm_id.as_str()));
    }

    /// Number of VMs of which something is different, once the others are left out.
    pub(super) fn different(&self) -> usize {
        self.vms.len()
    }

    /// Writes what is different, in a transaction that began after the one that compared: unless something that it rests on has
    /// become another since. `false` then, and the transaction is to be undone.
    pub(super) fn write_if_it_stands(&self, tx: &mut dyn Tx, now: Time) -> Result<bool, StoreError> {
        let ids: Vec<String> = self.vms.iter().map(|vm| vm.id.clone()).collect();
        let stands = settings::current(tx)? == self.references
            && assessments::inputs_of_all(tx, &ids)? == self.vms
            && assessments::items_of_vms(tx, &ids.iter().map(String::as_str).collect::<Vec<_>>())?
                == self.items;
        Ok(stands && self.write(tx, false, now)?)
    }

    fn write(&self, tx: &mut dyn Tx, tell_first: bool, now: Time) -> Result<bool, StoreError> {
        let keys: Vec<(&str, String)> = self
            .vms
            .iter()
            .map(|vm| (vm, key::of_inputs(vm)))
            .filter(|(vm, key)| vm.posture_key.as_ref() != Some(key))
            .map(|(vm, key)| (vm.id.as_str(), key))
            .collect();
        assessments::set_keys(tx, &keys)?;
        write(tx, &self.changes, tell_first, now)
    }
}

/// Assesses inventory items that are no enrolled VMs in this transaction.
pub(super) fn assess_items(
    tx: &mut dyn Tx,
    items: &[InventoryItem],
    tell_first: bool,
    now: Time,
) -> Result<(), StoreError> {
    if items.is_empty() {
        return Ok(());
    }
    let references = settings::current(tx)?;
    let found = item_changes(tx, items, &references, now)?;
    all(write(tx, &found, tell_first, now)?)
}

/// Logs that were stored before this release read them for posture, or in another shape.
fn read_missing_logs(tx: &mut dyn Tx, vms: &mut [VmInputs]) -> Result<(), StoreError> {
    for vm in vms.iter_mut().filter(|vm| lacks_log_facts(vm)) {
        let Some(sha256) = &vm.log_sha256 else { continue };
        let Some(content) = logs::content(tx, sha256)? else { continue };
        let facts = LogFacts::of(&veriboot_appraisal::examine(&content));
        let json = serde_json::to_string(&facts).unwrap_or_default();
        assessments::put_log_facts(tx, &vm.id, sha256, &json)?;
        vm.log_facts = Some(json);
    }
    Ok(())
}

/// Whether the log of a VM is still to be read for posture.
pub(super) fn lacks_log_facts(vm: &VmInputs) -> bool {
    vm.log_sha256.is_some() && vm.facts.log == FactState::Valid && log_facts(vm).is_none()
}

fn log_facts(vm: &VmInputs) -> Option<LogFacts> {
    // What is not proven by the last quote is nothing that a check may rest on.
    let json = vm.log_facts.as_ref().filter(|_| vm.facts.log == FactState::Valid)?;
    serde_json::from_str(json).ok().filter(|facts: &LogFacts| facts.version == LogFacts::VERSION)
}

/// What is different of these VMs, which are ordered by id.
pub(super) fn compare_vms(tx: &mut dyn Tx, vms: Vec<VmInputs>, now: Time) -> Result<Compared, StoreError> {
    let references = settings::current(tx)?;
    let ids: Vec<&str> = vms.iter().map(|vm| vm.id.as_str()).collect();
    let known = assessments::of_resources(tx, &ids)?;
    let items = assessments::items_of_vms(tx, &ids)?;
    let mut found = Vec::new();
    for vm in &vms {
        let facts = ResourceFacts {
            vm: Some(VmFacts {
                status: vm.status,
                status_detail: vm.status_detail.as_deref(),
                facts: vm.facts,
                security_type: vm.security_type,
                os: &vm.machine.os,
                arch: &vm.machine.arch,
                agent_version: &vm.machine.agent_version,
                kernel: vm.kernel.as_ref(),
                ek_certificate: vm.ek_certificate,
                log: log_facts(vm),
            }),
            item: items.iter().find(|item| item.vm_id == vm.id).map(item_of_vm),
        };
        let resource = Resource {
            id: &vm.id,
            kind: ResourceKind::Vm,
            name: &vm.name,
            group: &vm.group,
            scale_set: vm.scale_set.as_deref(),
        };
        changes(&resource, of(&known, &vm.id), assess_all(&facts, &references, now), now, &mut found);
    }
    Ok(Compared { vms, items, references, changes: found })
}

fn item_of_vm(item: &ItemInputs) -> ItemFacts<'_> {
    ItemFacts { secure_boot: item.secure_boot, vtpm: item.vtpm, power: item.power, source: &item.source }
}

/// What is different of these items.
pub(super) fn item_changes(
    tx: &mut dyn Tx,
    items: &[InventoryItem],
    references: &PostureReferences,
    now: Time,
) -> Result<Vec<Change>, StoreError> {
    let ids: Vec<&str> = items.iter().map(|item| item.id.as_str()).collect();
    let known = assessments::of_resources(tx, &ids)?;
    let mut found = Vec::new();
    for item in items {
        let facts = ResourceFacts {
            vm: None,
            item: Some(ItemFacts {
                secure_boot: item.facts.secure_boot,
                vtpm: item.facts.vtpm,
                power: item.facts.power,
                source: &item.source,
            }),
        };
        let resource = Resource {
            id: &item.id,
            kind: ResourceKind::InventoryItem,
            name: &item.facts.name,
            group: &item.facts.group,
            scale_set: item.facts.scale_set.as_deref(),
        };
        changes(&resource, of(&known, &item.id), assess_all(&facts, references, now), now, &mut found);
    }
    Ok(found)
}

/// Those of one resource, out of assessments that are ordered by resource.
fn of<'k>(known: &'k [Assessment], id: &str) -> &'k [Assessment] {
    let from = known.partition_point(|a| a.resource_id.as_str() < id);
    let rest = known.get(from..).unwrap_or_default();
    let count = rest.partition_point(|a| a.resource_id == id);
    rest.get(..count).unwrap_or_default()
}
