//! What a log proves about Secure Boot, and how it is faked: row 17 of the attack list.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "helpers of tests may fail loudly"
)]
#![allow(
    clippy::field_reassign_with_default,
    reason = "a machine is described by what differs from the usual one"
)]

mod common;

use common::case::Case;
use common::{Log, Machine, SHA256, Tpm, appraise, codes};
use veriboot_appraisal::{Profile, judge, primary};
use veriboot_eventlog::EventType;
use veriboot_wire::{AlertReason, FactState, Severity, Verdict};

/// Row 17.
#[test]
fn separators_and_secure_boot_must_be_in_order() {
    let check = |expected: &str, change: &dyn Fn(&mut Log)| {
        let mut log = Machine::default().log();
        change(&mut log);
        // The quote proves exactly this log: only its order is wrong.
        let outcome = appraise(&Tpm::booted(&log), &log.bytes(), None, None);
        assert_eq!(outcome.verdict, Verdict::Unhealthy, "{expected}");
        assert!(codes(&outcome).contains(&expected), "{expected}: {:?}", codes(&outcome));
    };
    let separator = |log: &Log| {
        log.events.iter().position(|e| e.pcr == 7 && e.event_type == EventType::EV_SEPARATOR).unwrap()
    };
    check("separator-missing", &|log| {
        log.events.remove(separator(log));
    });
    check("separator-doubled", &|log| log.separator(7));
    check("separator-doubled", &|log| log.separator(4));
    check("separator-error", &|log| {
        let at = separator(log);
        log.events[at].measured = vec![1, 0, 0, 0];
        log.events[at].data = vec![1, 0, 0, 0];
    });
    check("measured-after-separator", &|log| {
        let at = log.events.iter().position(|e| e.pcr == 7).unwrap();
        let variable = log.events.remove(at);
        log.events.push(variable);
    });
    check("secure-boot-ambiguous", &|log| {
        log.secure_boot_variable(0);
        let last = log.events.pop().unwrap();
        log.events.insert(0, last);
    });
}

#[test]
fn secure_boot_off_is_its_own_finding_with_advice() {
    let mut machine = Machine::default();
    machine.secure_boot = Some(false);
    let log = machine.log();
    let tpm = Tpm::booted(&log);
    let outcome = appraise(&tpm, &log.bytes(), None, None);
    let finding = primary(&outcome.findings).unwrap();
    assert_eq!(finding.code, "secure-boot-disabled");
    assert_eq!(finding.severity, Severity::High);
    assert_eq!(finding.component.as_deref(), Some("Secure Boot"));
    assert!(finding.hint.is_some());
    assert_eq!(outcome.reasons, [AlertReason::BaselineDeviation]);
    assert_eq!(outcome.facts.secure_boot, FactState::Invalid);
    assert_eq!(outcome.facts.log, FactState::Valid);

    // Unknown is not on.
    machine.secure_boot = None;
    let log = machine.log();
    let outcome = appraise(&Tpm::booted(&log), &log.bytes(), None, None);
    assert_eq!(primary(&outcome.findings).unwrap().code, "secure-boot-unknown");

    // Measured, and attested honestly.
    let mut case = Case::new(&log, &Tpm::booted(&log));
    case.profile = Profile::measured_only();
    case.judgement = Some(judge(case.report.as_ref().unwrap(), SHA256, None, &case.profile));
    assert_eq!(case.conclude().verdict, Verdict::Healthy);
}

/// Secure Boot is off, and the running system extends PCR 7 with what firmware measures when it is on. The events of the
/// firmware cannot leave the log, so they are given types under which they mean nothing.
#[test]
fn secure_boot_cannot_be_faked_by_extending_pcr_7_later() {
    let mut machine = Machine::default();
    machine.secure_boot = Some(false);
    let off = machine.log();
    let on: Vec<_> = Machine::default().log().events.into_iter().filter(|e| e.pcr == 7).collect();
    let disguises = [
        None,
        Some(EventType::EV_IPL),
        Some(EventType::EV_EVENT_TAG),
        Some(EventType::EV_COMPACT_HASH),
        Some(EventType::EV_EFI_PLATFORM_FIRMWARE_BLOB),
        Some(EventType::EV_EFI_VARIABLE_AUTHORITY),
        Some(EventType::EV_EFI_ACTION),
        Some(EventType::EV_SEPARATOR),
        Some(EventType(0x1234_5678)),
    ];
    for disguise in disguises {
        for keep_data in [true, false] {
            let mut log = off.clone();
            for event in log.events.iter_mut().filter(|e| e.pcr == 7) {
                event.event_type = disguise.unwrap_or(event.event_type);
                if !keep_data {
                    event.data = b"harmless".to_vec();
                }
            }
            log.events.extend(on.iter().cloned());
            let outcome = appraise(&Tpm::booted(&log), &log.bytes(), None, None);
            assert_eq!(outcome.verdict, Verdict::Unhealthy, "{disguise:?} {keep_data}");
        }
    }
    // Wrapped in a variable of shim, of which old versions measured the content alone.
    let mut log = off.clone();
    let mut wrapped = Log { banks: vec![], events: vec![] };
    for event in log.events.iter_mut().filter(|e| e.pcr == 7) {
        wrapped.mok_state_variable("MokList", &event.data);
        event.data = wrapped.events.remove(0).data;
        event.event_type = EventType::EV_EFI_VARIABLE_AUTHORITY;
    }
    log.events.extend(on.iter().cloned());
    let outcome = appraise(&Tpm::booted(&log), &log.bytes(), None, None);
    assert!(codes(&outcome).contains(&"secure-boot-ambiguous"), "{:?}", codes(&outcome));
    assert!(codes(&outcome).contains(&"separator-doubled"), "{:?}", codes(&outcome));
    assert_eq!(outcome.verdict, Verdict::Unhealthy);
}

#[test]
fn shim_that_does_not_verify_is_no_secure_boot() {
    for in_pcr_7 in [true, false] {
        let mut log = Machine::default().log();
        match in_pcr_7 {
            true => log.mok_state_variable("MokSBState", &[1]),
            false => log.push(14, EventType::EV_IPL, &[1], b"MokSBState\0"),
        }
        let outcome = appraise(&Tpm::booted(&log), &log.bytes(), None, None);
        assert_eq!(outcome.primary().unwrap().code, "shim-validation-disabled", "{in_pcr_7}");
    }
    let mut log = Machine::default().log();
    log.mok_state_variable("MokSBState", &[0]);
    log.push(14, EventType::EV_IPL, &[0], b"MokSBState\0");
    assert_eq!(appraise(&Tpm::booted(&log), &log.bytes(), None, None).verdict, Verdict::Healthy);
}
