//! Alerts and what belongs to them: lists, their life, bulk actions, incidents, suppression rules.

mod bulk;
mod change;
mod incidents;
mod suppressions;

use axum::Json;
use axum::extract::State;
use axum::response::Response;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use veriboot_store::alerts;
use veriboot_wire::{Alert, AlertQuery, MAX_EXPORT_ROWS, Page, Problem};

use super::{check_limit, csv, not_found};
use crate::auth::Viewer;
use crate::etag::{ETag, ETagged};
use crate::extract::{Path, Query};
use crate::{ApiError, AppState};

/// Routes about alerts.
pub(super) fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(show))
        .routes(routes!(export))
        .routes(routes!(change::acknowledge))
        .routes(routes!(change::resolve))
        .routes(routes!(change::dismiss))
        .routes(routes!(bulk::change))
        .routes(routes!(incidents::list))
        .routes(routes!(incidents::export))
        .routes(routes!(incidents::show))
        .routes(routes!(incidents::members))
        .routes(routes!(incidents::acknowledge))
        .routes(routes!(incidents::resolve))
        .routes(routes!(incidents::dismiss))
        .routes(routes!(suppressions::list, suppressions::create))
        .routes(routes!(suppressions::simulate))
        .routes(routes!(suppressions::show))
        .routes(routes!(suppressions::end))
}

/// The state of an alert that a change is decided on: its state and cause, not how often it was raised.
fn tag(alert: &Alert) -> ETag {
    ETag::of_revision(alert.revision)
}

/// List alerts
///
/// Newest first, or in another order; open, closed and suppressed ones, as the filters say.
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

/// Export alerts as CSV
///
/// The rows of the list with these filters, without findings and timelines, at most 10,000 and `limit` where it is given.
/// The header `X-Next-Cursor` is there when there are more. For JSON take the list itself.
#[utoipa::path(get, path = "/v1/alerts.csv", tag = "alerts", operation_id = "export_alerts", params(AlertQuery),
    responses((status = 200, body = String, content_type = "text/csv"), (status = 400, body = Problem)))]
pub(crate) async fn export(
    _: Viewer,
    State(state): State<AppState>,
    Query(query): Query<AlertQuery>,
) -> Result<Response, ApiError> {
    let page = |rows, cursor| {
        let part = AlertQuery { limit: Some(rows), cursor, ..query.clone() };
        state.read(move |tx| Ok(alerts::list(tx, &part)?))
    };
    let cursor = query.cursor.clone();
    csv::export(query.limit, MAX_EXPORT_ROWS, &Alert::CSV_HEADER, cursor, page, Alert::csv).await
}

/// Show an alert
///
/// The answer's `ETag` names its state and cause: give it as `If-Match` to change exactly this.
#[utoipa::path(get, path = "/v1/alerts/{id}", tag = "alerts", operation_id = "show_alert",
    params(("id" = String, Path, description = "Id of the alert")),
    responses((status = 200, body = Alert), (status = 404, body = Problem)))]
pub(crate) async fn show(
    _: Viewer,
    State(state): State<AppState>,
    Path(id): Path<String>,
) -> Result<ETagged<Json<Alert>>, ApiError> {
    let found = state.read(move |tx| Ok(alerts::by_id(tx, &id)?)).await?;
    let alert = found.ok_or_else(|| not_found("alert"))?;
    Ok(ETagged::new(tag(&alert), Json(alert)))
}
