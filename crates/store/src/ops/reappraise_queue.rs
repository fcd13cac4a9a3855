//! Single VMs whose last evidence is to be judged again at once, because of a decision about what they showed; all VMs of
//! a scope are in [`super::reappraisals`]. Whoever claims one has it for a while; what a replica that died had
//! claimed is there for the others afterwards.

use veriboot_wire::Time;

use super::claims::ahead;
use crate::StoreError;
use crate::tx::{Tx, params, query_one};

/// A VM to judge again, claimed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claimed {
    /// The VM.
    pub vm_id: String,
    /// Names this claim.
    claimed_until: i64,
}

const AGAIN: &str = "ON CONFLICT (vm_id) DO UPDATE SET asked_at = excluded.asked_at, claimed_until = 0";

/// Asks for one VM.
pub fn queue(tx: &mut dyn Tx, vm_id: &str, now: Time) -> Result<(), StoreError> {
    let sql =
        format!("INSERT INTO reappraise_queue (vm_id, asked_at, claimed_until) VALUES ($1, $2, 0) {AGAIN}");
    tx.execute(&sql, params![vm_id, now])?;
    Ok(())
}

/// Asks for the members of a proposal, and says how many there are.
pub fn queue_members(tx: &mut dyn Tx, proposal_id: &str, now: Time) -> Result<u64, StoreError> {
    let sql = format!(
        "INSERT INTO reappraise_queue (vm_id, asked_at, claimed_until) \
         SELECT id, CAST($2 AS BIGINT), 0 FROM vms WHERE proposal_id = $1 {AGAIN}"
    );
    tx.execute(&sql, params![proposal_id, now])
}

/// Claims up to `limit` VMs until `until`, longest waiting first. Two callers never claim one at the same time.
pub fn claim(tx: &mut dyn Tx, limit: u32, now: Time, until: Time) -> Result<Vec<Claimed>, StoreError> {
    let sql = "UPDATE reappraise_queue SET claimed_until = $3 WHERE vm_id IN (SELECT vm_id FROM reappraise_queue \
               WHERE claimed_until < $2 OR claimed_until > $4 ORDER BY asked_at, vm_id LIMIT $1) RETURNING vm_id";
    tx.query(sql, params![limit, now, until, ahead(until)])?
        .into_iter()
        .map(|row| Ok(Claimed { vm_id: row.columns().text()?, claimed_until: until.unix_ms() }))
        .collect()
}

/// Forgets what was claimed, unless it was asked for again meanwhile.
pub fn done(tx: &mut dyn Tx, claimed: &Claimed) -> Result<(), StoreError> {
    tx.execute(
        "DELETE FROM reappraise_queue WHERE vm_id = $1 AND claimed_until = $2",
        params![&claimed.vm_id, claimed.claimed_until],
    )?;
    Ok(())
}

/// VMs that wait.
pub fn pending(tx: &mut dyn Tx) -> Result<u64, StoreError> {
    query_one(tx, "SELECT COUNT(*) FROM reappraise_queue", &[])?.map_or(Ok(0), |row| row.columns().u64())
}
