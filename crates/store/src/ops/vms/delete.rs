//! Removing a VM with everything that is about it alone.

use veriboot_wire::Time;

use crate::StoreError;
use crate::ops::{assessments, incidents, inventory, proposals};
use crate::tx::{Tx, params, query_one};

/// Removes a VM with its boots, attestations and alerts, and from the proposal that it is a member of. Logs, baselines
/// and the audit log stay; a baseline of this VM alone stops being current. Its TPM may enrol again as a new VM.
pub fn delete(tx: &mut dyn Tx, id: &str, now: Time) -> Result<bool, StoreError> {
    let proposal = query_one(tx, "SELECT proposal_id FROM vms WHERE id = $1", params![id])?
        .map_or(Ok(None), |row| row.columns().opt_text())?;
    if let Some(proposal) = proposal {
        tx.execute("UPDATE vms SET proposal_id = NULL, proposal_since = NULL WHERE id = $1", params![id])?;
        proposals::settle(tx, &proposal, id, now)?;
    }
    tx.execute("UPDATE baselines SET is_current = 0 WHERE scope_kind = 'vm' AND scope_id = $1", params![id])?;
    inventory::forget_vm(tx, id)?;
    let incidents = incidents::of_vm(tx, id)?;
    assessments::mark_set_of(tx, id)?;
    for sql in [
        "DELETE FROM alerts WHERE vm_id = $1",
        "DELETE FROM attestations WHERE vm_id = $1",
        "DELETE FROM boots WHERE vm_id = $1",
        "DELETE FROM enrolments WHERE vm_id = $1",
        "DELETE FROM reappraise_queue WHERE vm_id = $1",
        "DELETE FROM monitoring WHERE scope_kind = 'vm' AND scope_id = $1",
        "DELETE FROM assessments WHERE resource_id = $1",
        "DELETE FROM vm_log_facts WHERE vm_id = $1",
    ] {
        tx.execute(sql, params![id])?;
    }
    for incident in incidents {
        incidents::settle(tx, &incident, now)?;
    }
    Ok(tx.execute("DELETE FROM vms WHERE id = $1", params![id])? == 1)
}
