//! VMs and inventory items assessed, a batch at a time.

use std::collections::{BTreeSet, HashMap};

use veriboot_posture::{ItemFacts, LogFacts, ResourceFacts, VmFacts, assess_all};
use veriboot_store::assessments::{self, ItemInputs, VmInputs};
use veriboot_store::{StoreError, Tx, logs};
use veriboot_wire::{Assessment, FactState, InventoryItem, PostureReferences, ResourceKind, Time};

use super::contradictions::Contradiction;
use super::difference::{Change, Resource, changes, write};
use super::{contradictions, key, settings};

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
    contradictions: Vec<Contradiction>,
}

impl Compared {
    /// VMs that were compared, ordered by id.
    pub(super) fn vms(&self) -> &[VmInputs] {
        &self.vms
    }

    /// Leaves out those of which nothing is different.
    pub(super) fn keep_different(&mut self) {
        let Self { vms, items, changes, contradictions, .. } = self;
        let mut ids: BTreeSet<&str> = changes.iter().map(|change| change.is.resource_id.as_str()).collect();
        ids.extend(contradictions.iter().map(|one| one.vm_id.as_str()));
        vms.retain(|vm| ids.contains(vm.id.as_str()));
        items.retain(|one| one.item.vm_id.as_deref().is_some_and(|vm| ids.contains(vm)));
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
        if !write(tx, &self.changes, tell_first, now)? {
            return Ok(false);
        }
        contradictions::write(tx, &self.contradictions, now)?;
        Ok(true)
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
    let (mut found, mut contradictions) = (Vec::new(), Vec::new());
    let mut by_vm: HashMap<&str, Vec<&ItemInputs>> = HashMap::new();
    for one in &items {
        if let Some(vm) = one.item.vm_id.as_deref() {
            by_vm.entry(vm).or_default().push(one);
        }
    }
    for vm in &vms {
        let of_vm = by_vm.remove(vm.id.as_str()).unwrap_or_default();
        contradictions::compare(vm, &of_vm, &mut contradictions);
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
                endorsement_detail: vm.endorsement.as_ref().and_then(|e| e.why(vm.facts.endorsement)),
                log: log_facts(vm),
            }),
            item: of_vm.first().map(|one| facts_of(&one.item)),
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
    Ok(Compared { vms, items, references, changes: found, contradictions })
}

fn facts_of(item: &InventoryItem) -> ItemFacts<'_> {
    ItemFacts {
        secure_boot: item.facts.secure_boot,
        vtpm: item.facts.vtpm,
        power: item.facts.power,
        source: &item.source,
    }
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
        let facts = ResourceFacts { vm: None, item: Some(facts_of(item)) };
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

#[cfg(test)]
mod tests {
    use veriboot_store::{Store, vms};
    use veriboot_wire::VmStatus;

    use super::*;

    fn at() -> Time {
        Time::from_unix_ms(1_700_000_000_000)
    }

    async fn compared(store: &Store) -> Compared {
        store
            .read(|tx| {
                let vms = assessments::inputs_after(tx, "", 10)?;
                let mut compared = compare_vms(tx, vms, at())?;
                compared.keep_different();
                Ok(compared)
            })
            .await
            .unwrap()
    }

    async fn set_status(store: &Store, status: VmStatus) {
        store.write(move |tx| vms::set_status(tx, "vm-1", status, Some("why"))).await.unwrap();
    }

    /// Whether it was written; undone otherwise, as the sweep does.
    async fn written(store: &Store, compared: Compared) -> bool {
        let write = move |tx: &mut dyn Tx| match compared.write_if_it_stands(tx, at())? {
            true => Ok(()),
            false => Err(StoreError::Contended),
        };
        match store.write(write).await {
            Ok(()) => true,
            Err(error) => {
                assert_eq!(error.code(), StoreError::Contended.code());
                false
            }
        }
    }

    #[tokio::test]
    async fn what_was_compared_is_written_while_it_stands() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&format!("sqlite:{}", folder.path().join("a.db").display())).unwrap();
        let insert = "INSERT INTO vms (id, name, group_name, status, facts, security_type, machine, ek_sha256, ek_public, \
             ak_public, ak_name, agent_token_sha256, challenge_used_us, interval_s, silence_limit_s, enrolled_at, \
             silent_after, monitoring) VALUES ('vm-1', 'web', 'g', 'healthy', $1, 'trusted-launch', $2, 'ek', x'00', \
             x'00', x'00', x'00', 0, 300, 900, 1, 2, 1)";
        let facts = r#"{"secure_boot":"unknown","vtpm":"unknown","quote":"unknown","log":"unknown","baseline":"unknown","endorsement":"unknown","tee":"unknown"}"#;
        store.write(move |tx| tx.execute(insert, &[facts.into(), "{}".into()])).await.unwrap();
        let first = compared(&store).await;
        assert_eq!(first.different(), 1);
        assert!(written(&store, first).await);
        assert_eq!(compared(&store).await.different(), 0, "nothing is different any more");
        // Its record changed between comparing and writing.
        set_status(&store, VmStatus::Unhealthy).await;
        let overtaken = compared(&store).await;
        set_status(&store, VmStatus::Stale).await;
        let before = store.read(|tx| assessments::of_resource(tx, "vm-1")).await.unwrap();
        assert!(!written(&store, overtaken).await);
        assert_eq!(store.read(|tx| assessments::of_resource(tx, "vm-1")).await.unwrap(), before);
        // Another one was faster with the same: what turned is told once.
        let (mine, other) = (compared(&store).await, compared(&store).await);
        assert!(mine.different() > 0 && written(&store, other).await);
        assert!(!written(&store, mine).await);
        // So it is where the record does not show it.
        set_status(&store, VmStatus::Healthy).await;
        let mine = compared(&store).await;
        let others = mine.changes.iter().map(|change| change.is.clone()).collect::<Vec<_>>();
        store.write(move |tx| assessments::put(tx, &others.iter().collect::<Vec<_>>())).await.unwrap();
        assert!(!written(&store, mine).await);
    }
}
