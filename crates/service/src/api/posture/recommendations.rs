//! Checks that do not hold somewhere.

use axum::Json;
use axum::extract::State;
use veriboot_posture::checks;
use veriboot_store::assessments::{self as store};
use veriboot_wire::{
    AssessmentQuery, AssessmentStatus, CheckCounts, Problem, Recommendation, RecommendationCounts,
    RecommendationDetail, RecommendationQuery,
};

use super::{by_check, check_place, known_check};
use crate::api::check_limit;
use crate::auth::Viewer;
use crate::extract::{Path, Query};
use crate::{ApiError, AppState};

/// List recommendations
///
/// Checks that do not hold somewhere, most important first: how many resources are affected, why, and what to do.
#[utoipa::path(get, path = "/v1/recommendations", tag = "posture", operation_id = "list_recommendations",
    params(RecommendationQuery),
    responses((status = 200, body = Vec<Recommendation>), (status = 400, body = Problem)))]
pub(crate) async fn list(
    _: Viewer,
    State(state): State<AppState>,
    Query(query): Query<RecommendationQuery>,
) -> Result<Json<Vec<Recommendation>>, ApiError> {
    check_place(query.group.as_ref(), query.scale_set.as_ref())?;
    let found = state
        .read(move |tx| {
            let (group, set) = (query.group.as_deref(), query.scale_set.as_deref());
            let counts = by_check(&store::counts(tx, group, set)?);
            let mut found = Vec::new();
            for (check, counts) in checks().iter().zip(counts).filter(|(_, counts)| counts.unhealthy > 0) {
                let causes = store::causes(tx, &check.id, group, set)?;
                found.push(recommendation(check, &counts, causes));
            }
            Ok(found)
        })
        .await?;
    Ok(Json(found))
}

/// Show a recommendation
///
/// One check with its document and a page of the resources on which it does not hold. Where it holds everywhere, the list
/// of resources is empty.
#[utoipa::path(get, path = "/v1/recommendations/{check}", tag = "posture", operation_id = "show_recommendation",
    params(("check" = String, Path, description = "Id of the check"), RecommendationQuery),
    responses((status = 200, body = RecommendationDetail), (status = 404, body = Problem)))]
pub(crate) async fn show(
    _: Viewer,
    State(state): State<AppState>,
    Path(check): Path<String>,
    Query(query): Query<RecommendationQuery>,
) -> Result<Json<RecommendationDetail>, ApiError> {
    let check = known_check(&check)?;
    check_limit(query.limit)?;
    check_place(query.group.as_ref(), query.scale_set.as_ref())?;
    state
        .read(move |tx| {
            let (group, set) = (query.group.as_deref(), query.scale_set.as_deref());
            let counts = store::counts(tx, group, set)?;
            let counts = by_check(&counts).into_iter().find(|c| c.check == check.id).unwrap_or_default();
            let causes = store::causes(tx, &check.id, group, set)?;
            let affected = AssessmentQuery {
                check: Some(check.id.clone()),
                status: Some(AssessmentStatus::Unhealthy),
                group: query.group.clone(),
                scale_set: query.scale_set.clone(),
                limit: query.limit,
                cursor: query.cursor.clone(),
                ..AssessmentQuery::default()
            };
            Ok(RecommendationDetail {
                recommendation: recommendation(check, &counts, causes),
                document: check.clone(),
                resources: store::list(tx, &affected, None)?,
            })
        })
        .await
        .map(Json)
}

fn recommendation(
    check: &veriboot_wire::Check,
    counts: &CheckCounts,
    causes: Vec<veriboot_wire::CauseCount>,
) -> Recommendation {
    Recommendation {
        check: check.id.clone(),
        title: check.title.clone(),
        severity: check.severity,
        weight: check.weight,
        counts: RecommendationCounts {
            unhealthy: counts.unhealthy,
            healthy: counts.healthy,
            not_applicable: counts.not_applicable,
        },
        causes,
        remediation: check.remediation.clone(),
    }
}
