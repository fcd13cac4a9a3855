//! Whether the Linux kernel refuses modules that nobody signed.
//!
//! What the boot proves decides first. What the agent says about the running kernel is not proven: it can make the
//! assessment worse, never better, so a guest that lies about it gains nothing.

use veriboot_wire::{AssessmentStatus, KernelLogRead, KernelReport, LockdownLevel, ModuleEvents};

use super::with_log;
use crate::{LogFacts, Outcome, ResourceFacts};

pub(crate) fn assess(facts: &ResourceFacts<'_>) -> Outcome {
    let (vm, log) = match with_log(facts) {
        Ok(found) => found,
        Err(outcome) => return outcome,
    };
    let boot = by_boot(vm.os, log);
    match vm.kernel {
        // Of another system it says nothing that means anything.
        _ if boot.cause == Some(NOT_LINUX) => boot,
        Some(report) => with_report(boot, report),
        None if boot.status == AssessmentStatus::NotApplicable => boot,
        None => also(boot, "The agent says nothing about the running kernel: this rests on the boot alone."),
    }
}

const NOT_LINUX: &str = "not-linux";

/// What the boot proves.
fn by_boot(os: &str, log: &LogFacts) -> Outcome {
    if !log.command_line {
        return match os {
            "windows" => Outcome::not_applicable(NOT_LINUX, "The VM runs Windows."),
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

/// The assessment by the boot, or the worse one that the agent's words give. The worst comes first.
fn with_report(boot: Outcome, report: &KernelReport) -> Outcome {
    let mut worse = Vec::new();
    if report.has_unsigned() {
        worse.push(("unsigned-module-loaded", unsigned(report)));
    }
    if report.enforces() == Some(false) {
        let says =
            "The agent says that the running kernel has neither lockdown nor enforced module signatures.";
        worse.push(("enforcement-off-in-kernel", says.to_owned()));
    }
    if !report.refused.is_empty() {
        worse.push(("module-refused", refused(&report.refused)));
    }
    let words: Vec<&str> = worse.iter().map(|(_, says)| says.as_str()).collect();
    match worse.first() {
        Some((cause, _)) if boot.status != AssessmentStatus::Unhealthy => {
            Outcome::unhealthy(cause, format!("{} The boot: {}", words.join(" "), boot.description))
        }
        Some(_) => also(boot, &words.join(" ")),
        None if boot.status == AssessmentStatus::NotApplicable => boot,
        None => also(boot, &as_expected(report)),
    }
}

fn also(boot: Outcome, more: &str) -> Outcome {
    Outcome { description: format!("{} {more}", boot.description), ..boot }
}

fn unsigned(report: &KernelReport) -> String {
    match report.unsigned.modules.split_first() {
        Some((first, _)) => format!(
            "The agent says that the running kernel loaded a module without a signature that it could verify: {first}{}.",
            times(&report.unsigned)
        ),
        None => "The agent says that the running kernel is tainted by a module that has no verified signature, or that was \
                 loaded by force."
            .to_owned(),
    }
}

fn refused(events: &ModuleEvents) -> String {
    let what = match events.count {
        1 => "refused a module that nobody signed whom it trusts".to_owned(),
        count => format!("refused modules that nobody signed whom it trusts, {count} times"),
    };
    let mut named = Vec::new();
    if !events.modules.is_empty() {
        named.push(format!("modules {}", events.modules.join(", ")));
    }
    if !events.processes.is_empty() {
        named.push(format!("asked for by {}", events.processes.join(", ")));
    }
    let named = if named.is_empty() { String::new() } else { format!(" ({})", named.join("; ")) };
    format!("The agent says that the running kernel {what}{named}{}.", times(events))
}

/// When, after the start of the kernel.
fn times(events: &ModuleEvents) -> String {
    match (events.first_s, events.last_s) {
        (Some(first), Some(last)) if first != last => {
            format!(", {first} to {last} seconds after the kernel started")
        }
        (Some(at), _) | (None, Some(at)) => format!(", {at} seconds after the kernel started"),
        (None, None) => String::new(),
    }
}

/// What an agent says that has nothing to complain of.
fn as_expected(report: &KernelReport) -> String {
    let state = match (report.lockdown, report.module_signatures_enforced) {
        (Some(level @ (LockdownLevel::Integrity | LockdownLevel::Confidentiality)), _) => {
            format!("the running kernel is locked down ({})", level.as_str())
        }
        (_, Some(true)) => "the running kernel demands signed modules".to_owned(),
        _ => "it cannot tell whether the running kernel demands signed modules".to_owned(),
    };
    let refusals = match report.log {
        KernelLogRead::Whole => "that its log has no refused module",
        KernelLogRead::Partial => "that what is left of its log has no refused module",
        KernelLogRead::Unreadable => "that it cannot read its log, so a refused module would not be seen",
    };
    format!("The agent says that {state}, and {refusals}.")
}
