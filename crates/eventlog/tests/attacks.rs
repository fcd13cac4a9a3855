//! Rows 15 to 19 of ATTACKS.md, as far as the log engine must show them.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod common;

use common::*;
use veriboot_eventlog::{ComponentKind, HashAlg, check_digests, measurements, parse, replay, story};

/// Row 15: any removed, added, reordered or edited event moves a register; an edit that keeps the digest is seen where
/// the digest covers the data.
#[test]
fn row_15_edits_move_registers_or_break_digests() {
    let honest = rich_log();
    let log = parse(&honest.bytes).unwrap();
    let registers = replay(&log, HashAlg::Sha256).pcrs;
    assert_eq!(check_digests(&log), [], "the honest log is consistent");
    let bounds: Vec<usize> = log.events.iter().map(|e| e.offset).chain([honest.bytes.len()]).collect();

    for (i, event) in log.events.iter().enumerate().skip(1).filter(|(_, e)| e.extends()) {
        let range = bounds[i]..bounds[i + 1];
        let mut removed = honest.bytes.clone();
        removed.drain(range.clone());
        assert_ne!(replay(&parse(&removed).unwrap(), HashAlg::Sha256).pcrs, registers, "event {i} removed");

        let mut doubled = honest.bytes.clone();
        let copy = honest.bytes[range.clone()].to_vec();
        doubled.splice(range.start..range.start, copy);
        assert_ne!(replay(&parse(&doubled).unwrap(), HashAlg::Sha256).pcrs, registers, "event {i} doubled");

        let mut digest_edited = honest.bytes.clone();
        let digest = range.start + 12 + 2 + 20 + 2;
        digest_edited[digest] ^= 1;
        assert_ne!(
            replay(&parse(&digest_edited).unwrap(), HashAlg::Sha256).pcrs,
            registers,
            "event {i} edited"
        );

        if !event.data.is_empty() && covered(event.event_type.0, event.data) {
            let mut data_edited = honest.bytes.clone();
            let data = range.end - event.data.len();
            data_edited[data] ^= 1;
            let parsed = parse(&data_edited).unwrap();
            assert_eq!(replay(&parsed, HashAlg::Sha256).pcrs, registers);
            assert!(
                !check_digests(&parsed).is_empty(),
                "event {i} {} edited without its digest",
                event.event_type
            );
        }
    }
}

/// Types whose digest covers the first byte of the data.
fn covered(kind: u32, _data: &[u8]) -> bool {
    matches!(kind, CRTM_VERSION | SEPARATOR | ACTION | DRIVER_CONFIG | AUTHORITY)
}

#[test]
fn row_15_reordering_within_a_register_moves_it() {
    let build = |first: &[u8], second: &[u8]| {
        let mut log = LogBuilder::new(&[SHA256]);
        log.event(4, ACTION, first).event(4, ACTION, second);
        replay(&parse(&log.bytes).unwrap(), HashAlg::Sha256).pcrs
    };
    assert_ne!(build(b"a", b"b"), build(b"b", b"a"));
}

/// Row 16: cuts, padding, absurd counts and indices are in tests/structure.rs and tests/quirks.rs; here, registers
/// that do not exist.
#[test]
fn row_16_registers_that_do_not_exist_are_warned_about() {
    for pcr in [24, 31, 32, 255, 65_536, u32::MAX - 1] {
        let mut log = LogBuilder::new(&[SHA256]);
        log.event(0, CRTM_VERSION, b"A").event(pcr, SEPARATOR, &[0; 4]);
        let replayed = replay(&parse(&log.bytes).unwrap(), HashAlg::Sha256);
        assert_eq!(replayed.warnings[0].code, "pcr-out-of-range", "{pcr}");
        assert_eq!(replayed.pcrs.len(), 24);
    }
}

/// Row 17.
#[test]
fn row_17_separators_and_contradicting_variables() {
    let mut log = LogBuilder::new(&[SHA256]);
    log.event(0, SEPARATOR, &[1, 0, 0, 0]);
    let parsed = parse(&log.bytes).unwrap();
    assert_eq!(measurements(&parsed, HashAlg::Sha256)[0].name, "error");

    for (first, second) in [(0, 1), (1, 0)] {
        let mut log = LogBuilder::new(&[SHA256]);
        log.event(7, DRIVER_CONFIG, &variable(global(), "SecureBoot", &[first]));
        log.event(7, DRIVER_CONFIG, &variable(global(), "SecureBoot", &[second]));
        assert_eq!(story(&parse(&log.bytes).unwrap()).secure_boot, Some(false), "fail closed");
    }
}

/// Row 17: a variable of another namespace cannot pose as SecureBoot.
#[test]
fn row_17_secure_boot_of_another_vendor_does_not_count() {
    let mut log = LogBuilder::new(&[SHA256]);
    log.event(7, DRIVER_CONFIG, &variable([0x42; 16], "SecureBoot", &[1]));
    assert_eq!(story(&parse(&log.bytes).unwrap()).secure_boot, None);
    // And neither can an event in another register.
    let mut log = LogBuilder::new(&[SHA256]);
    log.event(7, DRIVER_CONFIG, &variable(global(), "SecureBoot", &[0]));
    log.event(12, DRIVER_CONFIG, &variable(global(), "SecureBoot", &[1]));
    assert_eq!(story(&parse(&log.bytes).unwrap()).secure_boot, Some(false));
}

/// Row 18: a register that was extended later differs from the replay.
#[test]
fn row_18_a_later_extend_is_not_in_the_log() {
    let log = rich_log();
    let parsed = parse(&log.bytes).unwrap();
    let replayed = replay(&parsed, HashAlg::Sha256);
    let later = HashAlg::Sha256.extend(&replayed.pcrs.get(&4).copied().unwrap(), &[1; 32]);
    assert_ne!(later, replayed.pcrs.get(&4).copied().unwrap());
}

/// Row 19: nothing that steers a terminal or a page gets out of names and values, and they are bounded.
#[test]
fn row_19_hostile_text_is_printable_and_bounded() {
    let evil = "\u{1b}]0;pwn\u{7}\u{202e}<script>\u{0}\r\n\u{9b}31m\u{200b}";
    let long = "A".repeat(1_000_000);
    let mut log = LogBuilder::new(&[SHA256]);
    for text in [evil, &long] {
        let bytes = text.as_bytes();
        log.event_over(9, IPL, &[b"/", bytes].concat(), b"x");
        log.event_over(8, IPL, &[b"kernel_cmdline: /vmlinuz ", bytes].concat(), b"x");
        log.event_over(8, IPL, &[b"grub_cmd: ", bytes].concat(), b"x");
        log.event(4, ACTION, bytes);
        log.event(7, DRIVER_CONFIG, &variable(global(), text, b"\xFF\xFE\x1b[2J"));
        log.event_over(12, IPL, &utf16(text), b"x");
        log.event_over(0, CRTM_VERSION, &[b"\xFF\x9b", bytes].concat(), b"x");
    }
    for len in [65_530_usize, 4] {
        log.event_over(4, APPLICATION, &image(&evil.repeat(len / evil.len() / 3 + 1)), b"x");
    }
    let parsed = parse(&log.bytes).unwrap();
    for m in measurements(&parsed, HashAlg::Sha256) {
        let value = m.value.unwrap_or_default();
        assert!(m.name.chars().count() <= 560, "{} characters", m.name.chars().count());
        assert!(value.chars().count() <= 16_500);
        for c in m.name.chars().chain(value.chars()).chain(m.signer.unwrap_or_default().chars()) {
            assert!(
                !c.is_control() && !matches!(c, '\u{202a}'..='\u{202e}' | '\u{200b}'),
                "{c:?} in {}",
                m.kind
            );
        }
        assert_ne!(m.kind, ComponentKind::SecureBootState);
    }
}
