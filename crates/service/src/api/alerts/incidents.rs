//! Incidents: list, show, members, and actions on all of their alerts.

use axum::Json;
use axum::extract::State;
use serde_json::json;
use veriboot_store::incidents;
use veriboot_wire::{
    AlertAction, AlertChange, AlertQuery, AlertsChanged, HistoryQuery, Incident, IncidentMember,
    IncidentQuery, Page, Problem,
};

use super::bulk::{self, Bulk};
use crate::api::{check_comment, check_limit, not_found};
use crate::auth::{Caller, Operator, Viewer};
use crate::extract::{OptionalJson, Path, Query};
use crate::{ApiError, AppState};

/// List incidents
///
/// Alerts of members of one scale set with one reason and one cause, newest first.
#[utoipa::path(get, path = "/v1/incidents", tag = "alerts", operation_id = "list_incidents", params(IncidentQuery),
    responses((status = 200, body = Page<Incident>), (status = 400, body = Problem)))]
pub(crate) async fn list(
    _: Viewer,
    State(state): State<AppState>,
    Query(query): Query<IncidentQuery>,
) -> Result<Json<Page<Incident>>, ApiError> {
    check_limit(query.limit)?;
    state.read(move |tx| Ok(incidents::list(tx, &query)?)).await.map(Json)
}

/// Show an incident
#[utoipa::path(get, path = "/v1/incidents/{id}", tag = "alerts", operation_id = "show_incident",
    params(("id" = String, Path, description = "Id of the incident")),
    responses((status = 200, body = Incident), (status = 404, body = Problem)))]
pub(crate) async fn show(
    _: Viewer,
    State(state): State<AppState>,
    Path(id): Path<String>,
) -> Result<Json<Incident>, ApiError> {
    let found = state.read(move |tx| Ok(incidents::by_id(tx, &id)?)).await?;
    found.map(Json).ok_or_else(|| not_found("incident"))
}

/// List the members of an incident
///
/// Its alerts, by the first time that they were raised; closed ones too.
#[utoipa::path(get, path = "/v1/incidents/{id}/members", tag = "alerts", operation_id = "list_incident_members",
    params(("id" = String, Path, description = "Id of the incident"), HistoryQuery),
    responses((status = 200, body = Page<IncidentMember>), (status = 404, body = Problem)))]
pub(crate) async fn members(
    _: Viewer,
    State(state): State<AppState>,
    Path(id): Path<String>,
    Query(query): Query<HistoryQuery>,
) -> Result<Json<Page<IncidentMember>>, ApiError> {
    check_limit(query.limit)?;
    state
        .read(move |tx| {
            incidents::by_id(tx, &id)?.ok_or_else(|| not_found("incident"))?;
            Ok(incidents::members(tx, &id, query.limit, query.cursor.as_deref())?)
        })
        .await
        .map(Json)
}

/// Acts on the alerts of an incident that are open now; one that joins meanwhile keeps it open.
async fn act(
    state: &AppState,
    caller: Caller,
    id: String,
    change: AlertChange,
    action: AlertAction,
) -> Result<Json<AlertsChanged>, ApiError> {
    check_comment(change.comment.as_deref())?;
    let look = id.clone();
    let found = state.read(move |tx| Ok(incidents::by_id(tx, &look)?)).await?;
    found.ok_or_else(|| not_found("incident"))?;
    let query = AlertQuery { incident: Some(id.clone()), ..AlertQuery::default() };
    let open = bulk::found(state, query).await?;
    let ids = open.into_iter().map(|alert| alert.id).collect();
    let bulk = Bulk { caller, action, comment: change.comment, selected_by: json!({ "incident": id }) };
    bulk::run(state, &bulk, ids).await.map(Json)
}

/// Acknowledge all alerts of an incident
#[utoipa::path(post, path = "/v1/incidents/{id}/acknowledge", tag = "alerts", operation_id = "acknowledge_incident",
    request_body = AlertChange, params(("id" = String, Path, description = "Id of the incident")),
    responses((status = 200, body = AlertsChanged), (status = 404, body = Problem)))]
pub(crate) async fn acknowledge(
    Operator(caller): Operator,
    State(state): State<AppState>,
    Path(id): Path<String>,
    OptionalJson(body): OptionalJson<AlertChange>,
) -> Result<Json<AlertsChanged>, ApiError> {
    act(&state, caller, id, body, AlertAction::Acknowledge).await
}

/// Resolve all alerts of an incident
///
/// Closes it. Alerts whose cause remains come back with the next attestation.
#[utoipa::path(post, path = "/v1/incidents/{id}/resolve", tag = "alerts", operation_id = "resolve_incident",
    request_body = AlertChange, params(("id" = String, Path, description = "Id of the incident")),
    responses((status = 200, body = AlertsChanged), (status = 404, body = Problem)))]
pub(crate) async fn resolve(
    Operator(caller): Operator,
    State(state): State<AppState>,
    Path(id): Path<String>,
    OptionalJson(body): OptionalJson<AlertChange>,
) -> Result<Json<AlertsChanged>, ApiError> {
    act(&state, caller, id, body, AlertAction::Resolve).await
}

/// Dismiss all alerts of an incident
///
/// Closes it. The same findings of the same VMs raise nothing until they are healthy; further VMs of the scale set open a
/// new incident.
#[utoipa::path(post, path = "/v1/incidents/{id}/dismiss", tag = "alerts", operation_id = "dismiss_incident",
    request_body = AlertChange, params(("id" = String, Path, description = "Id of the incident")),
    responses((status = 200, body = AlertsChanged), (status = 404, body = Problem)))]
pub(crate) async fn dismiss(
    Operator(caller): Operator,
    State(state): State<AppState>,
    Path(id): Path<String>,
    OptionalJson(body): OptionalJson<AlertChange>,
) -> Result<Json<AlertsChanged>, ApiError> {
    act(&state, caller, id, body, AlertAction::Dismiss).await
}
