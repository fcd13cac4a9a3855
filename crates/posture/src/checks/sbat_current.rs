//! Whether shim revokes old boot loaders by their generation.

use veriboot_wire::PostureReferences;

use super::with_log;
use crate::references::dated;
use crate::{Outcome, ResourceFacts};

pub(crate) fn assess(facts: &ResourceFacts<'_>, references: &PostureReferences) -> Outcome {
    let log = match with_log(facts) {
        Ok((_, log)) => log,
        Err(outcome) => return outcome,
    };
    let wanted = references.sbat_level;
    let asked = dated("sbat_level", wanted);
    match log.sbat_level {
        None => Outcome::not_applicable(
            "no-sbat-level",
            "The event log shows no SBAT level: shim did not run, or is older than SBAT.",
        ),
        Some(level) if level < wanted => Outcome::unhealthy(
            "sbat-old",
            format!(
                "The SBAT level is {level}: boot loaders and shims with known holes are accepted. Asked for is {asked}, or \
                 later."
            ),
        ),
        Some(level) => {
            Outcome::healthy(format!("The SBAT level is {level}. Asked for is {asked}, or later."))
        }
    }
}
