//! Real logs: those captured from our own machines, and those that VERIBOOT_CORPUS names.

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

use std::path::{Path, PathBuf};

use proptest::prelude::*;
use veriboot_appraisal::{Baseline, LearnError, Profile, compare, components, examine, judge};

fn own(variant: &str) -> Vec<u8> {
    let path =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../testkit/corpus").join(variant).join("eventlog.bin");
    std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

fn logs() -> Vec<(PathBuf, Vec<u8>)> {
    let mut logs = Vec::new();
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("../testkit/corpus");
    for entry in std::fs::read_dir(own).into_iter().flatten().flatten() {
        let path = entry.path().join("eventlog.bin");
        if let Ok(bytes) = std::fs::read(&path) {
            logs.push((path, bytes));
        }
    }
    match std::env::var_os("VERIBOOT_CORPUS") {
        None => eprintln!("VERIBOOT_CORPUS is not set: only our own captures are tested"),
        Some(folder) => {
            for entry in std::fs::read_dir(Path::new(&folder).join("logs")).unwrap().flatten() {
                logs.push((entry.path(), std::fs::read(entry.path()).unwrap()));
            }
        }
    }
    logs
}

/// SPEC section 12: a baseline learned from a log accepts that log, in every bank, also after a round trip as JSON.
#[test]
fn a_learned_baseline_accepts_its_log() {
    let (mut learned, mut partial) = (0, Vec::new());
    for (path, bytes) in logs() {
        let report = examine(&bytes);
        for bank in &report.banks {
            let bank = bank.replay.bank;
            let baseline = match Baseline::learn(&report, bank) {
                Ok(baseline) => baseline,
                // Some logs have events of one bank only; such a bank explains nothing.
                Err(LearnError::DigestMissing { .. }) => {
                    let judgement = judge(&report, bank, None, &Profile::measured_only());
                    assert_eq!(judgement.findings[0].code, "log-digest-missing");
                    partial.push(format!("{} {}", path.display(), bank.name()));
                    continue;
                }
                Err(error) => panic!("{}: {error}", path.display()),
            };
            let baseline = Baseline::from_json(baseline.to_json().unwrap().as_bytes()).unwrap().compile();
            let judgement = judge(&report, bank, Some(&baseline), &Profile::measured_only());
            assert_eq!(judgement.findings, [], "{} {}", path.display(), bank.name());
            learned += 1;
        }
        assert!(components(&report).len() <= 64);
        assert_eq!(compare(&report, &report).iter().filter(|f| f.code != "log-bank-missing").count(), 0);
    }
    assert!(learned >= 9, "{learned} baselines were learned");
    assert!(partial.len() <= 2, "{partial:?}");
}

/// The log in other words that say the same: padded, with a bank in its header that nothing extends, and with another
/// order between PCRs. `None` for a layout that has no such thing.
fn in_other_words(bytes: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    let mut others = vec![
        ("zeroes after it", [bytes, &[0; 256]].concat()),
        ("0xFF after it", [bytes, &[0xFF; 256]].concat()),
    ];
    let Some((header, events)) = crypto_agile(bytes) else { return others };
    let mut sorted = events.clone();
    // Only the order within a PCR is in its value.
    sorted.sort_by_key(|(pcr, _)| *pcr);
    let joined = |header: &[u8], events: &[(u32, &[u8])]| {
        events.iter().fold(header.to_vec(), |mut log, (_, event)| {
            log.extend_from_slice(event);
            log
        })
    };
    others.push(("another order between PCRs", joined(header, &sorted)));
    // One more algorithm behind the others: SM3-256, which no log of the corpus extends.
    let count = u32::from_le_bytes(header[56..60].try_into().unwrap());
    let at = 60 + 4 * usize::try_from(count).unwrap();
    let mut more = header.to_vec();
    more.splice(at..at, [0x12, 0, 32, 0]);
    more[56..60].copy_from_slice(&(count + 1).to_le_bytes());
    let size = u32::from_le_bytes(header[28..32].try_into().unwrap()) + 4;
    more[28..32].copy_from_slice(&size.to_le_bytes());
    others.push(("a bank that nothing extends", joined(&more, &events)));
    others
}

/// Events with their PCR.
type Events<'a> = Vec<(u32, &'a [u8])>;

/// Header and events of a TCG 2.0 log of one session that is whole.
fn crypto_agile(bytes: &[u8]) -> Option<(&[u8], Events<'_>)> {
    let at = |bytes: &[u8], at: usize| Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().unwrap()));
    let header = 32 + usize::try_from(at(bytes, 28)?).ok()?;
    if bytes.get(32..48)? != b"Spec ID Event03\0" {
        return None;
    }
    let (head, mut rest) = bytes.split_at_checked(header)?;
    let mut events = Vec::new();
    while rest.len() > 12 && !rest.iter().all(|b| *b == 0) && !rest.iter().all(|b| *b == 0xFF) {
        let mut end = 12;
        for _ in 0..at(rest, 8)? {
            let alg = veriboot_eventlog::HashAlg::from_tpm_id(u16::from_le_bytes(
                rest.get(end..end + 2)?.try_into().unwrap(),
            ))?;
            end += 2 + alg.size();
        }
        end += 4 + usize::try_from(at(rest, end)?).ok()?;
        let (event, after) = rest.split_at_checked(end)?;
        events.push((at(event, 0)?, event));
        rest = after;
    }
    // A second header begins a second session; what was reordered would belong to another one.
    (!events.iter().any(|(_, event)| event.windows(16).any(|w| w == b"Spec ID Event03\0")))
        .then_some((head, events))
}

#[test]
fn a_learned_baseline_accepts_its_log_in_other_words() {
    let (mut checked, mut wrong) = (std::collections::BTreeMap::<&str, u32>::new(), Vec::new());
    for (path, bytes) in logs() {
        let report = examine(&bytes);
        for bank in report.banks.iter().map(|bank| bank.replay.bank) {
            let Ok(baseline) = Baseline::learn(&report, bank) else { continue };
            let baseline = baseline.compile();
            for (how, other) in in_other_words(&bytes) {
                let judgement = judge(&examine(&other), bank, Some(&baseline), &Profile::measured_only());
                *checked.entry(how).or_default() += 1;
                if !judgement.accepts() {
                    wrong.push(format!(
                        "{} {} {how}: {:?}",
                        path.display(),
                        bank.name(),
                        judgement.findings[0].message
                    ));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(checked.len() == 4 && checked.values().all(|count| *count > 9), "{checked:?}");
}

/// A baseline that was learned from several logs accepts each of them, also as TOML and whatever order they came in.
#[test]
fn a_baseline_of_several_logs_accepts_each() {
    let all = logs();
    let reports: Vec<_> = all.iter().map(|(_, bytes)| examine(bytes)).collect();
    let mut learned = 0;
    for (at, pair) in reports.windows(3).enumerate() {
        for bank in pair[0].banks.iter().map(|bank| bank.replay.bank) {
            for order in [[0, 1, 2], [2, 0, 1]] {
                let logs: Vec<_> = order.iter().map(|i| &pair[*i]).collect();
                let Ok(baseline) = Baseline::learn_from(&logs, bank) else { continue };
                assert_eq!(baseline.flaws(), [], "{at} {}", bank.name());
                let baseline = Baseline::from_toml(&baseline.to_toml().unwrap()).unwrap().compile();
                for report in pair {
                    let judgement = judge(report, bank, Some(&baseline), &Profile::measured_only());
                    assert!(judgement.accepts(), "{at} {}: {:?}", bank.name(), judgement.findings);
                }
                learned += 1;
            }
        }
    }
    assert!(learned > 9, "{learned}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    /// The same for logs that no machine writes: real ones with bytes changed, cut and repeated.
    #[test]
    fn a_learned_baseline_accepts_its_log_whatever_it_says(
        which in 0_usize..64,
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..64),
        cut in any::<prop::sample::Index>(),
    ) {
        let own: Vec<Vec<u8>> = ["secure-boot", "cmdline", "uki", "three-banks", "secure-boot-off"].map(own).into();
        let mut bytes = own[which % own.len()].clone();
        for (at, value) in edits {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        if which > 32 {
            bytes.truncate(cut.index(bytes.len()));
        }
        let report = examine(&bytes);
        for bank in &report.banks {
            let bank = bank.replay.bank;
            let Ok(baseline) = Baseline::learn(&report, bank) else { continue };
            let baseline = Baseline::from_json(baseline.to_json().unwrap().as_bytes()).unwrap().compile();
            let judgement = judge(&report, bank, Some(&baseline), &Profile::measured_only());
            prop_assert_eq!(&judgement.findings, &vec![]);
        }
    }

    /// Any two boots can be compared; nothing panics and nothing grows without bound.
    #[test]
    fn any_two_logs_compare(a in prop::collection::vec(any::<u8>(), 0..512), which in 0_usize..2) {
        let bytes = own(["secure-boot", "uki"][which]);
        let mut mixed = bytes.clone();
        let at = mixed.len() / 2;
        mixed.splice(at..at, a);
        let findings = compare(&examine(&bytes), &examine(&mixed));
        prop_assert!(findings.len() <= 50);
    }
}

/// Genuine logs of machines with Secure Boot must not be failed by checks of the log alone.
#[test]
fn genuine_logs_have_no_failing_finding_of_their_own() {
    let mut wrong = Vec::new();
    for (path, bytes) in logs() {
        let name = path.display().to_string();
        let report = examine(&bytes);
        assert!(
            !report.shim_validation_off || SHIM_VERIFIES_NOT.iter().any(|part| name.contains(part)),
            "{name}"
        );
        let failing: Vec<_> = report.findings.iter().filter(|f| f.fails()).map(|f| &f.message).collect();
        let expected = EXCEPTIONS.iter().find(|(part, _)| name.contains(part));
        match expected {
            Some((_, why)) if failing.is_empty() => {
                wrong.push(format!("{name} passes and is listed as {why}"))
            }
            None if !failing.is_empty() => wrong.push(format!("{name}: {failing:?}")),
            _ => {}
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Logs of machines on which `mokutil --disable-validation` was run.
const SHIM_VERIFIES_NOT: &[&str] = &["mok-validation-off"];

/// Logs that are altered, partial or not logs at all.
const EXCEPTIONS: &[(&str, &str)] = &[("TPMLog_Altered", "a genuine log with one event edited")];

/// What the captures of our own machines differ in, in the words of the findings.
#[test]
fn the_captures_differ_as_they_were_made() {
    let base = examine(&own("secure-boot"));
    let mut text = String::new();
    for variant in
        ["secure-boot", "cmdline", "initrd", "other-kernel", "mok", "secure-boot-off", "uki", "direct-kernel"]
    {
        text.push_str(&format!("== {variant}\n"));
        for f in compare(&base, &examine(&own(variant))) {
            let change = f.change.map_or("-", veriboot_wire::ChangeClass::as_str);
            text.push_str(&format!(
                "{} {} {change} PCR {}: {}\n",
                f.severity,
                f.code,
                f.pcr.unwrap_or(99),
                f.message
            ));
        }
    }
    insta::assert_snapshot!(text);
}

/// Secure Boot as somebody else read it from the same logs.
#[test]
fn secure_boot_is_read_as_published() {
    let Some(folder) = std::env::var_os("VERIBOOT_CORPUS") else {
        eprintln!("VERIBOOT_CORPUS is not set: skipped");
        return;
    };
    let rows = std::fs::read(Path::new(&folder).join("logs.json")).unwrap();
    let rows: serde_json::Value = serde_json::from_slice(&rows).unwrap();
    let mut checked = 0;
    for row in rows.as_array().unwrap() {
        let Some(value) = row["sb"]["SecureBoot"].as_str() else { continue };
        let file = row["file"].as_str().unwrap();
        let report = examine(&std::fs::read(Path::new(&folder).join(file)).unwrap());
        assert_eq!(report.secure_boot, Some(value == "01"), "{file}: {value}");
        checked += 1;
    }
    assert!(checked > 20, "{checked}");
}
