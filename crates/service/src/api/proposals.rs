//! Proposals: list, show, approve, reject.

use axum::Json;
use axum::extract::State;
use veriboot_store::proposals;
use veriboot_wire::{
    ExpectedProposal, HistoryQuery, Page, Problem, Proposal, ProposalApprove, ProposalDetail, ProposalMember,
    ProposalQuery, ProposalReject, ProposalReopen, ProposalsApprove, ProposalsApproved,
};

use super::{check_limit, no_such};
use crate::auth::{Operator, Viewer};
use crate::extract::{Json as Body, OptionalJson, Path, Query};
use crate::proposals::{self as decisions, shown};
use crate::{ApiError, AppState};

/// List proposals
///
/// Changes of trusted classes that VMs booted and that wait for a decision, and what became of earlier ones; newest
/// first.
#[utoipa::path(get, path = "/v1/proposals", tag = "proposals", operation_id = "list_proposals",
    params(ProposalQuery), responses((status = 200, body = Page<Proposal>), (status = 400, body = Problem)))]
pub(crate) async fn list(
    _: Viewer,
    State(state): State<AppState>,
    Query(query): Query<ProposalQuery>,
) -> Result<Json<Page<Proposal>>, ApiError> {
    check_limit(query.limit)?;
    state
        .read(move |tx| {
            let page = proposals::list(tx, &query)?;
            let items = page.items.into_iter().map(|row| Ok(shown(tx, row)?));
            Ok(Page { items: items.collect::<Result<_, ApiError>>()?, next_cursor: page.next_cursor })
        })
        .await
        .map(Json)
}

/// Show a proposal
///
/// With the difference to the baseline in words, and the boot that stands for it.
#[utoipa::path(get, path = "/v1/proposals/{id}", tag = "proposals", operation_id = "show_proposal",
    params(("id" = String, Path, description = "Id of the proposal")),
    responses((status = 200, body = ProposalDetail), (status = 404, body = Problem)))]
pub(crate) async fn show(
    _: Viewer,
    State(state): State<AppState>,
    Path(id): Path<String>,
) -> Result<Json<ProposalDetail>, ApiError> {
    state
        .read(move |tx| {
            let row = proposals::by_id(tx, &id)?.ok_or_else(|| no_such("proposal", &id))?;
            let representative = row.representative.clone();
            let findings = proposals::findings(tx, &id)?;
            Ok(ProposalDetail { proposal: shown(tx, row)?, representative, findings })
        })
        .await
        .map(Json)
}

/// List the members of a proposal
///
/// VMs whose last attestation shows the change, by when they came to show it. Only open and rejected proposals have
/// any.
#[utoipa::path(get, path = "/v1/proposals/{id}/members", tag = "proposals", operation_id = "list_proposal_members",
    params(("id" = String, Path, description = "Id of the proposal"), HistoryQuery),
    responses((status = 200, body = Page<ProposalMember>), (status = 404, body = Problem)))]
pub(crate) async fn members(
    _: Viewer,
    State(state): State<AppState>,
    Path(id): Path<String>,
    Query(query): Query<HistoryQuery>,
) -> Result<Json<Page<ProposalMember>>, ApiError> {
    check_limit(query.limit)?;
    state
        .read(move |tx| {
            proposals::by_id(tx, &id)?.ok_or_else(|| no_such("proposal", &id))?;
            Ok(proposals::members(tx, &id, query.limit, query.cursor.as_deref())?)
        })
        .await
        .map(Json)
}

/// Approve a proposal
///
/// What it shows becomes part of the next version of the baseline, and the VMs that show it are judged again at once.
/// Refused when the proposal or the baseline is another one by now than the one that was looked at.
#[utoipa::path(post, path = "/v1/proposals/{id}/approve", tag = "proposals", operation_id = "approve_proposal",
    request_body = ProposalApprove, params(("id" = String, Path, description = "Id of the proposal")),
    responses((status = 200, body = ProposalsApproved), (status = 404, body = Problem), (status = 409, body = Problem)))]
pub(crate) async fn approve(
    Operator(caller): Operator,
    State(state): State<AppState>,
    Path(id): Path<String>,
    Body(request): Body<ProposalApprove>,
) -> Result<Json<ProposalsApproved>, ApiError> {
    let ProposalApprove { expected_etag, comment, replace } = request;
    let request =
        ProposalsApprove { proposals: vec![ExpectedProposal { id, expected_etag }], comment, replace };
    decisions::approve(&state, caller, request).await.map(Json)
}

/// Approve several proposals
///
/// All of them, or none. Those against one baseline become one version together.
#[utoipa::path(post, path = "/v1/proposals/approve", tag = "proposals", operation_id = "approve_proposals",
    request_body = ProposalsApprove,
    responses((status = 200, body = ProposalsApproved), (status = 404, body = Problem), (status = 409, body = Problem)))]
pub(crate) async fn approve_several(
    Operator(caller): Operator,
    State(state): State<AppState>,
    Body(request): Body<ProposalsApprove>,
) -> Result<Json<ProposalsApproved>, ApiError> {
    decisions::approve(&state, caller, request).await.map(Json)
}

/// Reject a proposal
///
/// VMs that show the change are unhealthy, now and whenever they attest, also against later versions of the baseline,
/// until the proposal is reopened or a baseline accepts what they booted.
#[utoipa::path(post, path = "/v1/proposals/{id}/reject", tag = "proposals", operation_id = "reject_proposal",
    request_body = ProposalReject, params(("id" = String, Path, description = "Id of the proposal")),
    responses((status = 200, body = Proposal), (status = 404, body = Problem), (status = 409, body = Problem)))]
pub(crate) async fn reject(
    Operator(caller): Operator,
    State(state): State<AppState>,
    Path(id): Path<String>,
    Body(request): Body<ProposalReject>,
) -> Result<Json<Proposal>, ApiError> {
    decisions::reject(&state, caller, id, request).await.map(Json)
}

/// Reopen a rejected proposal
///
/// VMs that show the change are healthy and marked again. Superseded when the baseline has another version by now:
/// what the VMs show against that one is a proposal of its own.
#[utoipa::path(post, path = "/v1/proposals/{id}/reopen", tag = "proposals", operation_id = "reopen_proposal",
    request_body = ProposalReopen, params(("id" = String, Path, description = "Id of the proposal")),
    responses((status = 200, body = Proposal), (status = 404, body = Problem), (status = 409, body = Problem)))]
pub(crate) async fn reopen(
    Operator(caller): Operator,
    State(state): State<AppState>,
    Path(id): Path<String>,
    OptionalJson(request): OptionalJson<ProposalReopen>,
) -> Result<Json<Proposal>, ApiError> {
    decisions::reopen(&state, caller, id, request).await.map(Json)
}
