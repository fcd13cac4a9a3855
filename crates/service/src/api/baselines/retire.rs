//! A scope gives its baseline up.

use axum::Json;
use axum::extract::State;
use serde_json::json;
use veriboot_store::baselines;
use veriboot_store::reappraisals::{self as again, NewReappraisal};
use veriboot_wire::{BaselineChanged, BaselineRetire, Problem};

use crate::api::{audit, check_comment, no_such};
use crate::auth::Operator;
use crate::etag::IfMatch;
use crate::extract::{Path, Query};
use crate::problem::kinds;
use crate::{ApiError, AppState, reappraisals};

/// Retire a baseline
///
/// Ends the version that judges a scope now, which the path names by its id, so that a replaced one cannot be ended by
/// mistake. The scope's VMs are judged again: by a less specific baseline, or by none, in which case the next healthy boot
/// is learned. Versions stay in the history. `If-Match` takes the `ETag` of the version: refused with 412 when it does not
/// judge any more.
#[utoipa::path(delete, path = "/v1/baselines/{id}", tag = "baselines", operation_id = "retire_baseline",
    params(("id" = String, Path, description = "Id of the current version"), BaselineRetire,
        ("If-Match" = Option<String>, Header, description = "ETag of the version that was looked at")),
    responses((status = 200, body = BaselineChanged), (status = 404, body = Problem), (status = 409, body = Problem),
        (status = 412, body = Problem)))]
pub(crate) async fn retire(
    Operator(caller): Operator,
    State(state): State<AppState>,
    if_match: IfMatch,
    Path(id): Path<String>,
    Query(query): Query<BaselineRetire>,
) -> Result<Json<BaselineChanged>, ApiError> {
    check_comment(query.comment.as_deref())?;
    let now = state.clock.now();
    let by = caller.name.clone();
    let (retired, reappraisal) = state
        .write(move |tx| {
            let version = baselines::summary(tx, &id)?.ok_or_else(|| no_such("baseline", &id))?;
            if_match.check_version(version.current.then_some((&*version.name, version.version)))?;
            if !version.current {
                let message = format!("{}@{} does not judge any more", version.name, version.version);
                return Err(ApiError::new(&kinds::VERSION_CONFLICT, message));
            }
            baselines::retire(tx, &version.scope, &caller.name, now)?;
            let reference = format!("{}@{}", version.name, version.version);
            let detail = json!({ "baseline": reference, "scope": version.scope, "comment": query.comment });
            audit(tx, now, &caller, "baseline.retire", &id, &detail)?;
            let because = format!("baseline {reference} retired");
            let new = NewReappraisal {
                scope: &version.scope,
                because: &because,
                always: false,
                created_by: &caller.name,
                created_at: now,
            };
            Ok((reference, again::enqueue(tx, &new)?))
        })
        .await?;
    tracing::info!(baseline = retired, by, "baseline retired");
    let reappraisal = reappraisals::drive(&state, reappraisal).await?;
    Ok(Json(BaselineChanged {
        changed: true,
        baseline: None,
        flaws: Vec::new(),
        reappraisal: Some(reappraisal),
    }))
}
