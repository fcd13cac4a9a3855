//! Suppression rules: make, try on history, list, end.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde_json::json;
use veriboot_store::suppressions::{self, NewRule, breadth_warning};
use veriboot_store::{Tx, events};
use veriboot_wire::{
    ALERT_TYPES, MAX_SUPPRESSION_DAYS, Page, Problem, Severity, Suppression, SuppressionBreadth,
    SuppressionCreate, SuppressionEnd, SuppressionMatch, SuppressionQuery, SuppressionSimulate,
    SuppressionSimulated, Time,
};

use crate::api::{audit, check_comment, check_limit, check_name, find_vm, invalid, not_found};
use crate::auth::{Operator, Viewer};
use crate::etag::{ETag, ETagged, IfMatch};
use crate::extract::{Json as Body, OptionalJson, Path, Query};
use crate::problem::kinds;
use crate::{ApiError, AppState};

/// What a simulation looks at when it is not said, seconds.
const HISTORY_S: i64 = 30 * 86_400;

/// A rule is changed once: it is ended. What it hid, and that it expired, is no change of it.
fn tag(rule: &Suppression) -> ETag {
    ETag::of_revision(rule.revision)
}

/// List suppression rules
///
/// Newest first. Expired rules stay in the list and match nothing; `warnings` says what to look at.
#[utoipa::path(get, path = "/v1/suppressions", tag = "alerts", operation_id = "list_suppressions",
    params(SuppressionQuery), responses((status = 200, body = Page<Suppression>), (status = 400, body = Problem)))]
pub(crate) async fn list(
    _: Viewer,
    State(state): State<AppState>,
    Query(query): Query<SuppressionQuery>,
) -> Result<Json<Page<Suppression>>, ApiError> {
    check_limit(query.limit)?;
    let now = state.clock.now();
    state.read(move |tx| Ok(suppressions::list(tx, &query, now)?)).await.map(Json)
}

/// Show a suppression rule
///
/// The answer's `ETag` is another one when somebody has ended the rule.
#[utoipa::path(get, path = "/v1/suppressions/{id}", tag = "alerts", operation_id = "show_suppression",
    params(("id" = String, Path, description = "Id of the rule")),
    responses((status = 200, body = Suppression), (status = 404, body = Problem)))]
pub(crate) async fn show(
    _: Viewer,
    State(state): State<AppState>,
    Path(id): Path<String>,
) -> Result<ETagged<Json<Suppression>>, ApiError> {
    let now = state.clock.now();
    let found = state.read(move |tx| Ok(suppressions::by_id(tx, &id, now)?)).await?;
    let rule = found.ok_or_else(|| not_found("suppression rule"))?;
    Ok(ETagged::new(tag(&rule), Json(rule)))
}

/// Words that exist, and names that things can have.
fn check_words(matches: &SuppressionMatch) -> Result<(), ApiError> {
    if let Some(kind) = &matches.kind
        && !ALERT_TYPES.iter().any(|known| known.id == kind)
    {
        let known: Vec<_> = ALERT_TYPES.iter().map(|known| known.id).collect();
        return Err(invalid(format!("kind must be one of {}", known.join(", "))));
    }
    for (member, name) in [("scale_set", &matches.scale_set), ("group", &matches.group)] {
        name.as_ref().map_or(Ok(()), |name| check_name(member, name))?;
    }
    Ok(())
}

/// What a rule matches, with the VM as its id; and the VM's name.
fn resolve(
    tx: &mut dyn Tx,
    wanted: &SuppressionMatch,
) -> Result<(SuppressionMatch, Option<String>), ApiError> {
    check_words(wanted)?;
    let mut matches = wanted.clone();
    matches.classes.sort_unstable();
    matches.classes.dedup();
    let Some(vm) = &matches.vm else { return Ok((matches, None)) };
    let vm = find_vm(tx, vm, matches.group.as_deref())?;
    if matches.scale_set.is_some() && matches.scale_set != vm.scale_set {
        return Err(invalid(format!(
            "{} is no member of this scale set, so that the rule matches nothing",
            vm.name
        )));
    }
    matches.vm = Some(vm.id);
    Ok((matches, Some(vm.name)))
}

fn check(request: &SuppressionCreate, now: Time) -> Result<(), ApiError> {
    if request.reason.trim().is_empty() {
        return Err(invalid("reason must say why the alerts are hidden"));
    }
    check_comment(Some(&request.reason))?;
    check_comment(request.comment.as_deref())?;
    match (request.expires_at, request.no_expiry) {
        (None, false) => {
            return Err(
                invalid("a rule needs expires_at").hint("say until when it holds, or no_expiry on purpose")
            );
        }
        (Some(_), true) => return Err(invalid("expires_at and no_expiry exclude each other")),
        // Nobody is there any more who knows why: the same as none, which warns.
        (Some(at), _) if at > now.plus_s(i64::from(MAX_SUPPRESSION_DAYS) * 86_400) => {
            return Err(invalid(format!("expires_at is more than {MAX_SUPPRESSION_DAYS} days ahead"))
                .hint("give an earlier one, or no_expiry instead of it when the rule shall hold until somebody ends it"));
        }
        (Some(at), _) if at <= now => return Err(invalid("expires_at must be in the future")),
        _ => {}
    }
    check_words(&request.matches)?;
    refuse_broad(request.matches.breadth(), request.allow_broad)
}

fn refuse_broad(breadth: Option<SuppressionBreadth>, allowed: bool) -> Result<(), ApiError> {
    match breadth {
        Some(breadth) if !allowed => {
            Err(ApiError::new(&kinds::SUPPRESSION_BROAD, format!("the rule is {}", breadth_warning(breadth))))
        }
        _ => Ok(()),
    }
}

/// Make a suppression rule
///
/// Alerts that it matches are kept as dismissed by it and notify nobody. It may be made before any alert was raised. An
/// alert that is open already is dismissed by the next failing attestation, unless somebody works on it.
#[utoipa::path(post, path = "/v1/suppressions", tag = "alerts", operation_id = "create_suppression",
    request_body = SuppressionCreate,
    responses((status = 201, body = Suppression), (status = 400, body = Problem), (status = 422, body = Problem)))]
pub(crate) async fn create(
    Operator(caller): Operator,
    State(state): State<AppState>,
    Body(request): Body<SuppressionCreate>,
) -> Result<(StatusCode, Json<Suppression>), ApiError> {
    let now = state.clock.now();
    check(&request, now)?;
    let by = caller.name.clone();
    let rule = state
        .write(move |tx| {
            let (matches, vm_name) = resolve(tx, &request.matches)?;
            let new = NewRule {
                matches: &matches,
                vm_name: vm_name.as_deref(),
                why: &request.reason,
                comment: request.comment.as_deref(),
                expires_at: request.expires_at,
                by: &caller.name,
                now,
            };
            let rule = suppressions::create(tx, &new)?;
            let detail = json!({
                "match": rule.matches, "reason": rule.reason, "comment": rule.comment, "expires_at": rule.expires_at,
                "broad": rule.broad,
            });
            audit(tx, now, &caller, "suppression.create", &rule.id, &detail)?;
            tell(tx, &rule, "made", &caller.name, now)?;
            Ok(rule)
        })
        .await?;
    tracing::info!(suppression = rule.id, by, reason = rule.reason, "suppression rule made");
    Ok((StatusCode::CREATED, Json(rule)))
}

fn tell(tx: &mut dyn Tx, rule: &Suppression, what: &str, by: &str, now: Time) -> Result<(), ApiError> {
    let message = format!("suppression rule {what} by {by}: {}", rule.reason);
    let mut data = serde_json::to_value(rule).map_err(ApiError::internal)?;
    if let Some(members) = data.as_object_mut() {
        members.insert("message".to_owned(), json!(message));
    }
    let event = events::NewEvent {
        at: now,
        kind: "suppression.changed",
        severity: if rule.broad.is_some() { Severity::Medium } else { Severity::Info },
        group: rule.matches.group.as_deref(),
        scale_set: rule.matches.scale_set.as_deref(),
        vm_id: rule.matches.vm.as_deref(),
        vm_name: rule.vm_name.as_deref(),
        subject: Some(&rule.id),
        data: &data,
    };
    events::append(tx, &event)?;
    Ok(())
}

/// Ask what a suppression rule would have matched
///
/// Counts and samples over the alerts of the last 30 days, or since `since`; those that look like attacks come first.
/// Changes nothing.
#[utoipa::path(post, path = "/v1/suppressions/simulate", tag = "alerts", operation_id = "simulate_suppression",
    request_body = SuppressionSimulate,
    responses((status = 200, body = SuppressionSimulated), (status = 400, body = Problem)))]
pub(crate) async fn simulate(
    _: Viewer,
    State(state): State<AppState>,
    Body(request): Body<SuppressionSimulate>,
) -> Result<Json<SuppressionSimulated>, ApiError> {
    let since = request.since.unwrap_or_else(|| state.clock.now().plus_s(-HISTORY_S));
    state
        .read(move |tx| {
            let (matches, _) = resolve(tx, &request.matches)?;
            Ok(suppressions::simulate(tx, &matches, since)?)
        })
        .await
        .map(Json)
}

/// End a suppression rule
///
/// What it hid stays dismissed; where the cause persists, the next failing attestation opens the alert again. Ending
/// twice is answered like ending once.
#[utoipa::path(post, path = "/v1/suppressions/{id}/end", tag = "alerts", operation_id = "end_suppression",
    request_body = SuppressionEnd, params(("id" = String, Path, description = "Id of the rule"),
        ("If-Match" = Option<String>, Header, description = "ETag of the rule that is meant")),
    responses((status = 200, body = Suppression), (status = 404, body = Problem), (status = 412, body = Problem)))]
pub(crate) async fn end(
    Operator(caller): Operator,
    State(state): State<AppState>,
    Path(id): Path<String>,
    if_match: IfMatch,
    OptionalJson(request): OptionalJson<SuppressionEnd>,
) -> Result<ETagged<Json<Suppression>>, ApiError> {
    check_comment(request.comment.as_deref())?;
    let (now, by) = (state.clock.now(), caller.name.clone());
    let (rule, ended) = state
        .write(move |tx| {
            let found = suppressions::by_id(tx, &id, now)?.ok_or_else(|| not_found("suppression rule"))?;
            if_match.check(Some(&tag(&found)))?;
            let ended = suppressions::end(tx, &id, &caller.name, now)?;
            let rule = suppressions::by_id(tx, &id, now)?.ok_or_else(|| not_found("suppression rule"))?;
            if ended {
                let detail =
                    json!({ "comment": request.comment, "match": rule.matches, "alerts": rule.alerts });
                audit(tx, now, &caller, "suppression.end", &id, &detail)?;
                tell(tx, &rule, "ended", &caller.name, now)?;
            }
            Ok((rule, ended))
        })
        .await?;
    // Ended once: twice changes nothing, and nothing is told of it.
    if ended {
        tracing::info!(suppression = rule.id, by, "suppression rule ended");
    }
    Ok(ETagged::new(tag(&rule), Json(rule)))
}
