//! What becomes of a proposal: a decision, its end with its version of the baseline, and rejections that stand.

use veriboot_wire::{ProposalState, Scope, Time};

use super::super::reappraise_queue;
use super::SERVICE;
use crate::StoreError;
use crate::tx::{Row, Tx, params, query_one};

/// Rejections of one baseline that are held against boots, newest first; older ones stand for exactly their change.
pub const MAX_REJECTIONS: u32 = 256;

/// A rejection that stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// The proposal.
    pub id: String,
    /// Who rejected it.
    pub by: String,
    /// Why.
    pub comment: String,
    /// When.
    pub at: Time,
}

/// A rejection with what it stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StandingRejection {
    /// Who rejected what.
    pub rejection: Rejection,
    /// The change that was rejected: SHA-256, hex.
    pub change_key: String,
    /// The measurements that it stands for, one line `PCR digest` each; none where it stands for exactly the change.
    pub marks: Vec<String>,
}

/// A decision about a proposal.
#[derive(Clone, Copy, Debug)]
pub struct Decision<'a> {
    /// Who.
    pub by: &'a str,
    /// Why.
    pub comment: Option<&'a str>,
    /// The version of the baseline that it became, as `name@version`.
    pub result: Option<&'a str>,
    /// When.
    pub now: Time,
}

/// Decides an open proposal. `false` when it is not open.
pub fn close(
    tx: &mut dyn Tx,
    id: &str,
    to: ProposalState,
    decision: &Decision<'_>,
) -> Result<bool, StoreError> {
    let changed = tx.execute(
        "UPDATE proposals SET state = $2, decided_at = $3, decided_by = $4, comment = $5, result = $6, \
         revision = revision + 1, vms = (SELECT COUNT(*) FROM vms v WHERE v.proposal_id = proposals.id) \
         WHERE id = $1 AND state = 'open'",
        params![id, to.as_str(), decision.now, decision.by, decision.comment, decision.result],
    )?;
    let kind = match to {
        ProposalState::Approved => "proposal.approved",
        ProposalState::Rejected => "proposal.rejected",
        // Its end without a decision is nobody's news.
        _ => return Ok(changed == 1),
    };
    if changed == 1 {
        super::tell(tx, kind, id, decision.now)?;
    }
    Ok(changed == 1)
}

/// Takes a rejection back: the proposal is open again, or superseded when its version of the baseline is no longer the
/// current one. Gives the new state; `None` when it is not rejected.
pub fn reopen(tx: &mut dyn Tx, id: &str, now: Time) -> Result<Option<ProposalState>, StoreError> {
    let sql = "SELECT b.is_current, (SELECT COUNT(*) FROM vms v WHERE v.proposal_id = p.id AND v.id = p.vm_id) \
               FROM proposals p JOIN baselines b ON b.id = p.baseline_id WHERE p.id = $1 AND p.state = 'rejected'";
    let Some(row) = query_one(tx, sql, params![id])? else { return Ok(None) };
    let mut c = row.columns();
    // A representative that boots something else by now is replaced when its VMs are judged again.
    let (current, represented) = (c.bool()?, c.bool()?);
    let to = match (current, represented) {
        (false, _) => ProposalState::Superseded,
        (true, false) => ProposalState::Withdrawn,
        (true, true) => ProposalState::Open,
    };
    let decided = Some(now).filter(|_| to != ProposalState::Open);
    let by = decided.map(|_| SERVICE);
    tx.execute(
        "UPDATE proposals SET state = $2, decided_at = $3, decided_by = $4, comment = NULL, vms = NULL, \
         revision = revision + 1 WHERE id = $1",
        params![id, to.as_str(), decided, by],
    )?;
    if to == ProposalState::Open {
        super::tell(tx, "proposal.opened", id, now)?;
    }
    Ok(Some(to))
}

/// Ends the open proposals against the versions that are about to be replaced: the current one of this name, and of
/// this scope. Their members, and those of rejected ones, are judged again.
pub fn supersede(tx: &mut dyn Tx, name: &str, scope: &Scope, now: Time) -> Result<u64, StoreError> {
    const REPLACED: &str = "SELECT b.id FROM baselines b WHERE b.is_current = 1 AND (b.name = $1 OR \
         (b.scope_kind = $2 AND b.scope_group = $3 AND b.scope_id = $4))";
    let sql = format!(
        "SELECT id FROM proposals WHERE state IN ('open', 'rejected') AND baseline_id IN ({REPLACED})"
    );
    let rows = tx.query(&sql, params![name, scope.kind.as_str(), &scope.group, &scope.id])?;
    let mut superseded = 0;
    for row in rows {
        let id = row.columns().text()?;
        reappraise_queue::queue_members(tx, &id, now)?;
        let decision = Decision { by: SERVICE, comment: None, result: None, now };
        superseded += u64::from(close(tx, &id, ProposalState::Superseded, &decision)?);
    }
    Ok(superseded)
}

/// Rejections of proposals against any version of this baseline, newest first: those of exactly this change, and the newest
/// [`MAX_REJECTIONS`] that stand for measurements.
pub fn rejections(
    tx: &mut dyn Tx,
    baseline_name: &str,
    change_key: &str,
) -> Result<Vec<StandingRejection>, StoreError> {
    let sql = "SELECT id, decided_by, comment, decided_at, change_key, marks FROM proposals \
               WHERE state = 'rejected' AND baseline_name = $1 AND (change_key = $2 OR id IN ( \
                   SELECT id FROM proposals WHERE state = 'rejected' AND baseline_name = $1 AND marks IS NOT NULL \
                   ORDER BY decided_at DESC, id DESC LIMIT $3)) \
               ORDER BY decided_at DESC, id DESC";
    let rows = tx.query(sql, params![baseline_name, change_key, MAX_REJECTIONS])?;
    let read = |row: Row| {
        let mut c = row.columns();
        let rejection = Rejection {
            id: c.text()?,
            by: c.opt_text()?.unwrap_or_default(),
            comment: c.opt_text()?.unwrap_or_default(),
            at: c.time()?,
        };
        let change_key = c.text()?;
        Ok(StandingRejection { rejection, change_key, marks: read_marks(c.opt_text()?)?.unwrap_or_default() })
    };
    rows.into_iter().map(read).collect()
}

/// Open proposals against any version of the baseline of this one that have a mark of it: what their VMs show is rejected
/// with it.
pub fn sharing_marks(tx: &mut dyn Tx, id: &str) -> Result<Vec<String>, StoreError> {
    let sql = "SELECT baseline_name, marks FROM proposals WHERE id = $1";
    let Some(row) = query_one(tx, sql, params![id])? else { return Ok(Vec::new()) };
    let mut c = row.columns();
    let (baseline_name, marks) = (c.text()?, read_marks(c.opt_text()?)?.unwrap_or_default());
    let sql = "SELECT id, marks FROM proposals WHERE state = 'open' AND baseline_name = $1 AND id <> $2 ORDER BY id";
    let mut sharing = Vec::new();
    for row in tx.query(sql, params![&baseline_name, id])? {
        let mut c = row.columns();
        let (other, of_other) = (c.text()?, read_marks(c.opt_text()?)?);
        // One from before marks were kept may have any.
        if of_other.is_none_or(|of_other| marks.iter().any(|mark| of_other.contains(mark))) {
            sharing.push(other);
        }
    }
    Ok(sharing)
}

fn read_marks(text: Option<String>) -> Result<Option<Vec<String>>, StoreError> {
    text.map(|text| serde_json::from_str(&text).map_err(StoreError::corrupt)).transpose()
}
