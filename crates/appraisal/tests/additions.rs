//! One event more, of any type and any content: nothing can be added unseen.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "helpers of tests may fail loudly"
)]

mod common;

use std::collections::{BTreeMap, BTreeSet};

use common::SHA256;
use common::capture::{CAPTURES, Capture, event_types, forms};
use veriboot_appraisal::{Baseline, CompiledBaseline, LogReport, Profile, examine, judge};
use veriboot_eventlog::{ComponentKind, Digest};

/// PCRs in which nothing is noted that the baseline does not have.
const ENFORCED: &[u32] = &[0, 2, 3, 4, 6, 7, 8, 9, 11, 12, 13, 14];

/// The report of `genuine` with one more measurement at the end.
fn with_one(genuine: &LogReport, added: &LogReport, at: usize) -> LogReport {
    let mut report = genuine.clone();
    report.entries.push(added.entries[at].clone());
    for bank in &mut report.banks {
        let digests = &added.bank(bank.replay.bank).unwrap().digests;
        bank.digests.push(digests[at]);
    }
    report
}

/// One event more, of any type and any content, in a PCR where something that runs or configures trust is measured.
#[test]
fn nothing_can_be_added_unseen() {
    let (forms, profile) = (forms(), Profile::measured_only());
    let mut tried = 0;
    for (nth, variant) in CAPTURES.iter().enumerate() {
        let capture = Capture::of(variant);
        // All forms against the first capture, a third of them against each other one: a debug build takes its time.
        let forms = || forms.iter().skip(nth % 3).step_by(if nth == 0 { 1 } else { 3 }).map(Vec::as_slice);
        let forms: Vec<&[u8]> = forms().collect();
        tried += add_everything(&capture, &capture.baseline(), &profile, ENFORCED, &forms);
    }
    assert!(tried > 10_000, "{tried}");
    println!("{tried} additions");
}

/// Adds one event of each type and form in each PCR to a log that is accepted; none of it may be. Gives how many.
fn add_everything(
    capture: &Capture,
    baseline: &CompiledBaseline,
    profile: &Profile,
    pcrs: &[u32],
    forms: &[&[u8]],
) -> usize {
    let genuine = examine(&capture.bytes());
    let judgement = judge(&genuine, SHA256, Some(baseline), profile);
    assert!(judgement.accepts(), "{:?}", judgement.findings);
    let own: BTreeSet<&[u8]> = capture.events.iter().map(|e| e.data.as_slice()).collect();
    let mut tried = 0;
    for pcr in pcrs {
        let mut long = Capture { events: Vec::new(), ..capture.clone() };
        for event_type in event_types() {
            for data in forms.iter().copied().chain(own.iter().copied()) {
                long.add(*pcr, event_type, b"evil", data);
            }
        }
        // Logs are bounded, so the additions come in several.
        let events = std::mem::take(&mut long.events);
        let mut seen = BTreeSet::new();
        for chunk in events.chunks(4096) {
            let added = examine(&Capture { events: chunk.to_vec(), ..long.clone() }.bytes());
            assert_eq!(added.entries.len(), chunk.len());
            for (at, entry) in added.entries.iter().enumerate() {
                if !seen.insert((entry.event_type.0, entry.kind, entry.name.clone())) {
                    continue;
                }
                let judgement = judge(&with_one(&genuine, &added, at), SHA256, Some(baseline), profile);
                assert!(!judgement.accepts(), "PCR {pcr} {entry:?}: {:?}", judgement.findings);
                tried += 1;
            }
        }
    }
    tried
}

/// The same where a baseline has several boots, rules for what varies, and patterns of names.
#[test]
fn nothing_can_be_added_to_what_was_learned_from_several_boots() {
    let reports: Vec<LogReport> = ["secure-boot", "other-disk", "boot-entry", "initrd"]
        .iter()
        .map(|variant| examine(&Capture::of(variant).bytes()))
        .collect();
    let baseline = Baseline::learn_from(&reports.iter().collect::<Vec<_>>(), SHA256).unwrap();
    assert!(baseline.boots.len() > 1 && !baseline.rules.is_empty() && !baseline.merged.is_empty());
    let (baseline, forms) = (baseline.compile(), forms());
    let forms: Vec<&[u8]> = forms.iter().step_by(5).map(Vec::as_slice).collect();
    for variant in ["secure-boot", "other-disk", "initrd"] {
        add_everything(&Capture::of(variant), &baseline, &Profile::measured_only(), ENFORCED, &forms);
    }
}

/// And where nothing but lists of digests says what may run, and everything else is let pass.
#[test]
fn nothing_can_be_added_where_rules_list_what_may_run() {
    use veriboot_appraisal::{Rule, Says, Unlisted};
    let pcrs = [4, 8, 9];
    let capture = Capture::of("secure-boot");
    let report = examine(&capture.bytes());
    let mut listed: BTreeMap<ComponentKind, BTreeSet<Digest>> = BTreeMap::new();
    for (entry, digest) in report.entries.iter().zip(&report.bank(SHA256).unwrap().digests) {
        let named_by_itself = [ComponentKind::Separator, ComponentKind::FirmwareAction].contains(&entry.kind);
        if pcrs.contains(&entry.pcr) && !named_by_itself {
            listed.entry(entry.kind).or_default().insert(digest.unwrap());
        }
    }
    let mut baseline = Baseline::new(SHA256);
    baseline.unlisted = Unlisted::Note;
    baseline.rules =
        listed.into_iter().map(|(kind, digests)| Rule::new(kind, Says::Digests(digests))).collect();
    assert!(baseline.flaws().iter().all(|flaw| !flaw.refused), "{:?}", baseline.flaws());
    let (baseline, forms) = (baseline.compile(), forms());
    let forms: Vec<&[u8]> = forms.iter().step_by(3).map(Vec::as_slice).collect();
    add_everything(&capture, &baseline, &Profile::default(), &pcrs, &forms);
    for variant in ["cmdline", "initrd", "other-kernel"] {
        let other = examine(&Capture::of(variant).bytes());
        assert!(!judge(&other, SHA256, Some(&baseline), &Profile::default()).accepts(), "{variant}");
    }
}
