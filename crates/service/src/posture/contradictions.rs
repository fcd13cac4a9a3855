//! Contradictions between the inventory and evidence, told once when they appear and once when they go.
//!
//! What contradicts whom is decided where it is shown, too: `inventory/disagree.rs`. Here only items that are the VM are
//! looked at, not others that may be of the same machine.

use serde_json::{Value, json};
use veriboot_store::assessments::{self, ItemInputs, VmInputs};
use veriboot_store::events::{self, NewEvent};
use veriboot_store::inventory::Enrolled;
use veriboot_store::{StoreError, Tx};
use veriboot_wire::{InventoryDisagreement, InventoryItem, Severity, Time};

use crate::inventory::disagreements;

/// Items of one VM that are looked at, and others that each is held against: as many as its page shows.
const MAX_ITEMS: usize = 20;
const MAX_OTHERS: usize = 10;

/// An item of which something else is contradicted than was told last.
pub(super) struct Contradiction {
    pub vm_id: String,
    vm_name: String,
    group: String,
    scale_set: Option<String>,
    item: InventoryItem,
    /// Codes of `found`, sorted, with commas; `None` when nothing contradicts it any more.
    codes: Option<String>,
    found: Vec<InventoryDisagreement>,
}

/// Adds the items of a VM of which that is another than was told last.
pub(super) fn compare(vm: &VmInputs, items: &[&ItemInputs], into: &mut Vec<Contradiction>) {
    if items.is_empty() {
        return;
    }
    let enrolled = Enrolled {
        vm_id: vm.id.clone(),
        name: vm.name.clone(),
        scale_set: vm.scale_set.clone(),
        status: vm.status,
        facts: vm.facts,
        ek_sha256: vm.ek_sha256.clone(),
    };
    for one in items.iter().take(MAX_ITEMS) {
        let others: Vec<InventoryItem> = items
            .iter()
            .filter(|other| other.item.id != one.item.id)
            .take(MAX_OTHERS)
            .map(|other| other.item.clone())
            .collect();
        let found = disagreements(&one.item, Some(&enrolled), &others);
        let mut codes: Vec<&str> = found.iter().map(|found| found.code.as_str()).collect();
        codes.sort_unstable();
        codes.dedup();
        let codes = Some(codes.join(",")).filter(|codes| !codes.is_empty());
        if codes != one.contradicted {
            into.push(Contradiction {
                vm_id: vm.id.clone(),
                vm_name: vm.name.clone(),
                group: vm.group.clone(),
                scale_set: vm.scale_set.clone(),
                item: one.item.clone(),
                codes,
                found,
            });
        }
    }
}

/// Notes and tells them. Telling comes last in a transaction.
pub(super) fn write(tx: &mut dyn Tx, all: &[Contradiction], now: Time) -> Result<(), StoreError> {
    if all.is_empty() {
        return Ok(());
    }
    let rows: Vec<_> = all.iter().map(|one| (one.item.id.as_str(), one.codes.as_deref())).collect();
    assessments::set_contradicted(tx, &rows)?;
    let data: Vec<Value> = all.iter().map(Contradiction::data).collect();
    let events: Vec<NewEvent<'_>> = all.iter().zip(&data).map(|(one, data)| one.event(data, now)).collect();
    events::append_all(tx, &events)
}

impl Contradiction {
    fn data(&self) -> Value {
        let message = match self.found.as_slice() {
            [] => format!("nothing contradicts {} about {} any more", self.item.source, self.vm_name),
            [one] => one.message.clone(),
            [first, rest @ ..] => format!("{}; and {} more", first.message, rest.len()),
        };
        json!({
            "message": message,
            "item_id": self.item.id,
            "source": self.item.source,
            "codes": self.found.iter().map(|found| found.code.as_str()).collect::<Vec<_>>(),
            "disagreements": self.found,
        })
    }

    fn event<'a>(&'a self, data: &'a Value, now: Time) -> NewEvent<'a> {
        NewEvent {
            at: now,
            kind: if self.found.is_empty() { "inventory.agrees" } else { "inventory.contradicted" },
            severity: self.found.iter().map(|found| found.severity).max().unwrap_or(Severity::Info),
            group: Some(&self.group),
            scale_set: self.scale_set.as_deref(),
            vm_id: Some(&self.vm_id),
            vm_name: Some(&self.vm_name),
            subject: Some(&self.item.id),
            data,
        }
    }
}
