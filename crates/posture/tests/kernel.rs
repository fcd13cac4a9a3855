//! What an agent says about the running kernel, in all combinations, on top of what the boot proves.

#![allow(clippy::unwrap_used, clippy::panic)] // a test that fails here says where

use veriboot_posture::{CheckId, LogFacts, Outcome, ResourceFacts, VmFacts, assess, references};
use veriboot_wire::{
    AssessmentStatus, Facts, KernelLogRead, KernelReport, LockdownLevel, ModuleEvents, SecurityType, Time,
    VmStatus,
};

const HEALTHY: AssessmentStatus = AssessmentStatus::Healthy;
const UNHEALTHY: AssessmentStatus = AssessmentStatus::Unhealthy;
const NOT_APPLICABLE: AssessmentStatus = AssessmentStatus::NotApplicable;

fn of(os: &'static str, log: Option<LogFacts>, kernel: Option<&KernelReport>) -> Outcome {
    let vm = VmFacts {
        status: VmStatus::Healthy,
        status_detail: None,
        facts: Facts::UNKNOWN,
        security_type: SecurityType::TrustedLaunch,
        os,
        arch: "x86_64",
        agent_version: "1.0.0",
        kernel,
        ek_certificate: true,
        endorsement_detail: None,
        log,
    };
    let facts = ResourceFacts { vm: Some(vm), item: None };
    assess(CheckId::KernelModulesSigned, &facts, &references("1.0.0"), Time::from_unix_ms(0))
}

fn log(change: impl FnOnce(&mut LogFacts)) -> Option<LogFacts> {
    let mut log = LogFacts { secure_boot: Some(true), command_line: true, ..LogFacts::default() };
    change(&mut log);
    Some(log)
}

/// Every kind of boot: a name, the system, its log.
fn boots() -> Vec<(&'static str, &'static str, Option<LogFacts>)> {
    vec![
        ("secure boot", "linux", log(|_| {})),
        ("secure boot, system unknown", "", log(|_| {})),
        ("says it is windows, but a command line is measured", "windows", log(|_| {})),
        (
            "lockdown on the command line",
            "linux",
            log(|l| {
                (l.secure_boot, l.lockdown) = (Some(false), Some("integrity".into()));
            }),
        ),
        (
            "sig_enforce on the command line",
            "linux",
            log(|l| {
                (l.secure_boot, l.module_signatures) = (None, true);
            }),
        ),
        ("secure boot off", "linux", log(|l| l.secure_boot = Some(false))),
        ("shim does not validate", "linux", log(|l| l.shim_validation_off = true)),
        ("no command line", "linux", log(|l| l.command_line = false)),
        ("windows", "windows", log(|l| l.command_line = false)),
        ("no proven log", "linux", None),
    ]
}

fn events(count: u32) -> ModuleEvents {
    let mut events = ModuleEvents::default();
    for n in 0..count {
        events.add(Some("rootkit"), Some("modprobe"), 60 + n);
    }
    events
}

/// Every combination of what an agent can say.
fn reports() -> Vec<KernelReport> {
    use LockdownLevel::{Confidentiality, Integrity, None as Off};
    let mut all = Vec::new();
    for lockdown in [None, Some(Off), Some(Integrity), Some(Confidentiality)] {
        for module_signatures_enforced in [None, Some(false), Some(true)] {
            for taint in [None, Some(0), Some(1 << 1), Some(1 << 12), Some(1 << 13)] {
                for log in [KernelLogRead::Whole, KernelLogRead::Partial, KernelLogRead::Unreadable] {
                    for (refused, unsigned) in [(0, 0), (1, 0), (0, 1), (7, 1)] {
                        let (refused, unsigned) = (events(refused), events(unsigned));
                        all.push(KernelReport {
                            lockdown,
                            module_signatures_enforced,
                            taint,
                            log,
                            refused,
                            unsigned,
                        });
                    }
                }
            }
        }
    }
    all
}

/// What is wrong by the agent's words, worst first.
fn complaint(report: &KernelReport) -> Option<&'static str> {
    let tainted = report.taint.is_some_and(|taint| taint & ((1 << 1) | (1 << 13)) != 0);
    if tainted || report.unsigned.count > 0 {
        return Some("unsigned-module-loaded");
    }
    if report.lockdown == Some(LockdownLevel::None) && report.module_signatures_enforced == Some(false) {
        return Some("enforcement-off-in-kernel");
    }
    (report.refused.count > 0).then_some("module-refused")
}

#[test]
fn a_report_makes_it_worse_and_never_better() {
    for (name, os, log) in boots() {
        let boot = of(os, log.clone(), None);
        for report in reports() {
            let outcome = of(os, log.clone(), Some(&report));
            let found = (outcome.status, outcome.cause);
            let expected = match (name, boot.status, complaint(&report)) {
                ("windows" | "no proven log", ..) | (_, UNHEALTHY, _) | (_, _, None) => {
                    (boot.status, boot.cause)
                }
                (_, _, Some(cause)) => (UNHEALTHY, Some(cause)),
            };
            assert_eq!(found, expected, "{name}: {report:?}");
            assert!(outcome.description.ends_with('.'), "{}", outcome.description);
        }
    }
}

#[test]
fn the_boots_are_all_kinds_and_without_a_report_judged_as_ever() {
    let judged: Vec<_> = boots().into_iter().map(|(name, os, log)| (name, of(os, log, None))).collect();
    for (name, outcome) in &judged {
        let expected = match *name {
            "secure boot off" => (UNHEALTHY, Some("module-signatures-not-enforced")),
            "shim does not validate" => (UNHEALTHY, Some("shim-validation-off")),
            "no command line" => (NOT_APPLICABLE, Some("no-command-line")),
            "windows" => (NOT_APPLICABLE, Some("not-linux")),
            "no proven log" => (NOT_APPLICABLE, Some("no-proven-log")),
            _ => (HEALTHY, None),
        };
        assert_eq!((outcome.status, outcome.cause), expected, "{name}");
        if outcome.status != NOT_APPLICABLE {
            assert!(outcome.description.contains("rests on the boot alone"), "{}", outcome.description);
        }
    }
}

#[test]
fn words_name_what_was_seen() {
    let say = |report: &KernelReport| of("linux", log(|_| {}), Some(report)).description;
    let refused = say(&KernelReport { refused: events(3), ..KernelReport::default() });
    for part in [
        "3 times",
        "modules rootkit",
        "asked for by modprobe",
        "60 to 62 seconds",
        "The boot: Secure Boot is on",
    ] {
        assert!(refused.contains(part), "{refused}");
    }
    let once =
        say(&KernelReport { refused: ModuleEvents { count: 1, ..Default::default() }, ..Default::default() });
    assert!(once.contains("refused a module that nobody signed whom it trusts. The boot"), "{once}");
    let unsigned = say(&KernelReport { unsigned: events(1), ..KernelReport::default() });
    assert!(unsigned.contains(": rootkit, 60 seconds after"), "{unsigned}");
    let forced = say(&KernelReport { taint: Some(2), ..KernelReport::default() });
    assert!(forced.contains("tainted") && forced.contains("by force"), "{forced}");
    let fine = KernelReport {
        lockdown: Some(LockdownLevel::Integrity),
        module_signatures_enforced: Some(true),
        taint: Some(0),
        log: KernelLogRead::Whole,
        ..KernelReport::default()
    };
    assert!(say(&fine).contains("locked down (integrity)") && say(&fine).contains("has no refused module"));
    let blind = say(&KernelReport { log: KernelLogRead::Unreadable, ..fine });
    assert!(blind.contains("cannot read its log, so a refused module would not be seen"), "{blind}");
    let off = of(
        "linux",
        log(|l| l.secure_boot = Some(false)),
        Some(&KernelReport { refused: events(1), ..KernelReport::default() }),
    );
    assert!(
        off.description.starts_with("Secure Boot is not on") && off.description.contains("rootkit"),
        "{off:?}"
    );
}
