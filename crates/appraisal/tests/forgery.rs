//! Logs that lie: the machine booted something else, its root user extended the PCRs with what the baseline has, and the
//! log says of the rest whatever makes it look harmless. Digests replay; types, names and texts are free.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "helpers of tests may fail loudly"
)]

mod common;

use std::collections::BTreeMap;

use common::capture::{CAPTURES, Capture, event_types, forms};
use common::{Log, Machine, SHA256, Tpm, appraise, codes};
use veriboot_appraisal::{Baseline, Profile, components_in, examine, judge};
use veriboot_eventlog::{EventType, HashAlg};
use veriboot_wire::{AlertReason, FactState, Severity, Verdict};

/// The machine booted something else and extended everything that the baseline has after it.
#[test]
fn appending_the_baseline_hides_nothing() {
    let good = Capture::of("secure-boot");
    let baseline = good.baseline();
    for variant in ["cmdline", "initrd", "other-kernel"] {
        let evil = Capture::of(variant);
        for event_type in event_types() {
            for data in forms().iter().step_by(if variant == "initrd" { 2 } else { 9 }) {
                let forged = evil.covered_up(&good, event_type, data);
                let judgement =
                    judge(&examine(&forged.bytes()), SHA256, Some(&baseline), &Profile::default());
                assert!(!judgement.accepts(), "{variant} as {event_type} {data:x?}");
            }
        }
        for (event_type, data) in [
            (EventType::EV_EFI_HANDOFF_TABLES, &[0; 8][..]),
            (EventType::EV_IPL, b"grubenv\0"),
            (EventType::EV_COMPACT_HASH, b"counter"),
            (EventType::EV_NONHOST_CONFIG, b"x"),
            (EventType::EV_TABLE_OF_DEVICES, b"x"),
        ] {
            let forged = evil.covered_up(&good, event_type, data);
            let outcome = appraise(&forged.tpm(), &forged.bytes(), Some(&baseline), None);
            assert_eq!(outcome.facts.log, FactState::Valid, "it replays: {:?}", codes(&outcome));
            assert_eq!(outcome.verdict, Verdict::Unhealthy, "{variant} as {event_type}");
            assert_eq!(outcome.reasons, [AlertReason::BaselineDeviation], "{:?}", codes(&outcome));
        }
    }
}

/// An action or a boot entry whose text is the measured content: the digest check has nothing to say.
#[test]
fn an_image_is_no_action_and_no_boot_entry() {
    let machine = Machine::default().log();
    let baseline = Baseline::learn(&examine(&machine.bytes()), SHA256).unwrap().compile();
    let mut evil = machine.clone();
    evil.text(4, EventType::EV_EFI_ACTION, b"an evil image of a boot loader");
    let mut variable = Log { banks: vec![], events: vec![] };
    variable.variable(4, EventType::EV_EFI_VARIABLE_BOOT, common::GLOBAL, "BootOrder", b"ev");
    let mut also = machine.clone();
    also.events.extend(variable.events);
    for log in [evil, also] {
        let outcome = appraise(&Tpm::booted(&log), &log.bytes(), Some(&baseline), None);
        assert_eq!(outcome.facts.log, FactState::Valid, "{:?}", codes(&outcome));
        assert_eq!(outcome.reasons, [AlertReason::BaselineDeviation], "{:?}", codes(&outcome));
    }
}

fn grub_files(before: &[(&str, &[u8])], now: &[(&str, &[u8])]) -> Vec<veriboot_wire::Finding> {
    let log = |files: &[(&str, &[u8])]| {
        let mut log = Machine::default().log();
        for (name, content) in files {
            log.ipl(9, name, content);
        }
        log
    };
    let baseline = Baseline::learn(&examine(&log(before).bytes()), SHA256).unwrap().compile();
    judge(&examine(&log(now).bytes()), SHA256, Some(&baseline), &Profile::default()).findings
}

/// GRUB's environment block differs from boot to boot; only the one that the baseline has, where it has it.
#[test]
fn the_environment_block_is_noted_where_it_was() {
    const ENV: &str = "(hd0,gpt2)/boot/grub/grubenv";
    let before: &[(&str, &[u8])] = &[("/a.mod", b"a"), (ENV, b"1"), ("/b.mod", b"b")];
    let honest = grub_files(before, &[("/a.mod", b"a"), (ENV, b"2"), ("/b.mod", b"b")]);
    assert_eq!(honest.len(), 1, "{honest:?}");
    assert_eq!((honest[0].severity, honest[0].code.as_str()), (Severity::Info, "component-changed"));

    let refused: &[&[(&str, &[u8])]] = &[
        &[("/a.mod", b"a"), (ENV, b"1"), ("/b.mod", b"b"), (ENV, b"evil")],
        &[("/a.mod", b"a"), ("/b.mod", b"b"), (ENV, b"evil")],
        &[("/a.mod", b"a"), ("(hd0,gpt1)/grubenv", b"evil"), ("/b.mod", b"b")],
        &[("/a.mod", b"a"), ("/b.mod", b"b")],
        &[("/a.mod", b"a"), (ENV, b"evil"), (ENV, b"1"), ("/b.mod", b"b")],
    ];
    for now in refused {
        let findings = grub_files(before, now);
        assert!(findings.iter().any(veriboot_wire::Finding::fails), "{now:?}: {findings:?}");
    }
    let findings = grub_files(&[], &[(ENV, b"new")]);
    assert!(findings.iter().any(veriboot_wire::Finding::fails));
}

/// Another description does not hide another order.
#[test]
fn an_order_is_not_hidden_by_names() {
    let before: &[(&str, &[u8])] = &[("/a.mod", b"a"), ("/b.mod", b"b")];
    let findings = grub_files(before, &[("/a.mod", b"b"), ("/b.mod", b"a")]);
    assert!(findings.iter().any(|f| f.code == "component-reordered" && f.fails()), "{findings:?}");
}

/// What may differ between two honest boots of one machine, and no more, is noted.
#[test]
fn an_honest_second_boot_passes() {
    let first = Machine::default();
    let mut log = first.log();
    let tables = |log: &mut Log, content: &[u8]| {
        let data = [&[9][..], b"ACPI DATA", &1_u64.to_le_bytes(), &[3; 24]].concat();
        log.push(1, EventType::EV_EFI_HANDOFF_TABLES2, content, &data);
    };
    tables(&mut log, b"addresses 1");
    let baseline = Baseline::learn(&examine(&log.bytes()), SHA256).unwrap().compile();
    let again = Machine { boot_order: vec![1, 0, 0, 0], ..first };
    let mut log = again.log();
    tables(&mut log, b"addresses 2");
    // A boot option that was tried before the one that works, and ExitBootServices that had to be called again.
    let at = log.events.iter().position(|e| e.data.starts_with(b"Calling EFI")).unwrap();
    let mut retry = Log { banks: vec![], events: vec![] };
    retry.text(4, EventType::EV_EFI_ACTION, b"Calling EFI Application from Boot Option");
    retry.text(4, EventType::EV_EFI_ACTION, b"Returning from EFI Application from Boot Option");
    log.events.splice(at..at, retry.events);
    log.text(5, EventType::EV_EFI_ACTION, b"Exit Boot Services Returned with Failure");
    let outcome = appraise(&Tpm::booted(&log), &log.bytes(), Some(&baseline), None);
    assert_eq!(outcome.verdict, Verdict::Healthy, "{:?}", outcome.findings);
    assert_eq!(outcome.facts.baseline, FactState::Valid);
    let noted: BTreeMap<u32, usize> =
        outcome.findings.iter().filter_map(|f| f.pcr).fold(BTreeMap::new(), |mut counts, pcr| {
            *counts.entry(pcr).or_default() += 1;
            counts
        });
    assert_eq!(noted.keys().copied().collect::<Vec<_>>(), [1, 4, 5]);
    assert!(outcome.findings.iter().all(|f| f.severity == Severity::Info && f.reason.is_none()));
}

/// Captures of one machine: every boot entry and the order of them in another way.
#[test]
fn a_capture_with_another_boot_order_passes() {
    for variant in CAPTURES {
        let capture = Capture::of(variant);
        let mut other = capture.clone();
        let mut changed = 0;
        for event in other.events.iter_mut().filter(|e| e.pcr == 1 && e.event_type == 0x8000_0002) {
            *event.data.last_mut().unwrap() ^= 1;
            let name = u64::from_le_bytes(event.data[16..24].try_into().unwrap());
            let content = event.data[32 + 2 * usize::try_from(name).unwrap()..].to_vec();
            for (bank, digest) in &mut event.digests {
                *digest = bank.hash(&[&content]).as_ref().to_vec();
            }
            changed += 1;
        }
        assert!(changed > 0, "{variant}");
        other.events.push(capture.events.iter().find(|e| e.pcr == 1).unwrap().clone());
        let judgement =
            judge(&examine(&other.bytes()), SHA256, Some(&capture.baseline()), &Profile::measured_only());
        assert!(judgement.accepts(), "{variant}: {:?}", judgement.findings);
        assert!(!judgement.findings.is_empty());
    }
}

/// The column of a bank that no quote proves says what the agent wants; so it must not become a reference.
#[test]
fn digests_of_another_bank_are_never_believed() {
    let banks = vec![SHA256, HashAlg::Sha384];
    let honest = Machine { banks: banks.clone(), ..Machine::default() };
    let evil = Machine { initrd: "evil initrd", ..honest.clone() };
    let mut prepared = Capture::parse(&honest.log().bytes());
    let evil = Capture::parse(&evil.log().bytes());
    for (ours, theirs) in prepared.events.iter_mut().zip(&evil.events) {
        ours.digests[1] = theirs.digests[1].clone();
    }
    let report = examine(&prepared.bytes());
    let baseline = Baseline::learn(&report, SHA256).unwrap().compile();
    assert!(judge(&report, SHA256, Some(&baseline), &Profile::default()).accepts());
    for bank in [SHA256, HashAlg::Sha384] {
        let judgement = judge(&examine(&evil.bytes()), bank, Some(&baseline), &Profile::default());
        assert!(!judgement.accepts(), "{bank}");
    }
    let other = judge(&examine(&evil.bytes()), HashAlg::Sha384, Some(&baseline), &Profile::default());
    assert_eq!(other.findings[0].code, "baseline-bank-mismatch");
}

/// An event of which the quoted bank has nothing: neither judged nor learned, and not shown as a part of the boot.
#[test]
fn an_event_without_a_digest_of_the_quoted_bank_fails() {
    let machine = Machine { banks: vec![HashAlg::Sha1, SHA256], ..Machine::default() };
    let baseline = Baseline::learn(&examine(&machine.log().bytes()), SHA256).unwrap().compile();
    let mut log = Capture::parse(&machine.log().bytes());
    log.add(9, EventType::EV_IPL, b"x", b"/initrd-of-the-attacker\0");
    log.events.last_mut().unwrap().digests.truncate(1);
    let report = examine(&log.bytes());
    let last = report.entries.last().unwrap();
    assert_eq!(Baseline::learn(&report, SHA256).unwrap_err().code(), "digest-missing");
    let shown = |bank| components_in(&report, bank).values().any(|text| text.contains("of-the-attacker"));
    assert!(!shown(SHA256));
    for baseline in [None, Some(&baseline)] {
        let outcome = appraise(&log.tpm(), &log.bytes(), baseline, None);
        assert_eq!(outcome.reasons, [AlertReason::LogMismatch], "{:?}", codes(&outcome));
        let finding = outcome.primary().unwrap();
        assert_eq!((finding.code.as_str(), finding.event), ("log-digest-missing", Some(last.event)));
        assert!(!outcome.learnable);
    }
}

/// Nothing can be proven about a register that the TPM does not have, so it is no part of the boot.
#[test]
fn events_of_registers_that_do_not_exist_fail() {
    let machine = Machine::default();
    let baseline = Baseline::learn(&examine(&machine.log().bytes()), SHA256).unwrap().compile();
    let genuine = Capture::parse(&machine.log().bytes());
    let tpm = genuine.tpm();
    for pcr in [24, 31, 32, 100, 0xFFFF_FFFE] {
        let mut log = genuine.clone();
        log.add(pcr, EventType::EV_IPL, b"x", b"/initrd\0");
        let report = examine(&log.bytes());
        assert!(report.entries.iter().all(|e| e.pcr != pcr));
        let outcome = appraise(&tpm, &log.bytes(), Some(&baseline), None);
        assert_eq!(outcome.reasons, [AlertReason::LogMismatch], "{pcr}: {:?}", codes(&outcome));
        assert_eq!(outcome.primary().unwrap().code, "log-register-unknown");
        assert!(!outcome.learnable);
    }
}

/// Row 11: shim was told not to verify, and the log calls what shim measured something else.
#[test]
fn shim_validation_is_read_by_digest() {
    let state = |content: u8| {
        let mut log = Log { banks: vec![], events: vec![] };
        log.mok_state_variable("MokSBState", &[content]);
        log.ipl(14, "MokSBState", &[content]);
        log.events
    };
    let verdict = |change: &dyn Fn(&mut Log)| {
        let mut log = Machine::default().log();
        log.ipl(14, "MokListTrusted", &[1]);
        change(&mut log);
        let outcome = appraise(&Tpm::booted(&log), &log.bytes(), None, None);
        codes(&outcome).contains(&"shim-validation-disabled")
    };
    assert!(!verdict(&|_| {}), "MokListTrusted is 1 on most machines");
    assert!(!verdict(&|log| log.events.extend(state(0))));
    assert!(verdict(&|log| log.events.extend(state(1))));
    // PCR 7 alone, as an action whose text is the measured variable.
    assert!(verdict(&|log| {
        let variable = state(1)[0].clone();
        log.text(7, EventType::EV_EFI_ACTION, &variable.data);
    }));
    // PCR 14 alone, as something else, without a name, and as a second MokListTrusted.
    for (event_type, data) in [
        (EventType::EV_IPL, &b"MokListX\0"[..]),
        (EventType::EV_IPL, b"MokListTrusted\0"),
        (EventType::EV_COMPACT_HASH, b"MokListTrusted\0"),
        (EventType::EV_EFI_HANDOFF_TABLES, b""),
    ] {
        assert!(verdict(&|log| log.push(14, event_type, &[1], data)), "{event_type} {data:?}");
    }
    // shim runs again after a boot option failed: its lists come first, and then MokListTrusted once more. What the log
    // calls MokListTrusted twice within one run is not.
    let runs = |log: &mut Log, trusted_lists: &[usize]| {
        log.events.retain(|e| e.pcr != 14);
        for count in trusted_lists {
            log.ipl(14, "MokList", b"the vendor's certificate");
            (0..*count).for_each(|_| log.ipl(14, "MokListTrusted", &[1]));
        }
    };
    assert!(!verdict(&|log| runs(log, &[1, 1, 1])));
    assert!(verdict(&|log| runs(log, &[1, 2])));
    assert!(verdict(&|log| runs(log, &[2, 1])));
}
