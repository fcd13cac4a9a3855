//! Whether the VM attests, and is what it should be. Carries the state of remote attestation.

use veriboot_wire::VmStatus;

use super::without_agent;
use crate::{Outcome, ResourceFacts};

pub(crate) fn assess(facts: &ResourceFacts<'_>) -> Outcome {
    let Some(vm) = &facts.vm else { return without_agent() };
    let detail = vm.status_detail.map(|detail| format!(" {detail}")).unwrap_or_default();
    let say = |what: &str| format!("Remote attestation: {}. {what}{detail}", vm.status);
    match vm.status {
        VmStatus::Healthy => Outcome::healthy(say("The last attestation was accepted.")),
        VmStatus::Unhealthy => {
            Outcome::unhealthy("attestation-failed", say("The last attestation was refused."))
        }
        VmStatus::Stale => Outcome::unhealthy("agent-silent", say("The agent stopped reporting.")),
        VmStatus::Error => {
            Outcome::unhealthy("platform-fault", say("Its evidence cannot be made or appraised."))
        }
        VmStatus::Pending => Outcome::unhealthy(
            "never-attested",
            say("No evidence was accepted since it enrolled, or since monitoring was switched on."),
        ),
        VmStatus::Unmonitored => {
            Outcome::not_applicable("monitoring-off", say("Nobody waits for its evidence."))
        }
    }
}
