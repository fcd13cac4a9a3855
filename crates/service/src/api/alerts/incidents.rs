//! Incidents: list, show, members, and actions on all of their alerts.

use axum::Json;
use axum::extract::State;
use axum::response::Response;
use serde_json::json;
use veriboot_store::{StoreError, Tx, incidents};
use veriboot_wire::{
    AlertAction, AlertChange, AlertQuery, AlertsChanged, HistoryQuery, Incident, IncidentMember,
    IncidentQuery, MAX_EXPORT_ROWS, Page, Problem,
};

use super::bulk::{self, Bulk};
use super::change::Act;
use crate::api::{check_comment, check_limit, csv, not_found};
use crate::auth::Viewer;
use crate::etag::{ETag, ETagged};
use crate::extract::{Path, Query};
use crate::{ApiError, AppState};

/// List incidents
///
/// Alerts of members of one scale set with one reason and one cause, newest first, or as `sort` says.
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
) -> Result<ETagged<Json<Incident>>, ApiError> {
    let (tag, incident) = state
        .read(move |tx| {
            let incident = incidents::by_id(tx, &id)?.ok_or_else(|| not_found("incident"))?;
            Ok((tag(tx, &incident)?, incident))
        })
        .await?;
    let incident = Incident { etag: Some(tag.name().to_owned()), ..incident };
    Ok(ETagged::new(tag, Json(incident)))
}

/// Of its alerts and their states.
fn tag(tx: &mut dyn Tx, incident: &Incident) -> Result<ETag, StoreError> {
    let state = incidents::state_of_members(tx, &incident.id)?;
    Ok(ETag::of_state(state.get(..32).unwrap_or(&state)))
}

/// Export incidents as CSV
///
/// The rows of the list with these filters, at most 10,000 and `limit` where it is given. The header `X-Next-Cursor` is
/// there when there are more. For JSON take the list itself.
#[utoipa::path(get, path = "/v1/incidents.csv", tag = "alerts", operation_id = "export_incidents",
    params(IncidentQuery),
    responses((status = 200, body = String, content_type = "text/csv"), (status = 400, body = Problem)))]
pub(crate) async fn export(
    _: Viewer,
    State(state): State<AppState>,
    Query(query): Query<IncidentQuery>,
) -> Result<Response, ApiError> {
    let page = |rows, cursor| {
        let part = IncidentQuery { limit: Some(rows), cursor, ..query.clone() };
        state.read(move |tx| Ok(incidents::list(tx, &part)?))
    };
    let cursor = query.cursor.clone();
    csv::export(query.limit, MAX_EXPORT_ROWS, &Incident::CSV_HEADER, cursor, page, Incident::csv).await
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
async fn change(act: Act, action: AlertAction) -> Result<Json<AlertsChanged>, ApiError> {
    let Act { caller, state, id, if_match, change } = act;
    check_comment(change.comment.as_deref())?;
    let query = AlertQuery { incident: Some(id.clone()), ..AlertQuery::default() };
    let open = bulk::found(&state, query).await?;
    // After its alerts were read: when it is what the caller looked at even now, they are those that the caller saw.
    let look = id.clone();
    state
        .read(move |tx| {
            let incident = incidents::by_id(tx, &look)?.ok_or_else(|| not_found("incident"))?;
            if_match.check(Some(&tag(tx, &incident)?))
        })
        .await?;
    let ids = open.into_iter().map(|alert| alert.id).collect();
    let bulk = Bulk { caller, action, comment: change.comment, selected_by: json!({ "incident": id }) };
    bulk::run(&state, &bulk, ids).await.map(Json)
}

/// Acknowledge all alerts of an incident
///
/// Takes `If-Match`, as resolving and dismissing do: refused when an alert joined or changed since the incident was shown.
#[utoipa::path(post, path = "/v1/incidents/{id}/acknowledge", tag = "alerts", operation_id = "acknowledge_incident",
    request_body = AlertChange, params(("id" = String, Path, description = "Id of the incident"),
        ("If-Match" = Option<String>, Header, description = "ETag of the incident that was looked at")),
    responses((status = 200, body = AlertsChanged), (status = 404, body = Problem), (status = 412, body = Problem)))]
pub(crate) async fn acknowledge(act: Act) -> Result<Json<AlertsChanged>, ApiError> {
    change(act, AlertAction::Acknowledge).await
}

/// Resolve all alerts of an incident
///
/// Closes it. Alerts whose cause remains come back with the next attestation.
#[utoipa::path(post, path = "/v1/incidents/{id}/resolve", tag = "alerts", operation_id = "resolve_incident",
    request_body = AlertChange, params(("id" = String, Path, description = "Id of the incident"),
        ("If-Match" = Option<String>, Header, description = "ETag of the incident that was looked at")),
    responses((status = 200, body = AlertsChanged), (status = 404, body = Problem), (status = 412, body = Problem)))]
pub(crate) async fn resolve(act: Act) -> Result<Json<AlertsChanged>, ApiError> {
    change(act, AlertAction::Resolve).await
}

/// Dismiss all alerts of an incident
///
/// Closes it. The same findings of the same VMs raise nothing until they are healthy; further VMs of the scale set open a
/// new incident.
#[utoipa::path(post, path = "/v1/incidents/{id}/dismiss", tag = "alerts", operation_id = "dismiss_incident",
    request_body = AlertChange, params(("id" = String, Path, description = "Id of the incident"),
        ("If-Match" = Option<String>, Header, description = "ETag of the incident that was looked at")),
    responses((status = 200, body = AlertsChanged), (status = 404, body = Problem), (status = 412, body = Problem)))]
pub(crate) async fn dismiss(act: Act) -> Result<Json<AlertsChanged>, ApiError> {
    change(act, AlertAction::Dismiss).await
}
