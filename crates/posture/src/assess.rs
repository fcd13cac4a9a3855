//! One check on one resource.

use veriboot_wire::{PostureReferences, Time};

use crate::checks;
use crate::{CheckId, Outcome, ResourceFacts};

/// Makes one check.
pub fn assess(
    check: CheckId,
    facts: &ResourceFacts<'_>,
    references: &PostureReferences,
    now: Time,
) -> Outcome {
    match check {
        CheckId::SecureBootEnabled => checks::secure_boot_enabled::assess(facts),
        CheckId::VtpmEnabled => checks::vtpm_enabled::assess(facts),
        CheckId::AgentInstalled => checks::agent_installed::assess(facts),
        CheckId::AttestationHealthy => checks::attestation_healthy::assess(facts),
        CheckId::AgentCurrent => checks::agent_current::assess(facts, references),
        CheckId::DbxCurrent => checks::dbx_current::assess(facts, references),
        CheckId::SbatCurrent => checks::sbat_current::assess(facts, references),
        CheckId::SecureBootCa2023 => checks::secure_boot_ca_2023::assess(facts, references, now),
        CheckId::EndorsementVerified => checks::endorsement_verified::assess(facts),
        CheckId::KernelModulesSigned => checks::kernel_modules_signed::assess(facts),
    }
}

/// Makes all checks, in the order of the document.
pub fn assess_all(
    facts: &ResourceFacts<'_>,
    references: &PostureReferences,
    now: Time,
) -> Vec<(CheckId, Outcome)> {
    CheckId::ALL.iter().map(|check| (*check, assess(*check, facts, references, now))).collect()
}
