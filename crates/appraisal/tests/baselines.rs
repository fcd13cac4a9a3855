//! Baselines of several boots and rules: what they accept and what they explain.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "helpers of tests may fail loudly"
)]

mod common;

use std::collections::BTreeSet;

use common::machines::{judged, learned, new, old, report, told, toml, with};
use common::{Log, Machine, SHA256};
use veriboot_appraisal::{
    Baseline, Enforcement, LearnError, LogReport, Profile, ReferenceBoot, Source, boot_key, examine, judge,
};
use veriboot_eventlog::{ComponentKind, EventType, HashAlg};

fn written() -> Source {
    Source::Written
}

#[test]
fn every_accepted_boot_is_accepted_and_so_is_what_is_made_of_their_pcrs() {
    let baseline = learned(&[&old(), &new()]);
    for machine in [old(), new()] {
        assert_eq!(judged(&baseline, &machine).findings, []);
    }
    // PCR 8 and PCR 4 are of the same boots; each PCR is held against all of them by itself.
    let other = with(|m| m.initrd = "initrd 3");
    assert!(!judged(&baseline, &other).accepts());
    // Order within a PCR counts.
    let mut log = old().log();
    let images: Vec<usize> = (0..log.events.len()).filter(|i| log.events[*i].pcr == 4).collect();
    let (a, b) = (images[images.len() - 2], images[images.len() - 1]);
    let swapped = (log.events[a].clone(), log.events[b].clone());
    (log.events[b], log.events[a]) = swapped;
    let judgement = judge(&examine(&log.bytes()), SHA256, Some(&baseline.compile()), &Profile::default());
    assert!(!judgement.accepts());
}

#[test]
fn a_deviation_is_told_against_the_nearest_boot_and_the_newest_of_equals() {
    let baseline = learned(&[&old(), &new()]);
    // Everything of the new boot but the initrd.
    let initrd = Machine { initrd: "initrd 3", ..new() };
    let judgement = judged(&baseline, &initrd);
    assert_eq!(judgement.findings.len(), 1, "{}", told(&judgement));
    assert_eq!(judgement.findings[0].component.as_deref(), Some("initial RAM disk (initrd)"));
    let expected = SHA256.hash(&[b"initrd 2"]).to_string();
    assert_eq!(judgement.findings[0].expected.as_deref(), Some(expected.as_str()), "of the newest boot");
    // And everything of the old one but the initrd: held against the old one, whatever was added later.
    let shim = Machine { shim: "shim 15.9", ..old() };
    let told_of = judged(&baseline, &shim);
    assert_eq!(told_of.findings.len(), 1, "{}", told(&told_of));
    assert_eq!(told_of.findings[0].component.as_deref(), Some("shim"));
}

#[test]
fn a_partial_boot_speaks_of_its_pcrs_only() {
    let baseline = learned(&[&old()]);
    let pcrs = BTreeSet::from([4, 8, 9]);
    let next = baseline.with_boot(&report(&new()), Some(&pcrs), written(), false).unwrap();
    assert_eq!(next.boots.len(), 2);
    assert_eq!(next.boots[1].pcrs, Some(pcrs.clone()));
    for machine in [old(), new()] {
        assert_eq!(judged(&next, &machine).findings, []);
    }
    let both = Machine { firmware: "OVMF 2024", ..new() };
    let judgement = judged(&next, &both);
    assert_eq!(judgement.findings.iter().filter(|f| f.fails()).count(), 2, "{}", told(&judgement));
    assert!(judgement.findings.iter().all(|f| f.pcr == Some(0)), "{}", told(&judgement));
    // Replaced: what was accepted in these PCRs no longer is.
    let replaced = baseline.with_boot(&report(&new()), Some(&pcrs), written(), true).unwrap();
    assert_eq!(judged(&replaced, &new()).findings, []);
    assert!(!judged(&replaced, &old()).accepts());
    let whole = next.with_boot(&report(&both), None, written(), true).unwrap();
    assert_eq!(whole.boots.len(), 1);
    assert!(!judged(&whole, &new()).accepts());
    assert!(judged(&whole, &both).accepts());
}

/// A PCR in which an accepted boot measures nothing accepts nothing but that.
#[test]
fn an_empty_pcr_is_a_reference_too() {
    let baseline = learned(&[&old()]);
    let mut log = old().log();
    log.ipl(12, "more", b"more");
    let judgement =
        judge(&examine(&log.bytes()), SHA256, Some(&baseline.clone().compile()), &Profile::default());
    assert!(!judgement.accepts());
    let pcrs = BTreeSet::from([12]);
    let both = baseline.with_boot(&examine(&log.bytes()), Some(&pcrs), written(), false).unwrap();
    assert!(judged(&both, &old()).accepts());
    let none = Baseline::new(SHA256).with_boot(&report(&old()), Some(&pcrs), written(), false).unwrap();
    assert_eq!(none.boots[0].measurements, []);
    assert_eq!(none.flaws(), []);
    // Of other PCRs it says nothing, and nothing is accepted that nobody speaks of.
    assert!(!judged(&none, &old()).accepts());
}

#[test]
fn what_is_learned_from_several_machines_leaves_their_own_identifiers_to_vary() {
    let guid = |n: u8| format!("66A8E32D-0B5F-4B9A-8F3C-0000000000{n:02}");
    let machine = |n: u8| {
        let mut log = Log { banks: vec![SHA256], events: Vec::new() };
        log.variable(1, EventType::EV_EFI_VARIABLE_BOOT, common::GLOBAL, "BootOrder", &[n, 0]);
        log.text(1, EventType::EV_PLATFORM_CONFIG_FLAGS, format!("serial {n}").as_bytes());
        log.text(5, EventType::EV_EFI_GPT_EVENT, &partition_table(n));
        for pcr in 0..8 {
            log.separator(pcr);
        }
        log.application(&format!("\\{}\\BOOTX64.EFI", guid(n)), b"shim");
        log.application("\\grubx64.efi", b"grub");
        examine(&log.bytes())
    };
    let reports: Vec<LogReport> = (1..=3).map(machine).collect();
    let baseline = Baseline::learn_from(&reports.iter().collect::<Vec<_>>(), SHA256).unwrap();
    assert_eq!(baseline.boots.len(), 1, "{:?}", baseline.boots);
    assert!(baseline.merged.len() >= 3, "{:?}", baseline.merged);
    insta::assert_json_snapshot!(baseline.merged);
    assert!(baseline.flaws().is_empty(), "{:?}", baseline.flaws());
    let strict = strict();
    let read = Baseline::from_toml(&baseline.to_toml().unwrap()).unwrap();
    assert_eq!(read, baseline);
    let compiled = read.compile();
    for report in reports.iter().chain([&machine(9)]) {
        let judgement = judge(report, SHA256, Some(&compiled), &strict);
        assert_eq!(
            told(&judgement),
            "",
            "another member of the scale set is accepted, also by a strict profile"
        );
    }
    // The name of the file is no identifier.
    let mut log = Log { banks: vec![SHA256], events: Vec::new() };
    for pcr in 0..8 {
        log.separator(pcr);
    }
    log.application(&format!("\\{}\\EVIL.EFI", guid(4)), b"shim");
    log.application("\\grubx64.efi", b"grub");
    assert!(!judge(&examine(&log.bytes()), SHA256, Some(&compiled), &strict).accepts());
}

/// The header of a GPT whose disk has a GUID of its own, and no partition (UEFI 2.10, section 5.3.2).
fn partition_table(n: u8) -> Vec<u8> {
    let mut table = [&b"EFI PART"[..], &0x0001_0000_u32.to_le_bytes(), &92_u32.to_le_bytes()].concat();
    table.resize(56, 0);
    table.extend([n; 16]);
    table.resize(84, 0);
    table.extend(128_u32.to_le_bytes());
    table.resize(92, 0);
    table.extend(0_u64.to_le_bytes());
    table
}

fn strict() -> Profile {
    let mut strict = Profile::measured_only();
    for kind in ComponentKind::ALL {
        strict.components.insert(*kind, Enforcement::Enforce);
    }
    strict
}

#[test]
fn what_differs_and_is_enforced_becomes_another_boot_of_these_pcrs() {
    let baseline = learned(&[&old(), &new(), &with(|m| m.initrd = "initrd 9")]);
    assert_eq!(baseline.boots.len(), 3);
    assert_eq!(baseline.boots[1].pcrs, Some(BTreeSet::from([4, 8, 9])));
    assert_eq!(baseline.boots[2].pcrs, Some(BTreeSet::from([9])));
    let machines: Vec<Machine> =
        (0..80).map(|n| Machine { initrd: format!("initrd {n}").leak(), ..old() }).collect();
    let reports: Vec<LogReport> = machines.iter().map(report).collect();
    let error = Baseline::learn_from(&reports.iter().collect::<Vec<_>>(), SHA256).unwrap_err();
    assert_eq!(error, LearnError::TooManyBoots);
    assert_eq!(Baseline::learn_from(&[], SHA256).unwrap_err(), LearnError::NoLog);
}

#[test]
fn rules_explain_differences_from_boots_and_demand_on_every_boot() {
    let rule = |text: &str| {
        toml(&format!("schema = \"veriboot-baseline/2\"\nbank = \"sha256\"\n[[rules]]\n{text}"))
            .rules
            .remove(0)
    };
    let mut baseline = learned(&[&old()]);
    let initrd = SHA256.hash(&[b"initrd 2"]);
    baseline.rules.push(rule(&format!("component = \"initrd\"\ndigests = [\"{initrd}\"]")));
    let judgement = judged(&baseline, &with(|m| m.initrd = "initrd 2"));
    assert_eq!(told(&judgement), "");
    assert!(!judged(&baseline, &with(|m| m.initrd = "initrd 3")).accepts());
    // The digest is accepted as what it is listed for, where that is measured.
    assert_ne!(told(&judged(&baseline, &with(|m| m.kernel = "initrd 2"))), "");
}

#[test]
fn a_boot_of_another_bank_is_refused() {
    let baseline = learned(&[&old()]);
    let other = ReferenceBoot::of_report(&report(&old()), HashAlg::Sha1, written()).unwrap();
    assert_eq!(baseline.with_measurements(other).unwrap_err(), LearnError::OtherBank { bank: SHA256 });
}

/// Members that booted the same have the same key, whatever their disks, cards and boot entries are.
#[test]
fn a_boot_key_is_what_was_booted() {
    let key = |machine: &Machine| boot_key(&report(machine), SHA256, &Profile::default()).unwrap();
    let same = with(|m| m.boot_order = vec![7, 0]);
    assert_eq!(key(&old()), key(&same));
    for other in [
        new(),
        with(|m| m.initrd = "initrd 2"),
        with(|m| m.command_line = "ro init=/bin/sh"),
        with(|m| m.dbx_hashes = 3),
        with(|m| m.secure_boot = Some(false)),
        with(|m| m.extra_application = true),
        with(|m| m.firmware = "x"),
    ] {
        assert_ne!(key(&old()), key(&other), "{other:?}");
    }
    let mut strict = Profile::default();
    strict.components.insert(ComponentKind::BootOrder, Enforcement::Enforce);
    let of = |machine: &Machine| boot_key(&report(machine), SHA256, &strict).unwrap();
    assert_ne!(of(&old()), of(&same));
    assert_eq!(boot_key(&report(&old()), HashAlg::Sha384, &strict), None);
    // A harmless name hides nothing.
    let mut log = old().log();
    log.push(4, EventType::EV_EFI_ACTION, b"evil", b"Calling EFI Application from Boot Option");
    assert_ne!(boot_key(&examine(&log.bytes()), SHA256, &Profile::default()), Some(key(&old())));
    // The order between PCRs is not measured.
    let mut sorted = old().log();
    sorted.events.sort_by_key(|event| event.pcr);
    assert_eq!(boot_key(&examine(&sorted.bytes()), SHA256, &Profile::default()), Some(key(&old())));
}
