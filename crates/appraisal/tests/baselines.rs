//! Baselines of several boots and rules: what they accept, what they explain, and how they are read.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "helpers of tests may fail loudly"
)]

mod common;

use std::collections::BTreeSet;

use common::{Log, Machine, SHA256};
use veriboot_appraisal::{
    Baseline, CompiledBaseline, Enforcement, Flaw, Judgement, LearnError, LogReport, Profile, ReferenceBoot,
    Source, Unlisted, boot_key, diff_baselines, examine, judge,
};
use veriboot_eventlog::{ComponentKind, EventType, HashAlg};

fn with(change: impl Fn(&mut Machine)) -> Machine {
    let mut machine = Machine::default();
    change(&mut machine);
    machine
}

fn report(machine: &Machine) -> LogReport {
    examine(&machine.log().bytes())
}

fn learned(machines: &[&Machine]) -> Baseline {
    let reports: Vec<LogReport> = machines.iter().map(|machine| report(machine)).collect();
    Baseline::learn_from(&reports.iter().collect::<Vec<_>>(), SHA256).unwrap()
}

fn judged(baseline: &Baseline, machine: &Machine) -> Judgement {
    judge(&report(machine), SHA256, Some(&baseline.clone().compile()), &Profile::default())
}

fn told(judgement: &Judgement) -> String {
    judgement.findings.iter().map(|f| format!("{} {}: {}\n", f.severity, f.code, f.message)).collect()
}

fn toml(text: &str) -> Baseline {
    Baseline::from_toml(text).unwrap_or_else(|error| panic!("{error}"))
}

fn codes(flaws: &[Flaw]) -> Vec<&str> {
    flaws.iter().map(|flaw| flaw.code).collect()
}

fn written() -> Source {
    Source::Written
}

fn old() -> Machine {
    Machine::default()
}

fn new() -> Machine {
    with(|m| {
        m.kernel = "linux 6.1.0-56";
        m.kernel_path = "/vmlinuz-6.1.0-56-cloud-amd64";
        m.initrd = "initrd 2";
    })
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

/// Written by hand, as TOML.
const BY_HAND: &str = r#"
schema = "veriboot-baseline/2"
name = "web"
description = "what the image 2026-11 may boot"
bank = "sha256"
unlisted = "note"

[[rules]]
component = "secure-boot-state"
state = { secure-boot = "on" }

[[rules]]
component = "kernel-command-line"
description = "no other root file system, no shell"
parameters = { required = ["ro"], forbidden = ["init=*", "rd.break"] }

[[rules]]
component = "kernel"
digests = ["KERNEL"]

[[rules]]
component = "shim"
digests = ["SHIM"]

[[rules]]
component = "boot-loader"
digests = ["GRUB"]

[[rules]]
component = "initrd"
digests = ["INITRD"]
"#;

fn by_hand() -> String {
    let of = |text: &str| SHA256.hash(&[text.as_bytes()]).to_string();
    BY_HAND
        .replace("KERNEL", &of("linux 6.1.0-50"))
        .replace("SHIM", &of("shim 15.8"))
        .replace("GRUB", &of("grub 2.06"))
        .replace("INITRD", &of("initrd 1"))
}

#[test]
fn a_baseline_by_hand_is_read_written_and_read_again() {
    let baseline = toml(&by_hand());
    assert_eq!(baseline.name.as_deref(), Some("web"));
    assert_eq!(baseline.unlisted, Unlisted::Note);
    assert_eq!(baseline.rules.len(), 6);
    assert_eq!(Baseline::from_toml(&baseline.to_toml().unwrap()).unwrap(), baseline);
    assert_eq!(Baseline::from_json(baseline.to_json().unwrap().as_bytes()).unwrap(), baseline);
    insta::assert_snapshot!(baseline.to_toml().unwrap());
    let learned = learned(&[&old(), &new()]);
    assert_eq!(Baseline::from_toml(&learned.to_toml().unwrap()).unwrap(), learned);
}

#[test]
fn mistakes_are_told_with_their_place() {
    let refused = |from: &str, to: &str| {
        let text = by_hand();
        assert!(text.contains(from), "{from}");
        let error = Baseline::from_toml(&text.replacen(from, to, 1)).unwrap_err();
        format!("{}: {error}\n", error.code())
    };
    let mut all = String::new();
    all.push_str(&refused("veriboot-baseline/2", "veriboot-baseline/7"));
    all.push_str(&refused("schema = \"veriboot-baseline/2\"", ""));
    all.push_str(&refused("bank = \"sha256\"", "bank = \"sha257\""));
    all.push_str(&refused("component = \"kernel\"", "component = \"kernal\""));
    all.push_str(&refused("unlisted = \"note\"", "unlisted = \"allow\""));
    all.push_str(&refused("unlisted = \"note\"", "unlistd = \"note\""));
    all.push_str(&refused("state = { secure-boot = \"on\" }", ""));
    all.push_str(&refused("secure-boot = \"on\"", "secureboot = \"on\""));
    all.push_str(&refused("required", "requires"));
    all.push_str(&refused("\"rd.break\"", "\"ro\""));
    insta::assert_snapshot!(all);
    let json = learned(&[&old()]).to_json().unwrap();
    let error = Baseline::from_json(json.replacen("\"kind\":\"shim\"", "\"kind\":\"shin\"", 1).as_bytes())
        .unwrap_err();
    assert!(error.to_string().contains("boots[0].measurements["), "{error}");
    assert!(error.to_string().contains("].kind"), "{error}");
    let rule = |digest: &str| {
        format!(
            "schema = \"veriboot-baseline/2\"\nbank = \"sha256\"\n[[rules]]\ncomponent = \"kernel\"\ndigests = [\"{digest}\"]\n"
        )
    };
    assert!(Baseline::from_toml(&rule(&"ab".repeat(32))).is_ok());
    let error = Baseline::from_toml(&rule(&"ab".repeat(20))).unwrap_err();
    assert_eq!(error.code(), "baseline-digest-size");
    assert!(error.to_string().starts_with("rules[0].digests"), "{error}");
}

#[test]
fn a_baseline_of_rules_accepts_what_they_list_and_nothing_else_beside_it() {
    // What else a Debian machine measures where these rules say what may be measured.
    let report = report(&old());
    let digests = &report.bank(SHA256).unwrap().digests;
    let mut text = by_hand();
    for kind in [ComponentKind::KernelCommandLine, ComponentKind::BootLoaderConfig] {
        let of_kind = report.entries.iter().zip(digests).filter(|(entry, _)| entry.kind == kind);
        let listed: Vec<String> = of_kind.map(|(_, digest)| format!("\"{}\"", digest.unwrap())).collect();
        text.push_str(&format!("\n[[rules]]\ncomponent = \"{kind}\"\ndigests = [{}]\n", listed.join(", ")));
    }
    let baseline = toml(&text);
    assert_eq!(baseline.flaws().iter().filter(|f| f.refused).count(), 0, "{:?}", baseline.flaws());
    let judgement = judged(&baseline, &old());
    assert!(judgement.accepts(), "{}", told(&judgement));
    assert_eq!(judgement.findings.len(), 1, "{}", told(&judgement));
    assert_eq!(judgement.findings[0].code, "not-covered");

    for machine in [
        with(|m| m.kernel = "linux evil"),
        with(|m| m.shim = "shim evil"),
        with(|m| m.initrd = "initrd evil"),
        with(|m| m.extra_application = true),
    ] {
        let judgement = judged(&baseline, &machine);
        assert!(!judgement.accepts(), "{machine:?}: {}", told(&judgement));
    }
    // What the log calls it does not help: an image under another kind's name, an unknown event, a second separator.
    for (pcr, event_type, measured, data) in [
        (4, EventType::EV_EFI_ACTION, &b"evil"[..], &b"Calling EFI Application from Boot Option"[..]),
        (4, EventType::EV_SEPARATOR, b"evil", &[0; 4]),
        (4, EventType(0x1234), b"evil", b"evil"),
        (4, EventType::EV_EFI_BOOT_SERVICES_DRIVER, b"evil", b""),
        (9, EventType::EV_IPL, b"evil", b"(hd0)/grub/grubenv\0"),
        (9, EventType::EV_EVENT_TAG, b"evil", b""),
    ] {
        let mut log = old().log();
        log.push(pcr, event_type, measured, data);
        let judgement =
            judge(&examine(&log.bytes()), SHA256, Some(&baseline.clone().compile()), &Profile::default());
        assert!(!judgement.accepts(), "{event_type} in PCR {pcr}: {}", told(&judgement));
    }
    // With `fail` what nobody speaks of deviates.
    let mut strict = baseline;
    strict.unlisted = Unlisted::Fail;
    assert!(!judged(&strict, &old()).accepts());
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

/// A document that is wrong says so itself, and judges nothing when that is dangerous.
#[test]
fn flaws_are_found() {
    let head = "schema = \"veriboot-baseline/2\"\nbank = \"sha256\"\n";
    let of = |text: &str| toml(&format!("{head}{text}")).flaws();
    let digest = "ab".repeat(32);
    let empty = SHA256.hash(&[]);
    let kernel = format!("[[rules]]\ncomponent = \"kernel\"\ndigests = [\"{digest}\"]\n");
    let on = "[[rules]]\ncomponent = \"secure-boot-state\"\nstate = { secure-boot = \"on\" }\n";
    let refused = |text: &str, code: &str| {
        let flaws = of(text);
        assert!(flaws.iter().any(|f| f.refused && f.code == code), "{text}: {flaws:?}");
        let baseline = toml(&format!("{head}{text}")).compile();
        let judgement = judge(&report(&old()), SHA256, Some(&baseline), &Profile::default());
        assert_eq!(judgement.findings[0].code, "baseline-flawed");
        assert!(!judgement.accepts());
    };
    refused("", "baseline-empty");
    refused("unlisted = \"note\"", "baseline-accepts-everything");
    refused(
        "unlisted = \"note\"\n[[rules]]\ncomponent = \"sbat-level\"\nminimum = { level = 2023012900 }",
        "baseline-accepts-everything",
    );
    for kind in ["shim", "kernel", "initrd", "boot-loader-file", "signature-db", "firmware", "option-rom"] {
        refused(
            &format!("{kernel}[[rules]]\ncomponent = \"{kind}\"\nany = [\"x\", \"**\"]"),
            "rule-accepts-everything",
        );
    }
    refused(
        "[[rules]]\ncomponent = \"kernel-command-line\"\nparameters = { allowed = [\"*\"] }",
        "rule-accepts-everything",
    );
    refused(&format!("{on}{}", on.replace("\"on\"", "\"off\"")), "baseline-contradictory");
    let line =
        |words: &str| format!("[[rules]]\ncomponent = \"kernel-command-line\"\nparameters = {{ {words} }}\n");
    refused(
        &format!("{kernel}{}{}", line("required = [\"ro\"]"), line("forbidden = [\"r*\"]")),
        "baseline-contradictory",
    );
    refused(&format!("[[rules]]\ncomponent = \"kernel\"\ndigests = [\"{empty}\"]"), "digest-of-nothing");
    let boot = |more: &str| format!("[[boots]]\nsource = {{ kind = \"written\" }}\n{more}");
    refused(&boot("measurements = []"), "boot-empty");
    refused(&boot("pcrs = []\nmeasurements = []"), "boot-empty");
    let measured = |pcr: u32| {
        format!(
            "measurements = [{{ pcr = {pcr}, type = \"EV_IPL\", kind = \"initrd\", name = \"x\", digest = \"{digest}\" }}]"
        )
    };
    refused(&boot(&measured(24)), "pcr-unknown");
    refused(&boot(&format!("pcrs = [8]\n{}", measured(9))), "boot-pcr-contradictory");
    // The only boot has Secure Boot off, and a rule wants it on.
    let mut never = learned(&[&with(|m| m.secure_boot = Some(false))]);
    never.rules = toml(&format!("{head}{on}")).rules;
    assert_eq!(codes(&never.flaws()), ["baseline-contradictory"]);
    assert!(never.flaws()[0].refused);
    // One of two: a warning.
    let reports = [report(&old()), report(&with(|m| m.secure_boot = Some(false)))];
    let mut one = Baseline::learn_from(&[&reports[0]], SHA256).unwrap();
    one = one.with_boot(&reports[1], None, written(), false).unwrap();
    one.rules = never.rules;
    assert_eq!(codes(&one.flaws()), ["boot-never-accepted"]);
    assert!(!one.flaws()[0].refused);
    let mut shell = learned(&[&with(|m| m.command_line = "ro init=/bin/sh")]);
    shell.rules = toml(&format!("{head}{}", line("forbidden = [\"init=*\"]"))).rules;
    assert_eq!(codes(&shell.flaws()), ["baseline-contradictory"]);

    let warned = |text: &str, code: &str| {
        let flaws = of(text);
        assert!(flaws.iter().any(|f| !f.refused && f.code == code), "{text}: {flaws:?}");
        assert!(flaws.iter().all(|f| !f.refused), "{text}: {flaws:?}");
    };
    warned(
        &format!("{kernel}[[rules]]\ncomponent = \"boot-loader-file\"\nany = [\"*.mod\"]"),
        "rule-accepts-by-name",
    );
    warned(&format!("unlisted = \"note\"\n{kernel}"), "pcrs-not-covered");
    warned(&format!("unlisted = \"note\"\n{on}"), "baseline-accepts-all-signed");
    assert_eq!(of(&kernel), []);
    assert_eq!(of(&format!("{kernel}[[rules]]\ncomponent = \"boot-entry\"\nany = [\"*\"]")), []);
    assert_eq!(learned(&[&old(), &new()]).flaws(), []);
}

#[test]
fn a_boot_of_another_bank_is_refused() {
    let baseline = learned(&[&old()]);
    let other = ReferenceBoot::of_report(&report(&old()), HashAlg::Sha1, written()).unwrap();
    assert_eq!(baseline.with_measurements(other).unwrap_err(), LearnError::OtherBank { bank: SHA256 });
}

#[test]
fn two_baselines_are_compared_in_words() {
    let (a, b) = (learned(&[&old()]), learned(&[&old(), &new()]));
    assert_eq!(diff_baselines(&a, &a), []);
    let findings = diff_baselines(&a, &b);
    assert!(!findings.is_empty());
    assert!(findings.iter().all(|f| f.reason.is_none()), "a difference of documents is no alert");
    let text: String = findings.iter().map(|f| format!("{} {}\n", f.code, f.message)).collect();
    insta::assert_snapshot!(text);
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

/// 64 boots and a long log: the nearest is found without comparing everything with everything.
#[test]
fn many_boots_and_a_hostile_log_stay_cheap() {
    let mut baseline = Baseline::new(SHA256);
    for n in 0..64 {
        let machine = Machine { initrd: format!("initrd {n}").leak(), ..old() };
        baseline = baseline.with_boot(&report(&machine), None, written(), false).unwrap();
    }
    let compiled: CompiledBaseline = baseline.compile();
    let mut log = old().log();
    for n in 0..8000_u32 {
        log.ipl(9, "/initrd.img", &n.to_le_bytes());
    }
    let judgement = judge(&examine(&log.bytes()), SHA256, Some(&compiled), &Profile::default());
    assert!(!judgement.accepts());
}
