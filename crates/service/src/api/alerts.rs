//! Alerts: list, show, move through their life.

use axum::Json;
use axum::extract::State;
use serde_json::json;
use veriboot_store::alerts::{self, Changed};
use veriboot_wire::{Alert, AlertChange, AlertQuery, AlertState, Page, Problem};

use super::{audit, check_comment, check_limit, not_found};
use crate::auth::{Caller, Operator, Viewer};
use crate::extract::{OptionalJson, Path, Query};
use crate::problem::kinds;
use crate::{ApiError, AppState};

/// List alerts
///
/// Newest first.
#[utoipa::path(get, path = "/v1/alerts", tag = "alerts", operation_id = "list_alerts", params(AlertQuery),
    responses((status = 200, body = Page<Alert>), (status = 400, body = Problem)))]
pub(crate) async fn list(
    _: Viewer,
    State(state): State<AppState>,
    Query(query): Query<AlertQuery>,
) -> Result<Json<Page<Alert>>, ApiError> {
    check_limit(query.limit)?;
    state.read(move |tx| Ok(alerts::list(tx, &query)?)).await.map(Json)
}

/// Show an alert
#[utoipa::path(get, path = "/v1/alerts/{id}", tag = "alerts", operation_id = "show_alert",
    params(("id" = String, Path, description = "Id of the alert")),
    responses((status = 200, body = Alert), (status = 404, body = Problem)))]
pub(crate) async fn show(
    _: Viewer,
    State(state): State<AppState>,
    Path(id): Path<String>,
) -> Result<Json<Alert>, ApiError> {
    let found = state.read(move |tx| Ok(alerts::by_id(tx, &id)?)).await?;
    found.map(Json).ok_or_else(|| not_found("alert"))
}

async fn change(
    state: &AppState,
    caller: Caller,
    id: String,
    change: AlertChange,
    to: AlertState,
    action: &'static str,
) -> Result<Json<Alert>, ApiError> {
    check_comment(change.comment.as_deref())?;
    let now = state.clock.now();
    let by = caller.name.clone();
    let alert = state
        .write(move |tx| {
            let comment = change.comment.as_deref();
            match alerts::change_state(tx, &id, to, &caller.name, comment, now)? {
                Changed::Done(alert) => {
                    let detail = json!({ "vm": alert.vm_id, "reason": alert.reason, "comment": comment });
                    audit(tx, now, &caller, action, &id, &detail)?;
                    Ok(*alert)
                }
                Changed::Unknown => Err(not_found("alert")),
                Changed::Closed(alert) => {
                    let message = format!("this alert is {} already, which is final", alert.state);
                    Err(ApiError::new(&kinds::WRONG_STATE, message)
                        .hint("a new cause raises a new alert; nothing has to be done"))
                }
            }
        })
        .await?;
    let Alert { id, vm_id: vm, vm_name: name, group, reason, .. } = &alert;
    tracing::info!(vm, name, group, alert = id, %reason, by, state = %alert.state, "alert changed");
    Ok(Json(alert))
}

/// Acknowledge an alert
///
/// Somebody works on it: active becomes in progress.
#[utoipa::path(post, path = "/v1/alerts/{id}/acknowledge", tag = "alerts", request_body = AlertChange,
    params(("id" = String, Path, description = "Id of the alert")),
    responses((status = 200, body = Alert), (status = 404, body = Problem), (status = 409, body = Problem)))]
pub(crate) async fn acknowledge(
    Operator(caller): Operator,
    State(state): State<AppState>,
    Path(id): Path<String>,
    OptionalJson(body): OptionalJson<AlertChange>,
) -> Result<Json<Alert>, ApiError> {
    change(&state, caller, id, body, AlertState::InProgress, "alert.acknowledge").await
}

/// Resolve an alert
///
/// The cause is gone. If it is not, the next attestation raises a new alert.
#[utoipa::path(post, path = "/v1/alerts/{id}/resolve", tag = "alerts", request_body = AlertChange,
    params(("id" = String, Path, description = "Id of the alert")),
    responses((status = 200, body = Alert), (status = 404, body = Problem), (status = 409, body = Problem)))]
pub(crate) async fn resolve(
    Operator(caller): Operator,
    State(state): State<AppState>,
    Path(id): Path<String>,
    OptionalJson(body): OptionalJson<AlertChange>,
) -> Result<Json<Alert>, ApiError> {
    change(&state, caller, id, body, AlertState::Resolved, "alert.resolve").await
}

/// Dismiss an alert
///
/// Closed on purpose although the cause may remain: the same findings are counted on it and raise nothing, until a
/// healthy attestation. Other findings raise a new alert.
#[utoipa::path(post, path = "/v1/alerts/{id}/dismiss", tag = "alerts", request_body = AlertChange,
    params(("id" = String, Path, description = "Id of the alert")),
    responses((status = 200, body = Alert), (status = 404, body = Problem), (status = 409, body = Problem)))]
pub(crate) async fn dismiss(
    Operator(caller): Operator,
    State(state): State<AppState>,
    Path(id): Path<String>,
    OptionalJson(body): OptionalJson<AlertChange>,
) -> Result<Json<Alert>, ApiError> {
    change(&state, caller, id, body, AlertState::Dismissed, "alert.dismiss").await
}
