//! What accepting a VM's last boot would come to.

use axum::Json;
use axum::extract::State;
use tokio::sync::Semaphore;
use veriboot_store::{Tx, monitoring};
use veriboot_wire::{
    AlertReason, BaselineAcceptAsk, BaselineAcceptPreview, Finding, Problem, Scope, ScopeKind,
};

use super::accept::{LastBoot, baseline_of, last_attestation, last_boot, no_boot, target};
use crate::api::find_vm;
use crate::attest::long_work;
use crate::auth::Viewer;
use crate::extract::Json as Body;
use crate::{ApiError, AppState};

/// Requests whose logs are in memory at the same time: anybody who may look may ask, and a log has up to 4 MiB.
static LOOKING: Semaphore = Semaphore::const_new(2);

/// Ask what accepting the last boot of a VM would come to
///
/// Which scope the next version would be of, how many VMs it would judge, what it would trust that is not trusted now, and
/// why it would be refused. Changes nothing. `etag` goes with `POST /v1/baselines/accept` as `If-Match`;
/// where there is none, `If-None-Match: *` does.
#[utoipa::path(post, path = "/v1/baselines/accept/preview", tag = "baselines", operation_id = "preview_accept_baseline",
    request_body = BaselineAcceptAsk,
    responses((status = 200, body = BaselineAcceptPreview), (status = 404, body = Problem), (status = 409, body = Problem)))]
pub(crate) async fn preview(
    _: Viewer,
    State(state): State<AppState>,
    Body(request): Body<BaselineAcceptAsk>,
) -> Result<Json<BaselineAcceptPreview>, ApiError> {
    let _turn = LOOKING.acquire().await.map_err(ApiError::internal)?;
    let (mut preview, last) = state.read(move |tx| look(tx, &request)).await?;
    let learned = match last {
        Ok(last) => long_work(&state, move || baseline_of(&last.log, last.bank))
            .await?
            .map(|baseline| baseline.components()),
        Err(error) => Err(error),
    };
    match learned {
        Ok(components) => preview.components = u32::try_from(components).ok(),
        Err(error) if error.status().is_client_error() => {
            preview.refused = Some(error.message().to_owned());
            preview.refused_code = Some(error.code().to_owned());
        }
        Err(error) => return Err(error),
    }
    Ok(Json(preview))
}

type Looked = (BaselineAcceptPreview, Result<LastBoot, ApiError>);

fn look(tx: &mut dyn Tx, request: &BaselineAcceptAsk) -> Result<Looked, ApiError> {
    let vm = find_vm(tx, &request.vm, request.group.as_deref())?;
    let attestation = last_attestation(tx, &vm)?;
    let boot_id = request.boot_id.as_ref().or(attestation.boot_id.as_ref()).cloned();
    let last = match &boot_id {
        Some(boot_id) => last_boot(tx, &vm.id, None, boot_id),
        None => Err(no_boot()),
    };
    let (name, scope, judges) = target(tx, &vm)?;
    let vms = members(tx, &scope)?;
    // Findings of another boot say nothing about this one.
    let differences = match boot_id == attestation.boot_id {
        true => attestation.findings.into_iter().filter(differs).collect(),
        false => Vec::new(),
    };
    let preview = BaselineAcceptPreview {
        vm: vm.id,
        vm_name: vm.name,
        boot_id,
        scope,
        etag: judges.map(|version| format!("{name}@{version}")),
        vms,
        refused: None,
        refused_code: None,
        components: None,
        differences,
    };
    Ok((preview, last))
}

/// VMs of a scope; `None` where nobody counts them.
fn members(tx: &mut dyn Tx, scope: &Scope) -> Result<Option<u64>, ApiError> {
    match scope.kind {
        ScopeKind::Vm => Ok(Some(1)),
        ScopeKind::Image => Ok(None),
        ScopeKind::ScaleSet | ScopeKind::Group => Ok(Some(monitoring::count(tx, scope)?.0)),
    }
}

/// Whether a finding is what makes a boot differ from its baseline.
fn differs(finding: &Finding) -> bool {
    finding.change.is_some() || finding.fails() && finding.reason == Some(AlertReason::BaselineDeviation)
}
