//! Sweeps: all resources assessed once more, in the order of their ids.
//!
//! One row stands for the whole fleet and remembers how far it came. A replica claims it for a while; when that replica
//! dies, another goes on where it stopped.

use veriboot_wire::Time;

use crate::ops::claims::ahead;
use crate::tx::{Columns, Tx, params, query_one};
use crate::{StoreError, new_id};

/// Finished ones that are kept.
const KEPT: i64 = 100;

/// What a sweep looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Enrolled VMs, first.
    Vms,
    /// Inventory items, afterwards.
    Items,
}

impl Phase {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Vms => "vms",
            Self::Items => "items",
        }
    }
}

/// A sweep.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sweep {
    /// UUIDv7.
    pub id: String,
    /// What made it necessary.
    pub because: String,
    /// When it was asked for.
    pub created_at: Time,
    /// What it looks at now.
    pub phase: Phase,
    /// Id of the last resource of the phase that it looked at; empty at the beginning.
    pub after_id: String,
    /// Resources that it looked at.
    pub looked_at: u64,
    /// Resources of which an assessment became another one.
    pub changed: u64,
    /// When it ended.
    pub finished_at: Option<Time>,
}

const COLUMNS: &str = "id, because, created_at, phase, after_id, looked_at, changed, finished_at";

fn read(c: &mut Columns) -> Result<Sweep, StoreError> {
    Ok(Sweep {
        id: c.text()?,
        because: c.text()?,
        created_at: c.time()?,
        phase: match c.text()?.as_str() {
            "vms" => Phase::Vms,
            "items" => Phase::Items,
            other => return Err(StoreError::corrupt(format_args!("phase {other:?} of a sweep"))),
        },
        after_id: c.text()?,
        looked_at: c.u64()?,
        changed: c.u64()?,
        finished_at: c.opt_time()?,
    })
}

/// Asks for a sweep, unless one waits that nobody began. `false` when one did.
pub fn enqueue(tx: &mut dyn Tx, because: &str, now: Time) -> Result<bool, StoreError> {
    let waiting = "SELECT id FROM posture_sweeps WHERE finished_at IS NULL AND looked_at = 0 AND claimed_by = '' LIMIT 1";
    if query_one(tx, waiting, &[])?.is_some() {
        return Ok(false);
    }
    // The clock was set back: what is of a time to come would be the last one until then.
    tx.execute("DELETE FROM posture_sweeps WHERE finished_at IS NOT NULL AND created_at > $1", params![now])?;
    tx.execute(
        "DELETE FROM posture_sweeps WHERE finished_at IS NOT NULL AND id <= \
         (SELECT id FROM posture_sweeps ORDER BY id DESC LIMIT 1 OFFSET $1)",
        params![KEPT],
    )?;
    let sql = "INSERT INTO posture_sweeps (id, because, created_at, phase, after_id, looked_at, changed, claimed_by, \
               claimed_until) VALUES ($1, $2, $3, 'vms', '', 0, 0, '', 0)";
    tx.execute(sql, params![&new_id(now), because, now])?;
    Ok(true)
}

/// The sweep that was asked for last.
pub fn latest(tx: &mut dyn Tx) -> Result<Option<Sweep>, StoreError> {
    let sql = format!("SELECT {COLUMNS} FROM posture_sweeps ORDER BY created_at DESC, id DESC LIMIT 1");
    query_one(tx, &sql, &[])?.map(|row| read(&mut row.columns())).transpose()
}

/// Sweeps that are not at their end.
pub fn pending(tx: &mut dyn Tx) -> Result<u64, StoreError> {
    query_one(tx, "SELECT COUNT(*) FROM posture_sweeps WHERE finished_at IS NULL", &[])?
        .map_or(Ok(0), |row| row.columns().u64())
}

/// Claims the oldest sweep that nobody works on, until `until`. Two callers never have one at the same time.
pub fn claim(tx: &mut dyn Tx, by: &str, now: Time, until: Time) -> Result<Option<Sweep>, StoreError> {
    let sql = format!(
        "UPDATE posture_sweeps SET claimed_by = $1, claimed_until = $3 WHERE id = (SELECT id FROM posture_sweeps \
         WHERE finished_at IS NULL AND (claimed_until <= $2 OR claimed_until > $4) ORDER BY created_at, id LIMIT 1) \
         RETURNING {COLUMNS}"
    );
    let row = query_one(tx, &sql, params![by, now, until, ahead(until)])?;
    row.map(|row| read(&mut row.columns())).transpose()
}

/// Notes how far a claimed sweep came, and keeps the claim until then. `false` when somebody else has it by now.
pub fn advance(tx: &mut dyn Tx, sweep: &Sweep, by: &str, until: Time) -> Result<bool, StoreError> {
    let sql = "UPDATE posture_sweeps SET phase = $3, after_id = $4, looked_at = $5, changed = $6, claimed_until = $7, \
               finished_at = $8 WHERE id = $1 AND claimed_by = $2 AND finished_at IS NULL";
    let changed = tx.execute(
        sql,
        params![
            &sweep.id,
            by,
            sweep.phase.as_str(),
            &sweep.after_id,
            sweep.looked_at,
            sweep.changed,
            until,
            sweep.finished_at
        ],
    )?;
    Ok(changed == 1)
}
