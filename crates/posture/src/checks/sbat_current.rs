//! Whether shim revokes old boot loaders by their generation.

use veriboot_wire::PostureReferences;

use super::with_log;
use crate::{Outcome, ResourceFacts};

pub(crate) fn assess(facts: &ResourceFacts<'_>, references: &PostureReferences) -> Outcome {
    let log = match with_log(facts) {
        Ok((_, log)) => log,
        Err(outcome) => return outcome,
    };
    let wanted = references.sbat_level;
    match log.sbat_level {
        None => Outcome::not_applicable(
            "no-sbat-level",
            "The event log shows no SBAT level: shim did not run, or is older than SBAT.",
        ),
        Some(level) if level < wanted => Outcome::unhealthy(
            "sbat-old",
            format!(
                "The SBAT level is {level}, older than {wanted}: boot loaders and shims with known holes are accepted."
            ),
        ),
        Some(level) => Outcome::healthy(format!("The SBAT level is {level} ({wanted} or later is current).")),
    }
}
