//! What the findings of a changed boot say. The texts are what an operator reads: snapshots.

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

use common::{Log, Machine, SHA256, Tpm, appraise};
use veriboot_appraisal::{
    Baseline, Enforcement, LearnError, LogReport, Profile, compare, components, examine, judge,
};
use veriboot_eventlog::{ComponentKind, EventType, HashAlg};
use veriboot_wire::{AlertReason, ChangeClass, Finding, Severity};

/// Findings of a boot of `now` against a baseline learned from `before`, under the default profile.
fn deviations(before: &Machine, now: &Machine) -> Vec<Finding> {
    between(&before.log(), &now.log())
}

fn between(before: &Log, now: &Log) -> Vec<Finding> {
    let baseline = Baseline::learn(&examine(&before.bytes()), SHA256).unwrap().compile();
    judge(&examine(&now.bytes()), SHA256, Some(&baseline), &Profile::default()).findings
}

fn told(findings: &[Finding]) -> String {
    let mut text = String::new();
    for f in findings {
        let change = f.change.map_or("-", ChangeClass::as_str);
        let pcr = f.pcr.map_or("-".to_owned(), |p| p.to_string());
        text.push_str(&format!("{} {} {change} PCR {pcr}: {}\n", f.severity, f.code, f.message));
    }
    text
}

fn with(change: impl Fn(&mut Machine)) -> Machine {
    let mut machine = Machine::default();
    change(&mut machine);
    machine
}

#[test]
fn init_shell_on_the_command_line() {
    let before = Machine::default();
    let now = with(|m| m.command_line = "root=/dev/vda1 ro console=ttyS0 init=/bin/sh");
    let findings = deviations(&before, &now);
    insta::assert_snapshot!(told(&findings));
    assert_eq!(findings.len(), 1, "one finding, whatever many PCRs show it");
    let finding = &findings[0];
    assert_eq!(finding.component.as_deref(), Some("kernel command line"));
    assert_eq!(finding.change, Some(ChangeClass::CmdlineChange));
    assert_eq!(finding.reason, Some(AlertReason::BaselineDeviation));
    assert_eq!(finding.expected.as_deref(), Some("root=/dev/vda1 ro console=ttyS0"));
    assert_eq!(finding.seen.as_deref(), Some("root=/dev/vda1 ro console=ttyS0 init=/bin/sh"));
    assert!(finding.message.contains("kernel command line changed: added `init=/bin/sh`"));
    assert!(finding.hint.as_ref().unwrap().contains("past every login"));
    assert_eq!(finding.pcr, Some(8));
    assert!(finding.event.is_some());
}

#[test]
fn another_boot_loader_command_beside_the_command_line() {
    let findings = deviations(
        &Machine::default(),
        &with(|m| {
            m.command_line = "root=/dev/vda1 ro console=ttyS0 init=/bin/sh";
            m.more_commands = vec!["insmod evil"];
        }),
    );
    insta::assert_snapshot!(told(&findings));
}

#[test]
fn kernel_update() {
    let findings = deviations(
        &Machine::default(),
        &with(|m| {
            m.kernel = "linux 6.1.0-56";
            m.kernel_path = "/vmlinuz-6.1.0-56-cloud-amd64";
            m.initrd = "initrd 2";
        }),
    );
    insta::assert_snapshot!(told(&findings));
    assert_eq!(findings[0].change, Some(ChangeClass::KernelUpdate));
}

#[test]
fn same_name_other_initrd() {
    insta::assert_snapshot!(told(&deviations(&Machine::default(), &with(|m| m.initrd = "evil"))));
}

#[test]
fn another_shim_and_another_grub() {
    insta::assert_snapshot!(told(&deviations(
        &Machine::default(),
        &with(|m| {
            m.shim = "shim 15.4";
            m.grub = "grub 2.04";
        })
    )));
}

#[test]
fn an_application_before_the_loader() {
    insta::assert_snapshot!(told(&deviations(&Machine::default(), &with(|m| m.extra_application = true))));
}

#[test]
fn secure_boot_switched_off() {
    let findings = deviations(&Machine::default(), &with(|m| m.secure_boot = Some(false)));
    insta::assert_snapshot!(told(&findings));
    assert_eq!(findings.iter().filter(|f| f.code == "secure-boot-disabled").count(), 1);
    assert_eq!(findings[0].expected.as_deref(), Some("on"));
    assert_eq!(findings[0].seen.as_deref(), Some("off"));
}

#[test]
fn keys_added_removed_and_replaced() {
    let before = Machine::default();
    insta::assert_snapshot!(told(&deviations(&before, &with(|m| m.db = vec!["Evil CA"]))));
    let roll_over = with(|m| m.db.push("Microsoft UEFI CA 2023"));
    insta::assert_snapshot!(told(&deviations(&before, &roll_over)));
    insta::assert_snapshot!(told(&deviations(&before, &with(|m| m.dbx_hashes = 371))));
    insta::assert_snapshot!(told(&deviations(&before, &with(|m| m.dbx_hashes = 0))));
}

#[test]
fn firmware_update_and_boot_order() {
    insta::assert_snapshot!(told(&deviations(
        &Machine::default(),
        &with(|m| {
            m.firmware = "OVMF 2025.02";
            m.boot_order = vec![1, 0, 0, 0];
        })
    )));
}

#[test]
fn boot_order_alone_is_noted_and_passes() {
    let findings = deviations(&Machine::default(), &with(|m| m.boot_order = vec![1, 0, 0, 0]));
    assert_eq!(findings.len(), 1);
    assert_eq!(findings[0].severity, Severity::Info);
    assert_eq!(findings[0].change, Some(ChangeClass::BootOrderChange));
    assert_eq!(findings[0].reason, None);

    let baseline = Baseline::learn(&examine(&Machine::default().log().bytes()), SHA256).unwrap().compile();
    let report = examine(&with(|m| m.boot_order = vec![1, 0, 0, 0]).log().bytes());
    let mut profile = Profile::default();
    profile.components.insert(ComponentKind::BootOrder, Enforcement::Enforce);
    assert!(!judge(&report, SHA256, Some(&baseline), &profile).accepts());
    profile.components.insert(ComponentKind::BootOrder, Enforcement::Ignore);
    assert_eq!(judge(&report, SHA256, Some(&baseline), &profile).findings, []);
}

#[test]
fn the_same_components_in_another_order() {
    let before = with(|m| m.more_commands = vec!["insmod a", "insmod b"]).log();
    let mut now = before.clone();
    let at = now.events.iter().position(|e| e.measured == b"insmod a").unwrap();
    now.events.swap(at, at + 1);
    insta::assert_snapshot!(told(&between(&before, &now)));
}

/// The type and the description of most events are in no digest.
#[test]
fn another_description_under_the_same_digest() {
    let before = Machine::default().log();
    let mut now = before.clone();
    let at = now.events.iter().position(|e| e.measured == b"shim 15.8").unwrap();
    let mut renamed = Log { banks: vec![], events: vec![] };
    renamed.application("\\EFI\\debian\\shimx64.efi", b"shim 15.8");
    now.events[at].data = renamed.events.remove(0).data;
    insta::assert_snapshot!(told(&between(&before, &now)));

    let mut now = before.clone();
    now.events[at].event_type = EventType::EV_EFI_RUNTIME_SERVICES_DRIVER;
    let findings = between(&before, &now);
    assert!(findings.iter().any(|f| f.code == "description-changed" && f.fails()), "{}", told(&findings));
}

#[test]
fn another_event_type_under_the_same_digest() {
    let before = Machine::default().log();
    let mut now = before.clone();
    let at = now.events.iter().position(|e| e.event_type == EventType::EV_EFI_VARIABLE_BOOT).unwrap();
    now.events[at].event_type = EventType::EV_EFI_VARIABLE_BOOT2;
    insta::assert_snapshot!(told(&between(&before, &now)));
}

#[test]
fn nothing_in_common_stays_readable_and_bounded() {
    let before = Machine::default().log();
    let mut now = before.clone();
    for n in 0..3000 {
        now.ipl(8, &format!("grub_cmd: insmod m{n}"), format!("insmod m{n}").as_bytes());
        now.ipl(9, &format!("(hd0,gpt1)/boot/grub/x86_64-efi/m{n}.mod"), format!("m{n}").as_bytes());
    }
    let findings = between(&before, &now);
    assert!(findings.len() <= 50, "{}", findings.len());
    assert!(findings.iter().all(|f| f.message.len() < 2000));
    assert!(findings.iter().any(|f| f.code == "more-changes" && f.fails()), "{}", told(&findings));
}

#[test]
fn the_bank_that_was_quoted_is_learned_and_no_other() {
    let report = examine(&Machine::default().log().bytes());
    assert_eq!(Baseline::learn(&report, SHA256).unwrap().bank, SHA256);
    let baseline = Baseline::learn(&report, HashAlg::Sha1).unwrap().compile();
    assert_eq!(baseline.bank, HashAlg::Sha1);
    assert!(baseline.measurements().all(|m| m.digest.as_ref().len() == 20));
    assert_eq!(
        Baseline::learn(&report, HashAlg::Sha384),
        Err(LearnError::BankNotMeasured { bank: HashAlg::Sha384 })
    );
    let judgement = judge(&report, SHA256, Some(&baseline), &Profile::default());
    assert_eq!(judgement.findings[0].code, "baseline-bank-mismatch");
    assert_eq!(judgement.findings[0].expected.as_deref(), Some("sha1"));
    assert!(!judgement.accepts());
}

/// A document of the first version: one boot, digests by bank.
fn first_version(report: &LogReport, bank: HashAlg) -> serde_json::Value {
    let json = Baseline::learn(report, bank).unwrap().to_json().unwrap();
    let new: serde_json::Value = serde_json::from_str(&json).unwrap();
    let mut old = serde_json::json!({
        "schema": "veriboot-baseline/1", "log_sha256": report.sha256, "secure_boot": true,
        "measurements": new["boots"][0]["measurements"],
    });
    for (measurement, entry) in old["measurements"].as_array_mut().unwrap().iter_mut().zip(&report.entries) {
        let digest = measurement.as_object_mut().unwrap().remove("digest").unwrap();
        measurement.as_object_mut().unwrap().remove("signatures");
        measurement["digests"] = serde_json::json!({ bank.name(): digest });
        measurement["type"] = entry.event_type.0.into();
    }
    old
}

#[test]
fn a_document_of_the_first_version_is_one_boot() {
    let report = examine(&Machine::default().log().bytes());
    let old = first_version(&report, SHA256);
    let read = Baseline::from_json(old.to_string().as_bytes()).unwrap();
    let mut new = Baseline::learn(&report, SHA256).unwrap();
    new.boots[0].measurements.iter_mut().for_each(|reference| reference.signatures.clear());
    assert_eq!(read, new);
    assert_eq!(judge(&report, SHA256, Some(&read.compile()), &Profile::default()).findings, []);
    let mut strange = old;
    strange["measurements"][3]["extra"] = 1.into();
    let error = Baseline::from_json(strange.to_string().as_bytes()).unwrap_err();
    assert!(error.to_string().contains("measurements[3].extra"), "{error}");
}

/// A document that somebody made, or that is older: it does not say which bank was proven.
#[test]
fn a_document_of_several_banks_is_refused() {
    let report = examine(&Machine::default().log().bytes());
    let (mut several, other) = (first_version(&report, SHA256), first_version(&report, HashAlg::Sha1));
    let mut part = several.clone();
    for at in 0..report.entries.len() {
        let digest = other["measurements"][at]["digests"]["sha1"].clone();
        several["measurements"][at]["digests"]["sha1"] = digest;
    }
    part["measurements"][3]["digests"] = serde_json::json!({});
    let mut none = part.clone();
    none["measurements"] = serde_json::json!([]);
    for document in [several, part, none] {
        let error = Baseline::from_json(document.to_string().as_bytes()).unwrap_err();
        assert_eq!(error.code(), "baseline-bank-unknown");
    }
}

#[test]
fn documents_round_trip_and_are_read_strictly() {
    let baseline = Baseline::learn(&examine(&Machine::default().log().bytes()), SHA256).unwrap();
    let json = baseline.to_json().unwrap();
    assert_eq!(Baseline::from_json(json.as_bytes()).unwrap(), baseline);
    let refused = |from: &str, to: &str| {
        assert!(json.contains(from), "{from}");
        Baseline::from_json(json.replacen(from, to, 1).as_bytes()).unwrap_err().code()
    };
    assert_eq!(refused("veriboot-baseline/2", "veriboot-baseline/3"), "baseline-schema-unknown");
    assert_eq!(refused("\"pcr\":", "\"extra\":1,\"pcr\":"), "baseline-malformed");
    assert_eq!(refused("\"digest\":\"", "\"digest\":\"00"), "baseline-digest-size");
    assert_eq!(refused("\"bank\":\"sha256", "\"bank\":\"sha384"), "baseline-digest-size");
    assert_eq!(refused("\"bank\":\"sha256", "\"bank\":\"sha999"), "baseline-malformed");
    assert_eq!(refused("\"kind\":\"shim", "\"kind\":\"xshim"), "baseline-malformed");
    assert_eq!(Baseline::from_json(&vec![b' '; 17 << 20]).unwrap_err().code(), "baseline-too-large");
}

/// The demo's story: caught by the baseline although Secure Boot is on and the quote proves the log.
#[test]
fn a_changed_command_line_fails_the_attestation() {
    let baseline = Baseline::learn(&examine(&Machine::default().log().bytes()), SHA256).unwrap().compile();
    let log = with(|m| m.command_line = "root=/dev/vda1 ro console=ttyS0 init=/bin/sh").log();
    let outcome = appraise(&Tpm::booted(&log), &log.bytes(), Some(&baseline), None);
    assert_eq!(outcome.reasons, [AlertReason::BaselineDeviation]);
    let finding = outcome.primary().unwrap();
    assert_eq!(finding.component.as_deref(), Some("kernel command line"));
    assert_eq!(outcome.facts.secure_boot, veriboot_wire::FactState::Valid);
    assert_eq!(outcome.facts.log, veriboot_wire::FactState::Valid);
    assert_eq!(outcome.facts.baseline, veriboot_wire::FactState::Invalid);
}

#[test]
fn boots_are_compared_in_the_same_words() {
    let from = examine(&Machine::default().log().bytes());
    let to = examine(&with(|m| m.initrd = "initrd 2").log().bytes());
    insta::assert_snapshot!(told(&compare(&from, &to)));
    assert_eq!(compare(&from, &from), []);
    let mut sha1 = Machine::default();
    sha1.banks = vec![HashAlg::Sha384];
    assert_eq!(compare(&from, &examine(&sha1.log().bytes()))[0].code, "log-bank-missing");
}

#[test]
fn components_are_named_for_people() {
    insta::assert_debug_snapshot!(components(&examine(&Machine::default().log().bytes())));
    assert_eq!(components(&examine(b"junk"))["Secure Boot"], "unknown");
}
