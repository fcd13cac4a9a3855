//! Whether the agent is as new as the service asks for.

use veriboot_wire::PostureReferences;

use super::without_agent;
use crate::references::is_older;
use crate::{Outcome, ResourceFacts};

pub(crate) fn assess(facts: &ResourceFacts<'_>, references: &PostureReferences) -> Outcome {
    let Some(vm) = &facts.vm else { return without_agent() };
    let (has, wanted) = (vm.agent_version, &references.agent_version);
    match is_older(has, wanted) {
        Some(true) => Outcome::unhealthy(
            "agent-outdated",
            format!("The agent has version {has}; {wanted} or later is asked for."),
        ),
        Some(false) => {
            Outcome::healthy(format!("The agent has version {has}; {wanted} or later is asked for."))
        }
        None => Outcome::not_applicable(
            "agent-version-unknown",
            "The agent did not say a version that can be compared.",
        ),
    }
}
