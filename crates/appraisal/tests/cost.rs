//! What a hostile log costs: work and findings stay bounded, and grow no faster than the log, whatever it holds.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "helpers of tests may fail loudly"
)]

mod common;

use std::time::{Duration, Instant};

use common::boot::{Boot, Ev, judged, rules_and_note};
use common::capture::Capture;
use common::{Machine, SHA256, appraise, certificate, codes};
use veriboot_appraisal::{Baseline, CompiledBaseline, LogReport, Profile, Source, Unlisted, examine, judge};
use veriboot_eventlog::EventType;

/// The shortest of several runs: what else the machine does only adds to it.
fn shortest(mut work: impl FnMut()) -> Duration {
    let run = |_| {
        let started = Instant::now();
        work();
        started.elapsed()
    };
    (0..5).map(run).min().unwrap()
}

/// A boot with so many images more, and as many certificates that admitted something.
fn with_images_and_authorities(count: usize) -> LogReport {
    let mut log = Machine::default().log();
    for n in 0..count {
        let authority = [&[7; 16][..], &certificate(&format!("Authority {n}"))].concat();
        log.variable(7, EventType::EV_EFI_VARIABLE_AUTHORITY, common::SECURITY, "db", &authority);
        log.application(&format!("\\EFI\\{n}.EFI"), format!("image {n}").as_bytes());
        log.push(2, EventType::EV_EFI_BOOT_SERVICES_DRIVER, format!("driver {n}").as_bytes(), &[]);
    }
    examine(&log.bytes())
}

/// Rules that trust all of these certificates, so that each is looked up for every image.
fn trusting(report: &LogReport) -> CompiledBaseline {
    let listed: Vec<String> = report
        .entries
        .iter()
        .filter_map(|entry| entry.content.certificate())
        .map(|by| format!("{{ sha256 = \"{}\", subject = \"{}\" }}", by.sha256, by.subject))
        .collect();
    let listed = listed.join(",\n");
    let rules: String = ["shim", "boot-loader", "kernel", "option-rom", "authority"]
        .iter()
        .map(|component| format!("[[rules]]\ncomponent = \"{component}\"\nauthorities = [\n{listed}\n]\n"))
        .collect();
    let head = "schema = \"veriboot-baseline/2\"\nbank = \"sha256\"\n";
    let mut baseline = Baseline::from_toml(&format!("{head}{rules}")).unwrap();
    baseline.unlisted = Unlisted::Note;
    let genuine = Baseline::learn(&examine(&Machine::default().log().bytes()), SHA256).unwrap();
    baseline.boots = genuine.boots;
    baseline.compile()
}

/// Images times authorities would be four times the work, and more.
#[test]
fn many_images_and_many_authorities_cost_no_more_than_the_log_is_longer() {
    let cost = |count: usize| {
        let report = with_images_and_authorities(count);
        let baseline = trusting(&report);
        assert!(baseline.flaws().iter().all(|flaw| !flaw.refused), "{:?}", baseline.flaws());
        shortest(|| {
            judge(&report, SHA256, Some(&baseline), &Profile::default());
            judge(&report, SHA256, Some(&baseline), &Profile::by_authority());
        })
    };
    let (once, twice) = (cost(1000), cost(2000));
    assert!(twice < once * 3, "{once:?} for 1000 and {twice:?} for 2000 in a debug build");
}

/// Work and findings stay bounded whatever the log holds.
#[test]
fn a_log_with_too_many_events_is_not_judged() {
    let genuine = Capture::parse(&Machine::default().log().bytes());
    let baseline = genuine.baseline();
    let with = |count: u32, pcr: fn(u32) -> u32| {
        let mut log = genuine.clone();
        for n in 0..count {
            log.add(pcr(n), EventType::EV_IPL, &n.to_le_bytes(), format!("/file-{n}\0").as_bytes());
        }
        log
    };
    let large = with(8192, |n| n % 24);
    let report = examine(&large.bytes());
    assert_eq!(report.entries, []);
    assert_eq!(Baseline::learn(&report, SHA256).unwrap_err().code(), "baseline-too-large");
    for baseline in [None, Some(&baseline)] {
        assert!(!judge(&report, SHA256, baseline, &Profile::measured_only()).accepts());
    }
    let outcome = appraise(&large.tpm(), &large.bytes(), Some(&baseline), None);
    assert_eq!(outcome.primary().unwrap().code, "log-too-many-events", "{:?}", codes(&outcome));
    assert!(!outcome.learnable);
    assert_eq!(veriboot_appraisal::compare(&report, &report)[0].code, "log-too-many-events");

    // Just below the bound: everything differs, in the registers that exist, and in others.
    for pcr in [(|n| n % 24) as fn(u32) -> u32, |n| 100 + n, |_| 9] {
        let started = std::time::Instant::now();
        let report = examine(&with(8000, pcr).bytes());
        let judgement = judge(&report, SHA256, Some(&baseline), &Profile::default());
        let bytes: usize = report.findings.iter().chain(&judgement.findings).map(|f| f.message.len()).sum();
        assert!(bytes < 64 * 1024, "{bytes} bytes of findings");
        assert!(started.elapsed().as_secs() < 10, "{:?} in a debug build", started.elapsed());
    }
}

/// 64 boots and a long log: the nearest is found without comparing everything with everything.
#[test]
fn many_boots_and_a_hostile_log_stay_cheap() {
    let mut baseline = Baseline::new(SHA256);
    for n in 0..64 {
        let machine = Machine { initrd: format!("initrd {n}").leak(), ..Machine::default() };
        baseline =
            baseline.with_boot(&examine(&machine.log().bytes()), None, Source::Written, false).unwrap();
    }
    let compiled: CompiledBaseline = baseline.compile();
    let mut log = Machine::default().log();
    for n in 0..8000_u32 {
        log.ipl(9, "/initrd.img", &n.to_le_bytes());
    }
    let judgement = judge(&examine(&log.bytes()), SHA256, Some(&compiled), &Profile::default());
    assert!(!judgement.accepts());
}

/// A rule that is met explains the list that it was held against, and reads it once.
#[test]
fn further_revocation_lists_are_neither_explained_nor_held_against_a_rule() {
    let boot = Boot::of("secure-boot");
    let name: Vec<u8> = "dbx".encode_utf16().flat_map(u16::to_le_bytes).collect();
    let at = boot.events.iter().position(|e| e.pcr == 7 && e.data.get(32..38) == Some(&name[..])).unwrap();
    let vendor = boot.events[at].data[..16].to_vec();
    let dbx = |hashes: u32| {
        // EFI_CERT_SHA256_GUID
        let kind =
            [0x26, 0x16, 0xC4, 0xC1, 0x4C, 0x50, 0x92, 0x40, 0xAC, 0xA9, 0x41, 0xF9, 0x36, 0x93, 0x43, 0x28];
        let mut list = kind.to_vec();
        for field in [28 + hashes * 48, 0, 48] {
            list.extend(field.to_le_bytes());
        }
        for n in 0..hashes {
            list.extend([0; 16]);
            list.extend(SHA256.hash(&[&n.to_le_bytes()]).as_ref());
        }
        let sizes = [3_u64.to_le_bytes(), (list.len() as u64).to_le_bytes()].concat();
        let data = [&vendor[..], &sizes, &name, &list].concat();
        let digest = SHA256.hash(&[&data]).as_ref().to_vec();
        Ev { pcr: 7, event_type: EventType::EV_EFI_VARIABLE_DRIVER_CONFIG.0, digest, data }
    };
    let mut baseline = boot.baseline();
    baseline.rules =
        rules_and_note("[[rules]]\ncomponent = \"revocation-db\"\nminimum = { entries = 1 }\n").rules;
    let larger = boot.with(|boot| boot.events[at] = dbx(12_000));
    assert!(judged(&baseline, &larger, &Profile::default()).accepts());
    let evil = larger.with(|boot| boot.events.extend(std::iter::repeat_with(|| dbx(1)).take(4000)));
    let report = examine(&evil.bytes());
    let compiled = baseline.compile();
    let started = Instant::now();
    assert!(!judge(&report, SHA256, Some(&compiled), &Profile::default()).accepts());
    assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
}
