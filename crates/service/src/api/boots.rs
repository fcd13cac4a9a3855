//! Boots: the timeline of a VM, the log of each boot, the difference of two.

use axum::Json;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse as _, Response};
use veriboot_store::{Tx, boots, logs};
use veriboot_wire::{Boot, BootDiff, Page, Problem};

use super::attestations::VmHistoryQuery;
use super::{check_limit, find_vm, no_such};
use crate::auth::Viewer;
use crate::extract::{Path, Query};
use crate::problem::kinds;
use crate::{ApiError, AppState};

/// List the boots of a VM
///
/// Newest first.
#[utoipa::path(get, path = "/v1/vms/{vm}/boots", tag = "boots", operation_id = "list_boots",
    params(("vm" = String, Path, description = "Id or name of the VM"), VmHistoryQuery),
    responses((status = 200, body = Page<Boot>), (status = 404, body = Problem)))]
pub(crate) async fn list(
    _: Viewer,
    State(state): State<AppState>,
    Path(key): Path<String>,
    Query(query): Query<VmHistoryQuery>,
) -> Result<Json<Page<Boot>>, ApiError> {
    check_limit(query.limit)?;
    state
        .read(move |tx| {
            let vm = find_vm(tx, &key, query.group.as_deref())?;
            Ok(boots::list(tx, &vm.id, query.limit, query.cursor.as_deref())?)
        })
        .await
        .map(Json)
}

/// Show a boot
#[utoipa::path(get, path = "/v1/boots/{id}", tag = "boots", operation_id = "show_boot",
    params(("id" = String, Path, description = "Id of the boot")),
    responses((status = 200, body = Boot), (status = 404, body = Problem)))]
pub(crate) async fn show(
    _: Viewer,
    State(state): State<AppState>,
    Path(id): Path<String>,
) -> Result<Json<Boot>, ApiError> {
    let found = state.read(move |tx| boots::by_id(tx, &id)?.ok_or_else(|| no_such("boot", &id))).await?;
    Ok(Json(found))
}

/// The boot and its stored log.
pub(crate) fn boot_with_log(tx: &mut dyn Tx, id: &str) -> Result<(Boot, Vec<u8>), ApiError> {
    let boot = boots::by_id(tx, id)?.ok_or_else(|| no_such("boot", id))?;
    let content = match &boot.log_sha256 {
        Some(sha256) => logs::content(tx, sha256)?,
        None => None,
    };
    let content = content.ok_or_else(|| {
        ApiError::new(&kinds::NO_LOG, format!("there is no stored event log for boot {}", boot.id))
    })?;
    Ok((boot, content))
}

/// The event log of a boot
///
/// The bytes that the agent sent, unchanged.
#[utoipa::path(get, path = "/v1/boots/{id}/log", tag = "boots",
    params(("id" = String, Path, description = "Id of the boot")),
    responses((status = 200, body = Vec<u8>, content_type = "application/octet-stream"),
              (status = 404, body = Problem), (status = 409, body = Problem)))]
pub(crate) async fn log(
    _: Viewer,
    State(state): State<AppState>,
    Path(id): Path<String>,
) -> Result<Response, ApiError> {
    let (_, content) = state.read(move |tx| boot_with_log(tx, &id)).await?;
    let headers = [
        (header::CONTENT_TYPE, "application/octet-stream"),
        (header::CONTENT_DISPOSITION, "attachment; filename=\"binary_bios_measurements\""),
    ];
    Ok((headers, content).into_response())
}

/// The difference of two boots
///
/// In the words of findings: which component changed, from what to what. The boots may be of different VMs.
#[utoipa::path(get, path = "/v1/boots/{from}/diff/{to}", tag = "boots",
    params(("from" = String, Path, description = "Id of the earlier boot"),
           ("to" = String, Path, description = "Id of the later boot")),
    responses((status = 200, body = BootDiff), (status = 404, body = Problem), (status = 409, body = Problem)))]
pub(crate) async fn diff(
    _: Viewer,
    State(state): State<AppState>,
    Path((from, to)): Path<(String, String)>,
) -> Result<Json<BootDiff>, ApiError> {
    let ((from, from_log), (to, to_log)) =
        state.read(move |tx| Ok((boot_with_log(tx, &from)?, boot_with_log(tx, &to)?))).await?;
    // Two logs of up to 4 MiB are work for a thread that is not the network's.
    let changes = tokio::task::spawn_blocking(move || {
        if from_log == to_log {
            return Vec::new();
        }
        let (from, to) = (veriboot_appraisal::examine(&from_log), veriboot_appraisal::examine(&to_log));
        veriboot_appraisal::compare(&from, &to)
    })
    .await
    .map_err(ApiError::internal)?;
    Ok(Json(BootDiff { from: from.id, to: to.id, changes }))
}
