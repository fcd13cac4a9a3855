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
    let both = [(item.secure_boot, "Secure Boot"), (item.vtpm, "the vTPM")];
    let of = |wanted: &[Configured]| -> Vec<&str> {
        both.iter().filter(|(configured, _)| wanted.contains(configured)).map(|(_, what)| *what).collect()
    };
    let off = of(&[Configured::Off, Configured::Unsupported]);
    if !off.is_empty() {
        return Outcome::not_applicable(
            "prerequisites-off",
            format!(
                "The agent comes after {}, which the inventory shows as off or unsupported.",
                off.join(" and ")
            ),
        );
    }
    let unknown = of(&[Configured::Unknown]);
    if !unknown.is_empty() {
        return Outcome::not_applicable(
            "prerequisites-unknown",
            format!(
                "Inventory source {} does not say whether {} {} on: an enrolled agent would show it.",
                item.source,
                unknown.join(" and "),
                if unknown.len() == 1 { "is" } else { "are" }
            ),
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
