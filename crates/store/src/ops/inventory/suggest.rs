//! Which enrolled VM an item may be. Nothing here is believed: an operator decides.
//!
//! Name, machine UUID and hardware are what a guest says, its group and scale set what its join token said. Many
//! suggestions are taken at once only where nothing contradicts and no one fact decides: a guest that names itself like the
//! machine of somebody else is to be looked at.

use std::collections::BTreeMap;

use veriboot_wire::{InventoryItem, InventorySuggestion, MachineInfo, SuggestedBy};

use super::{COLUMNS, items_for_vm, read_item};
use crate::StoreError;
use crate::tx::{Row, Tx, params, query_one};

/// Candidates that are shown.
const MAX_CANDIDATES: usize = 10;
/// Rows that are read for them.
const MAX_ROWS: u32 = 11;

/// Words by which DMI names the machines of a platform, in lower case.
const DMI: [(&str, &[&str]); 7] = [
    ("azure", &["microsoft"]),
    ("gcp", &["google"]),
    ("aws", &["amazon", "xen"]),
    ("libvirt", &["qemu", "red hat", "kvm", "bochs"]),
    ("proxmox", &["qemu", "red hat", "kvm", "bochs"]),
    ("qemu", &["qemu", "red hat", "kvm", "bochs"]),
    ("vmware", &["vmware"]),
];

/// Whether a guest that says this about its hardware runs on this platform; `None` when either is a word that is not known.
fn on_platform(platform: &str, dmi: &str) -> Option<bool> {
    let dmi = dmi.to_ascii_lowercase();
    let named = |words: &[&str]| words.iter().any(|word| dmi.contains(word));
    let (_, words) = DMI.iter().find(|(known, _)| *known == platform)?;
    DMI.iter().any(|(_, words)| named(words)).then(|| named(words))
}

/// An enrolled VM that an item may be.
struct Candidate {
    name: String,
    group: String,
    scale_set: Option<String>,
    machine: MachineInfo,
    machine_uuid: Option<String>,
    /// Whether no item of the same source is it. One that has such an item is no candidate, and a rival still.
    free: bool,
}

const CANDIDATE: &str = "v.id, v.name, v.group_name, v.scale_set, v.machine, d.machine_uuid, \
     CASE WHEN EXISTS (SELECT 1 FROM inventory_vms o WHERE o.vm_id = v.id AND o.source = $2) THEN 0 ELSE 1 END";

impl Candidate {
    fn read(row: Row) -> Result<(String, Self), StoreError> {
        let mut c = row.columns();
        let id = c.text()?;
        let candidate = Self {
            name: c.text()?,
            group: c.text()?,
            scale_set: c.opt_text()?,
            machine: c.json()?,
            machine_uuid: c.opt_text()?,
            free: c.bool()?,
        };
        Ok((id, candidate))
    }

    /// What it has in common with an item.
    fn agrees(&self, item: &InventoryItem) -> Vec<SuggestedBy> {
        let f = &item.facts;
        let same_group = self.group == f.group;
        let all = [
            (SuggestedBy::MachineUuid, f.machine_uuid.is_some() && f.machine_uuid == self.machine_uuid),
            (SuggestedBy::Name, same_group && self.name == f.name),
            (SuggestedBy::ScaleSet, same_group && f.scale_set.is_some() && f.scale_set == self.scale_set),
            (SuggestedBy::Platform, on_platform(&f.platform, &self.machine.platform) == Some(true)),
        ];
        all.into_iter().filter_map(|(by, agrees)| agrees.then_some(by)).collect()
    }

    /// What keeps it from being linked together with others.
    fn by_hand_because(&self, item: &InventoryItem, alone: bool) -> Option<String> {
        let f = &item.facts;
        let differ = |a: Option<&str>, b: Option<&str>| matches!((a, b), (Some(a), Some(b)) if a != b);
        if !alone {
            return Some("another VM or item may be the same".to_owned());
        }
        if self.group != f.group {
            return Some(format!("the VM is in group {}, the item in {}", self.group, f.group));
        }
        if differ(f.machine_uuid.as_deref(), self.machine_uuid.as_deref()) {
            return Some("they have different machine UUIDs".to_owned());
        }
        if differ(f.scale_set.as_deref(), self.scale_set.as_deref()) {
            return Some("they are of different scale sets".to_owned());
        }
        if on_platform(&f.platform, &self.machine.platform) == Some(false) {
            return Some(format!("the guest says that it does not run on {}", f.platform));
        }
        let os = Some(self.machine.os.as_str()).filter(|os| !os.is_empty());
        if differ(f.os.as_deref(), os) {
            return Some("they have different operating systems".to_owned());
        }
        let by = self.agrees(item);
        let has = |fact| by.contains(&fact);
        let (uuid, set) = (has(SuggestedBy::MachineUuid), has(SuggestedBy::ScaleSet));
        let enough = has(SuggestedBy::Name) && by.len() > 1 || uuid && set;
        let words: Vec<&str> = by.iter().map(|by| by.as_str()).collect();
        (!enough).then(|| format!("only this agrees: {}", words.join(", ")))
    }
}

/// Enrolled VMs without an item that this item may be, those with most in common first. None for an item that is one
/// already, or is gone.
pub fn suggestions_for_item(
    tx: &mut dyn Tx,
    item: &InventoryItem,
) -> Result<Vec<InventorySuggestion>, StoreError> {
    if item.vm_id.is_some() || item.gone_at.is_some() {
        return Ok(Vec::new());
    }
    let mut found: BTreeMap<String, Candidate> = BTreeMap::new();
    if let Some(uuid) = &item.facts.machine_uuid {
        let sql = format!(
            "SELECT {CANDIDATE} FROM inventory_declared d JOIN vms v ON v.id = d.vm_id WHERE d.machine_uuid = $1 \
             ORDER BY v.id LIMIT $3"
        );
        for row in tx.query(&sql, params![uuid, &item.source, MAX_ROWS])? {
            found.extend([Candidate::read(row)?]);
        }
    }
    let sql = format!(
        "SELECT {CANDIDATE} FROM vms v LEFT JOIN inventory_declared d ON d.vm_id = v.id \
         WHERE v.name = $1 AND v.group_name = $3 LIMIT 1"
    );
    if let Some(row) = query_one(tx, &sql, params![&item.facts.name, &item.source, &item.facts.group])? {
        found.extend([Candidate::read(row)?]);
    }
    let alone = match found.keys().next() {
        Some(only) if found.len() == 1 => !rivalled(tx, item, only)?,
        _ => false,
    };
    let mut all: Vec<InventorySuggestion> = found
        .into_iter()
        .filter(|(_, candidate)| candidate.free)
        .map(|(vm_id, candidate)| InventorySuggestion {
            item_id: item.id.clone(),
            item_name: item.facts.name.clone(),
            source: item.source.clone(),
            vm_id,
            by: candidate.agrees(item),
            by_hand_because: candidate.by_hand_because(item, alone),
            vm_name: candidate.name,
            vm_group: candidate.group,
            only_one: alone,
        })
        .collect();
    all.sort_by_key(|s| std::cmp::Reverse(s.by.len()));
    all.truncate(MAX_CANDIDATES);
    Ok(all)
}

/// Whether another item of the same source, linked or not, would have the same candidates; or whether an item of any
/// source with the same machine UUID is another VM.
fn rivalled(tx: &mut dyn Tx, item: &InventoryItem, vm_id: &str) -> Result<bool, StoreError> {
    let sql = "SELECT o.id FROM inventory_vms o WHERE o.group_name = $1 AND o.name = $2 AND o.source = $3 AND o.id <> $4 \
               AND o.gone_at IS NULL LIMIT 1";
    let f = &item.facts;
    if query_one(tx, sql, params![&f.group, &f.name, &item.source, &item.id])?.is_some() {
        return Ok(true);
    }
    let Some(uuid) = &f.machine_uuid else { return Ok(false) };
    let sql = "SELECT o.id FROM inventory_vms o WHERE o.machine_uuid = $1 AND o.id <> $3 AND o.gone_at IS NULL \
               AND (o.source = $2 OR o.vm_id <> $4) LIMIT 1";
    Ok(query_one(tx, sql, params![uuid, &item.source, &item.id, vm_id])?.is_some())
}

/// Items without an agent that this VM may be; none when it has an item.
pub fn suggestions_for_vm(tx: &mut dyn Tx, vm_id: &str) -> Result<Vec<InventorySuggestion>, StoreError> {
    if !items_for_vm(tx, vm_id)?.is_empty() {
        return Ok(Vec::new());
    }
    let sql = format!(
        "SELECT {COLUMNS} FROM inventory_vms i JOIN vms v ON v.group_name = i.group_name AND v.name = i.name \
         WHERE v.id = $1 AND i.vm_id IS NULL AND i.gone_at IS NULL \
         UNION SELECT {COLUMNS} FROM inventory_vms i JOIN inventory_declared d ON d.machine_uuid = i.machine_uuid \
         WHERE d.vm_id = $1 AND i.vm_id IS NULL AND i.gone_at IS NULL ORDER BY 1 LIMIT $2"
    );
    let items: Vec<InventoryItem> =
        tx.query(&sql, params![vm_id, MAX_ROWS])?.into_iter().map(read_item).collect::<Result<_, _>>()?;
    let mut all = Vec::new();
    for item in items.iter().take(MAX_CANDIDATES) {
        all.extend(suggestions_for_item(tx, item)?.into_iter().filter(|s| s.vm_id == vm_id));
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hardware_is_of_a_platform_or_of_another_or_unknown() {
        for (platform, dmi, wanted) in [
            ("azure", "Microsoft Corporation Virtual Machine", Some(true)),
            ("azure", "Google Google Compute Engine", Some(false)),
            ("libvirt", "QEMU Standard PC (Q35 + ICH9, 2009)", Some(true)),
            ("libvirt", "OpenStack Foundation OpenStack Nova", None),
            ("other", "QEMU Standard PC", None),
            ("aws", "Amazon EC2 m5.large", Some(true)),
            ("aws", " ", None),
        ] {
            assert_eq!(on_platform(platform, dmi), wanted, "{platform} {dmi}");
        }
    }
}
