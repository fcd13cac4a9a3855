//! Baselines as documents: how they are read and written, and what is wrong with them.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "helpers of tests may fail loudly"
)]

mod common;

use common::SHA256;
use common::machines::{judged, learned, new, old, report, told, toml, with};
use veriboot_appraisal::{Baseline, Flaw, Profile, Source, Unlisted, diff_baselines, examine, judge};
use veriboot_eventlog::{ComponentKind, EventType};

fn codes(flaws: &[Flaw]) -> Vec<&str> {
    flaws.iter().map(|flaw| flaw.code).collect()
}

fn written() -> Source {
    Source::Written
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
fn two_baselines_are_compared_in_words() {
    let (a, b) = (learned(&[&old()]), learned(&[&old(), &new()]));
    assert_eq!(diff_baselines(&a, &a), []);
    let findings = diff_baselines(&a, &b);
    assert!(!findings.is_empty());
    assert!(findings.iter().all(|f| f.reason.is_none()), "a difference of documents is no alert");
    let text: String = findings.iter().map(|f| format!("{} {}\n", f.code, f.message)).collect();
    insta::assert_snapshot!(text);
}
