//! Every check, each outcome of it, and each cause that its document names.

#![allow(clippy::unwrap_used, clippy::panic)] // a test that fails here says where

use std::collections::BTreeSet;

use veriboot_posture::{
    CheckId, ItemFacts, LogFacts, MicrosoftKeys, Outcome, ResourceFacts, VmFacts, assess, assess_all, checks,
    references,
};
use veriboot_wire::{
    AssessmentStatus, Configured, FactState, Facts, KernelReport, LockdownLevel, ModuleEvents,
    PostureReferences, PowerState, SecurityType, TAINT_UNSIGNED_MODULE, Time, VmStatus,
};

const HEALTHY: AssessmentStatus = AssessmentStatus::Healthy;
const UNHEALTHY: AssessmentStatus = AssessmentStatus::Unhealthy;
const NOT_APPLICABLE: AssessmentStatus = AssessmentStatus::NotApplicable;

/// 2025-01-01: the certificates of 2011 have more than a year left.
const EARLY: i64 = 1_735_689_600;
/// 2026-01-01: they end this year.
const THAT_YEAR: i64 = 1_767_225_600;
/// 2026-06-25: the first of them has ended.
const AFTER_THE_FIRST: i64 = 1_782_345_600;

const KEYS_2011: MicrosoftKeys = MicrosoftKeys {
    kek_2011: true,
    kek_2023: false,
    uefi_2011: true,
    uefi_2023: false,
    windows_2011: true,
    windows_2023: false,
};

/// A log of which nothing is to be said.
fn log() -> LogFacts {
    LogFacts {
        version: LogFacts::VERSION,
        secure_boot: Some(true),
        dbx_entries: Some(400),
        dbx_revision: Some("2026-04-09".into()),
        sbat_level: Some(2_025_051_000),
        microsoft_keys: Some(MicrosoftKeys {
            kek_2023: true,
            uefi_2023: true,
            windows_2023: true,
            ..KEYS_2011
        }),
        command_line: true,
        ..LogFacts::default()
    }
}

/// A VM of which nothing is to be said.
fn vm() -> VmFacts<'static> {
    let facts = Facts {
        secure_boot: FactState::Valid,
        vtpm: FactState::Valid,
        quote: FactState::Valid,
        log: FactState::Valid,
        baseline: FactState::Valid,
        endorsement: FactState::Valid,
        tee: FactState::NotApplicable,
    };
    VmFacts {
        status: VmStatus::Healthy,
        status_detail: None,
        facts,
        security_type: SecurityType::TrustedLaunch,
        os: "linux",
        arch: "x86_64",
        agent_version: "1.2.0",
        kernel: None,
        ek_certificate: true,
        endorsement_detail: None,
        log: Some(log()),
    }
}

fn item(secure_boot: Configured, vtpm: Configured) -> ItemFacts<'static> {
    ItemFacts { secure_boot, vtpm, power: PowerState::Running, source: "azure-prod" }
}

fn enrolled(change: impl FnOnce(&mut VmFacts<'static>)) -> ResourceFacts<'static> {
    let mut vm = vm();
    change(&mut vm);
    ResourceFacts { vm: Some(vm), item: None }
}

fn with_log(change: impl FnOnce(&mut LogFacts)) -> ResourceFacts<'static> {
    enrolled(|vm| change(vm.log.as_mut().unwrap()))
}

fn only(item: ItemFacts<'static>) -> ResourceFacts<'static> {
    ResourceFacts { vm: None, item: Some(item) }
}

fn known() -> PostureReferences {
    references("1.2.0")
}

fn at(seconds: i64) -> Time {
    Time::from_unix_ms(seconds * 1000)
}

fn of(check: CheckId, facts: &ResourceFacts<'_>, seconds: i64) -> (AssessmentStatus, Option<&'static str>) {
    let outcome = assess(check, facts, &known(), at(seconds));
    assert!(outcome.description.len() > 10 && outcome.description.ends_with('.'), "{}", outcome.description);
    (outcome.status, outcome.cause)
}

/// Every case: check, facts, time, status, cause.
#[allow(clippy::too_many_lines, reason = "a table")]
fn cases() -> Vec<(CheckId, ResourceFacts<'static>, i64, AssessmentStatus, Option<&'static str>)> {
    use CheckId as C;
    use Configured::{Off, On, Unknown, Unsupported};
    let nothing = ResourceFacts { vm: None, item: None };
    let secure_boot = |state| enrolled(|vm| vm.facts.secure_boot = state);
    let both = |state, item| {
        let mut facts = secure_boot(state);
        facts.item = Some(item);
        facts
    };
    let status = |status| enrolled(|vm| vm.status = status);
    let endorsement = |state, certificate| {
        enrolled(|vm| {
            vm.facts.endorsement = state;
            vm.ek_certificate = certificate;
        })
    };
    let version = |version| enrolled(|vm| vm.agent_version = version);
    let keys = |keys| with_log(|log| log.microsoft_keys = keys);
    let mut cases = vec![
        (C::SecureBootEnabled, enrolled(|_| {}), EARLY, HEALTHY, None),
        (C::SecureBootEnabled, secure_boot(FactState::Invalid), EARLY, UNHEALTHY, Some("secure-boot-off")),
        (
            C::SecureBootEnabled,
            secure_boot(FactState::Unknown),
            EARLY,
            NOT_APPLICABLE,
            Some("secure-boot-unknown"),
        ),
        (
            C::SecureBootEnabled,
            both(FactState::Invalid, item(On, On)),
            EARLY,
            UNHEALTHY,
            Some("secure-boot-off-although-configured"),
        ),
        // What is attested counts, whatever is configured.
        (C::SecureBootEnabled, both(FactState::Valid, item(Off, On)), EARLY, HEALTHY, None),
        (C::SecureBootEnabled, both(FactState::Unknown, item(On, On)), EARLY, HEALTHY, None),
        (
            C::SecureBootEnabled,
            both(FactState::Unknown, item(Off, On)),
            EARLY,
            UNHEALTHY,
            Some("secure-boot-off"),
        ),
        (C::SecureBootEnabled, only(item(On, On)), EARLY, HEALTHY, None),
        (C::SecureBootEnabled, only(item(Off, On)), EARLY, UNHEALTHY, Some("secure-boot-off")),
        (
            C::SecureBootEnabled,
            only(item(Unsupported, On)),
            EARLY,
            NOT_APPLICABLE,
            Some("secure-boot-unsupported"),
        ),
        (C::SecureBootEnabled, only(item(Unknown, On)), EARLY, NOT_APPLICABLE, Some("secure-boot-unknown")),
        (C::SecureBootEnabled, nothing.clone(), EARLY, NOT_APPLICABLE, Some("secure-boot-unknown")),
        (C::VtpmEnabled, enrolled(|_| {}), EARLY, HEALTHY, None),
        (C::VtpmEnabled, enrolled(|vm| vm.facts.vtpm = FactState::Unknown), EARLY, HEALTHY, None),
        (C::VtpmEnabled, only(item(On, On)), EARLY, HEALTHY, None),
        (C::VtpmEnabled, only(item(On, Off)), EARLY, UNHEALTHY, Some("vtpm-off")),
        (C::VtpmEnabled, only(item(On, Unsupported)), EARLY, NOT_APPLICABLE, Some("vtpm-unsupported")),
        (C::VtpmEnabled, only(item(On, Unknown)), EARLY, NOT_APPLICABLE, Some("vtpm-unknown")),
        (C::AgentInstalled, enrolled(|_| {}), EARLY, HEALTHY, None),
        (C::AgentInstalled, only(item(On, On)), EARLY, UNHEALTHY, Some("agent-not-enrolled")),
        (C::AgentInstalled, nothing, EARLY, NOT_APPLICABLE, Some("prerequisites-unknown")),
        (C::AttestationHealthy, enrolled(|_| {}), EARLY, HEALTHY, None),
        (C::AttestationHealthy, status(VmStatus::Unhealthy), EARLY, UNHEALTHY, Some("attestation-failed")),
        (C::AttestationHealthy, status(VmStatus::Stale), EARLY, UNHEALTHY, Some("agent-silent")),
        (C::AttestationHealthy, status(VmStatus::Error), EARLY, UNHEALTHY, Some("platform-fault")),
        (C::AttestationHealthy, status(VmStatus::Pending), EARLY, UNHEALTHY, Some("never-attested")),
        (C::AttestationHealthy, status(VmStatus::Unmonitored), EARLY, NOT_APPLICABLE, Some("monitoring-off")),
        (C::AgentCurrent, enrolled(|_| {}), EARLY, HEALTHY, None),
        (C::AgentCurrent, version("1.10.0"), EARLY, HEALTHY, None),
        (C::AgentCurrent, version("1.1.9"), EARLY, UNHEALTHY, Some("agent-outdated")),
        (C::AgentCurrent, version(""), EARLY, NOT_APPLICABLE, Some("agent-version-unknown")),
        (C::DbxCurrent, enrolled(|_| {}), EARLY, HEALTHY, None),
        (C::DbxCurrent, with_log(|log| log.dbx_revision = None), EARLY, UNHEALTHY, Some("dbx-old")),
        (
            C::DbxCurrent,
            with_log(|log| log.dbx_revision = Some("2025-09-02".into())),
            EARLY,
            UNHEALTHY,
            Some("dbx-old"),
        ),
        // Fewer entries than an older list had.
        (C::DbxCurrent, with_log(|log| log.dbx_entries = Some(250)), EARLY, HEALTHY, None),
        (C::DbxCurrent, with_log(|log| log.dbx_entries = Some(1)), EARLY, UNHEALTHY, Some("dbx-empty")),
        (
            C::DbxCurrent,
            with_log(|log| log.dbx_entries = None),
            EARLY,
            NOT_APPLICABLE,
            Some("dbx-not-measured"),
        ),
        (
            C::DbxCurrent,
            with_log(|log| {
                log.dbx_entries = Some(1);
                log.microsoft_keys = Some(MicrosoftKeys::default());
            }),
            EARLY,
            NOT_APPLICABLE,
            Some("own-keys"),
        ),
        (
            C::DbxCurrent,
            enrolled(|vm| {
                vm.arch = "aarch64";
                vm.log.as_mut().unwrap().dbx_entries = Some(26);
            }),
            EARLY,
            HEALTHY,
            None,
        ),
        (
            C::DbxCurrent,
            enrolled(|vm| {
                vm.arch = "aarch64";
                vm.log.as_mut().unwrap().dbx_entries = Some(25);
            }),
            EARLY,
            UNHEALTHY,
            Some("dbx-old"),
        ),
        (C::SbatCurrent, enrolled(|_| {}), EARLY, HEALTHY, None),
        (
            C::SbatCurrent,
            with_log(|log| log.sbat_level = Some(2_023_012_900)),
            EARLY,
            UNHEALTHY,
            Some("sbat-old"),
        ),
        (C::SbatCurrent, with_log(|log| log.sbat_level = None), EARLY, NOT_APPLICABLE, Some("no-sbat-level")),
        (C::SecureBootCa2023, enrolled(|_| {}), AFTER_THE_FIRST, HEALTHY, None),
        (C::SecureBootCa2023, keys(Some(KEYS_2011)), EARLY, HEALTHY, None),
        (C::SecureBootCa2023, keys(Some(KEYS_2011)), THAT_YEAR, UNHEALTHY, Some("ca-2011-expiring")),
        (C::SecureBootCa2023, keys(Some(KEYS_2011)), AFTER_THE_FIRST, UNHEALTHY, Some("ca-2011-expired")),
        // One of three is enough to be recommended, and the one of KEK is no longer missing.
        (
            C::SecureBootCa2023,
            keys(Some(MicrosoftKeys { kek_2023: true, uefi_2023: true, ..KEYS_2011 })),
            AFTER_THE_FIRST,
            UNHEALTHY,
            Some("ca-2011-expiring"),
        ),
        (
            C::SecureBootCa2023,
            keys(Some(MicrosoftKeys::default())),
            THAT_YEAR,
            NOT_APPLICABLE,
            Some("no-certificate-of-2011"),
        ),
        (C::SecureBootCa2023, keys(None), THAT_YEAR, NOT_APPLICABLE, Some("keys-not-measured")),
        (C::EndorsementVerified, enrolled(|_| {}), EARLY, HEALTHY, None),
        (
            C::EndorsementVerified,
            endorsement(FactState::Unknown, false),
            EARLY,
            UNHEALTHY,
            Some("no-certificate"),
        ),
        (
            C::EndorsementVerified,
            endorsement(FactState::Unknown, true),
            EARLY,
            UNHEALTHY,
            Some("certificate-not-verified"),
        ),
        (
            C::EndorsementVerified,
            endorsement(FactState::Invalid, true),
            EARLY,
            UNHEALTHY,
            Some("endorsement-invalid"),
        ),
        (
            C::EndorsementVerified,
            endorsement(FactState::NotApplicable, false),
            EARLY,
            NOT_APPLICABLE,
            Some("no-endorsement"),
        ),
        (C::KernelModulesSigned, enrolled(|_| {}), EARLY, HEALTHY, None),
        (
            C::KernelModulesSigned,
            with_log(|log| log.secure_boot = Some(false)),
            EARLY,
            UNHEALTHY,
            Some("module-signatures-not-enforced"),
        ),
        (
            C::KernelModulesSigned,
            with_log(|log| log.secure_boot = None),
            EARLY,
            UNHEALTHY,
            Some("module-signatures-not-enforced"),
        ),
        (
            C::KernelModulesSigned,
            with_log(|log| {
                log.secure_boot = Some(false);
                log.lockdown = Some("integrity".into());
            }),
            EARLY,
            HEALTHY,
            None,
        ),
        (
            C::KernelModulesSigned,
            with_log(|log| {
                log.secure_boot = Some(false);
                log.module_signatures = true;
            }),
            EARLY,
            HEALTHY,
            None,
        ),
        (
            C::KernelModulesSigned,
            with_log(|log| log.shim_validation_off = true),
            EARLY,
            UNHEALTHY,
            Some("shim-validation-off"),
        ),
        (
            C::KernelModulesSigned,
            with_log(|log| log.command_line = false),
            EARLY,
            NOT_APPLICABLE,
            Some("no-command-line"),
        ),
        (
            C::KernelModulesSigned,
            enrolled(|vm| {
                vm.os = "windows";
                vm.log.as_mut().unwrap().command_line = false;
            }),
            EARLY,
            NOT_APPLICABLE,
            Some("not-linux"),
        ),
    ];
    // All combinations are in the tests of `kernel`.
    for (report, cause) in [
        (
            KernelReport { taint: Some(TAINT_UNSIGNED_MODULE), ..KernelReport::default() },
            "unsigned-module-loaded",
        ),
        (
            KernelReport {
                lockdown: Some(LockdownLevel::None),
                module_signatures_enforced: Some(false),
                ..KernelReport::default()
            },
            "enforcement-off-in-kernel",
        ),
        (
            KernelReport {
                refused: ModuleEvents { count: 1, ..ModuleEvents::default() },
                ..KernelReport::default()
            },
            "module-refused",
        ),
    ] {
        let facts = enrolled(|vm| vm.kernel = Some(Box::leak(Box::new(report))));
        cases.push((C::KernelModulesSigned, facts, EARLY, UNHEALTHY, Some(cause)));
    }
    // Shown only where Secure Boot and vTPM are both on.
    for (secure_boot, vtpm) in [(Off, On), (On, Off), (Unknown, Off), (Off, Unknown), (Unsupported, On)] {
        let facts = only(item(secure_boot, vtpm));
        cases.push((C::AgentInstalled, facts, EARLY, NOT_APPLICABLE, Some("prerequisites-off")));
    }
    // What nobody says is not called off.
    for (secure_boot, vtpm) in [(Unknown, On), (On, Unknown), (Unknown, Unknown)] {
        let facts = only(item(secure_boot, vtpm));
        cases.push((C::AgentInstalled, facts, EARLY, NOT_APPLICABLE, Some("prerequisites-unknown")));
    }
    for check in [
        C::AttestationHealthy,
        C::AgentCurrent,
        C::EndorsementVerified,
        C::DbxCurrent,
        C::SbatCurrent,
        C::SecureBootCa2023,
        C::KernelModulesSigned,
    ] {
        cases.push((check, only(item(On, On)), EARLY, NOT_APPLICABLE, Some("no-agent")));
    }
    for check in [C::DbxCurrent, C::SbatCurrent, C::SecureBootCa2023, C::KernelModulesSigned] {
        cases.push((check, enrolled(|vm| vm.log = None), EARLY, NOT_APPLICABLE, Some("no-proven-log")));
    }
    cases
}

#[test]
fn every_outcome_comes_out_as_it_should() {
    for (check, facts, seconds, status, cause) in cases() {
        assert_eq!(of(check, &facts, seconds), (status, cause), "{check}: {facts:?}");
    }
}

#[test]
fn every_cause_of_the_document_can_be_and_no_other() {
    let mut seen = BTreeSet::new();
    for (check, facts, seconds, ..) in cases() {
        if let (status, Some(cause)) = of(check, &facts, seconds) {
            seen.insert((check.as_str().to_owned(), cause.to_owned(), status));
        }
    }
    let documented: BTreeSet<_> = checks()
        .iter()
        .flat_map(|check| check.causes.iter().map(|c| (check.id.clone(), c.id.clone(), c.status)))
        .collect();
    assert_eq!(seen, documented);
}

#[test]
fn descriptions_have_the_values() {
    let say = |check, facts: &ResourceFacts<'_>| {
        let Outcome { description, .. } = assess(check, facts, &known(), at(THAT_YEAR));
        description
    };
    assert!(
        say(
            CheckId::DbxCurrent,
            &with_log(|log| {
                log.dbx_entries = Some(77);
                log.dbx_revision = None;
            })
        )
        .contains("77 entries")
    );
    let sbat = say(CheckId::SbatCurrent, &with_log(|log| log.sbat_level = Some(2_023_012_900)));
    assert!(sbat.contains("2023012900") && sbat.contains("2024010900"), "{sbat}");
    let keys = say(CheckId::SecureBootCa2023, &with_log(|log| log.microsoft_keys = Some(KEYS_2011)));
    for part in ["Microsoft UEFI CA 2023 in db", "Microsoft Corporation KEK CA 2011 (2026-06-24)"] {
        assert!(keys.contains(part), "{keys}");
    }
    let agent = say(CheckId::AgentCurrent, &enrolled(|vm| vm.agent_version = "1.0.0"));
    assert!(agent.contains("1.0.0") && agent.contains("1.2.0"), "{agent}");
    let stale = enrolled(|vm| {
        vm.status = VmStatus::Stale;
        vm.status_detail = Some("The VM has not attested since noon.");
    });
    let stale = say(CheckId::AttestationHealthy, &stale);
    assert!(stale.contains("stale") && stale.contains("since noon"), "{stale}");
    // The service may have failed as well as the agent, and the VM may have left: the detail says which.
    let detail = |status, detail| {
        let vm = enrolled(|vm| (vm.status, vm.status_detail) = (status, Some(detail)));
        say(CheckId::AttestationHealthy, &vm)
    };
    let broken = detail(VmStatus::Error, "The service could not appraise it.");
    assert!(broken.contains("could not appraise") && !broken.contains("The agent"), "{broken}");
    let left = detail(VmStatus::Unmonitored, "The VM is gone from its inventory.");
    assert!(left.contains("gone from its inventory") && !left.contains("switched off"), "{left}");
    assert!(
        say(CheckId::SecureBootEnabled, &only(item(Configured::Off, Configured::On))).contains("azure-prod")
    );
}

#[test]
fn all_checks_are_made_in_the_order_of_the_document() {
    let made = assess_all(&enrolled(|_| {}), &known(), at(EARLY));
    assert_eq!(made.iter().map(|(check, _)| *check).collect::<Vec<_>>(), CheckId::ALL);
    assert!(made.iter().all(|(_, outcome)| outcome.status == HEALTHY && outcome.cause.is_none()));
}
