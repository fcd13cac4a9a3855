//! Where integrity monitoring is on: settings of VMs, scale sets and groups (SPEC section 7).

use axum::Json;
use axum::extract::State;
use serde_json::json;
use veriboot_store::events::{self, NewEvent};
use veriboot_store::{Tx, monitoring, vms};
use veriboot_wire::{
    Monitoring, MonitoringChanged, MonitoringPut, MonitoringQuery, MonitoringScope, MonitoringSetting,
    MonitoringStatus, MonitoringSwitch, Page, Problem, Scope, ScopeKind, Severity, Time,
};

use super::{audit, baselines, check_comment, check_limit, invalid, not_found, vm_name};
use crate::auth::{Caller, Operator, Viewer};
use crate::etag::{ETag, ETagged, IfMatch};
use crate::extract::{Json as Body, Query};
use crate::{ApiError, AppState, members, monitoring as switching};

/// List the settings of monitoring
///
/// Ordered by group, kind and id. A scope without a setting takes the one of its scale set or group; where nothing is set,
/// monitoring is on.
#[utoipa::path(get, path = "/v1/monitoring", tag = "monitoring", operation_id = "list_monitoring",
    params(MonitoringQuery),
    responses((status = 200, body = Page<MonitoringSetting>), (status = 400, body = Problem)))]
pub(crate) async fn list(
    _: Viewer,
    State(state): State<AppState>,
    Query(query): Query<MonitoringQuery>,
) -> Result<Json<Page<MonitoringSetting>>, ApiError> {
    check_limit(query.limit)?;
    let list = move |tx: &mut dyn Tx| {
        let mut page = monitoring::list(tx, query.group.as_deref(), query.limit, query.cursor.as_deref())?;
        for setting in &mut page.items {
            setting.vm_name = vm_name(tx, &setting.scope)?;
        }
        Ok(page)
    };
    state.read(list).await.map(Json)
}

/// Show the monitoring of one scope
///
/// Its own setting, what holds for it, how many of its VMs are monitored, and a change that is still on its way. The
/// `ETag` is that of its own setting, `"0"` without one.
#[utoipa::path(get, path = "/v1/monitoring/status", tag = "monitoring", operation_id = "show_monitoring",
    params(MonitoringScope),
    responses((status = 200, body = MonitoringStatus), (status = 404, body = Problem)))]
pub(crate) async fn show(
    _: Viewer,
    State(state): State<AppState>,
    Query(query): Query<MonitoringScope>,
) -> Result<ETagged<Json<MonitoringStatus>>, ApiError> {
    let scope = Scope { kind: query.kind, group: query.group, id: query.id };
    let status = state
        .read(move |tx| {
            let scope = resolve(tx, &scope)?;
            status(tx, &scope)
        })
        .await?;
    Ok(ETagged::new(etag(status.setting.as_ref()), Json(status)))
}

/// Switch monitoring on or off
///
/// For a VM, a scale set or a group; the most specific setting wins, and VMs that enrol later take it too. Small scopes are
/// switched before the answer, others in the background. A VM that is switched off is `unmonitored`: it may still attest,
/// raises no alerts, and those that are open are resolved. `If-Match` takes the `ETag` of the scope's status.
#[utoipa::path(put, path = "/v1/monitoring", tag = "monitoring", operation_id = "put_monitoring",
    request_body = MonitoringPut,
    params(("If-Match" = Option<String>, Header, description = "ETag of the scope's status that was looked at")),
    responses((status = 200, body = MonitoringChanged), (status = 404, body = Problem), (status = 412, body = Problem)))]
pub(crate) async fn put(
    Operator(caller): Operator,
    State(state): State<AppState>,
    if_match: IfMatch,
    Body(request): Body<MonitoringPut>,
) -> Result<ETagged<Json<MonitoringChanged>>, ApiError> {
    check_comment(request.comment.as_deref())?;
    let MonitoringPut { scope, enabled, comment } = request;
    change(&state, caller, if_match, Change { scope, enabled: Some(enabled), comment }).await
}

/// Remove a setting of monitoring
///
/// The scope takes what its scale set or group says again.
#[utoipa::path(delete, path = "/v1/monitoring", tag = "monitoring", operation_id = "remove_monitoring",
    params(MonitoringScope,
        ("If-Match" = Option<String>, Header, description = "ETag of the scope's status that was looked at")),
    responses((status = 200, body = MonitoringChanged), (status = 404, body = Problem), (status = 412, body = Problem)))]
pub(crate) async fn remove(
    Operator(caller): Operator,
    State(state): State<AppState>,
    if_match: IfMatch,
    Query(query): Query<MonitoringScope>,
) -> Result<ETagged<Json<MonitoringChanged>>, ApiError> {
    check_comment(query.comment.as_deref())?;
    let scope = Scope { kind: query.kind, group: query.group, id: query.id };
    change(&state, caller, if_match, Change { scope, enabled: None, comment: query.comment }).await
}

/// What shall be set; `enabled` is `None` when the setting shall go.
#[derive(Clone)]
struct Change {
    scope: Scope,
    enabled: Option<bool>,
    comment: Option<String>,
}

async fn change(
    state: &AppState,
    caller: Caller,
    if_match: IfMatch,
    change: Change,
) -> Result<ETagged<Json<MonitoringChanged>>, ApiError> {
    let now = state.clock.now();
    let by = caller.name.clone();
    let enabled = change.enabled;
    let (scope, asked) = state.write(move |tx| in_transaction(tx, &caller, &if_match, &change, now)).await?;
    tracing::info!(kind = %scope.kind, group = scope.group, id = scope.id, enabled, by, "monitoring changed");
    let switch = switching::drive(state, asked).await?;
    if enabled != Some(false) {
        members::judge_some(state).await;
    }
    let status = state.read(move |tx| status(tx, &scope)).await?;
    Ok(ETagged::new(etag(status.setting.as_ref()), Json(MonitoringChanged { status, switch })))
}

fn in_transaction(
    tx: &mut dyn Tx,
    caller: &Caller,
    if_match: &IfMatch,
    change: &Change,
    now: Time,
) -> Result<(Scope, MonitoringSwitch), ApiError> {
    let Change { enabled, comment, .. } = change;
    let scope = resolve(tx, &change.scope)?;
    let present = monitoring::of_scope(tx, &scope)?;
    if_match.check(Some(&etag(present.as_ref())))?;
    match enabled {
        Some(enabled) => {
            monitoring::set(tx, &scope, *enabled, comment.as_deref(), &caller.name, now)?;
        }
        None => {
            if !monitoring::remove(tx, &scope)? {
                return Err(not_found("setting of monitoring")
                    .hint("`GET /v1/monitoring` lists the settings; this scope takes one of them"));
            }
        }
    }
    let action = if enabled.is_some() { "monitoring.set" } else { "monitoring.remove" };
    let before = present.map(|setting| setting.enabled);
    let detail = json!({ "scope": scope, "enabled": enabled, "before": before, "comment": comment });
    let target = format!("{}:{}/{}", scope.kind, scope.group, scope.id);
    let target = target.trim_end_matches('/');
    audit(tx, now, caller, action, target, &detail)?;
    tell(tx, caller, &scope, *enabled, comment.as_deref(), now)?;
    let switch = monitoring::ask(tx, &scope, &caller.name, now)?;
    Ok((scope, switch))
}

fn tell(
    tx: &mut dyn Tx,
    caller: &Caller,
    scope: &Scope,
    enabled: Option<bool>,
    comment: Option<&str>,
    now: Time,
) -> Result<(), ApiError> {
    let vm = match scope.kind {
        ScopeKind::Vm => vms::by_id(tx, &scope.id)?,
        _ => None,
    };
    let what = match enabled {
        Some(true) => "enabled",
        Some(false) => "disabled",
        None => "left to the less specific setting",
    };
    let message = format!("integrity monitoring is {what} by {}", caller.name);
    let data = json!({
        "scope": scope, "enabled": enabled, "by": caller.name, "comment": comment, "message": message,
    });
    let event = NewEvent {
        at: now,
        kind: "monitoring.changed",
        // Whoever switches it off hides what happens from then on.
        severity: if enabled == Some(false) { Severity::Medium } else { Severity::Info },
        group: Some(&scope.group),
        scale_set: match scope.kind {
            ScopeKind::ScaleSet => Some(&scope.id),
            _ => vm.as_ref().and_then(|vm| vm.scale_set.as_deref()),
        },
        vm_id: vm.as_ref().map(|vm| vm.id.as_str()),
        vm_name: vm.as_ref().map(|vm| vm.name.as_str()),
        subject: None,
        data: &data,
    };
    events::append(tx, &event)?;
    Ok(())
}

/// A setting that is not there has the revision 0.
fn etag(setting: Option<&MonitoringSetting>) -> ETag {
    ETag::of_revision(setting.map_or(0, |setting| setting.revision))
}

fn resolve(tx: &mut dyn Tx, scope: &Scope) -> Result<Scope, ApiError> {
    if scope.kind == ScopeKind::Image {
        return Err(invalid(
            "scope.kind must be vm, scale-set or group: monitoring is not switched by image",
        ));
    }
    baselines::apply::resolve(tx, scope).map(|(scope, _)| scope)
}

fn status(tx: &mut dyn Tx, scope: &Scope) -> Result<MonitoringStatus, ApiError> {
    let vm_name = vm_name(tx, scope)?;
    let setting = monitoring::of_scope(tx, scope)?
        .map(|setting| MonitoringSetting { vm_name: vm_name.clone(), ..setting });
    let holds = match scope.kind {
        ScopeKind::Vm => match vms::by_id(tx, &scope.id)? {
            Some(vm) => monitoring::for_place(tx, vm.place())?,
            None => setting.clone(),
        },
        _ => monitoring::for_scope(tx, scope)?,
    };
    let (vms, monitored) = monitoring::count(tx, scope)?;
    let switch = monitoring::open_switch(tx, scope)?;
    let monitoring = Monitoring::of(holds.as_ref());
    Ok(MonitoringStatus { scope: scope.clone(), vm_name, monitoring, setting, vms, monitored, switch })
}
