//! Whether Secure Boot is on: attested where the VM attests, configured elsewhere.

use veriboot_wire::{Configured, FactState};

use crate::{ItemFacts, Outcome, ResourceFacts};

pub(crate) fn assess(facts: &ResourceFacts<'_>) -> Outcome {
    let attested = facts.vm.as_ref().map(|vm| vm.facts.secure_boot);
    match (attested, &facts.item) {
        (Some(FactState::Valid), _) => Outcome::healthy("The last attestation shows Secure Boot on."),
        (Some(FactState::Invalid), Some(ItemFacts { secure_boot: Configured::On, source, .. })) => {
            Outcome::unhealthy(
                "secure-boot-off-although-configured",
                format!(
                    "The inventory source {source} says that Secure Boot is on, but the last attestation shows it off: \
                     somebody switched it off in the firmware, or the VM was not restarted since."
                ),
            )
        }
        (Some(FactState::Invalid), _) => {
            Outcome::unhealthy("secure-boot-off", "The last attestation shows Secure Boot off.")
        }
        (_, Some(item)) => configured(item, facts.vm.is_some()),
        (Some(_), None) => Outcome::not_applicable(
            "secure-boot-unknown",
            "No attestation shows whether Secure Boot is on, and the VM is not in the inventory.",
        ),
        (None, None) => {
            Outcome::not_applicable("secure-boot-unknown", "Nothing says whether Secure Boot is on.")
        }
    }
}

fn configured(item: &ItemFacts<'_>, enrolled: bool) -> Outcome {
    let source = item.source;
    match item.secure_boot {
        Configured::On if enrolled => Outcome::healthy(format!(
            "The inventory source {source} says that Secure Boot is on; no attestation shows it yet."
        )),
        Configured::On => Outcome::healthy(format!(
            "The inventory source {source} says that Secure Boot is on. Nothing attests it: the VM has no agent."
        )),
        Configured::Off => Outcome::unhealthy(
            "secure-boot-off",
            format!("The inventory source {source} says that Secure Boot is off."),
        ),
        Configured::Unsupported => Outcome::not_applicable(
            "secure-boot-unsupported",
            format!("The inventory source {source} says that this kind of VM has no Secure Boot."),
        ),
        Configured::Unknown => Outcome::not_applicable(
            "secure-boot-unknown",
            format!("The inventory source {source} does not say whether Secure Boot is on."),
        ),
    }
}
