//! The verdict over quote and log: rows 12, 13 and 18 of the attack list, and the quirks that are no attacks.

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

use common::case::{Case, boot};
use common::{Machine, SHA256, Tpm, appraise, codes};
use veriboot_appraisal::{Baseline, Conclude, conclude, examine, judge};
use veriboot_eventlog::HashAlg;
use veriboot_tpm::{PcrSelection, QuoteError};
use veriboot_wire::{AlertReason, ChangeClass, FactState, Severity, Verdict, VmStatus};

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
