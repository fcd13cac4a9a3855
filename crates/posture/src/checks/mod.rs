//! The checks: each a pure function in a file of its own.

pub(crate) mod agent_current;
pub(crate) mod agent_installed;
pub(crate) mod attestation_healthy;
pub(crate) mod dbx_current;
pub(crate) mod endorsement_verified;
pub(crate) mod kernel_modules_signed;
pub(crate) mod sbat_current;
pub(crate) mod secure_boot_ca_2023;
pub(crate) mod secure_boot_enabled;
pub(crate) mod vtpm_enabled;

use crate::{LogFacts, Outcome, ResourceFacts, VmFacts};

/// The VM and its log, or why there is none.
fn with_log<'f, 'a>(facts: &'f ResourceFacts<'a>) -> Result<(&'f VmFacts<'a>, &'f LogFacts), Outcome> {
    let Some(vm) = &facts.vm else { return Err(without_agent()) };
    match &vm.log {
        Some(log) => Ok((vm, log)),
        None => Err(Outcome::not_applicable(
            "no-proven-log",
            "No attestation of this VM came with an event log that its quote proves.",
        )),
    }
}

fn without_agent() -> Outcome {
    Outcome::not_applicable("no-agent", "The VM has no agent that is enrolled.")
}
