//! Posture: checks, the score, recommendations and assessments.

mod assessments;
mod recommendations;
mod scale_sets;

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use veriboot_posture::{CheckId, Tally, checks, score};
use veriboot_store::assessments::{self as store, CheckStatus};
use veriboot_wire::{
    AssessmentStatus, CheckCounts, Checks, GroupScore, Posture, PostureCheck, PostureQuery, Problem,
    ScorePoint,
};

use super::{check_range, invalid};
use crate::auth::Viewer;
use crate::extract::Query;
use crate::problem::kinds;
use crate::{ApiError, AppState, posture};

/// Groups of one answer.
const MAX_GROUPS: usize = 1000;
/// Days of a trend when nobody asks for others.
const USUAL_DAYS: u32 = 30;
/// Days that points are kept.
const MAX_DAYS: u32 = 400;
const DAY_S: i64 = 86_400;

/// Routes about posture.
pub(super) fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(list_checks))
        .routes(routes!(show))
        .routes(routes!(scale_sets::list))
        .routes(routes!(recommendations::list))
        .routes(routes!(recommendations::show))
        .routes(routes!(assessments::list))
        .routes(routes!(assessments::export))
}

/// List checks
///
/// The document of all checks: what each wants, why, and what to do when it does not hold; and the revisions that evidence
/// is held against.
#[utoipa::path(get, path = "/v1/checks", tag = "posture", operation_id = "list_checks",
    responses((status = 200, body = Checks)))]
pub(crate) async fn list_checks(_: Viewer, State(state): State<AppState>) -> Result<Json<Checks>, ApiError> {
    let references = state.read(|tx| Ok(posture::references(tx)?)).await?;
    Ok(Json(Checks { checks: checks().to_vec(), references }))
}

/// Show the posture
///
/// Of the fleet with its groups, or of one group: score, each check, and how the score went. docs/posture.md says how the
/// score comes about.
#[utoipa::path(get, path = "/v1/posture", tag = "posture", operation_id = "show_posture", params(PostureQuery),
    responses((status = 200, body = Posture), (status = 400, body = Problem)))]
pub(crate) async fn show(
    _: Viewer,
    State(state): State<AppState>,
    Query(query): Query<PostureQuery>,
) -> Result<Json<Posture>, ApiError> {
    let days = check_range("days", query.days.unwrap_or(USUAL_DAYS), 1, MAX_DAYS)?;
    let now = state.clock.now();
    let since = now.plus_s(-i64::from(days) * DAY_S);
    let group = query.group.clone();
    let (counts, points) = state
        .read(move |tx| {
            let counts = match &group {
                Some(group) => store::counts(tx, Some(group), None)?,
                None => store::counts_by_group(tx)?,
            };
            Ok((counts, store::points(tx, group.as_deref().unwrap_or_default(), since)?))
        })
        .await?;
    let all = tally(&counts);
    let groups = if query.group.is_some() { Vec::new() } else { groups(&counts) };
    Ok(Json(Posture {
        now,
        score: all.score(),
        healthy_weight: all.healthy_weight,
        applicable_weight: all.applicable_weight,
        resources: resources(&counts),
        checks: by_check(&counts)
            .into_iter()
            .filter_map(|counts| {
                let check = veriboot_posture::check(&counts.check)?;
                Some(PostureCheck {
                    title: check.title.clone(),
                    severity: check.severity,
                    weight: check.weight,
                    counts,
                })
            })
            .collect(),
        groups,
        trend: points
            .into_iter()
            .map(|point| ScorePoint {
                at: point.hour,
                score: score(point.healthy_weight, point.applicable_weight),
                resources: point.resources,
            })
            .collect(),
        group: query.group,
    }))
}

/// Every group, lowest score first.
fn groups(counts: &[CheckStatus]) -> Vec<GroupScore> {
    let mut by_group: BTreeMap<&str, Vec<CheckStatus>> = BTreeMap::new();
    for count in counts {
        by_group.entry(&count.group).or_default().push(count.clone());
    }
    let mut groups: Vec<GroupScore> = by_group
        .into_iter()
        .map(|(group, counts)| {
            let tally = tally(&counts);
            GroupScore {
                group: group.to_owned(),
                score: tally.score(),
                unhealthy: tally.unhealthy,
                resources: resources(&counts),
            }
        })
        .collect();
    groups.sort_by(|a, b| {
        let key = |g: &GroupScore| g.score.unwrap_or(f64::INFINITY);
        key(a).total_cmp(&key(b)).then_with(|| a.group.cmp(&b.group))
    });
    groups.truncate(MAX_GROUPS);
    groups
}

fn tally(counts: &[CheckStatus]) -> Tally {
    let mut tally = Tally::default();
    counts.iter().for_each(|count| tally.add(&count.check, count.status, count.count));
    tally
}

/// Resources behind counts: every check is made on every resource.
fn resources(counts: &[CheckStatus]) -> u64 {
    let any = CheckId::AttestationHealthy.as_str();
    counts.iter().filter(|count| count.check == any).map(|count| count.count).sum()
}

/// Counts of each check, most important first.
fn by_check(counts: &[CheckStatus]) -> Vec<CheckCounts> {
    checks()
        .iter()
        .map(|check| {
            let of = |status| {
                let these = counts.iter().filter(|c| c.check == check.id && c.status == status);
                these.map(|c| c.count).sum()
            };
            CheckCounts {
                check: check.id.clone(),
                healthy: of(AssessmentStatus::Healthy),
                unhealthy: of(AssessmentStatus::Unhealthy),
                not_applicable: of(AssessmentStatus::NotApplicable),
            }
        })
        .collect()
}

/// A check that a query or path names.
fn known_check(id: &str) -> Result<&'static veriboot_wire::Check, ApiError> {
    veriboot_posture::check(id)
        .ok_or_else(|| ApiError::new(&kinds::NOT_FOUND, "there is no such check; GET /v1/checks lists them"))
}

/// A scale set has a name within its group.
fn check_place(group: Option<&String>, scale_set: Option<&String>) -> Result<(), ApiError> {
    match (group, scale_set) {
        (None, Some(_)) => Err(invalid("scale_set needs group")),
        _ => Ok(()),
    }
}
