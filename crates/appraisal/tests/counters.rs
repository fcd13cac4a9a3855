//! Clock and counters of a TPM between two quotes: rows 7 and 14 of the attack list.

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

use common::case::boot;
use common::{Machine, Tpm, appraise, codes};
use veriboot_appraisal::PreviousBoot;
use veriboot_wire::{AlertReason, FactState, Verdict};

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
        // The quote is not believed: what is known of the TPM stays as it was, and the next quote is refused as well.
        assert_eq!(outcome.facts.quote, FactState::Invalid, "{code}");
        let lost = outcome.facts.endorsement == FactState::Invalid;
        assert_eq!(lost, reason == AlertReason::EndorsementLost, "{code}");
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
