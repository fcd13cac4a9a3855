//! What a VM booted last becomes the next version.

use axum::Json;
use axum::extract::State;
use serde_json::json;
use veriboot_appraisal::Baseline;
use veriboot_eventlog::HashAlg;
use veriboot_store::baselines::{self, NewBaseline, name_of};
use veriboot_store::reappraisals::{self as again, NewReappraisal};
use veriboot_store::vms::VmRow;
use veriboot_store::{Tx, attestations};
use veriboot_wire::{
    AlertReason, Attestation, BaselineAccept, BaselineOrigin, BaselineSummary, FactState, Problem, Scope,
};

use crate::api::boots::boot_with_log;
use crate::api::{audit, check_comment, find_vm};
use crate::attest::scope_of;
use crate::auth::Operator;
use crate::etag::{ETag, ETagged, IfMatch, OnlyNew};
use crate::extract::Json as Body;
use crate::problem::kinds;
use crate::{ApiError, AppState, reappraisals};

/// What is to be learned, read before the work and compared again in the transaction that stores it.
pub(super) struct LastBoot {
    vm: VmRow,
    boot_id: String,
    pub(super) log: Vec<u8>,
    pub(super) bank: HashAlg,
}

/// Accept what a VM booted last
///
/// Learns the next version of the baseline that judges the VM, or the first one of its scale set or of the VM
/// itself. Names the boot that was looked at: refused when the VM has booted since, and when quote or log of the last
/// attestation are not believed. `If-Match` takes the `ETag` of the version that judges the VM now, with its name: another
/// baseline may judge it by now. `If-None-Match: *`: none judged it when it was looked at.
#[utoipa::path(post, path = "/v1/baselines/accept", tag = "baselines", operation_id = "accept_baseline",
    request_body = BaselineAccept,
    params(("If-Match" = Option<String>, Header, description = "ETag of the version that was looked at"),
        ("If-None-Match" = Option<String>, Header, description = "`*`: refused when a baseline judges the VM")),
    responses((status = 200, body = BaselineSummary), (status = 404, body = Problem), (status = 409, body = Problem),
        (status = 412, body = Problem)))]
pub(crate) async fn accept(
    Operator(caller): Operator,
    State(state): State<AppState>,
    if_match: IfMatch,
    only_new: OnlyNew,
    Body(request): Body<BaselineAccept>,
) -> Result<ETagged<Json<BaselineSummary>>, ApiError> {
    check_comment(request.comment.as_deref())?;
    let (key, group, boot) = (request.vm.clone(), request.group.clone(), request.boot_id.clone());
    let last = state.read(move |tx| last_boot(tx, &key, group.as_deref(), &boot)).await?;

    let learned = learn(last.log, last.bank).await?;
    let by = caller.name.clone();
    let now = state.clock.now();
    let (vm_id, boot_id, comment) = (last.vm.id.clone(), last.boot_id, request.comment);
    let signer = state.attest.baseline_signer().clone();
    let (summary, reappraisal) = state
        .write(move |tx| {
            let (baseline, document) = &learned;
            let vm = find_vm(tx, &vm_id, None)?;
            let attestation = last_attestation(tx, &vm)?;
            if attestation.boot_id.as_deref() != Some(&boot_id) {
                return Err(boot_changed());
            }
            believed(&attestation)?;
            let (name, scope, judges) = target(tx, &vm)?;
            let judging = judges.map(|version| ETag::of_version(&name, version));
            if_match.check(judging.as_ref())?;
            only_new.check(judging.as_ref())?;
            let new = NewBaseline {
                name: &name,
                scope: &scope,
                origin: BaselineOrigin::Accepted,
                document,
                components: u32::try_from(baseline.components()).unwrap_or(u32::MAX),
                boot_id: Some(&boot_id),
                comment: comment.as_deref(),
                created_by: &caller.name,
                created_at: now,
            };
            let row = baselines::insert_next(tx, &new, &signer)?;
            let detail = json!({
                "baseline": row.reference(), "sha256": row.summary.sha256, "vm": vm.id, "boot": boot_id, "comment": comment,
            });
            audit(tx, now, &caller, "baseline.accept", &row.summary.id, &detail)?;
            let because = format!("baseline {} accepted", row.reference());
            let again = again::enqueue(
                tx,
                &NewReappraisal {
                    scope: &scope,
                    because: &because,
                    always: false,
                    created_by: &caller.name,
                    created_at: now,
                },
            )?;
            Ok((row.summary, again))
        })
        .await?;
    let (VmRow { id: vm, name, group, .. }, baseline) = (&last.vm, summary_reference(&summary));
    tracing::info!(vm, name, group, baseline, by, "baseline accepted");
    // The verdicts that people see follow at once.
    reappraisals::drive(&state, reappraisal).await?;
    Ok(ETagged::new(ETag::of_version(&summary.name, summary.version), Json(summary)))
}

/// Learns a baseline, and its document. Reading a log of up to 4 MiB is work for a thread that is not the network's.
async fn learn(log: Vec<u8>, bank: HashAlg) -> Result<(Baseline, String), ApiError> {
    tokio::task::spawn_blocking(move || {
        let baseline = baseline_of(&log, bank)?;
        let document = baseline.to_json().map_err(ApiError::internal)?;
        Ok((baseline, document))
    })
    .await
    .map_err(ApiError::internal)?
}

/// What would be learned from a log.
pub(super) fn baseline_of(log: &[u8], bank: HashAlg) -> Result<Baseline, ApiError> {
    Baseline::learn(&veriboot_appraisal::examine(log), bank)
        .map_err(|e| ApiError::new(&kinds::NOT_LEARNABLE, e.to_string()))
}

fn summary_reference(summary: &BaselineSummary) -> String {
    format!("{}@{}", summary.name, summary.version)
}

fn boot_changed() -> ApiError {
    ApiError::new(&kinds::BOOT_CHANGED, "the VM's last boot is another one by now")
}

pub(super) fn no_boot() -> ApiError {
    ApiError::new(&kinds::NO_BOOT, "the last attestation does not belong to a boot that is known")
}

pub(super) fn last_attestation(tx: &mut dyn Tx, vm: &VmRow) -> Result<Attestation, ApiError> {
    let last = match &vm.last_attestation_id {
        Some(id) => attestations::by_id(tx, id)?,
        None => None,
    };
    last.ok_or_else(|| ApiError::new(&kinds::NO_BOOT, "the VM has never attested"))
}

pub(super) fn last_boot(
    tx: &mut dyn Tx,
    key: &str,
    group: Option<&str>,
    expected: &str,
) -> Result<LastBoot, ApiError> {
    let vm = find_vm(tx, key, group)?;
    let attestation = last_attestation(tx, &vm)?;
    if attestation.boot_id.as_deref().is_some_and(|boot_id| boot_id != expected) {
        return Err(boot_changed());
    }
    believed(&attestation)?;
    let boot_id = attestation.boot_id.clone().ok_or_else(no_boot)?;
    let evidence = attestations::evidence(tx, &attestation.id)?;
    let bank = evidence.and_then(|e| e.bank).and_then(|name| HashAlg::from_name(&name)).ok_or_else(|| {
        ApiError::new(&kinds::NOT_LEARNABLE, "the last quote names no PCR bank that is known")
    })?;
    let (_, log) = boot_with_log(tx, &boot_id)?;
    Ok(LastBoot { vm, boot_id, log, bank })
}

/// A baseline says what is expected; it cannot make evidence true. Only deviations can be accepted.
fn believed(attestation: &Attestation) -> Result<(), ApiError> {
    let blocking =
        attestation.findings.iter().find(|f| f.fails() && f.reason != Some(AlertReason::BaselineDeviation));
    if let Some(finding) = blocking {
        let message = format!("the last attestation cannot be learned from: {}", finding.message);
        return Err(ApiError::new(&kinds::NOT_LEARNABLE, message));
    }
    if attestation.facts.quote != FactState::Valid || attestation.facts.log != FactState::Valid {
        let message = "the last attestation does not show a valid quote and a log that replays to it";
        return Err(ApiError::new(&kinds::NOT_LEARNABLE, message));
    }
    Ok(())
}

/// Name and scope of the next version: those of the baseline that judges the VM now, whose version is given too; without
/// one, of the scale set, else of the VM.
pub(super) fn target(tx: &mut dyn Tx, vm: &VmRow) -> Result<(String, Scope, Option<u32>), ApiError> {
    // Without its document: one that cannot be read back can still be replaced.
    if let Some(current) = baselines::current_id_for_vm(tx, vm.place())?
        && let Some(summary) = baselines::summary(tx, &current.id)?
    {
        return Ok((summary.name, summary.scope, Some(summary.version)));
    }
    let scope = scope_of(vm);
    Ok((name_of(&scope, Some(&vm.name)), scope, None))
}
