//! How far VMs are judged again after a change.

use axum::Json;
use axum::extract::State;
use veriboot_store::reappraisals;
use veriboot_wire::{HistoryQuery, Page, Problem, Reappraisal};

use crate::api::{check_limit, no_such};
use crate::auth::Viewer;
use crate::extract::{Path, Query};
use crate::{ApiError, AppState};

/// List re-appraisals
///
/// Newest first: after which changes VMs are judged again, and how far that is. The last 1,000 are kept.
#[utoipa::path(get, path = "/v1/reappraisals", tag = "baselines", operation_id = "list_reappraisals",
    params(HistoryQuery), responses((status = 200, body = Page<Reappraisal>)))]
pub(crate) async fn list(
    _: Viewer,
    State(state): State<AppState>,
    Query(query): Query<HistoryQuery>,
) -> Result<Json<Page<Reappraisal>>, ApiError> {
    check_limit(query.limit)?;
    state.read(move |tx| Ok(reappraisals::list(tx, query.limit, query.cursor.as_deref())?)).await.map(Json)
}

/// Show a re-appraisal
///
/// How far it is.
#[utoipa::path(get, path = "/v1/reappraisals/{id}", tag = "baselines", operation_id = "show_reappraisal",
    params(("id" = String, Path, description = "Id of the re-appraisal")),
    responses((status = 200, body = Reappraisal), (status = 404, body = Problem)))]
pub(crate) async fn show(
    _: Viewer,
    State(state): State<AppState>,
    Path(id): Path<String>,
) -> Result<Json<Reappraisal>, ApiError> {
    let found =
        state.read(move |tx| reappraisals::by_id(tx, &id)?.ok_or_else(|| no_such("re-appraisal", &id)));
    found.await.map(Json)
}
