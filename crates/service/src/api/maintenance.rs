//! Maintenance windows: declare, list, end early.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde_json::json;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use veriboot_store::maintenance::{self, NewWindow};
use veriboot_store::{Tx, events, monitoring};
use veriboot_wire::{
    MAX_MAINTENANCE_DAYS, Maintenance, MaintenanceDeclare, MaintenanceQuery, Page, Problem, Scope, ScopeKind,
    Severity, Time,
};

use super::{audit, check_comment, check_limit, check_name, find_vm, invalid, not_found};
use crate::auth::{Operator, Viewer};
use crate::etag::{ETag, ETagged, IfMatch};
use crate::extract::{Json as Body, Path, Query};
use crate::{ApiError, AppState};

/// Routes about maintenance.
pub(super) fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(list, declare)).routes(routes!(show)).routes(routes!(end))
}

/// A window is changed once: it is ended early. That its time is over is no change of it.
fn tag(window: &Maintenance) -> ETag {
    ETag::of_revision(window.revision)
}

/// List maintenance windows
///
/// The one that was declared last first.
#[utoipa::path(get, path = "/v1/maintenance", tag = "maintenance", operation_id = "list_maintenance",
    params(MaintenanceQuery), responses((status = 200, body = Page<Maintenance>), (status = 400, body = Problem)))]
pub(crate) async fn list(
    _: Viewer,
    State(state): State<AppState>,
    Query(query): Query<MaintenanceQuery>,
) -> Result<Json<Page<Maintenance>>, ApiError> {
    check_limit(query.limit)?;
    let now = state.clock.now();
    state.read(move |tx| Ok(maintenance::list(tx, &query, now)?)).await.map(Json)
}

/// Show a maintenance window
///
/// The answer's `ETag` is another one when somebody has ended the window.
#[utoipa::path(get, path = "/v1/maintenance/{id}", tag = "maintenance", operation_id = "show_maintenance",
    params(("id" = String, Path, description = "Id of the window")),
    responses((status = 200, body = Maintenance), (status = 404, body = Problem)))]
pub(crate) async fn show(
    _: Viewer,
    State(state): State<AppState>,
    Path(id): Path<String>,
) -> Result<ETagged<Json<Maintenance>>, ApiError> {
    let now = state.clock.now();
    let found = state.read(move |tx| Ok(maintenance::by_id(tx, &id, now)?)).await?;
    let window = found.ok_or_else(|| not_found("maintenance window"))?;
    Ok(ETagged::new(tag(&window), Json(window)))
}

/// The scope in the words of the store, and the name of its VM.
fn resolve(tx: &mut dyn Tx, scope: &Scope) -> Result<(Scope, Option<String>), ApiError> {
    check_name("scope.group", &scope.group)?;
    match scope.kind {
        ScopeKind::Vm => {
            let vm = find_vm(tx, &scope.id, Some(&scope.group))?;
            Ok((Scope { kind: ScopeKind::Vm, group: vm.group, id: vm.id }, Some(vm.name)))
        }
        ScopeKind::ScaleSet => {
            check_name("scope.id", &scope.id)?;
            Ok((scope.clone(), None))
        }
        ScopeKind::Group if scope.id.is_empty() => Ok((scope.clone(), None)),
        ScopeKind::Group => Err(invalid("scope.id of a group must be empty")),
        ScopeKind::Image => Err(invalid("scope.kind must be vm, scale-set or group")
            .hint("declare it for the group or the scale sets")),
    }
}

/// Declare maintenance
///
/// A VM that is silent between `from` and `until`, and for one silence limit of its own after that, raises no alert
/// `agent-silent`. Failed attestations raise alerts as ever. A scale set or group may have no VMs yet: `vms` says how many
/// it has.
#[utoipa::path(post, path = "/v1/maintenance", tag = "maintenance", operation_id = "declare_maintenance",
    request_body = MaintenanceDeclare,
    responses((status = 201, body = Maintenance), (status = 400, body = Problem), (status = 404, body = Problem)))]
pub(crate) async fn declare(
    Operator(caller): Operator,
    State(state): State<AppState>,
    Body(request): Body<MaintenanceDeclare>,
) -> Result<(StatusCode, Json<Maintenance>), ApiError> {
    let now = state.clock.now();
    let from = request.from.unwrap_or(now);
    if request.comment.trim().is_empty() {
        return Err(invalid("comment must say what the maintenance is"));
    }
    check_comment(Some(&request.comment))?;
    if request.until <= now || request.until <= from {
        return Err(invalid("until must be in the future, and after from"));
    }
    if request.until > from.plus_s(i64::from(MAX_MAINTENANCE_DAYS) * 86_400) {
        let message = format!("a window has at most {MAX_MAINTENANCE_DAYS} days");
        return Err(
            invalid(message).hint("for VMs that stay off, remove them or switch their monitoring off")
        );
    }
    let by = caller.name.clone();
    let window = state
        .write(move |tx| {
            let (scope, vm_name) = resolve(tx, &request.scope)?;
            let new = NewWindow {
                scope: &scope,
                vm_name: vm_name.as_deref(),
                from,
                until: request.until,
                comment: &request.comment,
                by: &caller.name,
                now,
            };
            let mut window = maintenance::declare(tx, &new)?;
            let detail = json!({
                "scope": window.scope, "from": window.from, "until": window.until, "comment": window.comment,
            });
            audit(tx, now, &caller, "maintenance.declare", &window.id, &detail)?;
            tell(tx, &window, "maintenance.declared", now)?;
            window.vms = Some(monitoring::count(tx, &scope)?.0);
            Ok(window)
        })
        .await?;
    tracing::info!(maintenance = window.id, by, "maintenance declared");
    Ok((StatusCode::CREATED, Json(window)))
}

fn tell(tx: &mut dyn Tx, window: &Maintenance, kind: &str, now: Time) -> Result<(), ApiError> {
    let mut data = serde_json::to_value(window).map_err(ApiError::internal)?;
    if let Some(members) = data.as_object_mut() {
        let message = format!("maintenance from {} until {}: {}", window.from, window.until, window.comment);
        members.insert("message".to_owned(), json!(message));
    }
    let scope = &window.scope;
    let event = events::NewEvent {
        at: now,
        kind,
        severity: Severity::Info,
        group: Some(&scope.group),
        scale_set: (scope.kind == ScopeKind::ScaleSet).then_some(scope.id.as_str()),
        vm_id: (scope.kind == ScopeKind::Vm).then_some(scope.id.as_str()),
        vm_name: window.vm_name.as_deref(),
        subject: Some(&window.id),
        data: &data,
    };
    events::append(tx, &event)?;
    Ok(())
}

/// End maintenance early
///
/// From now on silence counts again: a VM that does not report within its silence limit raises its alert. Ending a window
/// that is over changes nothing. One that has not begun never does, and keeps its `from` and `until`.
#[utoipa::path(post, path = "/v1/maintenance/{id}/end", tag = "maintenance", operation_id = "end_maintenance",
    params(("id" = String, Path, description = "Id of the window"),
        ("If-Match" = Option<String>, Header, description = "ETag of the window that is meant")),
    responses((status = 200, body = Maintenance), (status = 404, body = Problem), (status = 412, body = Problem)))]
pub(crate) async fn end(
    Operator(caller): Operator,
    State(state): State<AppState>,
    Path(id): Path<String>,
    if_match: IfMatch,
) -> Result<ETagged<Json<Maintenance>>, ApiError> {
    let (now, by) = (state.clock.now(), caller.name.clone());
    let (window, ended) = state
        .write(move |tx| {
            let found = maintenance::by_id(tx, &id, now)?.ok_or_else(|| not_found("maintenance window"))?;
            if_match.check(Some(&tag(&found)))?;
            let Some(window) = maintenance::end(tx, &id, &caller.name, now)? else {
                return Ok((found, false));
            };
            audit(tx, now, &caller, "maintenance.end", &id, &json!({ "scope": window.scope }))?;
            tell(tx, &window, "maintenance.ended", now)?;
            Ok((window, true))
        })
        .await?;
    // Ended once: twice changes nothing, and nothing is told of it.
    if ended {
        tracing::info!(maintenance = window.id, by, "maintenance ended");
    }
    Ok(ETagged::new(tag(&window), Json(window)))
}
