//! Attestations: the history of a VM, the evidence behind each, the signed result.

use axum::Json;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse as _, Response};
use serde::Deserialize;
use utoipa::IntoParams;
use veriboot_store::{attestations, vms};
use veriboot_wire::{Attestation, EvidenceBundle, Page, Problem};

use super::{check_limit, find_vm, no_such};
use crate::auth::Viewer;
use crate::extract::{Path, Query};
use crate::problem::kinds;
use crate::result_token::{self, Appraised};
use crate::{ApiError, AppState, attest};

/// Paging of the history of a VM that is named by id or name.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct VmHistoryQuery {
    /// Group of the VM, needed when a name is given that VMs of several groups have.
    pub group: Option<String>,
    /// Rows of the page, 1 to 1000; 100 when absent.
    pub limit: Option<u32>,
    /// Where the last page ended.
    pub cursor: Option<String>,
}

/// List the attestations of a VM
///
/// Newest first.
#[utoipa::path(get, path = "/v1/vms/{vm}/attestations", tag = "attestations", operation_id = "list_attestations",
    params(("vm" = String, Path, description = "Id or name of the VM"), VmHistoryQuery),
    responses((status = 200, body = Page<Attestation>), (status = 404, body = Problem)))]
pub(crate) async fn list(
    _: Viewer,
    State(state): State<AppState>,
    Path(key): Path<String>,
    Query(query): Query<VmHistoryQuery>,
) -> Result<Json<Page<Attestation>>, ApiError> {
    check_limit(query.limit)?;
    state
        .read(move |tx| {
            let vm = find_vm(tx, &key, query.group.as_deref())?;
            Ok(attestations::list(tx, &vm.id, query.limit, query.cursor.as_deref())?)
        })
        .await
        .map(Json)
}

/// Show an attestation
#[utoipa::path(get, path = "/v1/attestations/{id}", tag = "attestations", operation_id = "show_attestation",
    params(("id" = String, Path, description = "Id of the attestation")),
    responses((status = 200, body = Attestation), (status = 404, body = Problem)))]
pub(crate) async fn show(
    _: Viewer,
    State(state): State<AppState>,
    Path(id): Path<String>,
) -> Result<Json<Attestation>, ApiError> {
    let found =
        state.read(move |tx| attestations::by_id(tx, &id)?.ok_or_else(|| no_such("attestation", &id)));
    found.await.map(Json)
}

/// The signed result of an attestation
///
/// An EAR in a JWT, checkable through `/.well-known/jwks.json`. Only healthy attestations have one; its lifetime
/// counts from the attestation, so that the result of an old one is expired.
#[utoipa::path(get, path = "/v1/attestations/{id}/token", tag = "attestations",
    params(("id" = String, Path, description = "Id of the attestation")),
    responses((status = 200, body = String, content_type = "application/jwt"), (status = 404, body = Problem),
              (status = 409, body = Problem)))]
pub(crate) async fn token(
    _: Viewer,
    State(state): State<AppState>,
    Path(id): Path<String>,
) -> Result<Response, ApiError> {
    let found = state
        .read(move |tx| {
            let attestation = attestations::by_id(tx, &id)?.ok_or_else(|| no_such("attestation", &id))?;
            let vm = vms::by_id(tx, &attestation.vm_id)?.ok_or_else(|| no_such("attestation", &id))?;
            Ok((attestation, vm))
        })
        .await?;
    let (attestation, vm) = found;
    let appraised = Appraised {
        verdict: attestation.verdict,
        at: attestation.at,
        vm_id: &vm.id,
        vm_name: &vm.name,
        group: &vm.group,
        scale_set: vm.scale_set.as_deref(),
        boot_id: attestation.boot_id.as_deref(),
        attestation_id: &attestation.id,
        facts: &attestation.facts,
        baseline: attestation.baseline.as_deref(),
        findings: &attestation.findings,
    };
    let claims = result_token::claims(state.attest.issuer(), &appraised).ok_or_else(|| {
        ApiError::new(&kinds::WRONG_STATE, "there is no signed result of an attestation that is not healthy")
    })?;
    let token = state.attest.signer().sign(&claims).map_err(ApiError::internal)?;
    Ok(([(header::CONTENT_TYPE, "application/jwt")], token).into_response())
}

/// The evidence of an attestation
///
/// A bundle that `veriboot evidence verify` checks without any service, and judges the same: it brings the profile, the
/// baseline and what else the verdict rests on.
#[utoipa::path(get, path = "/v1/attestations/{id}/evidence", tag = "attestations",
    params(("id" = String, Path, description = "Id of the attestation")),
    responses((status = 200, body = EvidenceBundle), (status = 404, body = Problem)))]
pub(crate) async fn evidence(
    _: Viewer,
    State(state): State<AppState>,
    Path(id): Path<String>,
) -> Result<Json<EvidenceBundle>, ApiError> {
    attest::bundle(&state, id).await.map(Json)
}
