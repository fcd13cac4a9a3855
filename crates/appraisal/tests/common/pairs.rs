//! Pairs of real boots: a baseline is learned from the first, the second is judged (docs/lab.md says how each was made).

use std::path::Path;

use serde_json::Value;
use veriboot_appraisal::{Baseline, Judgement, LogReport, Profile, examine, judge};
use veriboot_wire::{ChangeAction, ChangeClass, Finding, Severity};

use super::SHA256;

pub fn folder(variant: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../testkit/corpus").join(variant)
}

pub fn report(variant: &str) -> LogReport {
    let log =
        std::fs::read(folder(variant).join("eventlog.bin")).unwrap_or_else(|e| panic!("{variant}: {e}"));
    examine(&log)
}

/// What coreutils and virt-firmware said about the files of a capture.
pub fn meta(variant: &str) -> Value {
    serde_json::from_slice(&std::fs::read(folder(variant).join("meta.json")).unwrap()).unwrap()
}

pub fn sha256(variant: &str, file: &str) -> String {
    meta(variant)["sha256"][file].as_str().unwrap().to_owned()
}

pub fn authenticode(variant: &str, image: &str) -> String {
    meta(variant)["authenticode"][image].as_str().unwrap().to_owned()
}

pub fn judged_under(before: &str, after: &str, profile: &Profile) -> Judgement {
    let baseline = Baseline::learn(&report(before), SHA256).unwrap().compile();
    let again = judge(&report(before), SHA256, Some(&baseline), &Profile::measured_only());
    assert_eq!(again.findings, [], "{before} deviates from its own baseline");
    judge(&report(after), SHA256, Some(&baseline), profile)
}

pub fn judged(before: &str, after: &str) -> Judgement {
    judged_under(before, after, &Profile::default())
}

/// What is asked of one finding. Texts are parts that must be there.
pub struct Told<'a> {
    pub class: ChangeClass,
    pub component: &'a str,
    pub pcr: u32,
    pub expected: &'a str,
    pub seen: &'a str,
}

/// A finding of this class about this component.
pub fn told<'a>(
    class: ChangeClass,
    component: &'a str,
    pcr: u32,
    expected: &'a str,
    seen: &'a str,
) -> Told<'a> {
    Told { class, component, pcr, expected, seen }
}

pub fn line(finding: &Finding) -> String {
    format!(
        "{} [{}] {:?} {:?} {:?} PCR {:?}: {} (expected {:?}, seen {:?})",
        finding.severity,
        finding.code,
        finding.change.map(|c| c.to_string()),
        finding.action.map(|a| a.to_string()),
        finding.component,
        finding.pcr,
        finding.message,
        finding.expected,
        finding.seen
    )
}

pub fn lines(judgement: &Judgement) -> String {
    judgement.findings.iter().map(|f| format!("  {}\n", line(f))).collect()
}

/// Exactly these findings matter, and each says what it should.
pub fn hold(name: &str, judgement: &Judgement, severity: Severity, expected: &[Told<'_>]) {
    let matter: Vec<&Finding> =
        judgement.findings.iter().filter(|f| f.severity >= Severity::Medium && f.change.is_some()).collect();
    let all = lines(judgement);
    for told in expected {
        let found = matter
            .iter()
            .find(|f| f.change == Some(told.class) && f.component.as_deref() == Some(told.component))
            .unwrap_or_else(|| panic!("{name}: no {} of {}:\n{all}", told.class, told.component));
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        assert_eq!(found.pcr, Some(told.pcr), "{name}: {}\n{all}", told.component);
        assert!(text(&found.expected).contains(told.expected), "{name}: expected {}\n{all}", told.expected);
        assert!(text(&found.seen).contains(told.seen), "{name}: seen {}\n{all}", told.seen);
        assert_eq!(found.severity, severity, "{name}: {}\n{all}", told.component);
        assert!(found.risk.is_some() && found.hint.is_some(), "{name}: risk and hint of {}", told.component);
    }
    assert_eq!(matter.len(), expected.len(), "{name}: other findings\n{all}");
}

/// The boot fails, for these deviations.
pub fn fails(before: &str, after: &str, expected: &[Told<'_>]) -> Judgement {
    let name = format!("{before} -> {after}");
    let judgement = judged(before, after);
    assert!(judgement.proposed.is_none(), "{name} is proposed");
    assert!(!judgement.accepts(), "{name} is accepted");
    let matter = judgement.findings.iter().filter(|f| f.severity >= Severity::Medium && f.change.is_some());
    for finding in matter {
        assert_eq!(finding.action, Some(ChangeAction::Fail), "{name}: {}", line(finding));
        assert!(finding.reason.is_some(), "{name}: {}", line(finding));
    }
    hold(&name, &judgement, Severity::High, expected);
    judgement
}

/// The boot passes, and these deviations are put before an operator.
pub fn proposes(before: &str, after: &str, expected: &[Told<'_>]) -> Judgement {
    let name = format!("{before} -> {after}");
    let judgement = judged(before, after);
    let proposed = judgement.proposed.as_ref().unwrap_or_else(|| panic!("{name}:\n{}", lines(&judgement)));
    assert!(judgement.accepts(), "{name} fails:\n{}", lines(&judgement));
    assert_eq!(proposed.key.len(), 64, "{name}");
    for told in expected {
        assert!(proposed.pcrs.contains(&told.pcr), "{name}: PCR {} is not in {:?}", told.pcr, proposed.pcrs);
    }
    for finding in judgement.findings.iter().filter(|f| f.severity >= Severity::Medium) {
        assert_eq!(finding.action, Some(ChangeAction::Propose), "{name}: {}", line(finding));
        assert_eq!(finding.reason, None, "{name}: {}", line(finding));
    }
    hold(&name, &judgement, Severity::Medium, expected);
    judgement
}

pub const KERNEL: &str = "kernel";

pub const INITRD: &str = "initial RAM disk (initrd)";

pub const CMDLINE: &str = "kernel command line";

pub const SBAT: &str = "SBAT level";

pub const DBX: &str = "revoked signatures (dbx)";

pub const DB: &str = "allowed signatures (db)";

pub const KEK: &str = "key exchange keys (KEK)";

pub const PK: &str = "platform key (PK)";

pub const MOK: &str = "machine owner keys (MOK)";
