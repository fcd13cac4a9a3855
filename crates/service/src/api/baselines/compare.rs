//! Two versions beside each other.

use axum::Json;
use axum::extract::State;
use veriboot_appraisal::diff_baselines;
use veriboot_store::baselines;
use veriboot_wire::{BaselineAgainst, BaselineDiff, Problem};

use super::apply::off_the_network;
use super::{believed, find};
use crate::api::{no_such, not_found};
use crate::auth::Viewer;
use crate::extract::{Path, Query};
use crate::{ApiError, AppState};

/// Compare two versions
///
/// What this version changes against another one: against the version before, unless `against` names one. Both may be of
/// different scopes.
#[utoipa::path(get, path = "/v1/baselines/{id}/diff", tag = "baselines", operation_id = "diff_baselines",
    params(("id" = String, Path, description = "Id of the later version"), BaselineAgainst),
    responses((status = 200, body = BaselineDiff), (status = 404, body = Problem)))]
pub(crate) async fn diff(
    _: Viewer,
    State(state): State<AppState>,
    Path(id): Path<String>,
    Query(query): Query<BaselineAgainst>,
) -> Result<Json<BaselineDiff>, ApiError> {
    let (from, to) = state
        .read(move |tx| {
            let to = find(tx, &id)?.ok_or_else(|| no_such("baseline", &id))?;
            let from = match &query.against {
                Some(key) => find(tx, key)?,
                None => match to.summary.version.checked_sub(1) {
                    Some(before) => baselines::by_name(tx, &to.summary.name, Some(before))?,
                    None => None,
                },
            };
            Ok((from.ok_or_else(|| not_found("baseline to compare with"))?, to))
        })
        .await?;
    let names = (from.reference(), to.reference());
    let (a, b) = (believed(&state, from).await?, believed(&state, to).await?);
    let changes = off_the_network(move || Ok(diff_baselines(&a, &b))).await?;
    Ok(Json(BaselineDiff { from: names.0, to: names.1, changes }))
}
