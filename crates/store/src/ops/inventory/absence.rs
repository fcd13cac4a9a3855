//! Which VMs are not expected to attest, by what the inventory says: silence of others is told.
//!
//! An item excuses silence only where it can be that of the machine that went silent:
//! * Nothing was heard of the VM (evidence, a fault, an enrolment) after the item was stopped or gone. One that was heard
//!   of was started again, or the item is that of another machine.
//! * An item that was linked with others, as it was suggested, was there when the VM attested last: a guest can name
//!   itself like the item of another machine that never runs. Where the VM was heard of while it was stopped, it excuses
//!   nothing once it is gone either: who removes such a machine stops no other. What verified identity or somebody by
//!   hand says needs no such thing.
//! * No other item of the VM says that it runs, or does not say.

use veriboot_wire::{Absence, Time};

use crate::StoreError;
use crate::tx::{Tx, params, query_one};

/// Since when a VM is not expected to attest: every source in use that lists or listed it says that it is gone or
/// stopped. `None` when one of them lists it as running, or does not say; when none that may excuse it knows it; and
/// when it was heard of since. Retiring a source makes no VM absent.
pub fn absent_since(tx: &mut dyn Tx, vm_id: &str) -> Result<Option<Absence>, StoreError> {
    let sql = "SELECT enrolled_at, last_attested_at, last_seen_at FROM vms WHERE id = $1";
    let Some(row) = query_one(tx, sql, params![vm_id])? else { return Ok(None) };
    let mut c = row.columns();
    let (enrolled, attested, seen) = (c.time()?, c.opt_time()?, c.opt_time()?);
    let heard = attested.max(seen).map_or(enrolled, |at| at.max(enrolled));
    // A guest that is stopped and then removed was absent from when it was stopped.
    let excuses = "(i.matched_by <> 'suggestion' OR i.first_seen_at <= $2)";
    let sql = format!(
        "SELECT CAST(COALESCE(SUM(CASE WHEN i.gone_at IS NULL AND i.stopped_at IS NULL THEN 1 ELSE 0 END), 0) AS BIGINT), \
         CAST(COALESCE(SUM(CASE WHEN i.gone_at IS NULL AND {excuses} THEN 1 ELSE 0 END), 0) AS BIGINT), \
         MAX(CASE WHEN {excuses} THEN COALESCE(i.stopped_at, i.gone_at) END), \
         MAX(CASE WHEN {excuses} THEN CASE WHEN i.matched_by = 'suggestion' THEN COALESCE(i.stopped_at, i.gone_at) \
         ELSE COALESCE(i.gone_at, i.stopped_at) END END) \
         FROM inventory_vms i JOIN inventory_sources s ON s.name = i.source \
         WHERE i.vm_id = $1 AND s.retired_at IS NULL"
    );
    let Some(row) = query_one(tx, &sql, params![vm_id, attested.unwrap_or(enrolled)])? else {
        return Ok(None);
    };
    let mut c = row.columns();
    let (running, listed) = (c.u64()?, c.u64()?);
    let (Some(since), Some(newest)) = (c.opt_time()?, c.opt_time()?) else { return Ok(None) };
    if running > 0 || heard > newest {
        return Ok(None);
    }
    Ok(Some(if listed == 0 { Absence::Gone { since } } else { Absence::Stopped { since } }))
}

/// VMs that are stale, and of which a sync of this source said at `at` that they are gone or stopped.
pub fn stale_and_left(tx: &mut dyn Tx, source: &str, at: Time) -> Result<Vec<String>, StoreError> {
    let sql = "SELECT DISTINCT v.id FROM inventory_vms i JOIN vms v ON v.id = i.vm_id WHERE i.source = $1 \
               AND i.changed_at = $2 AND (i.gone_at IS NOT NULL OR i.stopped_at IS NOT NULL) \
               AND v.status = 'stale' AND v.monitoring = 1 ORDER BY v.id";
    tx.query(sql, params![source, at])?.into_iter().map(|row| row.columns().text()).collect()
}
