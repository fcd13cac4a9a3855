//! VMs: list, show, forget.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Deserialize;
use serde_json::json;
use utoipa::IntoParams;
use veriboot_store::{assessments, attestations, inventory, monitoring, vms};
use veriboot_wire::{Assessment, Monitoring, Page, Problem, VmDetail, VmQuery, VmSummary};

use super::{audit, check_limit, find_vm, not_found};
use crate::auth::{Operator, Viewer};
use crate::extract::{Path, Query};
use crate::{ApiError, AppState, odd_one_out};

/// Tells VMs of one name apart.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct VmKeyQuery {
    /// Group of the VM, needed when a name is given that VMs of several groups have.
    pub group: Option<String>,
}

/// List VMs
///
/// Ordered by group, then name.
#[utoipa::path(get, path = "/v1/vms", tag = "vms", params(VmQuery),
    responses((status = 200, body = Page<VmSummary>), (status = 400, body = Problem)))]
pub(crate) async fn list(
    _: Viewer,
    State(state): State<AppState>,
    Query(query): Query<VmQuery>,
) -> Result<Json<Page<VmSummary>>, ApiError> {
    check_limit(query.limit)?;
    state.read(move |tx| Ok(vms::list(tx, &query)?)).await.map(Json)
}

/// Show a VM
///
/// `vm` is an id, or a name that only one VM has.
#[utoipa::path(get, path = "/v1/vms/{vm}", tag = "vms",
    params(("vm" = String, Path, description = "Id or name of the VM"), VmKeyQuery),
    responses((status = 200, body = VmDetail), (status = 404, body = Problem), (status = 409, body = Problem)))]
pub(crate) async fn show(
    _: Viewer,
    State(state): State<AppState>,
    Path(key): Path<String>,
    Query(query): Query<VmKeyQuery>,
) -> Result<Json<VmDetail>, ApiError> {
    let (vm, summary, last, assessments, monitoring, listed) = state
        .read(move |tx| {
            let vm = find_vm(tx, &key, query.group.as_deref())?;
            let summary = vms::summary(tx, &vm.id)?.ok_or_else(|| not_found("VM"))?;
            let last = match &vm.last_attestation_id {
                Some(id) => attestations::by_id(tx, id)?,
                None => None,
            };
            let assessments = in_order(assessments::of_resource(tx, &vm.id)?);
            let monitoring = Monitoring::of(monitoring::for_place(tx, vm.place())?.as_ref());
            let listed = crate::inventory::of_vm(tx, &vm.id)?;
            Ok((vm, summary, last, assessments, monitoring, listed))
        })
        .await?;
    let (last_verdict, findings) = match last {
        Some(attestation) => (Some(attestation.verdict), attestation.findings),
        None => (None, Vec::new()),
    };
    let odd_one_out = odd_one_out::of_vm(&state, &vm).await?;
    Ok(Json(VmDetail {
        summary,
        machine: vm.machine,
        kernel: vm.kernel.map(|said| said.report),
        ek_sha256: vm.ek_sha256,
        ek_certificate: vm.ek_certificate.is_some(),
        ak_name: hex::encode(&vm.ak_name),
        baseline: vm.baseline,
        baseline_scope: vm.baseline_scope,
        profile: vm.profile,
        last_verdict,
        findings,
        fault: vm.fault,
        proposal_id: vm.proposal_id,
        odd_one_out,
        inventory: listed,
        monitoring,
        assessments,
    }))
}

/// Most important check first.
fn in_order(mut all: Vec<Assessment>) -> Vec<Assessment> {
    let place = |a: &Assessment| veriboot_posture::checks().iter().position(|check| check.id == a.check);
    all.sort_by_key(place);
    all
}

/// Forget a VM
///
/// Removes the VM with its boots, attestations and alerts. Its TPM may enrol again as a new VM; its agent's token
/// stops working.
#[utoipa::path(delete, path = "/v1/vms/{vm}", tag = "vms",
    params(("vm" = String, Path, description = "Id or name of the VM"), VmKeyQuery),
    responses((status = 204), (status = 403, body = Problem), (status = 404, body = Problem)))]
pub(crate) async fn delete(
    Operator(caller): Operator,
    State(state): State<AppState>,
    Path(key): Path<String>,
    Query(query): Query<VmKeyQuery>,
) -> Result<StatusCode, ApiError> {
    let now = state.clock.now();
    state
        .write(move |tx| {
            let vm = find_vm(tx, &key, query.group.as_deref())?;
            let items: Vec<String> =
                inventory::items_for_vm(tx, &vm.id)?.into_iter().map(|item| item.id).collect();
            vms::delete(tx, &vm.id, now)?;
            crate::posture::refresh_items(tx, &items, now)?;
            let data = json!({ "message": "the VM was removed with its history", "by": caller.name });
            crate::status::tell(tx, &vm, "vm.deleted", &data, now)?;
            let detail = json!({ "name": vm.name, "group": vm.group, "ek_sha256": vm.ek_sha256 });
            audit(tx, now, &caller, "vm.delete", &vm.id, &detail)
        })
        .await?;
    Ok(StatusCode::NO_CONTENT)
}
