//! The inventory: what sources say about VMs, which of those are enrolled, and what changed.
//!
//! Invariants:
//! * No row is ever deleted: an item that is no longer listed gets `gone_at`, a source that is no longer used gets
//!   `retired_at`.
//! * An item is an enrolled VM (`vm_id`) because it declares the endorsement key that the VM enrolled with, or because
//!   an operator said so. What a guest says about itself only suggests.
//! * Items of different sources are never merged; one VM can have an item of each.

mod absence;
mod changes;
mod items;
mod links;
mod sources;
mod suggest;
mod sync;

pub use absence::{absent_since, stale_and_left};
pub use changes::changes;
pub use items::{
    Enrolled, MAX_CONTRADICTIONS, by_id, contradicted, contradicting, counts, enrolled, item_for_vm,
    items_for_vm, list, unlisted, unmatched,
};
pub use links::{Linked, forget_vm, link, match_enrolled, note_machine, unlink};
pub use sources::{
    Claimed, NewSource, claim_again, claim_configured, configure, failed, list_sources, oldest_sync,
    put_source, retire, source, source_counts, synced,
};
pub use suggest::{suggestions_for_item, suggestions_for_vm};
pub use sync::{MAX_SHOWN_CHANGES, Outcome, Sync, sync};

use veriboot_wire::{InventoryFacts, InventoryItem};

use crate::tx::Row;
use crate::{Backend, Columns, StoreError};

/// Columns of an item, in the order of [`read_item`].
pub(super) const COLUMNS: &str = "i.id, i.source, i.item_key, i.name, i.group_name, i.scale_set, i.platform, i.os, i.region, i.power, \
     i.security_type, i.confidential_kind, i.secure_boot, i.vtpm, i.machine_uuid, i.cloud_id, i.ek_sha256, i.tags, \
     i.first_seen_at, i.changed_at, i.gone_at, i.stopped_at, i.gone_as_of, i.stopped_as_of, i.vm_id, i.matched_by, \
     i.linked_by, i.agreed_by, i.revision";

fn read_item(row: Row) -> Result<InventoryItem, StoreError> {
    read_columns(&mut row.columns())
}

/// The columns of [`COLUMNS`], in front of others.
pub(super) fn read_columns(c: &mut Columns) -> Result<InventoryItem, StoreError> {
    Ok(InventoryItem {
        id: c.text()?,
        source: c.text()?,
        facts: InventoryFacts {
            key: c.text()?,
            name: c.text()?,
            group: c.text()?,
            scale_set: c.opt_text()?,
            platform: c.text()?,
            os: c.opt_text()?,
            region: c.opt_text()?,
            power: c.word()?,
            security_type: c.word()?,
            confidential_kind: c.opt_text()?,
            secure_boot: c.word()?,
            vtpm: c.word()?,
            machine_uuid: c.opt_text()?,
            cloud_id: c.opt_text()?,
            ek_sha256: c.opt_text()?,
            tags: c.json()?,
        },
        first_seen_at: c.time()?,
        changed_at: c.time()?,
        gone_at: c.opt_time()?,
        stopped_at: c.opt_time()?,
        gone_as_of: c.opt_time()?,
        stopped_as_of: c.opt_time()?,
        vm_id: c.opt_text()?,
        matched_by: c.opt_word()?,
        linked_by: c.opt_text()?,
        agreed_by: c.json()?,
        revision: c.u64()?,
    })
}

/// Rows that one statement writes. SQLite finds the name of each parameter by walking over those before it, so that
/// statements with many of them cost more than many statements; PostgreSQL pays for each round trip.
fn rows_at_once(backend: Backend) -> usize {
    match backend {
        Backend::Sqlite => 16,
        Backend::Postgres => 500,
    }
}

/// `($n, $n+1, …), (…)` for `rows` rows of `columns` values, from parameter `first` on.
fn tuples(first: usize, rows: usize, columns: usize) -> String {
    let mut text = String::with_capacity(rows.saturating_mul(columns).saturating_mul(6));
    for row in 0..rows {
        text.push_str(if row == 0 { "(" } else { "), (" });
        for column in 0..columns {
            if column > 0 {
                text.push_str(", ");
            }
            text.push('$');
            text.push_str(&(first + row * columns + column).to_string());
        }
    }
    text.push(')');
    text
}
