//! What changed in the inventory.

use veriboot_wire::{
    InventoryChange, InventoryChangeKind, InventoryChangeQuery, InventoryDifference, Page, Time,
};

use super::{rows_at_once, tuples};
use crate::page::{decode_time_cursor, encode_cursor, page, page_rows};
use crate::query::Select;
use crate::tx::{Param, Row, Tx, json, params};
use crate::{StoreError, new_id};

/// A change to note.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct NewChange<'a> {
    pub at: Time,
    pub source: &'a str,
    pub item_id: &'a str,
    pub key: &'a str,
    pub name: &'a str,
    pub group: &'a str,
    pub kind: InventoryChangeKind,
    pub differences: &'a [InventoryDifference],
    pub by: &'a str,
}

const COLUMNS: &str = "id, at, source, item_id, item_key, name, group_name, kind, differences, changed_by";
const WIDTH: usize = 10;

fn read(row: Row) -> Result<InventoryChange, StoreError> {
    let mut c = row.columns();
    Ok(InventoryChange {
        id: Some(c.text()?),
        at: c.time()?,
        source: c.text()?,
        item_id: Some(c.text()?),
        key: c.text()?,
        name: c.text()?,
        group: c.text()?,
        kind: c.word()?,
        differences: c.json()?,
        by: c.text()?,
    })
}

/// Notes changes, and gives their ids.
pub(super) fn note(tx: &mut dyn Tx, changes: &[NewChange<'_>]) -> Result<Vec<String>, StoreError> {
    let mut ids = Vec::with_capacity(changes.len());
    for part in changes.chunks(rows_at_once(tx.backend())) {
        ids.extend(note_at_once(tx, part)?);
    }
    Ok(ids)
}

fn note_at_once(tx: &mut dyn Tx, changes: &[NewChange<'_>]) -> Result<Vec<String>, StoreError> {
    let mut ids = Vec::with_capacity(changes.len());
    for change in changes {
        ids.push((new_id(change.at), json(&change.differences)?));
    }
    let mut values: Vec<Param<'_>> = Vec::with_capacity(changes.len().saturating_mul(WIDTH));
    for (change, (id, differences)) in changes.iter().zip(&ids) {
        values.extend_from_slice(params![
            id,
            change.at,
            change.source,
            change.item_id,
            change.key,
            change.name,
            change.group,
            change.kind.as_str(),
            differences,
            change.by
        ]);
    }
    let sql = format!("INSERT INTO inventory_changes ({COLUMNS}) VALUES {}", tuples(1, changes.len(), WIDTH));
    tx.execute(&sql, &values)?;
    Ok(ids.into_iter().map(|(id, _)| id).collect())
}

/// A page of changes, newest first.
pub fn changes(tx: &mut dyn Tx, query: &InventoryChangeQuery) -> Result<Page<InventoryChange>, StoreError> {
    let key = decode_time_cursor("inventory-changes", query.cursor.as_deref())?;
    let limit = page_rows(query.limit);
    let head = format!("SELECT {COLUMNS} FROM inventory_changes");
    let mut select = Select::new(&head);
    select
        .and_if("source = ?", query.source.as_ref())
        .and_if("item_id = ?", query.item.as_ref())
        .and_if("kind = ?", query.kind.map(InventoryChangeKind::as_str));
    if let Some((at, id)) = &key {
        select.and("(at, id) < (?, ?)", params![*at, id]);
    }
    let rows = select.page(tx, " ORDER BY at DESC, id DESC", limit)?;
    page(rows, limit, read, |change| {
        let at = change.at.unix_ms().to_string();
        encode_cursor("inventory-changes", &[&at, change.id.as_deref().unwrap_or_default()])
    })
}
