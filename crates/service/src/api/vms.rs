//! VMs: list, show, forget.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::Deserialize;
use serde_json::json;
use utoipa::IntoParams;
use veriboot_store::vms::VmRow;
use veriboot_store::{assessments, attestations, inventory, monitoring, vms};
use veriboot_wire::{Assessment, Monitoring, Page, Problem, VmDetail, VmQuery, VmSummary};

use super::{audit, check_limit, csv, find_vm, not_found};
use crate::auth::{Operator, Viewer};
use crate::etag::{ETag, ETagged, IfMatch};
use crate::extract::{Path, Query};
use crate::{ApiError, AppState, odd_one_out};

/// Rows of one export.
const MAX_EXPORT_ROWS: usize = 200_000;

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
/// Ordered by group, then name, or as `sort` says.
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

/// Export VMs as CSV
///
/// The rows of the list with these filters, at most 200,000 and `limit` where it is given. The header `X-Next-Cursor` is
/// there when there are more. For JSON take the list itself.
#[utoipa::path(get, path = "/v1/vms.csv", tag = "vms", operation_id = "export_vms", params(VmQuery),
    responses((status = 200, body = String, content_type = "text/csv"), (status = 400, body = Problem)))]
pub(crate) async fn export(
    _: Viewer,
    State(state): State<AppState>,
    Query(query): Query<VmQuery>,
) -> Result<Response, ApiError> {
    let page = |rows, cursor| {
        let part = VmQuery { limit: Some(rows), cursor, ..query.clone() };
        state.read(move |tx| Ok(vms::list(tx, &part)?))
    };
    let cursor = query.cursor.clone();
    csv::export(query.limit, MAX_EXPORT_ROWS, &VmSummary::CSV_HEADER, cursor, page, VmSummary::csv).await
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
) -> Result<ETagged<Json<VmDetail>>, ApiError> {
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
    let etag = tag(&vm);
    let detail = VmDetail {
        etag: etag.name().to_owned(),
        summary,
        machine: vm.machine,
        kernel: vm.kernel.map(|said| said.report),
        ek_sha256: vm.ek_sha256,
        ek_certificate: vm.ek_certificate.is_some(),
        endorsement_detail: vm.endorsement.and_then(|e| e.why(vm.facts.endorsement).map(str::to_owned)),
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
    };
    Ok(ETagged::new(etag, Json(detail)))
}

/// Of what somebody who removes a VM looked at: how it is, and which machine it is. Not of its attestations, which go on.
fn tag(vm: &VmRow) -> ETag {
    let key = vm.ak_name.last_chunk::<8>().copied().unwrap_or_default();
    ETag::of_state(&format!("{}-{}", vm.status, hex::encode(key)))
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
/// stops working. Takes `If-Match` with the `ETag` of what was shown, which names status and attestation key.
#[utoipa::path(delete, path = "/v1/vms/{vm}", tag = "vms",
    params(("vm" = String, Path, description = "Id or name of the VM"), VmKeyQuery,
        ("If-Match" = Option<String>, Header, description = "ETag of the VM that was looked at")),
    responses((status = 204), (status = 403, body = Problem), (status = 404, body = Problem), (status = 412, body = Problem)))]
pub(crate) async fn delete(
    Operator(caller): Operator,
    State(state): State<AppState>,
    Path(key): Path<String>,
    Query(query): Query<VmKeyQuery>,
    if_match: IfMatch,
) -> Result<StatusCode, ApiError> {
    let now = state.clock.now();
    state
        .write(move |tx| {
            let vm = find_vm(tx, &key, query.group.as_deref())?;
            if_match.check(Some(&tag(&vm)))?;
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
