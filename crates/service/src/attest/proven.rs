//! Stored evidence, proven once more: before anything is trusted because of it.

use std::sync::Arc;

use veriboot_appraisal::{
    CompiledBaseline, Conclude, Judgement, LogReport, Profile, conclude, examine, judge,
};
use veriboot_eventlog::HashAlg;
use veriboot_policy::Boot;
use veriboot_store::attestations;
use veriboot_store::vms::VmRow;
use veriboot_wire::{Attestation, FactState, MachineInfo, Verdict};

use super::AttestState;
use super::conditions::seen_by_conditions;
use super::evidence::{Evidence, sha256_hex};
use super::examine::{Broken, bank_of, guarded};
use super::work;
use crate::AppState;

/// Evidence as it is stored.
#[derive(Clone, Debug)]
pub(crate) struct StoredEvidence {
    pub attestation: Attestation,
    pub evidence: attestations::Evidence,
    pub log: Vec<u8>,
    /// The VM as it is now.
    pub vm: VmRow,
}

/// What it is held against.
#[derive(Clone, Debug)]
pub(crate) struct ProveBy {
    pub baseline: Arc<CompiledBaseline>,
    /// Names the content of the profile.
    pub profile_key: String,
    pub profile: Arc<Profile>,
}

/// A boot that a quote proves, and that is healthy by a baseline and a profile.
#[derive(Clone, Debug)]
pub(crate) struct Proven {
    pub report: Arc<LogReport>,
    pub bank: HashAlg,
    /// What profile and baseline say about it.
    pub judgement: Judgement,
}

/// Why stored evidence proves nothing.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotProven {
    /// It was not believed when it came.
    #[error("the attestation was not accepted when it was made")]
    NotAccepted,
    /// Something of it is not what it was.
    #[error("what is stored of it was changed: {0}")]
    Altered(&'static str),
    /// It is not healthy by what judges now.
    #[error("it is not healthy by the baseline and the profile of now")]
    NotHealthy,
    /// It cannot be appraised.
    #[error("it cannot be appraised: {0}")]
    Broken(String),
}

impl From<Broken> for NotProven {
    fn from(error: Broken) -> Self {
        Self::Broken(error.to_string())
    }
}

/// Proves stored evidence again, from the signature of the quote to the conditions of the profile. Counters are not asked
/// again: they were compared with the boot before when the evidence came.
pub(crate) async fn prove_again(
    state: &AppState,
    stored: StoredEvidence,
    by: ProveBy,
) -> Result<Proven, NotProven> {
    let shared = state.clone();
    work::run(&state.attest.long_work, true, move || shared.attest.prove_again(&stored, &by)).await?
}

impl AttestState {
    fn prove_again(&self, stored: &StoredEvidence, by: &ProveBy) -> Result<Proven, NotProven> {
        let ProveBy { baseline, profile_key, profile } = by;
        let StoredEvidence { attestation, evidence, log, vm } = stored;
        let facts = &attestation.facts;
        if attestation.verdict != Verdict::Healthy
            || facts.quote != FactState::Valid
            || facts.log != FactState::Valid
        {
            return Err(NotProven::NotAccepted);
        }
        if attestation.log_sha256.as_deref() != Some(sha256_hex(log).as_str()) {
            return Err(NotProven::Altered("its event log does not have its digest"));
        }
        let input = Evidence {
            nonce: evidence.nonce.clone(),
            quote: evidence.quote.clone(),
            signature: evidence.signature.clone(),
            pcrs: evidence.pcrs.clone(),
            log: None,
            log_absent_because: None,
            machine: MachineInfo::default(),
            kernel: None,
        };
        let quote = self
            .verify(&evidence.ak_public, &input)?
            .map_err(|_| NotProven::Altered("its quote is not signed by its key"))?;
        let bank = bank_of(&quote).ok_or(NotProven::Altered("its quote is of no bank that is known"))?;
        let report = guarded(|| examine(log))?;
        let judgement = guarded(|| judge(&report, bank, Some(baseline.as_ref()), profile))?;
        let outcome = guarded(|| {
            conclude(Conclude {
                quote: Ok(&quote),
                pcr_values: Some(&evidence.pcrs),
                report: Some(&report),
                log_absent_because: None,
                judgement: Some(&judgement),
                profile,
                previous: None,
            })
        })?;
        let boot = match profile.conditions.is_empty() {
            true => None,
            false => Some(guarded(|| Boot::read(log, &report, Some(bank), &profile.run_time_pcrs))?),
        };
        let seen = seen_by_conditions(vm, &vm.machine);
        let outcome = self.conditions.judge(outcome, (profile_key.as_str(), profile), boot.as_ref(), seen)?;
        if outcome.verdict != Verdict::Healthy {
            return Err(NotProven::NotHealthy);
        }
        Ok(Proven { report: Arc::new(report), bank, judgement })
    }
}
