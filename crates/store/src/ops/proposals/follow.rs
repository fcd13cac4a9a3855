//! Which proposal a VM is a member of: that which its last attestation shows.

use veriboot_wire::{ChangeAction, ChangeClass, Finding, ProposalState, Time};

use super::super::attestations;
use super::{Decision, SERVICE, close, write_classes};
use crate::StoreError;
use crate::tx::{Tx, json, params, query_one};

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
    /// The measurements that a rejection stands for, one line `PCR digest` each.
    pub marks: &'a [String],
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
    if let (true, Some(id)) = (followed.opened, &followed.member_of) {
        super::tell(tx, "proposal.opened", id, now)?;
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
        "SELECT id, state, CASE WHEN marks IS NULL THEN 0 ELSE 1 END FROM proposals \
         WHERE baseline_id = $1 AND profile = $2 AND change_key = $3",
        params![new.baseline_id, new.profile, new.change_key],
    )?;
    if let Some(row) = found {
        let mut c = row.columns();
        let (id, state, marked) = (c.text()?, c.word::<ProposalState>()?, c.bool()?);
        if state == ProposalState::Open {
            if !marked {
                let sql = "UPDATE proposals SET marks = $2 WHERE id = $1";
                tx.execute(sql, params![&id, &json(&new.marks)?])?;
            }
            return Ok((id, false));
        }
    }
    let (pcrs, findings, classes) = (json(&new.pcrs)?, json(&new.findings)?, write_classes(new.classes));
    let marks = json(&new.marks)?;
    let id = crate::new_id(new.at);
    let row = query_one(
        tx,
        "INSERT INTO proposals (id, baseline_id, baseline, baseline_name, scope_kind, scope_group, scope_id, profile, \
         change_key, state, revision, classes, title, signer, pcrs, marks, findings, vm_id, vm_name, boot_id, \
         attestation_id, log_sha256, first_seen_at, last_seen_at) \
         SELECT $1, b.id, b.name || '@' || CAST(b.version AS TEXT), b.name, b.scope_kind, b.scope_group, b.scope_id, $3, \
         $4, 'open', 1, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $16 FROM baselines b WHERE b.id = $2 \
         ON CONFLICT (baseline_id, profile, change_key) DO UPDATE SET state = 'open', \
         revision = proposals.revision + 1, classes = excluded.classes, title = excluded.title, \
         signer = excluded.signer, pcrs = excluded.pcrs, marks = excluded.marks, findings = excluded.findings, \
         vm_id = excluded.vm_id, vm_name = excluded.vm_name, boot_id = excluded.boot_id, \
         attestation_id = excluded.attestation_id, log_sha256 = excluded.log_sha256, \
         last_seen_at = excluded.last_seen_at, decided_at = NULL, decided_by = NULL, comment = NULL, result = NULL, \
         vms = NULL RETURNING id",
        params![
            &id,
            new.baseline_id,
            new.profile,
            new.change_key,
            &classes,
            new.title,
            new.signer,
            &pcrs,
            &marks,
            &findings,
            new.vm_id,
            new.vm_name,
            new.boot_id,
            new.attestation_id,
            new.log_sha256,
            new.at,
        ],
    )?;
    let row = row.ok_or_else(|| StoreError::failed("a proposal against a baseline that is not there"))?;
    Ok((row.columns().text()?, true))
}

/// After `left` is no longer a member of a proposal: one without members is withdrawn, and one that `left` stood for
/// gets another representative. `true` when it is withdrawn.
pub(crate) fn settle(tx: &mut dyn Tx, id: &str, left: &str, now: Time) -> Result<bool, StoreError> {
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
    // A log that was forgotten proves nothing (`logs::suspect`): such a member shows it again with its next attestation.
    let sql = "SELECT v.id, v.name, v.last_attestation_id FROM vms v JOIN attestations t ON t.id = v.last_attestation_id \
               WHERE v.proposal_id = $1 AND t.boot_id IS NOT NULL AND t.log_sha256 IS NOT NULL \
               ORDER BY v.proposal_since, v.id LIMIT 1";
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
