//! Items with what lists show beside them.

use std::collections::BTreeMap;

use veriboot_store::inventory::{self, Enrolled};
use veriboot_store::{StoreError, Tx};
use veriboot_wire::{InventoryItem, InventoryRow, VmInventory};

use super::disagree::disagreements;

/// VMs that are looked up at once.
const AT_ONCE: usize = 500;

/// Items with the names of their VMs, and with what contradicts them.
pub(crate) fn rows(tx: &mut dyn Tx, items: Vec<InventoryItem>) -> Result<Vec<InventoryRow>, StoreError> {
    let ids: Vec<&str> = items.iter().filter_map(|item| item.vm_id.as_deref()).collect();
    let mut enrolled: BTreeMap<String, Enrolled> = BTreeMap::new();
    for part in ids.chunks(AT_ONCE) {
        enrolled.extend(inventory::enrolled(tx, part)?.into_iter().map(|vm| (vm.vm_id.clone(), vm)));
    }
    items
        .into_iter()
        .map(|item| {
            let vm = item.vm_id.as_ref().and_then(|id| enrolled.get(id));
            let others = inventory::contradicting(tx, &item)?;
            Ok(InventoryRow {
                disagreements: disagreements(&item, vm, &others),
                vm_name: vm.map(|vm| vm.name.clone()),
                vm_status: vm.map(|vm| vm.status),
                item,
            })
        })
        .collect()
}

/// What the page of an enrolled VM shows of the inventory.
pub(crate) fn of_vm(tx: &mut dyn Tx, vm_id: &str) -> Result<VmInventory, StoreError> {
    let items = inventory::items_for_vm(tx, vm_id)?;
    Ok(VmInventory { items: rows(tx, items)?, suggestions: inventory::suggestions_for_vm(tx, vm_id)? })
}
