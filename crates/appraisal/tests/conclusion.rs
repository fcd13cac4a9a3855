//! The verdict over quote and log: rows 7 and 12 to 18 of the attack list, and the quirks that are no attacks.

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

use common::{Log, Machine, SHA256, Tpm, appraise, codes};
use veriboot_appraisal::{
    Baseline, Conclude, Judgement, LogReport, Outcome, PcrValues, PreviousBoot, Profile, conclude, examine,
    judge, primary, recommendations,
};
use veriboot_eventlog::{EventType, HashAlg};
use veriboot_tpm::{PcrSelection, Quote, QuoteError};
use veriboot_wire::{AlertReason, ChangeClass, FactState, Severity, Verdict, VmStatus};

fn boot() -> (Log, Tpm) {
    let log = Machine::default().log();
    let tpm = Tpm::booted(&log);
    (log, tpm)
}

struct Case {
    quote: Quote,
    values: Option<PcrValues>,
    report: Option<LogReport>,
    judgement: Option<Judgement>,
    profile: Profile,
    previous: Option<PreviousBoot>,
}

impl Case {
    fn new(log: &Log, tpm: &Tpm) -> Self {
        let report = examine(&log.bytes());
        let profile = Profile::default();
        let judgement = judge(&report, SHA256, None, &profile);
        Self {
            quote: tpm.quote(),
            values: Some(tpm.values()),
            report: Some(report),
            judgement: Some(judgement),
            profile,
            previous: None,
        }
    }

    fn conclude(&self) -> Outcome {
        conclude(Conclude {
            quote: Ok(&self.quote),
            pcr_values: self.values.as_ref(),
            report: self.report.as_ref(),
            log_absent_because: Some("securityfs is not mounted"),
            judgement: self.judgement.as_ref(),
            profile: &self.profile,
            previous: self.previous.as_ref(),
        })
    }
}

#[test]
fn a_true_boot_is_healthy_and_can_be_learned() {
    let (log, tpm) = boot();
    let outcome = appraise(&tpm, &log.bytes(), None, None);
    assert_eq!(codes(&outcome), ["baseline-missing"]);
    assert_eq!(outcome.verdict, Verdict::Healthy);
    assert!(outcome.learnable);
    assert_eq!(outcome.status(), VmStatus::Healthy);
    assert_eq!(outcome.reasons, []);
    assert_eq!(outcome.facts.secure_boot, FactState::Valid);
    assert_eq!(outcome.facts.log, FactState::Valid);
    assert_eq!(outcome.facts.baseline, FactState::Unknown);

    let baseline = Baseline::learn(&examine(&log.bytes()), SHA256).unwrap().compile();
    let outcome = appraise(&tpm, &log.bytes(), Some(&baseline), Some(&tpm.previous(&log)));
    assert_eq!(codes(&outcome), [""; 0]);
    assert_eq!(outcome.facts.baseline, FactState::Valid);
    assert_eq!(outcome.facts.quote, FactState::Valid);
}

#[test]
fn pcr_values_are_not_needed_when_the_log_explains_everything() {
    let (log, tpm) = boot();
    let mut case = Case::new(&log, &tpm);
    case.values = None;
    assert_eq!(case.conclude().verdict, Verdict::Healthy);
}

/// Row 9: a bad quote leaves nothing of the old good state.
#[test]
fn nothing_is_believed_beside_a_bad_quote() {
    let (log, tpm) = boot();
    let case = Case::new(&log, &tpm);
    let errors = [
        QuoteError::SignatureInvalid,
        QuoteError::NonceMismatch,
        QuoteError::SelectionMismatch { asked: "sha256:0,7".to_owned(), seen: "sha256:16".to_owned() },
        QuoteError::NotAQuote { kind: 0x8017 },
    ];
    for error in errors {
        let outcome = conclude(Conclude {
            quote: Err(&error),
            pcr_values: case.values.as_ref(),
            report: case.report.as_ref(),
            log_absent_because: None,
            judgement: case.judgement.as_ref(),
            profile: &case.profile,
            previous: None,
        });
        assert_eq!(outcome.verdict, Verdict::Unhealthy);
        assert_eq!(outcome.reasons, [AlertReason::QuoteUntrusted]);
        assert_eq!(codes(&outcome), [error.code()]);
        assert_eq!(outcome.findings[0].severity, Severity::Critical);
        assert_eq!(outcome.facts.quote, FactState::Invalid);
        assert_eq!(outcome.facts.secure_boot, FactState::Unknown);
        assert_eq!(outcome.facts.log, FactState::Unknown);
        assert!(!outcome.learnable);
    }
}

/// Row 12: PCR values that are not those of the quote name nothing.
#[test]
fn foreign_pcr_values_are_not_believed() {
    let (log, tpm) = boot();
    let mut other = log.clone();
    other.events[1].measured = b"other firmware".to_vec();
    let mut case = Case::new(&other, &tpm);
    case.values = Some(Tpm::booted(&other).values());
    let outcome = case.conclude();
    let finding = outcome.primary().unwrap();
    assert_eq!(finding.code, "log-mismatch");
    assert_eq!(finding.pcr, None);
    assert!(finding.message.contains("not those that the TPM signed"), "{}", finding.message);

    case.values = None;
    let outcome = case.conclude();
    assert!(outcome.primary().unwrap().message.contains("no PCR values came"));
    assert_eq!(outcome.reasons, [AlertReason::LogMismatch, AlertReason::BaselineDeviation]);

    case.values = Some(tpm.values());
    let outcome = case.conclude();
    let finding = outcome.primary().unwrap();
    assert_eq!((finding.code.as_str(), finding.pcr), ("log-mismatch", Some(0)));
    assert!(finding.message.contains("PCR 0 (firmware code)"), "{}", finding.message);
    assert!(finding.seen.as_ref().unwrap().starts_with(&hex::encode(&tpm.pcrs[&11][&0])));
    // PCR 7 is proven by itself: what the log says about Secure Boot stands.
    assert_eq!(outcome.facts.secure_boot, FactState::Valid);
    assert_eq!(outcome.facts.log, FactState::Invalid);
    assert_eq!(outcome.reasons, [AlertReason::LogMismatch]);
}

#[test]
fn malformed_pcr_values_are_harmless() {
    let (log, mut tpm) = boot();
    let quoted = tpm.quote();
    tpm.extend(4, "x");
    let mut case = Case::new(&log, &tpm);
    for junk in ["", "zz", "00", &"ff".repeat(64), &"é".repeat(40)] {
        case.values = Some([("sha256".to_owned(), [(4_u32, junk.to_owned())].into())].into());
        assert_eq!(case.conclude().primary().unwrap().code, "log-mismatch");
    }
    case.quote = quoted;
    assert_eq!(case.conclude().verdict, Verdict::Healthy, "values are advisory");
}

/// Row 13.
#[test]
fn a_selection_that_proves_nothing_is_refused() {
    let (log, tpm) = boot();
    let mut case = Case::new(&log, &tpm);
    case.quote = tpm.quote_of(vec![]);
    let outcome = case.conclude();
    assert_eq!(outcome.primary().unwrap().code, "quote-selection-empty");

    case.quote = tpm.quote_of(vec![PcrSelection::new(SHA256.tpm_id(), [16, 23]).unwrap()]);
    let outcome = case.conclude();
    assert_eq!(outcome.primary().unwrap().code, "quote-proves-nothing");
    assert_eq!(outcome.facts.secure_boot, FactState::Unknown);
}

/// Row 13: a bank that firmware never extends is all zero and proves nothing.
#[test]
fn a_bank_that_the_log_does_not_extend_is_refused() {
    let mut machine = Machine::default();
    machine.banks = vec![HashAlg::Sha1];
    let log = machine.log();
    let mut tpm = Tpm::booted(&log);
    let zero = (0..24).map(|pcr| (pcr, vec![0; 32])).collect();
    tpm.pcrs.insert(SHA256.tpm_id(), zero);
    let case = Case::new(&log, &tpm);
    let outcome = case.conclude();
    assert_eq!(outcome.primary().unwrap().code, "log-bank-missing");
    assert_eq!(outcome.verdict, Verdict::Unhealthy);
    assert_eq!(outcome.facts.secure_boot, FactState::Unknown);
}

#[test]
fn what_the_quote_does_not_cover_is_a_claim() {
    let (log, tpm) = boot();
    let mut case = Case::new(&log, &tpm);
    case.quote = tpm.quote_of(vec![PcrSelection::new(SHA256.tpm_id(), [0, 4, 7]).unwrap()]);
    let outcome = case.conclude();
    assert_eq!(codes(&outcome), ["pcr-not-proven", "baseline-missing"]);
    assert_eq!(outcome.verdict, Verdict::Healthy);
    assert!(!outcome.learnable, "only what is proven is learned");

    // With a baseline for these registers it is a failure, and without PCR 7 Secure Boot is unknown.
    let baseline = Baseline::learn(case.report.as_ref().unwrap(), SHA256).unwrap().compile();
    case.judgement = Some(judge(case.report.as_ref().unwrap(), SHA256, Some(&baseline), &case.profile));
    assert_eq!(case.conclude().primary().unwrap().code, "pcr-not-proven");
    case.quote = tpm.quote_of(vec![PcrSelection::new(SHA256.tpm_id(), [0, 4]).unwrap()]);
    assert!(codes(&case.conclude()).contains(&"secure-boot-unknown"));
}

#[test]
fn several_banks_and_another_digest_algorithm_than_the_bank() {
    let (log, tpm) = boot();
    let mut case = Case::new(&log, &tpm);
    case.quote = tpm.quote_of(vec![
        PcrSelection::new(HashAlg::Sha1.tpm_id(), 0..16).unwrap(),
        PcrSelection::new(SHA256.tpm_id(), 0..16).unwrap(),
    ]);
    assert_eq!(case.conclude().verdict, Verdict::Healthy);
    case.values = None;
    assert_eq!(case.conclude().verdict, Verdict::Healthy);
}

#[test]
fn a_judgement_of_a_bank_that_was_not_quoted_counts_for_nothing() {
    let (log, tpm) = boot();
    let mut case = Case::new(&log, &tpm);
    let report = case.report.clone().unwrap();
    case.judgement = Some(judge(&report, HashAlg::Sha1, None, &case.profile));
    assert_eq!(case.conclude().primary().unwrap().code, "not-judged");
    case.judgement = None;
    assert_eq!(case.conclude().primary().unwrap().code, "not-judged");
}

/// Row 16 and SPEC section 4.4: no log is a state of its own and never a pass.
#[test]
fn a_quote_without_log_is_a_platform_fault_and_no_pass() {
    let (log, tpm) = boot();
    let mut case = Case::new(&log, &tpm);
    for report in [None, Some(examine(b"")), Some(examine(&[0; 4096])), Some(examine(&[0xFF; 4096]))] {
        case.report = report;
        let outcome = case.conclude();
        assert_eq!(codes(&outcome), ["log-missing"]);
        assert_eq!(outcome.verdict, Verdict::Unhealthy);
        assert_eq!(outcome.status(), VmStatus::Error);
        assert_eq!(outcome.facts.quote, FactState::Valid);
        assert_eq!(outcome.facts.secure_boot, FactState::Unknown);
        assert!(!outcome.learnable);
    }
    case.report = None;
    assert!(case.conclude().findings[0].message.contains("securityfs is not mounted"));
    case.report = Some(examine(b"this is no event log at all, just some text that goes on and on"));
    let outcome = case.conclude();
    assert_eq!(outcome.status(), VmStatus::Unhealthy);
    assert!(codes(&outcome).contains(&"log-unreadable"), "{:?}", codes(&outcome));
}

/// Row 15, events removed, added, moved and edited under the quote of the original.
#[test]
fn no_edit_of_the_log_survives_the_quote() {
    let (log, tpm) = boot();
    let unhealthy = |what: &str, at: usize, edited: &Log| {
        let outcome = appraise(&tpm, &edited.bytes(), None, None);
        assert_eq!(outcome.verdict, Verdict::Unhealthy, "{what} {at}");
        assert!(outcome.reasons.contains(&AlertReason::LogMismatch), "{what} {at}: {:?}", codes(&outcome));
        assert!(!outcome.learnable);
    };
    for at in 0..log.events.len() {
        let event = log.events[at].clone();
        let mut removed = log.clone();
        removed.events.remove(at);
        // The two ExitBootServices events may both be missing (quirk 7), one of them may not.
        unhealthy("removed", at, &removed);
        let mut doubled = log.clone();
        doubled.events.insert(at, event.clone());
        unhealthy("doubled", at, &doubled);
        let mut edited = log.clone();
        edited.events[at].measured = b"something else".to_vec();
        unhealthy("measured something else", at, &edited);
        let mut other_pcr = log.clone();
        other_pcr.events[at].pcr = (event.pcr + 1) % 16;
        unhealthy("moved to another PCR", at, &other_pcr);
        let mut hidden = log.clone();
        hidden.events[at].event_type = EventType::EV_NO_ACTION;
        unhealthy("made a comment", at, &hidden);
        if let Some(next) = (at + 1..log.events.len())
            .find(|n| log.events[*n].pcr == event.pcr && log.events[*n].measured != event.measured)
        {
            let mut swapped = log.clone();
            swapped.events.swap(at, next);
            unhealthy("swapped", at, &swapped);
        }
    }
}

/// Row 15: data edited while the digest stays. Where the digest covers the data the log alone shows it; elsewhere the
/// baseline does, or the log that this boot had before.
#[test]
fn edited_data_under_an_unchanged_digest_is_caught() {
    let (log, tpm) = boot();
    let baseline = Baseline::learn(&examine(&log.bytes()), SHA256).unwrap().compile();
    let previous = tpm.previous(&log);
    for (at, event) in log.events.iter().enumerate() {
        let mut edited = log.clone();
        let data = &mut edited.events[at].data;
        // Far enough from headers to leave the structure whole: the middle of the text.
        let middle = data.len() / 2;
        data[middle] ^= 0x01;
        let outcome = appraise(&tpm, &edited.bytes(), Some(&baseline), Some(&previous));
        assert_eq!(outcome.verdict, Verdict::Unhealthy, "event {at} {}", event.event_type);
        assert!(codes(&outcome).contains(&"log-changed-without-reboot"), "event {at}");
    }
}

/// Row 16: cut at every byte, padded.
#[test]
fn cut_logs_never_pass_and_padding_is_no_attack() {
    let (log, tpm) = boot();
    let bytes = log.bytes();
    let exit = {
        let mut without = log.clone();
        without.events.truncate(log.events.len() - 2);
        without.bytes().len()
    };
    for cut in (0..bytes.len()).step_by(7).filter(|cut| *cut != exit) {
        let outcome = appraise(&tpm, &bytes[..cut], None, None);
        assert_eq!(outcome.verdict, Verdict::Unhealthy, "cut at {cut}");
    }
    // Exactly before the ExitBootServices events the log is one that was saved early (quirk 7).
    let early = appraise(&tpm, &bytes[..exit], None, None);
    assert_eq!(codes(&early), ["log-ends-early", "baseline-missing"]);
    for padding in [0x00, 0xFF] {
        let padded = [bytes.as_slice(), &[padding; 1000]].concat();
        let outcome = appraise(&tpm, &padded, None, None);
        assert_eq!(outcome.verdict, Verdict::Healthy, "{:?}", codes(&outcome));
    }
}

/// Row 16: the log of an earlier boot or of another machine.
#[test]
fn the_log_of_another_boot_is_called_that() {
    let (_, tpm) = boot();
    let mut other = Machine::default();
    (other.firmware, other.kernel, other.command_line) = ("OVMF 2024.02", "linux 6.12", "root=/dev/vdb1");
    (other.secure_boot, other.boot_order, other.db) = (Some(false), vec![1, 0], vec!["Other CA"]);
    let mut log = other.log();
    for event in &mut log.events {
        event.measured.push(1);
    }
    let outcome = appraise(&tpm, &log.bytes(), None, None);
    let finding = outcome.findings.iter().find(|f| f.code == "log-mismatch").unwrap();
    assert!(finding.message.contains("of another boot or of another machine"), "{}", finding.message);
}

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

/// Row 18.
#[test]
fn a_pcr_extended_after_boot_is_named() {
    let (log, mut tpm) = boot();
    let previous = tpm.previous(&log);
    tpm.clock_ms += 60_000;
    tpm.extend(4, "malware");
    let outcome = appraise(&tpm, &log.bytes(), None, Some(&previous));
    let finding = outcome.primary().unwrap();
    assert_eq!((finding.code.as_str(), finding.pcr), ("runtime-extend", Some(4)));
    assert_eq!(finding.change, Some(ChangeClass::RuntimeExtend));
    assert_eq!(outcome.reasons, [AlertReason::LogMismatch]);
    assert!(finding.message.starts_with("PCR 4 was extended after boot"), "{}", finding.message);

    // The same after a reboot is a log that does not fit.
    tpm.reset_count = tpm.reset_count.wrapping_add(1);
    assert_eq!(appraise(&tpm, &log.bytes(), None, Some(&previous)).primary().unwrap().code, "log-mismatch");
}

#[test]
fn run_time_pcrs_are_reported_and_do_not_fail() {
    let (log, mut tpm) = boot();
    tpm.extend(10, "boot_aggregate");
    tpm.extend(15, "machine-id:0123");
    let outcome = appraise(&tpm, &log.bytes(), None, Some(&tpm.previous(&log)));
    assert_eq!(codes(&outcome), ["run-time-pcr", "baseline-missing"]);
    assert!(outcome.findings[0].message.starts_with("PCRs 10 and 15"));
    assert_eq!(outcome.verdict, Verdict::Healthy);
    assert_eq!(outcome.facts.log, FactState::Valid);
    assert!(outcome.learnable);

    // Without authentic values nobody can say that only these differ.
    let mut case = Case::new(&log, &tpm);
    case.values = None;
    assert_eq!(case.conclude().verdict, Verdict::Unhealthy);

    // A profile that does not exempt PCR 10 fails.
    case.values = Some(tpm.values());
    case.profile.run_time_pcrs = [15].into();
    assert_eq!(case.conclude().primary().unwrap().pcr, Some(10));
}

#[test]
fn the_boot_phases_of_systemd_are_known() {
    let (log, mut tpm) = boot();
    for (n, phase) in ["enter-initrd", "leave-initrd", "sysinit", "ready"].into_iter().enumerate() {
        tpm.extend(11, phase);
        let outcome = appraise(&tpm, &log.bytes(), None, None);
        assert_eq!(codes(&outcome), ["os-phases", "baseline-missing"], "{phase}");
        assert_eq!(outcome.findings[0].seen.as_ref().unwrap().split(':').count(), n + 1);
    }
    let mut case = Case::new(&log, &tpm);
    case.values = None;
    assert_eq!(case.conclude().verdict, Verdict::Healthy, "also without values");
    tpm.extend(11, "something else");
    let outcome = appraise(&tpm, &log.bytes(), None, None);
    assert_eq!(outcome.primary().unwrap().pcr, Some(11));
}

/// Rows 7 and 14. The counters in quotes carry an unknown constant offset: they wrap.
#[test]
fn clock_and_counters_only_go_forward() {
    let (log, mut tpm) = boot();
    tpm.clock_ms = 1 << 40;
    let previous = tpm.previous(&log);
    let with = |change: &dyn Fn(&mut Tpm)| {
        let mut now = tpm.clone();
        change(&mut now);
        appraise(&now, &log.bytes(), None, Some(&previous))
    };
    let refused = |code: &str, reason: AlertReason, change: &dyn Fn(&mut Tpm)| {
        let outcome = with(change);
        assert_eq!(outcome.primary().map(|f| f.code.as_str()), Some(code));
        assert_eq!(outcome.reasons, [reason], "{code}");
        assert!(!outcome.learnable);
    };
    let accepted = |change: &dyn Fn(&mut Tpm)| {
        let outcome = with(change);
        assert_eq!(outcome.verdict, Verdict::Healthy, "{:?}", codes(&outcome));
        outcome
    };
    use AlertReason::{EndorsementLost, QuoteUntrusted};
    refused("clock-went-back", QuoteUntrusted, &|t| t.clock_ms -= 1);
    refused("reset-count-went-back", QuoteUntrusted, &|t| t.reset_count -= 1);
    refused("restart-count-went-back", QuoteUntrusted, &|t| t.restart_count -= 1);
    refused("tpm-firmware-changed-while-running", QuoteUntrusted, &|t| t.firmware_version += 1);
    refused("tpm-firmware-went-back", EndorsementLost, &|t| {
        t.reset_count = t.reset_count.wrapping_add(1);
        t.firmware_version -= 1;
    });
    // A snapshot of yesterday that was rebooted once more since.
    refused("clock-went-back", QuoteUntrusted, &|t| {
        t.reset_count = t.reset_count.wrapping_add(1);
        t.clock_ms = 0;
    });
    accepted(&|t| t.clock_ms += 1);
    accepted(&|_| {});
    // A reboot: the reset counter wraps because of its offset, the restart counter starts again.
    accepted(&|t| {
        t.reset_count = t.reset_count.wrapping_add(1);
        t.restart_count = 0;
        t.clock_ms += 1000;
    });
    // Suspend and resume keep PCRs and log.
    accepted(&|t| t.restart_count += 1);
    let newer = accepted(&|t| {
        t.reset_count = t.reset_count.wrapping_add(1);
        t.firmware_version += 1;
    });
    assert!(codes(&newer).contains(&"tpm-firmware-changed"));
}

/// Row 7. A snapshot that was restored can enrol another key: the counters bind that key too.
#[test]
fn another_key_of_the_same_tpm_starts_no_new_count() {
    let (log, mut tpm) = boot();
    tpm.clock_ms = 1 << 40;
    let previous = PreviousBoot { ak_replaced: true, ..tpm.previous(&log) };
    let with = |change: &dyn Fn(&mut Tpm)| {
        let mut now = tpm.clone();
        change(&mut now);
        appraise(&now, &log.bytes(), None, Some(&previous))
    };
    let same = with(&|_| {});
    assert_eq!(same.verdict, Verdict::Healthy, "{:?}", codes(&same));
    assert!(codes(&same).contains(&"ak-replaced"));
    let refused = |code: &str, change: &dyn Fn(&mut Tpm)| {
        assert_eq!(with(change).primary().map(|f| f.code.as_str()), Some(code));
    };
    refused("clock-went-back", &|t| t.clock_ms -= 1);
    refused("reset-count-went-back", &|t| t.reset_count -= 1);
    refused("restart-count-went-back", &|t| t.restart_count -= 1);
    // A key outside of the endorsement hierarchy: counters plus some offset, which happens to look like a reboot.
    let obfuscated = with(&|t| {
        t.reset_count = t.reset_count.wrapping_add(77);
        t.firmware_version = t.firmware_version.wrapping_add(0x1234_5678_9abc);
    });
    assert_eq!(obfuscated.primary().map(|f| f.code.as_str()), Some("ak-not-comparable"));
    assert_eq!(obfuscated.reasons, [AlertReason::QuoteUntrusted]);
    assert!(!obfuscated.learnable);
}

/// An unorderly reset may lose what the TPM had not saved of its clock, and not more.
#[test]
fn a_hard_reset_may_lose_some_clock() {
    let (log, mut tpm) = boot();
    tpm.clock_ms = 100_000_000;
    let previous = tpm.previous(&log);
    tpm.reset_count = tpm.reset_count.wrapping_add(1);
    tpm.clock_ms -= 1 << 22;
    assert_eq!(appraise(&tpm, &log.bytes(), None, Some(&previous)).verdict, Verdict::Healthy);
    tpm.clock_ms -= 1;
    assert_eq!(appraise(&tpm, &log.bytes(), None, Some(&previous)).verdict, Verdict::Unhealthy);
}

/// Row 14: another log without a reset.
#[test]
fn the_log_cannot_change_without_a_reset() {
    let (log, tpm) = boot();
    let previous = tpm.previous(&log);
    let mut other = Machine::default();
    other.kernel = "linux 6.12";
    let other = other.log();
    let mut now = Tpm::booted(&other);
    let outcome = appraise(&now, &other.bytes(), None, Some(&previous));
    assert_eq!(outcome.primary().unwrap().code, "log-changed-without-reboot");
    now.reset_count = now.reset_count.wrapping_add(1);
    assert_eq!(appraise(&now, &other.bytes(), None, Some(&previous)).verdict, Verdict::Healthy);
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
    let advice = recommendations(&outcome, Some(&examine(&log.bytes())));
    assert_eq!(advice[0].check, "secure-boot-enabled");

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

/// An edit that fits the digest of one bank must not hide behind it while the quote proves another.
#[test]
fn data_is_held_against_the_digest_of_every_bank() {
    let mut log = Machine::default().log();
    let tpm = Tpm::booted(&log);
    let at = log.events.iter().position(|e| e.data.starts_with(b"kernel_cmdline")).unwrap();
    let bytes = log.bytes();
    let old_sha1 = HashAlg::Sha1.hash(&[&log.events[at].measured]);
    let (was, is) = (b"console=ttyS0", b"console=ttyS1");
    let edit = |text: &mut Vec<u8>| {
        let place = text.windows(was.len()).position(|w| w == was).unwrap();
        text[place..place + was.len()].copy_from_slice(is);
    };
    edit(&mut log.events[at].data);
    edit(&mut log.events[at].measured);
    let new_sha1 = HashAlg::Sha1.hash(&[&log.events[at].measured]);
    let mut edited = bytes;
    let place = edited.windows(20).position(|w| w == old_sha1.as_ref()).unwrap();
    edited[place..place + 20].copy_from_slice(new_sha1.as_ref());
    let start = edited.windows(14).position(|w| w == b"kernel_cmdline").unwrap();
    let mut tail = edited.split_off(start);
    let place = tail.windows(was.len()).position(|w| w == was).unwrap();
    tail[place..place + was.len()].copy_from_slice(is);
    edited.extend(tail);
    let outcome = appraise(&tpm, &edited, None, None);
    assert_eq!(outcome.primary().unwrap().code, "log-digest-mismatch");
}

/// A register that the quote contradicts shows nothing: what the log says about it is not called a deviation. What is
/// said about the other registers stands.
#[test]
fn deviations_are_believed_register_by_register() {
    let (log, tpm) = boot();
    let baseline = Baseline::learn(&examine(&log.bytes()), SHA256).unwrap().compile();
    let mut other = Machine::default();
    other.command_line = "root=/dev/vda1 ro init=/bin/sh";
    let outcome = appraise(&tpm, &other.log().bytes(), Some(&baseline), None);
    assert_eq!(outcome.reasons, [AlertReason::LogMismatch], "{:?}", codes(&outcome));
    assert_eq!(outcome.facts.baseline, FactState::Unknown);

    // The machine runs another shim, and its log lies about the command line.
    other.shim = "shim 15.4";
    let mut booted = Machine::default();
    booted.shim = "shim 15.4";
    let outcome = appraise(&Tpm::booted(&booted.log()), &other.log().bytes(), Some(&baseline), None);
    assert_eq!(outcome.reasons, [AlertReason::LogMismatch, AlertReason::BaselineDeviation]);
    let shim = outcome.findings.iter().find(|f| f.component.as_deref() == Some("shim")).unwrap();
    assert!(shim.fails());
    assert!(outcome.findings.iter().all(|f| f.component.as_deref() != Some("kernel command line")));
}
