//! Proposals: one per change against one version of a baseline, with the VMs whose last attestation shows it.
//!
//! A VM is a member by its own row (`vms.proposal_id`): of at most one proposal, and gone with the VM. An open proposal
//! has at least one member. The row itself changes only when its content does, so that a fleet that attests does not
//! queue up behind it.

use veriboot_wire::{
    ChangeAction, ChangeClass, Finding, Page, ProposalMember, ProposalQuery, ProposalState, Representative,
    Scope, Time,
};

use super::{attestations, reappraise_queue};
use crate::StoreError;
use crate::hash::sha256_hex;
use crate::page::{decode_time_cursor, encode_cursor, page, page_rows};
use crate::query::Select;
use crate::tx::{Columns, Row, Tx, json, params, query_one};

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

/// What an attestation shows against its baseline.
#[derive(Clone, Copy, Debug)]
pub struct Showing<'a> {
    /// The VM.
    pub vm_id: &'a str,
    /// Its name.
    pub vm_name: &'a str,
    /// The boot.
    pub boot_id: &'a str,
    /// The attestation; stored already.
    pub attestation_id: &'a str,
    /// SHA-256 of the log, hex.
    pub log_sha256: &'a str,
    /// The version of the baseline that judged.
    pub baseline_id: &'a str,
    /// The profile that judged.
    pub profile: &'a str,
    /// SHA-256 over the changes, hex.
    pub change_key: &'a str,
    /// Classes of its changes.
    pub classes: &'a [ChangeClass],
    /// What the VM does differently, as the end of a sentence.
    pub title: &'a str,
    /// Who signed what changed, where known.
    pub signer: Option<&'a str>,
    /// PCRs that show the change.
    pub pcrs: &'a [u32],
    /// The difference to the baseline.
    pub findings: &'a [Finding],
    /// When.
    pub at: Time,
}

/// What became of a VM's membership.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Followed {
    /// The proposal that it is a member of now.
    pub member_of: Option<String>,
    /// That proposal is new, or open again.
    pub opened: bool,
    /// A proposal that it left and that has no member any more.
    pub withdrawn: Option<String>,
}

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

/// Words between commas, one before the first and one behind the last, so that one can be looked for.
fn write_classes(classes: &[ChangeClass]) -> String {
    classes.iter().fold(String::from(","), |text, class| text + class.as_str() + ",")
}

fn read_classes(text: &str) -> Result<Vec<ChangeClass>, StoreError> {
    text.split(',').filter(|w| !w.is_empty()).map(|w| w.parse().map_err(StoreError::corrupt)).collect()
}

/// Makes a VM a member of the proposal that its last attestation shows, and of no other. `current` is what its row says
/// of its membership. With `rejected`, the change is one whose rejection stands, and the VM becomes a member of that.
///
/// The caller has seen in this transaction that `showing.baseline_id` judges the VM, and stored the attestation as the
/// VM's last one.
pub fn follow(
    tx: &mut dyn Tx,
    vm_id: &str,
    current: Option<&str>,
    showing: Option<&Showing<'_>>,
    rejected: Option<&str>,
    now: Time,
) -> Result<Followed, StoreError> {
    let mut followed = Followed::default();
    match (showing, rejected) {
        (None, _) => {}
        (Some(_), Some(rejected)) => followed.member_of = Some(rejected.to_owned()),
        (Some(showing), None) => {
            let (id, opened) = opened(tx, showing)?;
            followed.member_of = Some(id);
            followed.opened = opened;
        }
    }
    if followed.member_of.as_deref() != current {
        let since = followed.member_of.as_ref().map(|_| now);
        tx.execute(
            "UPDATE vms SET proposal_id = $2, proposal_since = $3 WHERE id = $1",
            params![vm_id, followed.member_of.as_deref(), since],
        )?;
        if let Some(left) = current
            && settle(tx, left, vm_id, now)?
        {
            followed.withdrawn = Some(left.to_owned());
        }
    }
    Ok(followed)
}

/// The proposal of this change, open; and whether it was not open before.
fn opened(tx: &mut dyn Tx, new: &Showing<'_>) -> Result<(String, bool), StoreError> {
    let found = query_one(
        tx,
        "SELECT id, state FROM proposals WHERE baseline_id = $1 AND profile = $2 AND change_key = $3",
        params![new.baseline_id, new.profile, new.change_key],
    )?;
    let Some(row) = found else { return Ok((insert(tx, new)?, true)) };
    let mut c = row.columns();
    let (id, state) = (c.text()?, c.word::<ProposalState>()?);
    if state == ProposalState::Open {
        return Ok((id, false));
    }
    let (pcrs, findings, classes) = (json(&new.pcrs)?, json(&new.findings)?, write_classes(new.classes));
    tx.execute(
        "UPDATE proposals SET state = 'open', revision = revision + 1, classes = $2, title = $3, signer = $4, \
         pcrs = $5, findings = $6, vm_id = $7, vm_name = $8, boot_id = $9, attestation_id = $10, log_sha256 = $11, \
         last_seen_at = $12, decided_at = NULL, decided_by = NULL, comment = NULL, result = NULL, vms = NULL \
         WHERE id = $1",
        params![
            &id,
            &classes,
            new.title,
            new.signer,
            &pcrs,
            &findings,
            new.vm_id,
            new.vm_name,
            new.boot_id,
            new.attestation_id,
            new.log_sha256,
            new.at,
        ],
    )?;
    Ok((id, true))
}

fn insert(tx: &mut dyn Tx, new: &Showing<'_>) -> Result<String, StoreError> {
    let (pcrs, findings, classes) = (json(&new.pcrs)?, json(&new.findings)?, write_classes(new.classes));
    let id = crate::new_id(new.at);
    let added = tx.execute(
        "INSERT INTO proposals (id, baseline_id, baseline, baseline_name, scope_kind, scope_group, scope_id, profile, \
         change_key, state, revision, classes, title, signer, pcrs, findings, vm_id, vm_name, boot_id, attestation_id, \
         log_sha256, first_seen_at, last_seen_at) \
         SELECT $1, b.id, b.name || '@' || CAST(b.version AS TEXT), b.name, b.scope_kind, b.scope_group, b.scope_id, $3, \
         $4, 'open', 1, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $15 FROM baselines b WHERE b.id = $2 \
         ON CONFLICT (baseline_id, profile, change_key) DO NOTHING",
        params![
            &id,
            new.baseline_id,
            new.profile,
            new.change_key,
            &classes,
            new.title,
            new.signer,
            &pcrs,
            &findings,
            new.vm_id,
            new.vm_name,
            new.boot_id,
            new.attestation_id,
            new.log_sha256,
            new.at,
        ],
    )?;
    match added {
        1 => Ok(id),
        _ => Err(StoreError::failed("a proposal that is there twice, or against a baseline that is not there")),
    }
}

/// After `left` is no longer a member of a proposal: one without members is withdrawn, and one that `left` stood for
/// gets another representative. `true` when it is withdrawn.
pub(super) fn settle(tx: &mut dyn Tx, id: &str, left: &str, now: Time) -> Result<bool, StoreError> {
    let sql = "SELECT state, vm_id FROM proposals WHERE id = $1";
    let Some(row) = query_one(tx, sql, params![id])? else { return Ok(false) };
    let mut c = row.columns();
    let (state, stands_for) = (c.word::<ProposalState>()?, c.text()?);
    if state != ProposalState::Open {
        return Ok(false);
    }
    if stands_for != left {
        // Its representative is a member still.
        return Ok(false);
    }
    let sql = "SELECT id, name, last_attestation_id FROM vms WHERE proposal_id = $1 \
               ORDER BY proposal_since, id LIMIT 1";
    let Some(row) = query_one(tx, sql, params![id])? else {
        close(tx, id, ProposalState::Withdrawn, &Decision { by: SERVICE, comment: None, result: None, now })?;
        return Ok(true);
    };
    let mut c = row.columns();
    let (vm_id, vm_name, attestation_id) = (c.text()?, c.text()?, c.text()?);
    let attestation = attestations::by_id(tx, &attestation_id)?;
    let Some((attestation, boot_id, log)) =
        attestation.and_then(|a| Some((a.clone(), a.boot_id?, a.log_sha256?)))
    else {
        return Err(StoreError::corrupt("a member of a proposal without the evidence for it"));
    };
    let findings: Vec<_> =
        attestation.findings.into_iter().filter(|f| f.action == Some(ChangeAction::Propose)).collect();
    let findings = json(&findings)?;
    tx.execute(
        "UPDATE proposals SET vm_id = $2, vm_name = $3, boot_id = $4, attestation_id = $5, log_sha256 = $6, \
         findings = $7, revision = revision + 1 WHERE id = $1",
        params![id, &vm_id, &vm_name, &boot_id, &attestation_id, &log, &findings],
    )?;
    Ok(false)
}

/// The rejection of this change that stands for a version of a baseline: of the same change against any version of it.
pub fn rejection(
    tx: &mut dyn Tx,
    baseline_id: &str,
    change_key: &str,
) -> Result<Option<Rejection>, StoreError> {
    let sql = "SELECT id, decided_by, comment, decided_at FROM proposals WHERE state = 'rejected' AND change_key = $2 \
               AND baseline_name = (SELECT name FROM baselines WHERE id = $1) ORDER BY decided_at DESC, id DESC LIMIT 1";
    let Some(row) = query_one(tx, sql, params![baseline_id, change_key])? else { return Ok(None) };
    let mut c = row.columns();
    Ok(Some(Rejection {
        id: c.text()?,
        by: c.opt_text()?.unwrap_or_default(),
        comment: c.opt_text()?.unwrap_or_default(),
        at: c.time()?,
    }))
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

/// Number of open proposals with a change of each class.
pub fn open_by_class(tx: &mut dyn Tx) -> Result<Vec<(ChangeClass, u64)>, StoreError> {
    let sql = "SELECT classes, COUNT(*) FROM proposals WHERE state = 'open' GROUP BY classes ORDER BY classes";
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
