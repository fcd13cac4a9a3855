//! Whether the Linux kernel refuses modules that nobody signed.

use super::with_log;
use crate::{Outcome, ResourceFacts};

pub(crate) fn assess(facts: &ResourceFacts<'_>) -> Outcome {
    let (vm, log) = match with_log(facts) {
        Ok(found) => found,
        Err(outcome) => return outcome,
    };
    if !log.command_line {
        return match vm.os {
            "windows" => Outcome::not_applicable("not-linux", "The VM runs Windows."),
            _ => Outcome::not_applicable(
                "no-command-line",
                "The event log has no kernel command line: nothing shows how Linux was started.",
            ),
        };
    }
    if let Some(level) = &log.lockdown {
        return Outcome::healthy(format!("The kernel command line asks for lockdown ({level})."));
    }
    if log.module_signatures {
        return Outcome::healthy("The kernel command line demands signed modules (module.sig_enforce).");
    }
    match log.secure_boot {
        Some(true) if log.shim_validation_off => Outcome::unhealthy(
            "shim-validation-off",
            "shim was told not to verify what it starts (MokSBState), so the kernel neither locks down nor demands signed \
             modules, although Secure Boot is on.",
        ),
        Some(true) => Outcome::healthy(
            "Secure Boot is on, under which the kernels of distributions lock down and demand signed modules.",
        ),
        Some(false) | None => Outcome::unhealthy(
            "module-signatures-not-enforced",
            "Secure Boot is not on, and the kernel command line has neither lockdown= nor module.sig_enforce: unsigned \
             modules are loaded.",
        ),
    }
}
