//! When a silent VM turns stale: `silent_after` in its row, found by an index. Whatever puts the end off moves the
//! deadline, so that no VM is looked at twice for the same reason.

use veriboot_wire::{Time, VmStatus};

use crate::StoreError;
use crate::tx::{Tx, params};

/// Moves the deadlines that ran out, of up to `limit` VMs, to one silence limit after `end`, where that is still to come.
/// Gives how many were moved.
pub fn put_off_after_outage(tx: &mut dyn Tx, end: Time, now: Time, limit: u32) -> Result<u64, StoreError> {
    let sql = "UPDATE vms SET silent_after = CAST($1 AS BIGINT) + silence_limit_s * 1000 WHERE id IN ( \
               SELECT id FROM vms WHERE monitoring = 1 AND status <> 'stale' AND silent_after < $2 \
               AND CAST($1 AS BIGINT) + silence_limit_s * 1000 >= $2 ORDER BY silent_after LIMIT $3)";
    tx.execute(sql, params![end, now, limit])
}

/// Brings deadlines back that are further away than anything but a clock that was ahead, or a maintenance window, puts
/// them, of up to `limit` VMs: to one silence limit from now. `longest_s` is the silence limit of the configuration.
/// Gives how many were moved.
pub fn pull_in(tx: &mut dyn Tx, now: Time, longest_s: u32, limit: u32) -> Result<u64, StoreError> {
    let far = now.plus_s(i64::from(longest_s) * 2);
    let sql = "UPDATE vms SET silent_after = CAST($1 AS BIGINT) + silence_limit_s * 1000 WHERE id IN ( \
               SELECT id FROM vms WHERE monitoring = 1 AND status <> 'stale' AND silent_after > $2 \
               AND silent_after > CAST($1 AS BIGINT) + silence_limit_s * 2000 ORDER BY silent_after DESC LIMIT $3)";
    tx.execute(sql, params![now, far, limit])
}

/// Moves the deadline of one VM to one silence limit after `end`.
pub fn put_off(tx: &mut dyn Tx, vm_id: &str, end: Time) -> Result<bool, StoreError> {
    let sql = "UPDATE vms SET silent_after = CAST($2 AS BIGINT) + silence_limit_s * 1000 WHERE id = $1";
    Ok(tx.execute(sql, params![vm_id, end])? == 1)
}

/// The deadline of one VM.
pub fn of(tx: &mut dyn Tx, vm_id: &str) -> Result<Option<Time>, StoreError> {
    let row = crate::tx::query_one(tx, "SELECT silent_after FROM vms WHERE id = $1", params![vm_id])?;
    row.map(|row| row.columns().time()).transpose()
}

/// Switches integrity monitoring of one VM, with the status that goes with it. Once it is on, silence counts from `now`.
pub fn switch(
    tx: &mut dyn Tx,
    vm_id: &str,
    on: bool,
    status: VmStatus,
    detail: Option<&str>,
    now: Time,
) -> Result<bool, StoreError> {
    let sql = "UPDATE vms SET monitoring = $2, status = $3, status_detail = $4, \
               silent_after = CAST($5 AS BIGINT) + silence_limit_s * 1000 WHERE id = $1";
    Ok(tx.execute(sql, params![vm_id, on, status.as_str(), detail, now])? == 1)
}
