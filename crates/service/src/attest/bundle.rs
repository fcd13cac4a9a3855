//! Evidence bundles of stored attestations: with what is in one, `veriboot evidence verify` comes to the stored verdict.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use veriboot_appraisal::Baseline;
use veriboot_eventlog::HashAlg;
use veriboot_store::baselines::BaselineRow;
use veriboot_store::{attestations, baselines, logs, vms};
use veriboot_wire::{
    AskedPcrs, Attestation, EvidenceBundle, FactState, Finding, JudgedVm, JudgedWith, JudgingDocument,
    MissingPart,
};

use super::profiles::named;
use crate::api::no_such;
use crate::{ApiError, AppState};

/// What is stored of an attestation.
struct Stored {
    attestation: Attestation,
    evidence: attestations::Evidence,
    log: Option<Vec<u8>>,
    baseline: Option<BaselineRow>,
    vm: JudgedVm,
}

/// The bundle of an attestation.
pub(crate) async fn bundle(state: &AppState, id: String) -> Result<EvidenceBundle, ApiError> {
    let stored = state
        .read(move |tx| {
            let attestation = attestations::by_id(tx, &id)?.ok_or_else(|| no_such("attestation", &id))?;
            let evidence = attestations::evidence(tx, &id)?.ok_or_else(|| no_such("attestation", &id))?;
            let log = match &attestation.log_sha256 {
                Some(sha256) => logs::content(tx, sha256)?,
                None => None,
            };
            let named = attestation.baseline.as_deref().and_then(|reference| reference.rsplit_once('@'));
            let baseline = match named.and_then(|(name, version)| Some((name, version.parse().ok()?))) {
                Some((name, version)) => baselines::by_name(tx, name, Some(version))?,
                None => None,
            };
            let vm = vms::by_id(tx, &attestation.vm_id)?.map(|vm| JudgedVm {
                name: Some(vm.name),
                group: Some(vm.group),
                scale_set: vm.scale_set,
                os: Some(vm.machine.os).filter(|os| !os.is_empty()),
            });
            Ok(Stored { attestation, evidence, log, baseline, vm: vm.unwrap_or_default() })
        })
        .await?;
    let Stored { attestation, evidence, log, baseline, vm } = stored;
    let mut missing = Vec::new();
    if log.is_none() && was_there(&attestation, &evidence) {
        missing.push(MissingPart::EventLog);
    }
    let profile = match &attestation.profile {
        Some(reference) => named(state, reference).await?.and_then(|profile| profile.content.ok()),
        None => None,
    };
    let profile = profile.and_then(|profile| {
        let document = serde_json::to_value(&*profile).ok()?;
        Some(JudgingDocument { reference: attestation.profile.clone()?, document, envelope: None })
    });
    if profile.is_none() {
        missing.push(MissingPart::Profile);
    }
    let judged_by = match baseline {
        Some(row) => signed(state, row).await?,
        None => None,
    };
    if judged_by.is_none() && attestation.baseline.is_some() {
        missing.push(MissingPart::Baseline);
    }
    if evidence.context.is_none() {
        missing.push(MissingPart::Previous);
    }
    let mut failing: Vec<String> =
        attestation.findings.iter().filter(|f| f.fails()).map(|f: &Finding| f.code.clone()).collect();
    failing.sort_unstable();
    failing.dedup();
    let asked = state.attest.asked(&evidence.quote).and_then(|asked| {
        let bank = HashAlg::from_tpm_id(asked.alg)?.name().to_owned();
        Some(AskedPcrs { bank, pcrs: asked.pcrs.iter().map(u32::from).collect() })
    });
    let context = evidence.context.unwrap_or_default();
    Ok(EvidenceBundle {
        ak_public: Some(STANDARD.encode(&evidence.ak_public)),
        quote: evidence.quote.into(),
        signature: evidence.signature.into(),
        nonce: Some(hex::encode(&evidence.nonce)),
        pcrs: evidence.pcrs,
        event_log: log.map(Into::into),
        log_absent_because: evidence.log_absent_because,
        judged_with: Some(JudgedWith {
            attestation: attestation.id,
            at: attestation.at,
            verdict: attestation.verdict,
            failing,
            vm,
            asked,
            previous: context.previous,
            rejection: context.rejection,
            endorsement_invalid: context.endorsement_invalid,
            profile,
            baseline: judged_by,
            missing,
        }),
        ..EvidenceBundle::default()
    })
}

/// Whether there was a log when the attestation was judged. Beside a quote that is not believed none is kept, and nobody
/// knows.
fn was_there(attestation: &Attestation, evidence: &attestations::Evidence) -> bool {
    attestation.log_sha256.is_some()
        || (attestation.facts.quote == FactState::Invalid && evidence.log_absent_because.is_none())
}

/// The document of a version and a signed envelope of it; `None` when it is not believed any more.
async fn signed(state: &AppState, row: BaselineRow) -> Result<Option<JudgingDocument>, ApiError> {
    let signer = state.attest.baseline_signer().clone();
    let make = move || {
        signer.verify_baseline(&row).ok()?;
        // A version of an older schema leaves in the present one.
        let document = Baseline::from_json(row.document.as_bytes()).ok()?.to_json().ok()?;
        let envelope = signer.export(&document).ok()?;
        Some(JudgingDocument {
            reference: row.reference(),
            document: serde_json::from_str(&document).ok()?,
            envelope: Some(serde_json::from_str(&envelope).ok()?),
        })
    };
    tokio::task::spawn_blocking(make).await.map_err(ApiError::internal)
}
