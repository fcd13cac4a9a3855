//! The agent protocol's routes (veriboot_wire::agent).
//!
//! Enrolment needs no credential: the join token and the TPM are the credential. Everything below
//! `/v1/agent/vms/{vm_id}` needs the agent token of that VM, which is looked at before the body is read.

mod caller;

use axum::Json as Answer;
use axum::extract::{DefaultBodyLimit, State};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use veriboot_store::vms;
use veriboot_wire::{
    ActivateRequest, Directions, EnrollChallenge, EnrollRequest, Enrolled, EvidenceRequest, FaultReport,
    Problem, Receipt,
};

use crate::attest::{self, text};
use crate::extract::{Json, Path};
use crate::problem::kinds;
use crate::{ApiError, AppState, enrol, status};

use caller::{Agent, Attester, Reporter};

/// Largest body of evidence: a log of 4 MiB in base64 and all that comes beside it.
pub(crate) const EVIDENCE_LIMIT_BYTES: usize = 8 * 1024 * 1024;

/// Routes below `/v1/agent`.
pub fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(enroll))
        .routes(routes!(activate))
        .routes(routes!(challenge))
        .routes(routes!(fault))
        .merge(
            OpenApiRouter::new().routes(routes!(evidence)).layer(DefaultBodyLimit::max(EVIDENCE_LIMIT_BYTES)),
        )
}

/// Start an enrolment
///
/// Names the TPM's keys and asks for a credential that only this TPM can open.
#[utoipa::path(post, path = "/v1/agent/enroll", tag = "agent", security(()), request_body = EnrollRequest,
    responses(
        (status = 200, description = "A credential for TPM2_ActivateCredential", body = EnrollChallenge),
        (status = "4XX", description = "Refused", body = Problem)))]
async fn enroll(
    State(state): State<AppState>,
    Json(request): Json<EnrollRequest>,
) -> Result<Answer<EnrollChallenge>, ApiError> {
    enrol::begin(&state, request).await.map(Answer)
}

/// End an enrolment
///
/// Shows that endorsement key and attestation key live in one TPM. An agent token that the VM had before stops
/// working.
#[utoipa::path(post, path = "/v1/agent/enroll/{enrolment_id}/activate", tag = "agent", security(()),
    params(("enrolment_id" = String, Path, description = "From the answer to the first call")),
    request_body = ActivateRequest,
    responses(
        (status = 200, description = "The VM is enrolled", body = Enrolled),
        (status = "4XX", description = "Refused", body = Problem)))]
async fn activate(
    State(state): State<AppState>,
    Path(enrolment_id): Path<String>,
    Json(request): Json<ActivateRequest>,
) -> Result<Answer<Enrolled>, ApiError> {
    enrol::activate(&state, &enrolment_id, request).await.map(Answer)
}

/// Ask for a challenge
///
/// Changes nothing: asking for challenges is no sign of health. It lives for a minute; quote at once.
#[utoipa::path(post, path = "/v1/agent/vms/{vm_id}/challenge", tag = "agent", security(("agent" = [])),
    params(("vm_id" = String, Path, description = "Id of the VM")),
    responses(
        (status = 200, description = "A challenge for the next quote", body = Directions),
        (status = "4XX", description = "Refused", body = Problem)))]
async fn challenge(State(state): State<AppState>, Agent(vm): Agent) -> Result<Answer<Directions>, ApiError> {
    let interval_s = state.config.interval_s;
    attest::directions(&state, &vm.id, vm.challenge_used_us, interval_s, state.clock.now()).map(Answer)
}

/// Send evidence
///
/// Answered after the outcome is stored, whatever the verdict. One at a time for each VM, and not much more often
/// than the service asks for.
#[utoipa::path(post, path = "/v1/agent/vms/{vm_id}/evidence", tag = "agent", security(("agent" = [])),
    params(("vm_id" = String, Path, description = "Id of the VM")),
    request_body = EvidenceRequest,
    responses(
        (status = 200, description = "Appraised and stored", body = Receipt),
        (status = "4XX", description = "Refused; nothing was written", body = Problem)))]
async fn evidence(
    State(state): State<AppState>,
    attester: Attester,
    Json(request): Json<EvidenceRequest>,
) -> Result<Answer<Receipt>, ApiError> {
    attest::appraise(&state, attester.vm.clone(), request).await.map(Answer)
}

/// Report a platform fault
///
/// Makes the status `error`, unless it is `unhealthy` or `stale`; never a failed attestation, and no evidence. What it says
/// about the machine is not kept: only enrolments and quotes that are believed say that.
#[utoipa::path(post, path = "/v1/agent/vms/{vm_id}/fault", tag = "agent", security(("agent" = [])),
    params(("vm_id" = String, Path, description = "Id of the VM")),
    request_body = FaultReport,
    responses(
        (status = 200, description = "Noted", body = Directions),
        (status = "4XX", description = "Refused", body = Problem)))]
async fn fault(
    State(state): State<AppState>,
    Reporter(vm): Reporter,
    Json(report): Json<FaultReport>,
) -> Result<Answer<Directions>, ApiError> {
    if report.code.is_empty() || report.code.len() > 64 || !report.code.bytes().all(is_code) {
        let message = "code is not 1 to 64 of a-z 0-9 -";
        return Err(ApiError::new(&kinds::INVALID_VALUE, message));
    }
    let now = state.clock.now();
    let line = format!("{}: {}", report.code, text::plain(&report.message, 500));
    let (id, monitored) = (vm.id.clone(), vm.monitoring);
    let turns = status::with_fault(vm.status) != vm.status;
    let news = vm.fault.as_deref() != Some(line.as_str());
    state
        .store
        .write(move |tx| {
            if !monitored {
                return vms::touch(tx, &id, now);
            }
            let before = if turns { vms::by_id(tx, &id)? } else { None };
            let known = vms::set_fault(tx, &id, &line, now)?;
            if let Some(before) = before {
                status::changed(tx, &before, status::with_fault(before.status), Some(&line), now)?;
            }
            crate::posture::refresh(tx, &id, now)?;
            Ok(known)
        })
        .await?;
    if news {
        tracing::info!(
            vm = vm.id,
            name = vm.name,
            group = vm.group,
            code = report.code,
            "agent reports a fault"
        );
    }
    attest::directions(&state, &vm.id, vm.challenge_used_us, state.config.interval_s, now).map(Answer)
}

fn is_code(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-'
}
