//! Logs that were edited, cut or taken from another boot: rows 15 and 16 of the attack list.

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
use common::{Log, Machine, SHA256, Tpm, appraise, codes};
use veriboot_appraisal::{Baseline, examine};
use veriboot_eventlog::{EventType, HashAlg};
use veriboot_wire::{AlertReason, FactState, Verdict};

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
