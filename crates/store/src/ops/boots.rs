//! Boots: one row per start of a VM, fed by all of its attestations.

use std::collections::BTreeMap;

use veriboot_wire::{Boot, Page, Time, Verdict};

use crate::StoreError;
use crate::page::{decode_time_cursor, encode_cursor, page, page_rows};
use crate::query::Select;
use crate::rows::insert_rows;
use crate::tx::{Param, Row, Tx, json, params, query_one};

/// What one attestation says about its boot.
#[derive(Clone, Debug, PartialEq)]
pub struct BootSeen<'a> {
    /// The VM.
    pub vm_id: &'a str,
    /// TPM resetCount.
    pub reset_count: u32,
    /// TPM restartCount.
    pub restart_count: u32,
    /// SHA-256 of the event log, hex.
    pub log_sha256: Option<&'a str>,
    /// When it was appraised.
    pub at: Time,
    /// The verdict.
    pub verdict: Verdict,
    /// What was booted, by component in plain words.
    pub components: &'a BTreeMap<String, String>,
}

// The column log_sha256 is '' for "no log", so that the unique constraint holds there too (NULLs never collide).
const COLUMNS: &str = "id, vm_id, first_attested_at, last_attested_at, reset_count, restart_count, log_sha256, \
     verdict, attestations, components";

fn read(row: Row) -> Result<Boot, StoreError> {
    let mut c = row.columns();
    Ok(Boot {
        id: c.text()?,
        vm_id: c.text()?,
        first_attested_at: c.time()?,
        last_attested_at: c.time()?,
        reset_count: c.u32()?,
        restart_count: c.u32()?,
        log_sha256: Some(c.text()?).filter(|s| !s.is_empty()),
        verdict: c.word()?,
        attestations: c.u64()?,
        components: c.json()?,
    })
}

const COUNTED: &str = " ON CONFLICT (vm_id, reset_count, restart_count, log_sha256) DO UPDATE SET \
     last_attested_at = excluded.last_attested_at, verdict = excluded.verdict, \
     attestations = boots.attestations + 1, components = excluded.components";

/// Adds the boot, or counts one more attestation of it and takes over time, verdict and components. The boot is new
/// when `attestations` is 1.
pub fn record(tx: &mut dyn Tx, seen: &BootSeen<'_>) -> Result<Boot, StoreError> {
    let components = json(seen.components)?;
    let id = crate::new_id(seen.at);
    let sql = format!(
        "INSERT INTO boots ({COLUMNS}) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10){COUNTED} RETURNING {COLUMNS}"
    );
    let row = query_one(tx, &sql, &columns_of(&id, seen, &components))?;
    row.map_or_else(|| Err(StoreError::failed("upsert of a boot gave no row")), read)
}

/// [`record`] for one boot of each of many VMs.
pub fn record_all(tx: &mut dyn Tx, seen: &[BootSeen<'_>]) -> Result<(), StoreError> {
    let written = |seen: &BootSeen<'_>| Ok((crate::new_id(seen.at), json(seen.components)?));
    let written = seen.iter().map(written).collect::<Result<Vec<_>, StoreError>>()?;
    let rows: Vec<_> = seen.iter().zip(written).collect();
    let head = format!("INSERT INTO boots ({COLUMNS}) ");
    insert_rows(tx, &head, COUNTED, &rows, |(seen, (id, components))| columns_of(id, seen, components))?;
    Ok(())
}

fn columns_of<'a>(id: &'a str, seen: &BootSeen<'a>, components: &'a str) -> [Param<'a>; 10] {
    *params![
        id,
        seen.vm_id,
        seen.at,
        seen.at,
        seen.reset_count,
        seen.restart_count,
        seen.log_sha256.unwrap_or(""),
        seen.verdict.as_str(),
        1_u32,
        components,
    ]
}

/// The boot with this id.
pub fn by_id(tx: &mut dyn Tx, id: &str) -> Result<Option<Boot>, StoreError> {
    query_one(tx, &format!("SELECT {COLUMNS} FROM boots WHERE id = $1"), params![id])?.map(read).transpose()
}

/// A page of the boots of a VM, newest first.
pub fn list(
    tx: &mut dyn Tx,
    vm_id: &str,
    limit: Option<u32>,
    cursor: Option<&str>,
) -> Result<Page<Boot>, StoreError> {
    let key = decode_time_cursor("boots", cursor)?;
    let limit = page_rows(limit);
    let head = format!("SELECT {COLUMNS} FROM boots");
    let mut select = Select::new(&head);
    select.and("vm_id = ?", params![vm_id]);
    if let Some((time, id)) = &key {
        select.and("(first_attested_at, id) < (?, ?)", params![*time, id]);
    }
    let rows = select.page(tx, " ORDER BY first_attested_at DESC, id DESC", limit)?;
    page(rows, limit, read, |b| encode_cursor("boots", &[&b.first_attested_at.unix_ms().to_string(), &b.id]))
}
