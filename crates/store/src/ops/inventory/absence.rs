//! Which VMs are not expected to attest, by what the inventory says: silence of others is told.
//!
//! An item excuses silence only where it can be that of the machine that went silent, and says what was so since:
//! * It is known when the document was made that said first that the item is stopped or gone, and nothing was heard of the
//!   VM (evidence, a fault, an enrolment) after that. One that was heard of was started again, or the item is that of
//!   another machine. A document of which that is not known may be older than everything that was heard.
//! * The item is that of the VM by verified identity, or because an operator linked just the two. One that was linked with
//!   others, as it was suggested, was so because they have the same machine UUID, which they still have; name and platform
//!   are those of any guest that calls itself like a machine that is often stopped.
//! * Such a one was there when the VM attested last, too; and where the VM was heard of while it was stopped, it excuses
//!   nothing once it is gone either: who removes such a machine stops no other.
//! * No other item of the VM says that it runs, or does not say.

use veriboot_wire::{Absence, Time};

use crate::StoreError;
use crate::tx::{Tx, params, query_one};

/// SQL: whether item `i` can be that of the machine that went silent. `$2` is when its VM attested last.
const OURS: &str = "(i.matched_by <> 'suggestion' OR (i.first_seen_at <= $2 AND i.agreed_by LIKE '%\"machine-uuid\"%' \
     AND EXISTS (SELECT 1 FROM inventory_declared d WHERE d.vm_id = i.vm_id AND d.machine_uuid = i.machine_uuid)))";
/// SQL: since when item `i` is stopped or gone. A guest that is stopped and then removed was absent from when it was
/// stopped.
const SINCE: &str = "COALESCE(i.stopped_at, i.gone_at)";
/// SQL: as of when that is known; NULL when it is not.
const AS_OF: &str = "COALESCE(i.gone_as_of, i.stopped_as_of)";

/// Since when a VM is not expected to attest: every source in use that lists or listed it says that it is gone or
/// stopped. `None` when one of them lists it as running, or does not say; when none that may excuse it knows it; and
/// when it was heard of since. Retiring a source makes no VM absent.
pub fn absent_since(tx: &mut dyn Tx, vm_id: &str) -> Result<Option<Absence>, StoreError> {
    let sql = "SELECT enrolled_at, last_attested_at, last_seen_at FROM vms WHERE id = $1";
    let Some(row) = query_one(tx, sql, params![vm_id])? else { return Ok(None) };
    let mut c = row.columns();
    let (enrolled, attested, seen) = (c.time()?, c.opt_time()?, c.opt_time()?);
    let heard = attested.max(seen).map_or(enrolled, |at| at.max(enrolled));
    let excuses = format!("({AS_OF} IS NOT NULL AND {OURS})");
    let until =
        format!("CASE WHEN i.matched_by = 'suggestion' AND {SINCE} < {AS_OF} THEN {SINCE} ELSE {AS_OF} END");
    let sql = format!(
        "SELECT CAST(COALESCE(SUM(CASE WHEN i.gone_at IS NULL AND i.stopped_at IS NULL THEN 1 ELSE 0 END), 0) AS BIGINT), \
         CAST(COALESCE(SUM(CASE WHEN i.gone_at IS NULL AND {excuses} THEN 1 ELSE 0 END), 0) AS BIGINT), \
         MAX(CASE WHEN {excuses} THEN {SINCE} END), MAX(CASE WHEN {excuses} THEN {until} END) \
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

/// VMs that are stale, and of which a sync of this source at `at`, by a document of `exported_at`, said that they are gone
/// or stopped, or as of when.
pub fn stale_and_left(
    tx: &mut dyn Tx,
    source: &str,
    exported_at: Option<Time>,
    at: Time,
) -> Result<Vec<String>, StoreError> {
    let sql = "SELECT DISTINCT v.id FROM inventory_vms i JOIN vms v ON v.id = i.vm_id WHERE i.source = $1 \
               AND (i.changed_at = $2 OR i.stopped_as_of = $3 OR i.gone_as_of = $3) \
               AND (i.gone_at IS NOT NULL OR i.stopped_at IS NOT NULL) \
               AND v.status = 'stale' AND v.monitoring = 1 ORDER BY v.id";
    tx.query(sql, params![source, at, exported_at])?.into_iter().map(|row| row.columns().text()).collect()
}
