//! Scale sets: what their members booted, and who booted something else.

use axum::Json;
use axum::extract::State;
use veriboot_store::scale_sets;
use veriboot_wire::{Page, Problem, ScaleSet, ScaleSetDetail, ScaleSetQuery};

use super::{check_limit, no_such};
use crate::auth::Viewer;
use crate::extract::{Path, Query};
use crate::{ApiError, AppState, odd_one_out};

/// List scale sets
///
/// Ordered by group, then name.
#[utoipa::path(get, path = "/v1/scale-sets", tag = "scale-sets", operation_id = "list_scale_sets",
    params(ScaleSetQuery), responses((status = 200, body = Page<ScaleSet>), (status = 400, body = Problem)))]
pub(crate) async fn list(
    _: Viewer,
    State(state): State<AppState>,
    Query(query): Query<ScaleSetQuery>,
) -> Result<Json<Page<ScaleSet>>, ApiError> {
    check_limit(query.limit)?;
    state.read(move |tx| Ok(scale_sets::list(tx, &query)?)).await.map(Json)
}

/// Show a scale set
///
/// Its members by what they booted, largest group first, and what each smaller group does differently. Works without
/// any baseline. Members whose present boot is not known or not believed are not compared.
#[utoipa::path(get, path = "/v1/scale-sets/{group}/{name}", tag = "scale-sets", operation_id = "show_scale_set",
    params(("group" = String, Path, description = "Group"), ("name" = String, Path, description = "Name")),
    responses((status = 200, body = ScaleSetDetail), (status = 404, body = Problem)))]
pub(crate) async fn show(
    _: Viewer,
    State(state): State<AppState>,
    Path((group, name)): Path<(String, String)>,
) -> Result<Json<ScaleSetDetail>, ApiError> {
    odd_one_out::detail(&state, &group, &name).await?.map(Json).ok_or_else(|| no_such("scale set", &name))
}
