//! One alert moves on.

use axum::Json;
use axum::extract::{FromRequest, FromRequestParts, Request};
use serde_json::json;
use veriboot_store::alerts::{self, Changed};
use veriboot_wire::{Alert, AlertAction, AlertChange, AlertState, Problem};

use super::tag;
use crate::api::{audit, check_comment, not_found};
use crate::auth::{Caller, Operator};
use crate::etag::{ETagged, IfMatch};
use crate::extract::{OptionalJson, Path};
use crate::problem::kinds;
use crate::{ApiError, AppState};

/// The state that an action leads to, and its name in the audit log.
pub(super) const fn leads_to(action: AlertAction) -> (AlertState, &'static str) {
    match action {
        AlertAction::Acknowledge => (AlertState::InProgress, "alert.acknowledge"),
        AlertAction::Resolve => (AlertState::Resolved, "alert.resolve"),
        AlertAction::Dismiss => (AlertState::Dismissed, "alert.dismiss"),
    }
}

/// Who changes which alert or incident, and the state of it that they decided on.
pub(crate) struct Act {
    pub(super) caller: Caller,
    pub(super) state: AppState,
    pub(super) id: String,
    pub(super) if_match: IfMatch,
    pub(super) change: AlertChange,
}

impl FromRequest<AppState> for Act {
    type Rejection = ApiError;
    async fn from_request(request: Request, state: &AppState) -> Result<Self, ApiError> {
        let (mut parts, body) = request.into_parts();
        let Operator(caller) = Operator::from_request_parts(&mut parts, state).await?;
        let Path(id) = Path::from_request_parts(&mut parts, state).await?;
        let if_match = IfMatch::from_request_parts(&mut parts, state).await?;
        let OptionalJson(change) =
            OptionalJson::from_request(Request::from_parts(parts, body), state).await?;
        Ok(Self { caller, state: state.clone(), id, if_match, change })
    }
}

async fn change(act: Act, action: AlertAction) -> Result<ETagged<Json<Alert>>, ApiError> {
    let Act { caller, state, id, if_match, change } = act;
    check_comment(change.comment.as_deref())?;
    let now = state.clock.now();
    let by = caller.name.clone();
    let (to, action) = leads_to(action);
    let alert = state
        .write(move |tx| {
            let found = alerts::by_id(tx, &id)?.ok_or_else(|| not_found("alert"))?;
            if_match.check(Some(&tag(&found)))?;
            let comment = change.comment.as_deref();
            match alerts::change_state(tx, &id, to, &caller.name, comment, now)? {
                Changed::Done(alert) => {
                    let detail = json!({ "vm": alert.vm_id, "reason": alert.reason, "comment": comment });
                    audit(tx, now, &caller, action, &id, &detail)?;
                    Ok(*alert)
                }
                Changed::Unknown => Err(not_found("alert")),
                Changed::Closed(alert) => {
                    let message = format!("this alert is {} already", alert.state);
                    let hint = "nothing has to be done: it is opened again, or a new one raised, when its cause returns";
                    Err(ApiError::new(&kinds::WRONG_STATE, message).hint(hint))
                }
            }
        })
        .await?;
    let Alert { id, vm_id: vm, vm_name: name, group, reason, .. } = &alert;
    tracing::info!(vm, name, group, alert = id, %reason, by, state = %alert.state, "alert changed");
    Ok(ETagged::new(tag(&alert), Json(alert)))
}

/// Acknowledge an alert
///
/// Somebody works on it: active becomes in progress. Takes `If-Match`.
#[utoipa::path(post, path = "/v1/alerts/{id}/acknowledge", tag = "alerts", request_body = AlertChange,
    params(("id" = String, Path, description = "Id of the alert"),
        ("If-Match" = Option<String>, Header, description = "ETag of the alert that was looked at")),
    responses((status = 200, body = Alert), (status = 404, body = Problem), (status = 409, body = Problem),
        (status = 412, body = Problem)))]
pub(crate) async fn acknowledge(act: Act) -> Result<ETagged<Json<Alert>>, ApiError> {
    change(act, AlertAction::Acknowledge).await
}

/// Resolve an alert
///
/// The cause is gone. If it is not, the next attestation opens the alert again. Takes `If-Match`.
#[utoipa::path(post, path = "/v1/alerts/{id}/resolve", tag = "alerts", request_body = AlertChange,
    params(("id" = String, Path, description = "Id of the alert"),
        ("If-Match" = Option<String>, Header, description = "ETag of the alert that was looked at")),
    responses((status = 200, body = Alert), (status = 404, body = Problem), (status = 409, body = Problem),
        (status = 412, body = Problem)))]
pub(crate) async fn resolve(act: Act) -> Result<ETagged<Json<Alert>>, ApiError> {
    change(act, AlertAction::Resolve).await
}

/// Dismiss an alert
///
/// Closed on purpose although the cause may remain: the same findings are counted on it and raise nothing, until a
/// healthy attestation. Other findings raise a new alert. Takes `If-Match`.
#[utoipa::path(post, path = "/v1/alerts/{id}/dismiss", tag = "alerts", request_body = AlertChange,
    params(("id" = String, Path, description = "Id of the alert"),
        ("If-Match" = Option<String>, Header, description = "ETag of the alert that was looked at")),
    responses((status = 200, body = Alert), (status = 404, body = Problem), (status = 409, body = Problem),
        (status = 412, body = Problem)))]
pub(crate) async fn dismiss(act: Act) -> Result<ETagged<Json<Alert>>, ApiError> {
    change(act, AlertAction::Dismiss).await
}
