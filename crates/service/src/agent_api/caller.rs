//! Which VM's agent asks.

use std::time::Instant;

use aws_lc_rs::constant_time;
use aws_lc_rs::digest::{SHA256, digest};
use axum::extract::FromRequestParts;
use axum::http::header;
use axum::http::request::Parts;
use veriboot_store::vms::{self, VmRow};

use super::EVIDENCE_LIMIT_BYTES;
use crate::attest::Admitted;
use crate::enrol::AGENT_TOKEN_PREFIX;
use crate::extract::Path;
use crate::problem::kinds;
use crate::{ApiError, AppState, auth};

/// The VM of the path, whose agent token came with the request.
///
/// An unknown VM and a wrong token are one refusal, so that ids cannot be tried out.
#[derive(Clone, Debug)]
pub(super) struct Agent(pub VmRow);

impl FromRequestParts<AppState> for Agent {
    type Rejection = ApiError;
    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, ApiError> {
        let refuse = || {
            ApiError::new(&kinds::UNAUTHENTICATED, "this is not the agent token of this VM").hint(
                "the agent enrols again by itself when its token is no longer valid; an operator sees why in the \
                 audit log",
            )
        };
        let token = auth::bearer(parts)?;
        if !token.starts_with(AGENT_TOKEN_PREFIX) {
            return Err(refuse());
        }
        let sha256 = digest(&SHA256, token.as_bytes());
        let Path(vm_id) = Path::<String>::from_request_parts(parts, state).await?;
        let vm = state.store.read(move |tx| vms::by_id(tx, &vm_id)).await?.ok_or_else(refuse)?;
        constant_time::verify_slices_are_equal(sha256.as_ref(), &vm.agent_token_sha256)
            .map_err(|_| refuse())?;
        Ok(Self(vm))
    }
}

/// The agent of the path with evidence that was admitted. Extracted before the body is read, so that a body that is
/// refused takes no memory; the right lasts until the answer is made.
#[derive(Debug)]
pub(super) struct Attester {
    pub vm: VmRow,
    _admitted: Admitted,
}

impl FromRequestParts<AppState> for Attester {
    type Rejection = ApiError;
    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, ApiError> {
        let Agent(vm) = Agent::from_request_parts(parts, state).await?;
        // A body of unknown length counts as the largest one.
        let length = parts.headers.get(header::CONTENT_LENGTH).and_then(|v| v.to_str().ok()?.parse().ok());
        let bytes = length.unwrap_or(EVIDENCE_LIMIT_BYTES).min(EVIDENCE_LIMIT_BYTES);
        let admitted = state.attest.admission().evidence(&vm.id, bytes, Instant::now())?;
        Ok(Self { vm, _admitted: admitted })
    }
}

/// The agent of the path with something small to report, which was admitted.
#[derive(Clone, Debug)]
pub(super) struct Reporter(pub VmRow);

impl FromRequestParts<AppState> for Reporter {
    type Rejection = ApiError;
    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, ApiError> {
        let Agent(vm) = Agent::from_request_parts(parts, state).await?;
        state.attest.admission().report(&vm.id, Instant::now())?;
        Ok(Self(vm))
    }
}
