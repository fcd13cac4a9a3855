//! Sources: where items come from, and how their last sync went.

use veriboot_wire::{InventoryFormat, InventorySource, Page, Time};

use crate::StoreError;
use crate::page::{decode_cursor, encode_cursor, page, page_rows};
use crate::query::Select;
use crate::tx::{Row, Tx, params, query_one};

/// Sources that can be in use at the same time.
const MAX_SOURCES: i64 = 1000;
/// Characters of a failure that are kept.
const MAX_ERROR_CHARS: usize = 1000;

/// What an operator says about a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NewSource<'a> {
    /// Name.
    pub name: &'a str,
    /// Format of its documents.
    pub format: Option<InventoryFormat>,
    /// Group of all its items.
    pub group: Option<&'a str>,
    /// What it is for.
    pub comment: Option<&'a str>,
    /// Who says so.
    pub by: &'a str,
    /// When.
    pub at: Time,
}

/// A source of the configuration that this replica reads now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claimed {
    /// The source.
    pub source: InventorySource,
    /// SHA-256 of what was read last, hex.
    pub document_sha256: Option<String>,
}

const SELECT: &str = "SELECT s.name, s.format, s.group_name, s.path, s.comment, s.created_at, s.created_by, s.retired_at, \
     s.last_sync_at, s.exported_at, s.failed_at, s.last_error, \
     (SELECT COUNT(*) FROM inventory_vms i WHERE i.source = s.name AND i.gone_at IS NULL), \
     (SELECT COUNT(*) FROM inventory_vms i WHERE i.source = s.name AND i.gone_at IS NULL AND i.vm_id IS NOT NULL), \
     (SELECT COUNT(*) FROM inventory_vms i WHERE i.source = s.name AND i.gone_at IS NOT NULL), \
     s.revision, s.document_sha256 FROM inventory_sources s";

fn read(row: Row) -> Result<InventorySource, StoreError> {
    read_with_digest(row).map(|(source, _)| source)
}

fn read_with_digest(row: Row) -> Result<(InventorySource, Option<String>), StoreError> {
    let mut c = row.columns();
    let source = InventorySource {
        name: c.text()?,
        format: c.opt_word()?,
        group: c.opt_text()?,
        path: c.opt_text()?,
        comment: c.opt_text()?,
        created_at: c.time()?,
        created_by: c.text()?,
        retired_at: c.opt_time()?,
        last_sync_at: c.opt_time()?,
        exported_at: c.opt_time()?,
        failed_at: c.opt_time()?,
        last_error: c.opt_text()?,
        items: c.u64()?,
        matched: c.u64()?,
        gone: c.u64()?,
        revision: c.u64()?,
    };
    Ok((source, c.opt_text()?))
}

/// The source with this name, used or not.
pub fn source(tx: &mut dyn Tx, name: &str) -> Result<Option<InventorySource>, StoreError> {
    query_one(tx, &format!("{SELECT} WHERE s.name = $1"), params![name])?.map(read).transpose()
}

/// A page of sources, ordered by name; those that are no longer used with `all`.
pub fn list_sources(
    tx: &mut dyn Tx,
    all: bool,
    limit: Option<u32>,
    cursor: Option<&str>,
) -> Result<Page<InventorySource>, StoreError> {
    let key: Option<[String; 1]> = decode_cursor("inventory-sources", cursor)?;
    let limit = page_rows(limit);
    let mut select = Select::new(SELECT);
    if !all {
        select.and("s.retired_at IS NULL", &[]);
    }
    if let Some([name]) = &key {
        select.and("s.name > ?", params![name]);
    }
    let rows = select.page(tx, " ORDER BY s.name", limit)?;
    page(rows, limit, read, |s| encode_cursor("inventory-sources", &[&s.name]))
}

/// Makes a source, or says something else about one; a source that was no longer used is used again.
/// [`StoreError::Limit`] when there are too many.
pub fn put_source(tx: &mut dyn Tx, new: &NewSource<'_>) -> Result<(), StoreError> {
    if source(tx, new.name)?.is_none() {
        let count = query_one(tx, "SELECT COUNT(*) FROM inventory_sources WHERE retired_at IS NULL", &[])?;
        if count.map_or(Ok(0), |row| row.columns().int())? >= MAX_SOURCES {
            return Err(StoreError::Limit { what: "sources of the inventory" });
        }
    }
    tx.execute(
        "INSERT INTO inventory_sources (name, format, group_name, comment, created_at, created_by, items, \
         claimed_until, revision) VALUES ($1, $2, $3, $4, $5, $6, 0, 0, 1) \
         ON CONFLICT (name) DO UPDATE SET format = excluded.format, group_name = excluded.group_name, \
         comment = excluded.comment, retired_at = NULL, document_sha256 = NULL, \
         revision = inventory_sources.revision + 1",
        params![new.name, new.format.map(InventoryFormat::as_str), new.group, new.comment, new.at, new.by],
    )?;
    Ok(())
}

/// Notes what the configuration says about a source; `None` when it is no longer configured. Nothing is written when
/// it is known already. A source that an operator retired stays so.
pub fn configure(
    tx: &mut dyn Tx,
    name: &str,
    path: Option<&str>,
    format: Option<InventoryFormat>,
    at: Time,
) -> Result<(), StoreError> {
    match (source(tx, name)?, path) {
        (Some(known), path) if known.path.as_deref() == path => return Ok(()),
        (None, None) => return Ok(()),
        (None, Some(_)) => {
            put_source(tx, &NewSource { name, format, group: None, comment: None, by: "configuration", at })?;
        }
        (Some(_), _) => {}
    }
    tx.execute(
        "UPDATE inventory_sources SET path = $2, format = COALESCE($3, format), document_sha256 = NULL, \
         revision = revision + 1 WHERE name = $1",
        params![name, path, format.map(InventoryFormat::as_str)],
    )?;
    Ok(())
}

/// Claims a source of the configuration that is due, until `until`: who claims it reads it, and no other replica does
/// before. `None` when it is not due, not used, or somebody else has it.
pub fn claim_configured(
    tx: &mut dyn Tx,
    name: &str,
    now: Time,
    until: Time,
) -> Result<Option<Claimed>, StoreError> {
    // What is further away was claimed by a clock that was ahead.
    let sql = "UPDATE inventory_sources SET claimed_until = $3 WHERE name = $1 \
               AND (claimed_until <= $2 OR claimed_until > $4) AND retired_at IS NULL AND path IS NOT NULL";
    if tx.execute(sql, params![name, now, until, until.plus_s(3600)])? == 0 {
        return Ok(None);
    }
    let row = query_one(tx, &format!("{SELECT} WHERE s.name = $1"), params![name])?;
    row.map(|row| read_with_digest(row).map(|(source, document_sha256)| Claimed { source, document_sha256 }))
        .transpose()
}

/// Says when a source of the configuration is due again.
pub fn claim_again(tx: &mut dyn Tx, name: &str, at: Time) -> Result<(), StoreError> {
    tx.execute("UPDATE inventory_sources SET claimed_until = $2 WHERE name = $1", params![name, at])?;
    Ok(())
}

/// Notes a sync that was taken, with the SHA-256 of what was read where it may be skipped next time, and when the
/// document was made; the newest one counts, whichever came last.
pub fn synced(
    tx: &mut dyn Tx,
    name: &str,
    document_sha256: Option<&str>,
    exported_at: Option<Time>,
    at: Time,
) -> Result<(), StoreError> {
    tx.execute(
        "UPDATE inventory_sources SET last_sync_at = $2, document_sha256 = $3, failed_at = NULL, last_error = NULL, \
         exported_at = CASE WHEN exported_at IS NULL OR exported_at < $4 THEN $4 ELSE exported_at END WHERE name = $1",
        params![name, at, document_sha256, exported_at],
    )?;
    Ok(())
}

/// Notes a sync that failed; what was there stays.
pub fn failed(tx: &mut dyn Tx, name: &str, error: &str, at: Time) -> Result<(), StoreError> {
    let error: String = error.chars().take(MAX_ERROR_CHARS).collect();
    tx.execute(
        "UPDATE inventory_sources SET failed_at = $2, last_error = $3 WHERE name = $1",
        params![name, at, &error],
    )?;
    Ok(())
}

/// Stops using a source: it takes no more documents. Its items are those of [`super::sync`] with none. `false` when it
/// is not in use.
pub fn retire(tx: &mut dyn Tx, name: &str, at: Time) -> Result<bool, StoreError> {
    let sql = "UPDATE inventory_sources SET retired_at = $2, document_sha256 = NULL, revision = revision + 1 \
               WHERE name = $1 AND retired_at IS NULL";
    Ok(tx.execute(sql, params![name, at])? == 1)
}

/// Sources in use, and those of them whose last sync failed.
pub fn source_counts(tx: &mut dyn Tx) -> Result<(u64, u64), StoreError> {
    let sql = "SELECT COUNT(*), COUNT(failed_at) FROM inventory_sources WHERE retired_at IS NULL";
    let Some(row) = query_one(tx, sql, &[])? else { return Ok((0, 0)) };
    let mut c = row.columns();
    Ok((c.u64()?, c.u64()?))
}

/// When the source in use that waits longest was last synced; `None` when there is none that ever was.
pub fn oldest_sync(tx: &mut dyn Tx) -> Result<Option<Time>, StoreError> {
    let sql = "SELECT MIN(last_sync_at) FROM inventory_sources WHERE retired_at IS NULL";
    query_one(tx, sql, &[])?.map_or(Ok(None), |row| row.columns().opt_time())
}
