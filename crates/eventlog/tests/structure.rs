//! The structure layer: formats, offsets of failure, bounds.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod common;

use common::*;
use veriboot_eventlog::{Digest, EventType, Format, HashAlg, StructureReason, limits, parse, replay};

/// Registers computed with Python:
/// `h = hashlib.sha256; x = h(bytes(32) + h(b"A").digest()).digest(); h(x + h(b"BC").digest()).hexdigest()`
const AFTER_A_BC_SHA256: &str = "6128d207c5457d3d35362cc7a37c2f9eb0e3f5da4c5215d233400bda46cc0f21";

fn two_events(banks: &[u16]) -> LogBuilder {
    let mut log = LogBuilder::new(banks);
    log.event(0, CRTM_VERSION, b"A").event(0, CRTM_VERSION, b"BC");
    log
}

#[test]
fn agile_log_replays_to_the_value_of_python() {
    let built = two_events(&[SHA1, SHA256]);
    let log = parse(&built.bytes).unwrap();
    assert_eq!((log.format, log.banks.clone()), (Format::Tcg2, vec![HashAlg::Sha1, HashAlg::Sha256]));
    assert_eq!(log.events.len(), 3);
    assert_eq!(log.events[2].data, b"BC");
    assert_eq!(log.events[2].event_type, EventType::EV_S_CRTM_VERSION);
    let replayed = replay(&log, HashAlg::Sha256);
    assert_eq!(replayed.pcrs.get(&0).copied().unwrap().to_string(), AFTER_A_BC_SHA256);
    assert_eq!(replayed.pcrs.len(), 24);
    assert_eq!(replayed.pcrs.get(&17).copied().unwrap().to_string(), "ff".repeat(32));
    assert_eq!(replayed.pcrs.get(&23).copied().unwrap().to_string(), "00".repeat(32));
    assert_eq!(replayed.extended.iter().copied().collect::<Vec<_>>(), [0]);
}

#[test]
fn sha1_log() {
    let mut bytes = Vec::new();
    let digest: [u8; 20] = hash(SHA1, b"A").try_into().unwrap();
    sha1_event(&mut bytes, 0, CRTM_VERSION, &digest, b"A");
    let log = parse(&bytes).unwrap();
    assert_eq!((log.format, log.banks.clone()), (Format::Tcg12, vec![HashAlg::Sha1]));
    // python3: h(bytes(20) + h(b"A").digest()).hexdigest()
    assert_eq!(
        replay(&log, HashAlg::Sha1).pcrs.get(&0).copied().unwrap().to_string(),
        "d671b869c66c99913b93563da7613bf4a9fa78fe"
    );
}

#[test]
fn unreadable_from_the_first_byte() {
    let reason = |bytes: &[u8]| parse(bytes).unwrap_err().reason;
    assert_eq!(reason(b""), StructureReason::Empty);
    assert_eq!(reason(&[0; 4096]), StructureReason::OnlyPadding);
    assert_eq!(reason(&[0xFF; 4096]), StructureReason::OnlyPadding);
    assert_eq!(reason(b"short"), StructureReason::HeaderCut);
    let text = b"This is a text file and no event log, whatever its name may say.".repeat(4);
    assert!(matches!(reason(&text), StructureReason::DataCut { .. }));
}

#[test]
fn a_cut_log_keeps_what_came_before_and_names_the_offset() {
    let built = two_events(&[SHA256]);
    let whole = parse(&built.bytes).unwrap();
    let starts: Vec<usize> = whole.events.iter().map(|e| e.offset).collect();
    for cut in 0..built.bytes.len() {
        let bytes = &built.bytes[..cut];
        let complete = starts.iter().skip(1).filter(|start| **start <= cut).count();
        match parse(bytes) {
            Err(error) => assert!(error.offset == 0 && cut < starts[1], "cut at {cut}: {error}"),
            Ok(log) => {
                assert_eq!(log.events.len(), complete, "cut at {cut}");
                match log.cut {
                    Some(error) => assert_eq!(error.offset, starts[complete], "cut at {cut}"),
                    // Fewer than 16 zero bytes of the next event look like padding.
                    None => assert!(
                        starts.contains(&cut) || bytes[starts[complete]..].iter().all(|b| *b == 0),
                        "cut at {cut} went unnoticed"
                    ),
                }
            }
        }
    }
}

#[test]
fn claims_are_held_against_the_bytes() {
    let mut log = two_events(&[SHA256]);
    let at = log.bytes.len();
    log.raw(0, SEPARATOR, &[(SHA256, vec![0; 32])], &[]);
    let end = log.bytes.len();
    log.bytes[end - 4..].copy_from_slice(&u32::MAX.to_le_bytes());
    let cut = parse(&log.bytes).unwrap().cut.unwrap();
    assert_eq!((cut.offset, cut.reason), (at, StructureReason::DataCut { claimed: u32::MAX, available: 0 }));

    for claimed in [u32::MAX, 65_535, 17] {
        let mut log = two_events(&[SHA256]);
        let at = log.bytes.len();
        log.raw(0, SEPARATOR, &[(SHA256, vec![0; 32])], &[]);
        log.bytes[at + 8..at + 12].copy_from_slice(&claimed.to_le_bytes());
        let cut = parse(&log.bytes).unwrap().cut.unwrap();
        assert_eq!((cut.offset, cut.reason), (at, StructureReason::TooManyDigests { claimed }));
    }

    let mut log = two_events(&[SHA256]);
    log.raw(0, SEPARATOR, &[(0x7777, vec![0; 32])], &[]);
    let cut = parse(&log.bytes).unwrap().cut.unwrap();
    assert_eq!(cut.reason, StructureReason::UnknownAlgorithm { algorithm: 0x7777 });
    assert_eq!(cut.code(), "log-unknown-algorithm");
}

#[test]
fn a_header_that_lies_about_algorithms_is_refused() {
    let mut log = two_events(&[SHA256]);
    log.bytes[32 + 30] = 20;
    let reason = parse(&log.bytes).unwrap_err().reason;
    assert_eq!(reason, StructureReason::DigestSize { algorithm: HashAlg::Sha256, claimed: 20 });
    for count in [0_u32, 17, u32::MAX] {
        let mut log = two_events(&[SHA256]);
        log.bytes[32 + 24..32 + 28].copy_from_slice(&count.to_le_bytes());
        assert_eq!(parse(&log.bytes).unwrap_err().reason, StructureReason::SpecIdMalformed);
    }
}

#[test]
fn one_gibibyte_is_refused_unread() {
    // Zero pages are not touched before the size is looked at.
    let bytes = vec![0_u8; 1 << 30];
    assert_eq!(parse(&bytes).unwrap_err().reason, StructureReason::TooLarge { bytes: 1 << 30 });
}

#[test]
fn more_events_than_the_limit_end_the_reading() {
    let mut log = LogBuilder::new(&[SHA1]);
    for _ in 0..limits::MAX_EVENTS + 10 {
        log.raw(0, SEPARATOR, &[], &[]);
    }
    let parsed = parse(&log.bytes).unwrap();
    assert_eq!(parsed.events.len(), limits::MAX_EVENTS);
    assert_eq!(parsed.cut.unwrap().reason, StructureReason::TooManyEvents);
}

#[test]
fn a_doubled_digest_counts_once_and_warns() {
    let mut log = LogBuilder::new(&[SHA256]);
    log.raw(0, CRTM_VERSION, &[(SHA256, hash(SHA256, b"A")), (SHA256, hash(SHA256, b"evil"))], b"A");
    let parsed = parse(&log.bytes).unwrap();
    assert_eq!(parsed.events[1].digest(HashAlg::Sha256), Some(&hash(SHA256, b"A")[..]));
    assert_eq!(parsed.warnings[0].code, "digest-doubled");
}

#[test]
fn warnings_are_bounded() {
    let mut log = LogBuilder::new(&[SHA256]);
    for _ in 0..5_000 {
        log.raw(0, CRTM_VERSION, &[(SHA1, vec![1; 20])], b"A");
    }
    let parsed = parse(&log.bytes).unwrap();
    assert_eq!(parsed.warnings.len(), limits::MAX_WARNINGS + 1);
    assert_eq!(parsed.warnings.last().unwrap().message, "4744 more warnings");
}

#[test]
fn sm3_and_sha384_banks() {
    for (alg, bank) in [(SM3, HashAlg::Sm3_256), (SHA384, HashAlg::Sha384)] {
        let log = two_events(&[alg]);
        let replayed = replay(&parse(&log.bytes).unwrap(), bank);
        let first = hash(alg, &[vec![0; size_of(alg)], hash(alg, b"A")].concat());
        let second = hash(alg, &[first, hash(alg, b"BC")].concat());
        assert_eq!(replayed.pcrs.get(&0).copied().unwrap(), Digest::new(&second).unwrap());
    }
}
