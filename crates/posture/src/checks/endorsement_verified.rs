//! Whether the TPM is shown to be genuine, or only to be the one that enrolled first.

use veriboot_wire::FactState;

use super::without_agent;
use crate::{Outcome, ResourceFacts};

pub(crate) fn assess(facts: &ResourceFacts<'_>) -> Outcome {
    let Some(vm) = &facts.vm else { return without_agent() };
    match (vm.facts.endorsement, vm.ek_certificate) {
        (FactState::Valid, _) => {
            Outcome::healthy(with("The endorsement of the TPM is verified", vm.endorsement_detail))
        }
        (FactState::Invalid, _) => Outcome::unhealthy(
            "endorsement-invalid",
            with("The endorsement of the TPM is no longer valid", vm.endorsement_detail),
        ),
        (FactState::NotApplicable, _) => {
            Outcome::not_applicable("no-endorsement", "This kind of VM has no endorsement of a TPM.")
        }
        (FactState::Unknown, true) => Outcome::unhealthy(
            "certificate-not-verified",
            with(
                "The TPM has an endorsement certificate that no trusted root vouches for: identity rests on first use",
                vm.endorsement_detail,
            ),
        ),
        (FactState::Unknown, false) => Outcome::unhealthy(
            "no-certificate",
            "The TPM has no endorsement certificate: identity rests on first use.",
        ),
    }
}

fn with(sentence: &str, detail: Option<&str>) -> String {
    match detail {
        Some(detail) => format!("{sentence} ({detail})."),
        None => format!("{sentence}."),
    }
}
