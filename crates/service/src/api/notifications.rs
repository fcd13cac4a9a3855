//! Notification targets, tests of them, and what became of what they were told.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde_json::{Value, json};
use veriboot_store::targets::{self, TargetRow};
use veriboot_store::{Constraint, StoreError, Tx, deliveries, new_id};
use veriboot_wire::{
    ApiScope, Delivery, DeliveryQuery, HistoryQuery, NewTarget, Page, Problem, Replay, Replayed, Target,
    TargetChange, TargetKind, TargetMade, TargetSecrets, TargetTest,
};

use super::{audit, check_limit, check_name, invalid, not_found};
use crate::auth::{Admin, Operator, Viewer};
use crate::etag::{ETag, ETagged, IfMatch};
use crate::extract::{Json as Body, OptionalJson, Path, Query};
use crate::notify::{check_route, check_settings, new_signing_secret};
use crate::problem::kinds;
use crate::{ApiError, AppState, notify};

/// A target as it is shown: its secrets by name only, and all of its URL to admins only.
fn shown(tx: &mut dyn Tx, row: TargetRow, to: ApiScope) -> Result<Target, ApiError> {
    let health = targets::health(tx, &row.id)?;
    let TargetSecrets { signing_secret, authorization, password } = &row.secrets;
    let secrets = [
        ("signing_secret", signing_secret.is_some()),
        ("authorization", authorization.is_some()),
        ("password", password.is_some()),
    ];
    Ok(Target {
        id: row.id,
        name: row.name,
        kind: row.kind,
        settings: if to == ApiScope::Admin { row.settings } else { notify::shown_settings(&row.settings) },
        secrets: secrets.iter().filter(|(_, set)| *set).map(|(name, _)| (*name).to_owned()).collect(),
        route: row.route,
        enabled: row.enabled,
        revision: row.revision,
        created_at: row.created_at,
        created_by: row.created_by,
        changed_at: row.changed_at,
        health,
    })
}

/// What the audit log says about a target: nothing secret, and no certificates.
fn audited(row: &TargetRow) -> Value {
    let mut settings = json!(notify::shown_settings(&row.settings));
    if let Some(ca) = settings.get_mut("ca") {
        *ca = "(set)".into();
    }
    json!({ "name": row.name, "kind": row.kind, "enabled": row.enabled, "settings": settings, "route": row.route })
}

fn find(tx: &mut dyn Tx, name: &str) -> Result<TargetRow, ApiError> {
    targets::by_name(tx, name)?.ok_or_else(|| not_found("notification target"))
}

fn tag(row: &TargetRow) -> ETag {
    ETag::of_revision(row.revision)
}

/// List notification targets
///
/// By name, with how telling each goes; never with their secrets, and with their whole URLs for admins only.
#[utoipa::path(get, path = "/v1/notification-targets", tag = "notifications", operation_id = "list_notification_targets",
    params(HistoryQuery), responses((status = 200, body = Page<Target>)))]
pub(crate) async fn list(
    Viewer(caller): Viewer,
    State(state): State<AppState>,
    Query(query): Query<HistoryQuery>,
) -> Result<Json<Page<Target>>, ApiError> {
    check_limit(query.limit)?;
    state
        .read(move |tx| {
            let page = targets::list(tx, query.limit, query.cursor.as_deref())?;
            let mut items = Vec::new();
            for row in page.items {
                items.push(shown(tx, row, caller.scope)?);
            }
            Ok(Page { items, next_cursor: page.next_cursor })
        })
        .await
        .map(Json)
}

/// Make a notification target
///
/// A webhook without `signing_secret` gets one, which the answer holds this once.
#[utoipa::path(post, path = "/v1/notification-targets", tag = "notifications", operation_id = "create_notification_target",
    request_body = NewTarget,
    responses((status = 201, body = TargetMade), (status = 400, body = Problem), (status = 409, body = Problem)))]
pub(crate) async fn create(
    Admin(caller): Admin,
    State(state): State<AppState>,
    Body(wanted): Body<NewTarget>,
) -> Result<(StatusCode, ETagged<Json<TargetMade>>), ApiError> {
    let NewTarget { name, kind, settings, mut secrets, route, enabled } = wanted;
    check_name("name", &name)?;
    check_settings(kind, &settings, &secrets).map_err(invalid)?;
    check_route(kind, &route).map_err(invalid)?;
    let mut made = None;
    if kind == TargetKind::Webhook && secrets.signing_secret.is_none() {
        made = Some(new_signing_secret().map_err(|e| ApiError::internal(e.to_string()))?);
        secrets.signing_secret.clone_from(&made);
    }
    let now = state.clock.now();
    let row = TargetRow {
        id: new_id(now),
        name,
        kind,
        enabled,
        settings,
        secrets,
        route,
        revision: 1,
        created_at: now,
        created_by: caller.name.clone(),
        changed_at: now,
    };
    let target = state
        .write(move |tx| {
            targets::insert(tx, &row).map_err(|error| match error {
                StoreError::Conflict { constraint: Constraint::TargetName } => ApiError::new(
                    &kinds::NAME_IN_USE,
                    format!("another notification target is called {}", row.name),
                ),
                error => error.into(),
            })?;
            audit(tx, now, &caller, "notification-target.create", &row.name, &audited(&row))?;
            shown(tx, row.clone(), caller.scope)
        })
        .await?;
    let tag = ETag::of_revision(target.revision);
    Ok((StatusCode::CREATED, ETagged::new(tag, Json(TargetMade { target, signing_secret: made }))))
}

/// Show a notification target
///
/// The answer's `ETag` is its revision.
#[utoipa::path(get, path = "/v1/notification-targets/{name}", tag = "notifications", operation_id = "show_notification_target",
    params(("name" = String, Path, description = "Name of the target")),
    responses((status = 200, body = Target), (status = 404, body = Problem)))]
pub(crate) async fn show(
    Viewer(caller): Viewer,
    State(state): State<AppState>,
    Path(name): Path<String>,
) -> Result<ETagged<Json<Target>>, ApiError> {
    let target = state
        .read(move |tx| {
            let row = find(tx, &name)?;
            shown(tx, row, caller.scope)
        })
        .await?;
    Ok(ETagged::new(ETag::of_revision(target.revision), Json(target)))
}

/// `new` over `old`: an absent secret stays, an empty one goes.
fn merged(old: TargetSecrets, new: TargetSecrets) -> TargetSecrets {
    let one = |old: Option<String>, new: Option<String>| match new {
        None => old,
        Some(text) => Some(text).filter(|text| !text.is_empty()),
    };
    TargetSecrets {
        signing_secret: one(old.signing_secret, new.signing_secret),
        authorization: one(old.authorization, new.authorization),
        password: one(old.password, new.password),
    }
}

/// Change a notification target
///
/// What is absent stays. The target is told without waiting for the end of its back-off.
#[utoipa::path(patch, path = "/v1/notification-targets/{name}", tag = "notifications",
    operation_id = "change_notification_target", request_body = TargetChange,
    params(("name" = String, Path, description = "Name of the target"),
        ("If-Match" = Option<String>, Header, description = "ETag of the target that the change is meant for")),
    responses((status = 200, body = Target), (status = 400, body = Problem), (status = 404, body = Problem),
        (status = 412, body = Problem)))]
pub(crate) async fn change(
    Admin(caller): Admin,
    State(state): State<AppState>,
    Path(name): Path<String>,
    if_match: IfMatch,
    Body(change): Body<TargetChange>,
) -> Result<ETagged<Json<Target>>, ApiError> {
    let now = state.clock.now();
    let target = state
        .write(move |tx| {
            let mut row = find(tx, &name)?;
            if_match.check(Some(&tag(&row)))?;
            let TargetChange { settings, secrets, route, enabled } = change.clone();
            let secrets_changed: Vec<&str> = secrets.iter().flat_map(named).collect();
            row.settings = settings.unwrap_or(row.settings);
            row.secrets = merged(row.secrets, secrets.unwrap_or_default());
            row.route = route.unwrap_or(row.route);
            row.enabled = enabled.unwrap_or(row.enabled);
            check_settings(row.kind, &row.settings, &row.secrets).map_err(invalid)?;
            check_route(row.kind, &row.route).map_err(invalid)?;
            row.revision = row.revision.saturating_add(1);
            row.changed_at = now;
            targets::update(tx, &row)?;
            let mut detail = audited(&row);
            if let Some(members) = detail.as_object_mut() {
                members.insert("secrets_changed".to_owned(), json!(secrets_changed));
            }
            audit(tx, now, &caller, "notification-target.change", &row.name, &detail)?;
            shown(tx, row, caller.scope)
        })
        .await?;
    Ok(ETagged::new(ETag::of_revision(target.revision), Json(target)))
}

/// Names of the secrets that are given.
fn named(secrets: &TargetSecrets) -> Vec<&'static str> {
    let TargetSecrets { signing_secret, authorization, password } = secrets;
    [("signing_secret", signing_secret), ("authorization", authorization), ("password", password)]
        .into_iter()
        .filter(|(_, value)| value.is_some())
        .map(|(name, _)| name)
        .collect()
}

/// Remove a notification target
///
/// With everything that it was still to be told.
#[utoipa::path(delete, path = "/v1/notification-targets/{name}", tag = "notifications",
    operation_id = "remove_notification_target",
    params(("name" = String, Path, description = "Name of the target"),
        ("If-Match" = Option<String>, Header, description = "ETag of the target that is meant")),
    responses((status = 204), (status = 404, body = Problem), (status = 412, body = Problem)))]
pub(crate) async fn remove(
    Admin(caller): Admin,
    State(state): State<AppState>,
    Path(name): Path<String>,
    if_match: IfMatch,
) -> Result<StatusCode, ApiError> {
    let now = state.clock.now();
    state
        .write(move |tx| {
            let row = find(tx, &name)?;
            if_match.check(Some(&tag(&row)))?;
            let health = targets::health(tx, &row.id)?;
            targets::delete(tx, &row.id)?;
            let detail = json!({ "kind": row.kind, "waiting": health.waiting, "dead": health.dead });
            audit(tx, now, &caller, "notification-target.remove", &row.name, &detail)
        })
        .await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Test a notification target
///
/// Sends a message that says that it is a test, now and past the outbox, and answers with what became of it. What
/// waits for the target still waits.
#[utoipa::path(post, path = "/v1/notification-targets/{name}/test", tag = "notifications",
    operation_id = "test_notification_target",
    params(("name" = String, Path, description = "Name of the target")),
    responses((status = 200, body = TargetTest), (status = 404, body = Problem)))]
pub(crate) async fn test(
    Operator(caller): Operator,
    State(state): State<AppState>,
    Path(name): Path<String>,
) -> Result<Json<TargetTest>, ApiError> {
    let row = state.read(move |tx| find(tx, &name)).await?;
    let outcome = notify::test(&state, &row, &caller.name).await;
    let now = state.clock.now();
    let detail = json!({ "delivered": outcome.delivered, "error": outcome.error });
    state.write(move |tx| audit(tx, now, &caller, "notification-target.test", &row.name, &detail)).await?;
    Ok(Json(outcome))
}

/// List deliveries
///
/// What targets were told, are still to be told, or could not be told; newest events first.
#[utoipa::path(get, path = "/v1/notification-deliveries", tag = "notifications",
    operation_id = "list_notification_deliveries",
    params(DeliveryQuery),
    responses((status = 200, body = Page<Delivery>), (status = 404, body = Problem)))]
pub(crate) async fn deliveries(
    _: Viewer,
    State(state): State<AppState>,
    Query(query): Query<DeliveryQuery>,
) -> Result<Json<Page<Delivery>>, ApiError> {
    check_limit(query.limit)?;
    state
        .read(move |tx| {
            if let Some(name) = &query.target {
                find(tx, name)?;
            }
            Ok(deliveries::list(tx, &query)?)
        })
        .await
        .map(Json)
}

/// Replay dead deliveries
///
/// Queues again what was given up: of one target or of all, one event or all.
#[utoipa::path(post, path = "/v1/notification-deliveries/replay", tag = "notifications",
    operation_id = "replay_notification_deliveries", request_body = Replay,
    responses((status = 200, body = Replayed), (status = 404, body = Problem)))]
pub(crate) async fn replay(
    Operator(caller): Operator,
    State(state): State<AppState>,
    OptionalJson(wanted): OptionalJson<Replay>,
) -> Result<Json<Replayed>, ApiError> {
    let now = state.clock.now();
    state
        .write(move |tx| {
            let target = match &wanted.target {
                Some(name) => Some(find(tx, name)?),
                None => None,
            };
            let id = target.as_ref().map(|target| target.id.as_str());
            let queued = deliveries::replay(tx, id, wanted.sequence, now)?;
            let on = target.as_ref().map_or("all", |target| target.name.as_str());
            let detail = json!({ "queued": queued, "sequence": wanted.sequence });
            audit(tx, now, &caller, "notification-deliveries.replay", on, &detail)?;
            Ok(Replayed { queued })
        })
        .await
        .map(Json)
}
