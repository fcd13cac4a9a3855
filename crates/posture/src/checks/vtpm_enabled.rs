//! Whether there is a vTPM.

use veriboot_wire::{Configured, FactState};

use crate::{Outcome, ResourceFacts};

pub(crate) fn assess(facts: &ResourceFacts<'_>) -> Outcome {
    if let Some(vm) = &facts.vm {
        return match vm.facts.vtpm {
            FactState::Valid => Outcome::healthy("The last attestation was signed by the VM's TPM."),
            // Enrolment shows that the key lives in a TPM (MakeCredential, ActivateCredential).
            _ => Outcome::healthy("The VM enrolled with a TPM."),
        };
    }
    let Some(item) = &facts.item else {
        return Outcome::not_applicable("vtpm-unknown", "Nothing says whether there is a vTPM.");
    };
    let source = item.source;
    match item.vtpm {
        Configured::On => {
            Outcome::healthy(format!("The inventory source {source} says that there is a vTPM."))
        }
        Configured::Off => Outcome::unhealthy(
            "vtpm-off",
            format!("The inventory source {source} says that there is no vTPM, and there could be one."),
        ),
        Configured::Unsupported => Outcome::not_applicable(
            "vtpm-unsupported",
            format!("The inventory source {source} says that this kind of VM has no vTPM."),
        ),
        Configured::Unknown => Outcome::not_applicable(
            "vtpm-unknown",
            format!("The inventory source {source} does not say whether there is a vTPM."),
        ),
    }
}
