//! Silent VMs that a rule hid, after it ended or expired. What fails raises its alert again with the next attestation; a
//! VM that stays silent brings none, so that somebody has to look.

use veriboot_wire::{AlertReason, Time};

use super::{AlertRaise, Raised, by_id, raise};
use crate::StoreError;
use crate::ops::suppressions;
use crate::tx::{Tx, params, query_one};

/// What one look did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resurfaced {
    /// Alerts that were raised again: VM and what became of it.
    pub raised: Vec<(String, Raised)>,
    /// Whether there may be more to look at.
    pub more: bool,
}

/// Raises `agent-silent` again for up to `limit` VMs that are stale still and whose alert was dismissed by a rule that
/// holds no more. Each rule is looked at once, however many VMs it hid.
pub fn resurface(
    tx: &mut dyn Tx,
    reopen_window_s: u32,
    limit: u32,
    now: Time,
) -> Result<Resurfaced, StoreError> {
    suppressions::unsettle_ahead(tx, now)?;
    let sql = "SELECT id, COALESCE(settled_upto, '') FROM suppressions WHERE settled_at IS NULL \
               AND (ended_at IS NOT NULL OR expires_at <= $1) ORDER BY created_at, id LIMIT 1";
    let Some(row) = query_one(tx, sql, params![now])? else { return Ok(Resurfaced::default()) };
    let mut c = row.columns();
    let (rule, upto) = (c.text()?, c.text()?);
    let sql = "SELECT a.id FROM alerts a JOIN vms v ON v.id = a.vm_id WHERE a.suppressed_by = $1 AND a.id > $2 \
               AND a.reason = 'agent-silent' AND v.status = 'stale' AND v.monitoring = 1 ORDER BY a.id LIMIT $3";
    let rows = tx.query(sql, params![&rule, &upto, limit])?;
    let mut done = Resurfaced { raised: Vec::new(), more: true };
    let full = u32::try_from(rows.len()).is_ok_and(|count| count >= limit);
    let mut last = None;
    for row in rows {
        let id = row.columns().text()?;
        if let Some(alert) = by_id(tx, &id)? {
            let raised = raise(
                tx,
                &AlertRaise {
                    vm_id: &alert.vm_id,
                    kind: &alert.kind,
                    title: &alert.title,
                    reason: AlertReason::AgentSilent,
                    severity: alert.severity,
                    component: alert.component.as_deref(),
                    message: &alert.message,
                    remediation: &alert.remediation,
                    findings: &alert.findings,
                    attestation_id: None,
                    reopen_window_s,
                    at: now,
                },
            )?;
            done.raised.push((alert.vm_id, raised));
        }
        last = Some(id);
    }
    let settled_at = if full { None } else { Some(now) };
    tx.execute(
        "UPDATE suppressions SET settled_upto = COALESCE($2, settled_upto), settled_at = $3 WHERE id = $1",
        params![&rule, last.as_ref(), settled_at],
    )?;
    Ok(done)
}
