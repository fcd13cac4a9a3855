//! Which item is which enrolled VM.

use veriboot_wire::{InventoryChangeKind, InventoryDifference, InventoryItem, MatchedBy, SuggestedBy, Time};

use super::changes::{NewChange, note};
use super::{COLUMNS, items, read_item};
use crate::StoreError;
use crate::tx::{Tx, json, params, query_one};

/// How an operator linked an item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Linked<'a> {
    /// This item to this VM.
    ByHand,
    /// With others, as it was suggested by what they have in common.
    Suggested(&'a [SuggestedBy]),
}

impl Linked<'_> {
    /// The word for it.
    pub const fn matched_by(&self) -> MatchedBy {
        match self {
            Self::ByHand => MatchedBy::Link,
            Self::Suggested(_) => MatchedBy::Suggestion,
        }
    }

    /// What they have in common, where that was all.
    pub const fn agreed_by(&self) -> &[SuggestedBy] {
        match self {
            Self::ByHand => &[],
            Self::Suggested(by) => by,
        }
    }
}

fn note_link(
    tx: &mut dyn Tx,
    item: &InventoryItem,
    vm_id: Option<&str>,
    by: &str,
    at: Time,
) -> Result<(), StoreError> {
    let difference = InventoryDifference {
        field: "vm_id".to_owned(),
        from: item.vm_id.clone(),
        to: vm_id.map(str::to_owned),
    };
    let kind = if vm_id.is_some() { InventoryChangeKind::Linked } else { InventoryChangeKind::Unlinked };
    let change = NewChange {
        at,
        source: &item.source,
        item_id: &item.id,
        key: &item.facts.key,
        name: &item.facts.name,
        group: &item.facts.group,
        kind,
        differences: &[difference],
        by,
    };
    note(tx, &[change]).map(drop)
}

/// Says that an item is this enrolled VM. `false` when there is no such item, or it is this VM already; a suggestion that
/// was taken can be linked by hand after it.
pub fn link(
    tx: &mut dyn Tx,
    item_id: &str,
    vm_id: &str,
    how: Linked<'_>,
    by: &str,
    at: Time,
) -> Result<bool, StoreError> {
    let Some(item) = items::by_id(tx, item_id)? else { return Ok(false) };
    let confirms = item.matched_by == Some(MatchedBy::Suggestion) && how == Linked::ByHand;
    if item.vm_id.as_deref() == Some(vm_id) && !confirms {
        return Ok(false);
    }
    let agreed = json(&how.agreed_by())?;
    let sql = "UPDATE inventory_vms SET vm_id = $2, matched_by = $4, linked_by = $3, agreed_by = $5, \
               contradicted = CASE WHEN vm_id = $2 THEN contradicted END, revision = revision + 1 WHERE id = $1";
    tx.execute(sql, params![item_id, vm_id, by, how.matched_by().as_str(), &agreed])?;
    note_link(tx, &item, Some(vm_id), by, at)?;
    Ok(true)
}

/// Takes a link back. What declares the endorsement key of an enrolled VM is that VM then. `false` when there is no
/// such item, or it is not linked.
pub fn unlink(tx: &mut dyn Tx, item_id: &str, by: &str, at: Time) -> Result<bool, StoreError> {
    let Some(item) = items::by_id(tx, item_id)? else { return Ok(false) };
    if !matches!(item.matched_by, Some(MatchedBy::Link | MatchedBy::Suggestion)) {
        return Ok(false);
    }
    let own = match &item.facts.ek_sha256 {
        Some(ek) => query_one(tx, "SELECT id FROM vms WHERE ek_sha256 = $1", params![ek])?,
        None => None,
    };
    let own = own.map(|row| row.columns().text()).transpose()?;
    let matched_by = own.as_ref().map(|_| MatchedBy::VerifiedIdentity.as_str());
    let sql = "UPDATE inventory_vms SET vm_id = $2, matched_by = $3, linked_by = NULL, agreed_by = '[]', \
               contradicted = CASE WHEN vm_id = $2 THEN contradicted END, revision = revision + 1 WHERE id = $1";
    tx.execute(sql, params![item_id, own.as_deref(), matched_by])?;
    note_link(tx, &item, own.as_deref(), by, at)?;
    Ok(true)
}

/// Matches every item of its group that declares this endorsement key with the VM that just enrolled with it, and gives
/// their ids.
pub fn match_enrolled(
    tx: &mut dyn Tx,
    vm_id: &str,
    ek_sha256: &str,
    at: Time,
) -> Result<Vec<String>, StoreError> {
    let sql = format!(
        "SELECT {COLUMNS} FROM inventory_vms i WHERE i.ek_sha256 = $1 AND (i.vm_id IS NULL OR i.vm_id <> $2) \
         AND i.group_name = (SELECT group_name FROM vms WHERE id = $2) LIMIT 100"
    );
    let items: Vec<InventoryItem> =
        tx.query(&sql, params![ek_sha256, vm_id])?.into_iter().map(read_item).collect::<Result<_, _>>()?;
    for item in &items {
        let sql = "UPDATE inventory_vms SET vm_id = $2, matched_by = 'verified-identity', linked_by = NULL, \
                   agreed_by = '[]', contradicted = NULL, \
                   revision = revision + 1 WHERE id = $1";
        tx.execute(sql, params![&item.id, vm_id])?;
        note_link(tx, item, Some(vm_id), "service", at)?;
    }
    Ok(items.into_iter().map(|item| item.id).collect())
}

/// Remembers what a guest says its machine is, for suggestions. What is no UUID is forgotten.
pub fn note_machine(tx: &mut dyn Tx, vm_id: &str, machine_uuid: &str) -> Result<(), StoreError> {
    let known = machine_uuid.len() == 36
        && machine_uuid.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-')
        && machine_uuid.bytes().any(|b| !matches!(b, b'0' | b'-'));
    if !known {
        tx.execute("DELETE FROM inventory_declared WHERE vm_id = $1", params![vm_id])?;
        return Ok(());
    }
    let uuid = machine_uuid.to_ascii_lowercase();
    let sql = "INSERT INTO inventory_declared (vm_id, machine_uuid) VALUES ($1, $2) \
               ON CONFLICT (vm_id) DO UPDATE SET machine_uuid = excluded.machine_uuid";
    tx.execute(sql, params![vm_id, &uuid])?;
    Ok(())
}

/// Forgets that items were this VM, because its record goes. The items stay.
pub fn forget_vm(tx: &mut dyn Tx, vm_id: &str) -> Result<(), StoreError> {
    let sql = "UPDATE inventory_vms SET vm_id = NULL, matched_by = NULL, linked_by = NULL, agreed_by = '[]', \
               contradicted = NULL, revision = revision + 1 WHERE vm_id = $1";
    tx.execute(sql, params![vm_id])?;
    tx.execute("DELETE FROM inventory_declared WHERE vm_id = $1", params![vm_id])?;
    Ok(())
}
