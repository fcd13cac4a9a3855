//! Which enrolled VM an item may be. Nothing here is believed: an operator decides.

use std::collections::BTreeMap;

use veriboot_wire::{InventoryItem, InventorySuggestion, SuggestedBy};

use super::{COLUMNS, items_for_vm, read_item};
use crate::StoreError;
use crate::tx::{Tx, params, query_one};

/// Candidates that are shown.
const MAX_CANDIDATES: usize = 10;
/// Rows that are read for them.
const MAX_ROWS: u32 = 11;

/// Name and group of a VM, by id.
struct Candidate {
    name: String,
    group: String,
    by: Vec<SuggestedBy>,
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
    // An item of the same source stands for another VM: a VM that has one is no candidate.
    let free = "NOT EXISTS (SELECT 1 FROM inventory_vms o WHERE o.vm_id = v.id AND o.source = $2)";
    if let Some(uuid) = &item.facts.machine_uuid {
        let sql = format!(
            "SELECT v.id, v.name, v.group_name FROM inventory_declared d JOIN vms v ON v.id = d.vm_id \
             WHERE d.machine_uuid = $1 AND {free} ORDER BY v.id LIMIT $3"
        );
        for row in tx.query(&sql, params![uuid, &item.source, MAX_ROWS])? {
            let mut c = row.columns();
            let id = c.text()?;
            let by = vec![SuggestedBy::MachineUuid];
            found.insert(id, Candidate { name: c.text()?, group: c.text()?, by });
        }
    }
    let sql = format!(
        "SELECT v.id, v.name, v.group_name FROM vms v WHERE v.name = $1 AND v.group_name = $3 AND {free} LIMIT 1"
    );
    if let Some(row) = query_one(tx, &sql, params![&item.facts.name, &item.source, &item.facts.group])? {
        let mut c = row.columns();
        let id = c.text()?;
        let candidate = Candidate { name: c.text()?, group: c.text()?, by: Vec::new() };
        found.entry(id).or_insert(candidate).by.push(SuggestedBy::Name);
    }
    let alone = found.len() == 1 && !rivalled(tx, item)?;
    let mut all: Vec<InventorySuggestion> = found
        .into_iter()
        .map(|(vm_id, candidate)| InventorySuggestion {
            item_id: item.id.clone(),
            item_name: item.facts.name.clone(),
            source: item.source.clone(),
            vm_id,
            vm_name: candidate.name,
            vm_group: candidate.group,
            by: candidate.by,
            only_one: alone,
        })
        .collect();
    all.sort_by_key(|s| std::cmp::Reverse(s.by.len()));
    all.truncate(MAX_CANDIDATES);
    Ok(all)
}

/// Whether another item of the same source would have the same candidates.
fn rivalled(tx: &mut dyn Tx, item: &InventoryItem) -> Result<bool, StoreError> {
    let sql = "SELECT o.id FROM inventory_vms o WHERE o.group_name = $1 AND o.name = $2 AND o.source = $3 AND o.id <> $4 \
               AND o.gone_at IS NULL AND o.vm_id IS NULL LIMIT 1";
    let f = &item.facts;
    if query_one(tx, sql, params![&f.group, &f.name, &item.source, &item.id])?.is_some() {
        return Ok(true);
    }
    let Some(uuid) = &f.machine_uuid else { return Ok(false) };
    let sql = "SELECT o.id FROM inventory_vms o WHERE o.machine_uuid = $1 AND o.source = $2 AND o.id <> $3 \
               AND o.gone_at IS NULL AND o.vm_id IS NULL LIMIT 1";
    Ok(query_one(tx, sql, params![uuid, &item.source, &item.id])?.is_some())
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
