//! Whether the agent is enrolled; asked only where Secure Boot and vTPM are on.

use veriboot_wire::{Configured, PowerState};

use crate::{Outcome, ResourceFacts};

pub(crate) fn assess(facts: &ResourceFacts<'_>) -> Outcome {
    if facts.vm.is_some() {
        return Outcome::healthy("The agent is enrolled.");
    }
    let Some(item) = &facts.item else {
        return Outcome::not_applicable("prerequisites-unknown", "Nothing is known about this VM.");
    };
    let missing: Vec<&str> = [(item.secure_boot, "Secure Boot"), (item.vtpm, "the vTPM")]
        .into_iter()
        .filter(|(configured, _)| *configured != Configured::On)
        .map(|(_, what)| what)
        .collect();
    if !missing.is_empty() {
        return Outcome::not_applicable(
            "prerequisites-off",
            format!("The agent comes after {}, which the inventory does not show on.", missing.join(" and ")),
        );
    }
    let stopped = match item.power {
        PowerState::Stopped => " It is switched off at present.",
        PowerState::Running | PowerState::Unknown => "",
    };
    Outcome::unhealthy(
        "agent-not-enrolled",
        format!(
            "Secure Boot and vTPM are on (inventory source {}), but no agent of this VM is enrolled: nothing shows what it \
             boots.{stopped}",
            item.source
        ),
    )
}
