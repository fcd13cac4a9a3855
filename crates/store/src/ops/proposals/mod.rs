//! Proposals: one per change against one version of a baseline, with the VMs whose last attestation shows it.
//!
//! A VM is a member by its own row (`vms.proposal_id`): of at most one proposal, and gone with the VM. An open proposal
//! has at least one member. The row itself changes only when its content does, so that a fleet that attests does not
//! queue up behind it.

use veriboot_wire::{
    ChangeClass, Finding, Page, ProposalMember, ProposalQuery, ProposalState, Representative, Scope,
    Severity, Time,
};

use crate::StoreError;
use crate::hash::sha256_hex;
use crate::page::{decode_time_cursor, encode_cursor, page, page_rows};
use crate::query::Select;
use crate::tx::{Columns, Row, Tx, params, query_one};

mod decide;
mod follow;

pub use decide::{
    Decision, MAX_REJECTIONS, Rejection, StandingRejection, close, rejections, reopen, sharing_marks,
    supersede,
};
pub(crate) use follow::settle;
pub use follow::{Followed, Showing, follow};

/// Who decides when nobody does.
const SERVICE: &str = "service";
/// Characters of an etag.
const ETAG_CHARS: usize = 24;

/// One proposal.
#[derive(Clone, Debug, PartialEq)]
pub struct ProposalRow {
    /// UUIDv7.
    pub id: String,
    /// The version of the baseline that it is against.
    pub baseline_id: String,
    /// That version as `name@version`.
    pub baseline: String,
    /// Name of the baseline.
    pub baseline_name: String,
    /// What the baseline applies to.
    pub scope: Scope,
    /// Profile that judged.
    pub profile: String,
    /// SHA-256 over the changes, hex.
    pub change_key: String,
    /// Where it is in its life.
    pub state: ProposalState,
    /// Counts the changes of its content and state.
    pub revision: u64,
    /// Classes of its changes.
    pub classes: Vec<ChangeClass>,
    /// What the VMs do differently, as the end of a sentence.
    pub title: String,
    /// Who signed what changed, where known.
    pub signer: Option<String>,
    /// PCRs that show the change.
    pub pcrs: Vec<u32>,
    /// The boot that stands for all.
    pub representative: Representative,
    /// When the first VM showed it.
    pub first_seen_at: Time,
    /// When the last VM came to show it.
    pub last_seen_at: Time,
    /// When it was decided.
    pub decided_at: Option<Time>,
    /// Who decided.
    pub decided_by: Option<String>,
    /// Why.
    pub comment: Option<String>,
    /// The version of the baseline that it became, as `name@version`.
    pub result: Option<String>,
    /// Its members; those at the decision once it is approved, superseded or withdrawn.
    pub vms: u64,
}

impl ProposalRow {
    /// Names its content: another one after every change of state, representative or evidence.
    pub fn etag(&self) -> String {
        let r = &self.representative;
        let content = format!("{}\n{}\n{}\n{}", self.id, self.revision, r.attestation_id, r.log_sha256);
        sha256_hex(content.as_bytes()).chars().take(ETAG_CHARS).collect()
    }
}

const COLUMNS: &str = "p.id, p.baseline_id, p.baseline, p.baseline_name, p.scope_kind, p.scope_group, p.scope_id, \
     p.profile, p.change_key, p.state, p.revision, p.classes, p.title, p.signer, p.pcrs, p.vm_id, p.vm_name, p.boot_id, \
     p.attestation_id, p.log_sha256, p.first_seen_at, p.last_seen_at, p.decided_at, p.decided_by, p.comment, p.result, \
     p.vms, (SELECT COUNT(*) FROM vms v WHERE v.proposal_id = p.id), \
     (SELECT MAX(v.proposal_since) FROM vms v WHERE v.proposal_id = p.id)";

fn read_columns(c: &mut Columns) -> Result<ProposalRow, StoreError> {
    let mut row = ProposalRow {
        id: c.text()?,
        baseline_id: c.text()?,
        baseline: c.text()?,
        baseline_name: c.text()?,
        scope: Scope { kind: c.word()?, group: c.text()?, id: c.text()? },
        profile: c.text()?,
        change_key: c.text()?,
        state: c.word()?,
        revision: c.u64()?,
        classes: read_classes(&c.text()?)?,
        title: c.text()?,
        signer: c.opt_text()?,
        pcrs: c.json()?,
        representative: Representative {
            vm_id: c.text()?,
            vm_name: c.text()?,
            boot_id: c.text()?,
            attestation_id: c.text()?,
            log_sha256: c.text()?,
        },
        first_seen_at: c.time()?,
        last_seen_at: c.time()?,
        decided_at: c.opt_time()?,
        decided_by: c.opt_text()?,
        comment: c.opt_text()?,
        result: c.opt_text()?,
        vms: 0,
    };
    let (decided, members, joined) = (c.opt_u64()?, c.u64()?, c.opt_time()?);
    row.vms = match row.state {
        ProposalState::Open | ProposalState::Rejected => members,
        _ => decided.unwrap_or(0),
    };
    row.last_seen_at = joined.map_or(row.last_seen_at, |joined| joined.max(row.last_seen_at));
    Ok(row)
}

fn read(row: Row) -> Result<ProposalRow, StoreError> {
    read_columns(&mut row.columns())
}

/// Tells of a proposal that is open, or decided.
fn tell(tx: &mut dyn Tx, kind: &str, id: &str, at: Time) -> Result<(), StoreError> {
    let Some(row) = by_id(tx, id)? else { return Ok(()) };
    let message = match (row.state, &row.decided_by) {
        (ProposalState::Open, _) => format!("{} {}: approve?", row.representative.vm_name, row.title),
        (state, Some(by)) => format!("{by} {state}: {} {}", row.representative.vm_name, row.title),
        (state, None) => format!("{state}: {} {}", row.representative.vm_name, row.title),
    };
    let data = serde_json::json!({
        "message": message,
        "title": row.title,
        "state": row.state,
        "baseline": row.baseline,
        "classes": row.classes,
        "signer": row.signer,
        "vms": row.vms,
        "by": row.decided_by,
        "comment": row.comment,
        "result": row.result,
    });
    super::events::append_scope(tx, kind, Severity::Low, Some(&row.scope), id, &data, at)?;
    Ok(())
}

/// Words between commas, one before the first and one behind the last, so that one can be looked for.
fn write_classes(classes: &[ChangeClass]) -> String {
    classes.iter().fold(String::from(","), |text, class| text + class.as_str() + ",")
}

fn read_classes(text: &str) -> Result<Vec<ChangeClass>, StoreError> {
    text.split(',').filter(|w| !w.is_empty()).map(|w| w.parse().map_err(StoreError::corrupt)).collect()
}

/// The proposal with this id.
pub fn by_id(tx: &mut dyn Tx, id: &str) -> Result<Option<ProposalRow>, StoreError> {
    query_one(tx, &format!("SELECT {COLUMNS} FROM proposals p WHERE p.id = $1"), params![id])?
        .map(read)
        .transpose()
}

/// What a proposal shows: the difference of its representative to the baseline.
pub fn findings(tx: &mut dyn Tx, id: &str) -> Result<Vec<Finding>, StoreError> {
    query_one(tx, "SELECT findings FROM proposals WHERE id = $1", params![id])?
        .map_or_else(|| Ok(Vec::new()), |row| row.columns().json())
}

/// A page of proposals, newest first.
pub fn list(tx: &mut dyn Tx, query: &ProposalQuery) -> Result<Page<ProposalRow>, StoreError> {
    let key = decode_time_cursor("proposals", query.cursor.as_deref())?;
    let limit = page_rows(query.limit);
    let class = query.class.map(|class| format!("%,{class},%"));
    let head = format!("SELECT {COLUMNS} FROM proposals p");
    let mut select = Select::new(&head);
    select
        .and_if("p.state = ?", query.state.map(ProposalState::as_str))
        .and_if("p.scope_group = ?", query.group.as_ref())
        .and_if("p.baseline_name = ?", query.baseline.as_ref())
        .and_if("p.classes LIKE ?", class.as_ref());
    if let Some(set) = &query.scale_set {
        select.and(
            "(p.scope_kind = 'scale-set' AND p.scope_id = ? OR EXISTS (SELECT 1 FROM vms v \
             WHERE v.proposal_id = p.id AND v.scale_set = ?))",
            params![set, set],
        );
    }
    if let Some((time, id)) = &key {
        select.and("(p.first_seen_at, p.id) < (?, ?)", params![*time, id]);
    }
    let rows = select.page(tx, " ORDER BY p.first_seen_at DESC, p.id DESC", limit)?;
    page(rows, limit, read, |p| encode_cursor("proposals", &[&p.first_seen_at.unix_ms().to_string(), &p.id]))
}

/// A page of the members of a proposal, by when they came to show it.
pub fn members(
    tx: &mut dyn Tx,
    id: &str,
    limit: Option<u32>,
    cursor: Option<&str>,
) -> Result<Page<ProposalMember>, StoreError> {
    let key = decode_time_cursor("proposal-members", cursor)?;
    let limit = page_rows(limit);
    let mut select = Select::new(
        "SELECT id, name, group_name, scale_set, status, current_boot_id, proposal_since FROM vms",
    );
    select.and("proposal_id = ?", params![id]);
    if let Some((time, id)) = &key {
        select.and("(proposal_since, id) > (?, ?)", params![*time, id]);
    }
    let rows = select.page(tx, " ORDER BY proposal_since, id", limit)?;
    let member = |row: Row| {
        let mut c = row.columns();
        Ok(ProposalMember {
            vm_id: c.text()?,
            vm_name: c.text()?,
            group: c.text()?,
            scale_set: c.opt_text()?,
            status: c.word()?,
            boot_id: c.opt_text()?,
            since: c.time()?,
        })
    };
    page(rows, limit, member, |m| {
        encode_cursor("proposal-members", &[&m.since.unix_ms().to_string(), &m.vm_id])
    })
}

/// Number of open proposals.
pub fn open_count(tx: &mut dyn Tx) -> Result<u64, StoreError> {
    query_one(tx, "SELECT COUNT(*) FROM proposals WHERE state = 'open'", &[])?
        .map_or(Ok(0), |row| row.columns().u64())
}

/// Number of open proposals with a change of each class.
pub fn open_by_class(tx: &mut dyn Tx) -> Result<Vec<(ChangeClass, u64)>, StoreError> {
    let sql =
        "SELECT classes, COUNT(*) FROM proposals WHERE state = 'open' GROUP BY classes ORDER BY classes";
    let mut counts: Vec<(ChangeClass, u64)> = ChangeClass::ALL.iter().map(|class| (*class, 0)).collect();
    for row in tx.query(sql, &[])? {
        let mut c = row.columns();
        let (classes, count) = (read_classes(&c.text()?)?, c.u64()?);
        for (_, total) in counts.iter_mut().filter(|(class, _)| classes.contains(class)) {
            *total += count;
        }
    }
    Ok(counts)
}
