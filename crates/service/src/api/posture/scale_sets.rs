//! The posture of uniform scale sets: what their members come to together.

use axum::Json;
use axum::extract::State;
use veriboot_store::assessments::{self as store, CheckStatus, SetAssessment};
use veriboot_wire::{
    AssessmentStatus, CheckCounts, Page, Problem, ScaleSetPosture, SetCheck, SetPostureQuery,
};

use super::{by_check, resources, tally};
use crate::api::check_limit;
use crate::auth::Viewer;
use crate::extract::Query;
use crate::{ApiError, AppState};

/// List the posture of scale sets
///
/// Ordered by group, then name. A check is unhealthy for the set when it is for one member.
#[utoipa::path(get, path = "/v1/posture/scale-sets", tag = "posture", operation_id = "list_scale_set_postures",
    params(SetPostureQuery),
    responses((status = 200, body = Page<ScaleSetPosture>), (status = 400, body = Problem)))]
pub(crate) async fn list(
    _: Viewer,
    State(state): State<AppState>,
    Query(query): Query<SetPostureQuery>,
) -> Result<Json<Page<ScaleSetPosture>>, ApiError> {
    check_limit(query.limit)?;
    state
        .read(move |tx| {
            let names = store::sets_page(tx, query.group.as_deref(), query.limit, query.cursor.as_deref())?;
            let (Some(first), Some(last)) = (names.items.first(), names.items.last()) else {
                return Ok(Page { items: Vec::new(), next_cursor: None });
            };
            let counts = store::set_counts(tx, (&first.0, &first.1), (&last.0, &last.1))?;
            let known = store::set_assessments(tx, (&first.0, &first.1), (&last.0, &last.1))?;
            let mut known = known.into_iter().peekable();
            let mut rest = counts.into_iter().peekable();
            let mut items = Vec::with_capacity(names.items.len());
            for (group, name) in &names.items {
                let mut members = Vec::new();
                while let Some(one) = rest.next_if(|c| (&c.count.group, &c.scale_set) == (group, name)) {
                    members.push(one.count);
                }
                let mut of_set = Vec::new();
                while let Some(one) = known.next_if(|one| (&one.group, &one.scale_set) <= (group, name)) {
                    if (&one.group, &one.scale_set) == (group, name) {
                        of_set.push(one);
                    }
                }
                items.push(set(group, name, &members, &of_set));
            }
            Ok(Page { items, next_cursor: names.next_cursor })
        })
        .await
        .map(Json)
}

fn set(group: &str, name: &str, counts: &[CheckStatus], known: &[SetAssessment]) -> ScaleSetPosture {
    ScaleSetPosture {
        group: group.to_owned(),
        name: name.to_owned(),
        score: tally(counts).score(),
        members: resources(counts),
        checks: by_check(counts)
            .into_iter()
            .map(|counts| {
                let status = status(&counts);
                let known = known.iter().find(|known| known.check == counts.check && known.status == status);
                SetCheck {
                    status,
                    cause: known.and_then(|known| known.cause.clone()),
                    first_evaluated_at: known.map(|known| known.first_evaluated_at),
                    last_status_change_at: known.map(|known| known.last_status_change_at),
                    counts,
                }
            })
            .collect(),
    }
}

fn status(counts: &CheckCounts) -> AssessmentStatus {
    match (counts.unhealthy, counts.healthy) {
        (0, 0) => AssessmentStatus::NotApplicable,
        (0, _) => AssessmentStatus::Healthy,
        _ => AssessmentStatus::Unhealthy,
    }
}
