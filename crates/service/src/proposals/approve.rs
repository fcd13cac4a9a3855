//! Approving: what proposals show becomes part of their baselines.
//!
//! Nothing is accepted that was not shown: a new version is the current one and, for each proposal, what its
//! representative measured in the PCRs that differ. The evidence of that boot is proven once more before, from the
//! signature of its quote on, and the finished version must accept exactly that boot. All of it was decided on a
//! snapshot, which the transaction compares again: whoever comes second is told so, and nothing is merged silently.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::json;
use veriboot_appraisal::{Baseline, LearnError, Proposed, Source, judge};
use veriboot_store::baselines::{self, BaselineRow, NewBaseline};
use veriboot_store::proposals::{self, Decision, ProposalRow};
use veriboot_store::reappraisals::{self, NewReappraisal};
use veriboot_store::{Tx, attestations, logs, reappraise_queue, vms};
use veriboot_wire::{
    BaselineOrigin, MAX_APPROVED_AT_ONCE, ProposalState, ProposalsApprove, ProposalsApproved, Time,
};

use super::{Proposing, changed, decide, shown};
use crate::api::{audit, check_comment, invalid, no_such, not_found};
use crate::attest::{NotProven, ProveBy, Proven, StoredEvidence, judging, prove_again};
use crate::auth::Caller;
use crate::problem::kinds;
use crate::{ApiError, AppState, members};

/// A proposal with everything that approving it rests on.
struct Looked {
    row: ProposalRow,
    etag: String,
    stored: StoredEvidence,
}

/// The next version of one baseline.
struct Next {
    current: BaselineRow,
    baseline: Baseline,
    proposals: Vec<Shows>,
}

/// What was looked at, and what it proposes.
struct Shows {
    id: String,
    etag: String,
    proposing: Proposing,
}

/// Approves all of them, or none.
pub(crate) async fn approve(
    state: &AppState,
    caller: Caller,
    request: ProposalsApprove,
) -> Result<ProposalsApproved, ApiError> {
    check_comment(request.comment.as_deref())?;
    let ids: BTreeSet<&str> = request.proposals.iter().map(|p| p.id.as_str()).collect();
    if ids.is_empty() || ids.len() > MAX_APPROVED_AT_ONCE || ids.len() != request.proposals.len() {
        let message = format!("proposals must name 1 to {MAX_APPROVED_AT_ONCE} proposals, each once");
        return Err(invalid(message));
    }
    let expected = request.proposals.clone();
    let (looked, currents) = state
        .read(move |tx| {
            let mut looked = Vec::with_capacity(expected.len());
            let mut currents = BTreeMap::new();
            for one in &expected {
                let found = look(tx, &one.id, &one.expected_etag)?;
                if !currents.contains_key(&found.row.baseline_id) {
                    let row = baselines::by_id(tx, &found.row.baseline_id)?;
                    let row = row.ok_or_else(|| changed("the baseline is gone"))?;
                    currents.insert(found.row.baseline_id.clone(), row);
                }
                looked.push(found);
            }
            Ok((looked, currents))
        })
        .await?;
    let mut next = Vec::with_capacity(currents.len());
    for (id, current) in currents {
        let of_it: Vec<&Looked> = looked.iter().filter(|one| one.row.baseline_id == id).collect();
        next.push(next_version(state, current, &of_it, request.replace).await?);
    }

    let (now, by) = (state.clock.now(), caller.name.clone());
    let (comment, replace) = (request.comment, request.replace);
    let signer = state.clone();
    let approved = state
        .write(move |tx| {
            let mut approved = ProposalsApproved {
                proposals: Vec::new(),
                baselines: Vec::new(),
                reappraised: 0,
                reappraisals: Vec::new(),
            };
            for one in &next {
                let decided = Decided { caller: &caller, comment: comment.as_deref(), replace, now };
                store(tx, &signer, one, &decided, &mut approved)?;
            }
            Ok(approved)
        })
        .await?;
    for proposal in &approved.proposals {
        let (proposal, baseline) = (&proposal.id, proposal.result.as_deref());
        tracing::info!(proposal, baseline, vms = approved.reappraised, by, "proposal approved");
    }
    members::judge_some(state).await;
    Ok(approved)
}

/// Reads a proposal that is open and is what was looked at.
fn look(tx: &mut dyn Tx, id: &str, expected_etag: &str) -> Result<Looked, ApiError> {
    let row = as_expected(tx, id, expected_etag)?;
    let shows = &row.representative;
    let gone = |what: &str| {
        let message = format!("{what} of the boot that stands for the proposal is gone");
        ApiError::new(&kinds::PROPOSAL_NOT_PROVEN, message)
    };
    let attestation =
        attestations::by_id(tx, &shows.attestation_id)?.ok_or_else(|| gone("the attestation"))?;
    if attestation.log_sha256.as_ref() != Some(&shows.log_sha256)
        || attestation.boot_id.as_ref() != Some(&shows.boot_id)
        || attestation.vm_id != shows.vm_id
    {
        return Err(gone("the evidence"));
    }
    let evidence = attestations::evidence(tx, &shows.attestation_id)?.ok_or_else(|| gone("the evidence"))?;
    let log = logs::content(tx, &shows.log_sha256)?.ok_or_else(|| gone("the event log"))?;
    let vm = vms::by_id(tx, &shows.vm_id)?.ok_or_else(|| gone("the VM"))?;
    let stored = StoredEvidence { attestation, evidence, log, vm };
    Ok(Looked { row, etag: expected_etag.to_owned(), stored })
}

fn as_expected(tx: &mut dyn Tx, id: &str, expected_etag: &str) -> Result<ProposalRow, ApiError> {
    let row = proposals::by_id(tx, id)?.ok_or_else(|| no_such("proposal", id))?;
    decide::open(&row)?;
    if row.etag() != expected_etag {
        return Err(changed("the proposal is another one by now than the one that was looked at"));
    }
    Ok(row)
}

/// The current version with what the proposals show.
async fn next_version(
    state: &AppState,
    current: BaselineRow,
    looked: &[&Looked],
    replace: bool,
) -> Result<Next, ApiError> {
    let mut boots = Vec::with_capacity(looked.len());
    let mut proposals = Vec::with_capacity(looked.len());
    let mut content = None;
    for one in looked {
        let judges = judging(state, &one.stored.vm).await?;
        let judging = judges.baseline.filter(|judging| judging.current.id == current.summary.id);
        let judging = judging.ok_or_else(|| changed("another baseline judges by now"))?;
        if judges.profile.reference != one.row.profile {
            return Err(changed("another profile judges by now"));
        }
        let unusable = |error: String| ApiError::internal(error);
        let compiled = judging.content.map_err(|e| unusable(e.to_string()))?;
        let profile = judges.profile.content.map_err(|e| unusable(e.to_string()))?;
        let by = ProveBy {
            baseline: Arc::clone(&compiled),
            profile_key: judges.profile.key,
            profile: Arc::clone(&profile),
        };
        let proven =
            prove_again(state, one.stored.clone(), by).await.map_err(|error| not_proven(&one.row, &error))?;
        let proposed = still_proposed(&one.row, &proven)?;
        let pcrs = proposed.pcrs.clone();
        let proposing = Proposing {
            proposed: proposed.clone(),
            report: Arc::clone(&proven.report),
            bank: proven.bank,
            baseline: Some(Arc::clone(&compiled)),
        };
        proposals.push(Shows { id: one.row.id.clone(), etag: one.etag.clone(), proposing });
        boots.push((one.row.id.clone(), pcrs, proven, profile));
        content = Some(compiled);
    }
    let mut baseline: Baseline = match content {
        Some(compiled) => Baseline::clone(&compiled),
        None => return Err(not_found("proposal")),
    };
    // Replacing drops what was accepted in these PCRs before, and nothing that is approved here: so all are taken in
    // once to drop, and once more to stay.
    for drop in [true, false] {
        if drop && !replace {
            continue;
        }
        for (id, pcrs, proven, _) in &boots {
            let source = Source::Approved { log_sha256: proven.report.sha256.clone(), proposal: id.clone() };
            baseline = baseline.with_boot(&proven.report, Some(pcrs), source, drop).map_err(full)?;
        }
    }
    // Shown, not assumed: the new version accepts each boot without asking.
    let finished = baseline.clone().compile();
    for (id, _, proven, profile) in &boots {
        let judgement = judge(&proven.report, proven.bank, Some(&finished), profile);
        if !judgement.accepts() || judgement.proposed.is_some() {
            let message = "the baseline would still not accept the boot that stands for the proposal";
            tracing::error!(proposal = id, "a baseline refuses a boot that was added to it");
            return Err(ApiError::new(&kinds::PROPOSAL_NOT_PROVEN, message));
        }
    }
    Ok(Next { current, baseline, proposals })
}

/// What the boot proposes, if it is still exactly what was shown.
fn still_proposed<'p>(row: &ProposalRow, proven: &'p Proven) -> Result<&'p Proposed, ApiError> {
    let shown: BTreeSet<u32> = row.pcrs.iter().copied().collect();
    match &proven.judgement.proposed {
        Some(proposed) if proposed.key == row.change_key && proposed.pcrs == shown => Ok(proposed),
        _ => Err(changed("the boot that stands for the proposal does not propose this any more")),
    }
}

fn not_proven(row: &ProposalRow, error: &NotProven) -> ApiError {
    tracing::error!(proposal = row.id, attestation = row.representative.attestation_id, %error, "not proven");
    let message = format!("the boot that stands for the proposal is not proven: {error}");
    ApiError::new(&kinds::PROPOSAL_NOT_PROVEN, message)
}

fn full(error: LearnError) -> ApiError {
    match error {
        LearnError::TooManyBoots => {
            ApiError::new(&kinds::BASELINE_FULL, format!("nothing can be added to the baseline: {error}"))
        }
        other => ApiError::new(&kinds::PROPOSAL_NOT_PROVEN, other.to_string()),
    }
}

/// Who decided, and how.
struct Decided<'a> {
    caller: &'a Caller,
    comment: Option<&'a str>,
    replace: bool,
    now: Time,
}

/// Stores the next version of one baseline, unless something that it rests on is another one by now.
fn store(
    tx: &mut dyn Tx,
    state: &AppState,
    next: &Next,
    decided: &Decided<'_>,
    approved: &mut ProposalsApproved,
) -> Result<(), ApiError> {
    let Decided { caller, comment, replace, now } = *decided;
    let scope = &next.current.summary.scope;
    let mut rows = Vec::with_capacity(next.proposals.len());
    for Shows { id, etag, proposing } in &next.proposals {
        rows.push(as_expected(tx, id, etag)?);
        if let Some(rejection) = proposing.rejection(tx, &next.current.summary.name)? {
            let message = format!(
                "what it shows was rejected by {} with proposal {}, which has to be reopened before",
                rejection.by, rejection.id
            );
            return Err(changed(&message));
        }
    }
    let current = baselines::current_of(tx, scope)?;
    if current.as_ref().map(|row| &row.summary.id) != Some(&next.current.summary.id) {
        return Err(changed("the baseline has another version by now"));
    }
    let document = next.baseline.to_json().map_err(ApiError::internal)?;
    let reference = format!("{}@{}", next.current.summary.name, next.current.summary.version + 1);
    let why = comment.map_or_else(|| why(&rows), str::to_owned);
    for row in &rows {
        approved.reappraised += reappraise_queue::queue_members(tx, &row.id, now)?;
        let decision = Decision { by: &caller.name, comment, result: Some(&reference), now };
        proposals::close(tx, &row.id, ProposalState::Approved, &decision)?;
    }
    let new = NewBaseline {
        name: &next.current.summary.name,
        scope,
        origin: BaselineOrigin::Approved,
        document: &document,
        components: u32::try_from(next.baseline.measurements().count()).unwrap_or(u32::MAX),
        boot_id: rows.first().map(|row| row.representative.boot_id.as_str()),
        comment: Some(&why),
        created_by: &caller.name,
        created_at: now,
    };
    let version = baselines::insert_next(tx, &new, state.attest.baseline_signer())?;
    if version.reference() != reference {
        return Err(changed("the baseline has another version by now"));
    }
    for row in &rows {
        let shows = &row.representative;
        let detail = json!({
            "baseline": reference, "sha256": version.summary.sha256, "replaces": row.baseline, "replace": replace,
            "change_key": row.change_key, "classes": row.classes, "pcrs": row.pcrs, "vms": row.vms,
            "boot": shows.boot_id, "log_sha256": shows.log_sha256, "comment": comment,
        });
        audit(tx, now, caller, "proposal.approve", &row.id, &detail)?;
        let row = proposals::by_id(tx, &row.id)?.ok_or_else(|| no_such("proposal", &row.id))?;
        approved.proposals.push(shown(tx, row)?);
    }
    let because = format!("baseline {reference} approved");
    let all =
        NewReappraisal { scope, because: &because, always: false, created_by: &caller.name, created_at: now };
    approved.reappraisals.push(reappraisals::enqueue(tx, &all)?);
    approved.baselines.push(version.summary);
    Ok(())
}

/// What a version says about itself when nobody gave a comment.
fn why(rows: &[ProposalRow]) -> String {
    let titles: Vec<&str> = rows.iter().map(|row| row.title.as_str()).collect();
    format!("approved: VMs {}", titles.join("; "))
}
