//! Rejecting a proposal, and taking that back.

use serde_json::json;
use veriboot_store::proposals::{self, Decision};
use veriboot_store::reappraise_queue;
use veriboot_wire::{Proposal, ProposalReject, ProposalReopen, ProposalState};

use super::{changed, shown};
use crate::api::{audit, check_comment, invalid, no_such};
use crate::auth::Caller;
use crate::problem::kinds;
use crate::{ApiError, AppState, members};

/// The change is refused: VMs that show it fail, now and whenever they attest, until somebody takes that back.
pub(crate) async fn reject(
    state: &AppState,
    caller: Caller,
    id: String,
    request: ProposalReject,
) -> Result<Proposal, ApiError> {
    check_comment(Some(&request.comment))?;
    if request.comment.trim().is_empty() {
        return Err(invalid("comment must say why: it is shown with the alerts that follow"));
    }
    let now = state.clock.now();
    let by = caller.name.clone();
    let (row, vms) = state
        .write(move |tx| {
            let row = proposals::by_id(tx, &id)?.ok_or_else(|| no_such("proposal", &id))?;
            open(&row)?;
            if row.etag() != request.expected_etag {
                return Err(changed("the proposal is another one by now than the one that was looked at"));
            }
            let decision = Decision { by: &caller.name, comment: Some(&request.comment), result: None, now };
            proposals::close(tx, &id, ProposalState::Rejected, &decision)?;
            let mut vms = reappraise_queue::queue_members(tx, &id, now)?;
            // What VMs show together with something else is refused as well.
            for other in proposals::sharing_marks(tx, &id)? {
                vms += reappraise_queue::queue_members(tx, &other, now)?;
            }
            let detail = json!({
                "baseline": row.baseline, "change_key": row.change_key, "classes": row.classes, "vms": vms,
                "log_sha256": row.representative.log_sha256, "comment": request.comment,
            });
            audit(tx, now, &caller, "proposal.reject", &id, &detail)?;
            let row = proposals::by_id(tx, &id)?.ok_or_else(|| no_such("proposal", &id))?;
            Ok((shown(tx, row)?, vms))
        })
        .await?;
    tracing::info!(proposal = row.id, baseline = row.baseline, vms, by, "proposal rejected");
    members::judge_some(state).await;
    again(state, row.id).await
}

/// Takes a rejection back: VMs that show the change are healthy and marked again.
pub(crate) async fn reopen(
    state: &AppState,
    caller: Caller,
    id: String,
    request: ProposalReopen,
) -> Result<Proposal, ApiError> {
    check_comment(request.comment.as_deref())?;
    let now = state.clock.now();
    let by = caller.name.clone();
    let (row, vms) = state
        .write(move |tx| {
            let row = proposals::by_id(tx, &id)?.ok_or_else(|| no_such("proposal", &id))?;
            let Some(to) = proposals::reopen(tx, &id, now)? else {
                let message = format!("this proposal is {}; only a rejected one can be reopened", row.state);
                return Err(ApiError::new(&kinds::WRONG_STATE, message));
            };
            let vms = reappraise_queue::queue_members(tx, &id, now)?;
            let detail = json!({
                "baseline": row.baseline, "change_key": row.change_key, "state": to, "vms": vms,
                "comment": request.comment,
            });
            audit(tx, now, &caller, "proposal.reopen", &id, &detail)?;
            let row = proposals::by_id(tx, &id)?.ok_or_else(|| no_such("proposal", &id))?;
            Ok((shown(tx, row)?, vms))
        })
        .await?;
    tracing::info!(proposal = row.id, baseline = row.baseline, vms, by, state = %row.state, "proposal reopened");
    members::judge_some(state).await;
    again(state, row.id).await
}

pub(super) fn open(row: &proposals::ProposalRow) -> Result<(), ApiError> {
    match (row.state, row.decided_by.as_deref()) {
        (ProposalState::Open, _) => Ok(()),
        (state, by) => {
            let by = by.map(|by| format!(" by {by}")).unwrap_or_default();
            Err(ApiError::new(&kinds::WRONG_STATE, format!("this proposal is {state}{by} already")))
        }
    }
}

/// The proposal as it is after VMs were judged again.
async fn again(state: &AppState, id: String) -> Result<Proposal, ApiError> {
    state
        .read(move |tx| {
            let row = proposals::by_id(tx, &id)?.ok_or_else(|| no_such("proposal", &id))?;
            Ok(shown(tx, row)?)
        })
        .await
}
