//! A Windows log that another program wrote (tests/windows/make.py): registers and every line of the story.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::collections::BTreeMap;
use std::path::Path;

use veriboot_eventlog::{Format, HashAlg, check_digests, parse, replay, story};

fn read(name: &str) -> Vec<u8> {
    std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/windows").join(name)).unwrap()
}

#[test]
fn registers_are_those_of_the_program_that_wrote_it() {
    let bytes = read("windows.bin");
    let log = parse(&bytes).unwrap();
    assert_eq!((log.format, log.cut, log.trailing), (Format::Tcg2, None, 0));
    assert_eq!(check_digests(&log), []);
    let replayed = replay(&log, HashAlg::Sha256);
    let expected: BTreeMap<u32, String> = serde_json::from_slice(&read("registers.json")).unwrap();
    let found: BTreeMap<u32, String> =
        replayed.extended.iter().map(|pcr| (*pcr, replayed.pcrs[pcr].to_string())).collect();
    assert_eq!(found, expected);
    assert_eq!(replayed.startup_locality, Some(3));
}

#[test]
fn the_story_tells_the_security_state() {
    let bytes = read("windows.bin");
    let told = story(&parse(&bytes).unwrap());
    assert_eq!(told.secure_boot, Some(true));
    assert_eq!(told.firmware.version.as_deref(), Some("EXAMPLE-FW 2.14.0"));
    assert_eq!(told.keys.pk[0].name, "Example Platform Key");
    assert_eq!(told.keys.dbx_hashes, 3);
    assert_eq!(told.images[0].admitted_by.as_deref(), Some("Example Windows Production CA 2023"));
    let windows = told.windows.unwrap();
    assert_eq!(windows.boot_counter, Some(117));
    assert_eq!((windows.code_integrity, windows.test_signing), (Some(true), Some(false)));
    assert_eq!((windows.boot_debugging, windows.kernel_debugging), (Some(false), Some(false)));
    assert_eq!(
        (windows.safe_mode, windows.win_pe, windows.flight_signing),
        (Some(false), Some(false), Some(false))
    );
    assert_eq!(
        (windows.bitlocker_unlock, windows.vbs_required, windows.hvci),
        (Some(1), Some(true), Some(true))
    );
    assert_eq!(windows.data_execution_prevention.as_deref(), Some("opt-out (1)"));
    assert_eq!(windows.elam, ["Example Anti-Malware"]);
    assert_eq!(windows.modules.len(), 8);
    assert!(windows.modules.iter().all(|m| m.validated == Some(true) && m.publisher.is_some()));
}

/// A policy that is measured and says no is no protection, and neither is one that nobody can read.
#[test]
fn hvci_is_what_its_policy_says() {
    let bytes = read("windows.bin");
    let policy = [7, 0, 0x0A, 0, 8, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0];
    let at = bytes.windows(policy.len()).position(|window| window == policy).unwrap();
    let told = |value: [u8; 8]| {
        let mut bytes = bytes.clone();
        bytes[at + 8..at + 16].copy_from_slice(&value);
        story(&parse(&bytes).unwrap()).windows.unwrap().hvci
    };
    assert_eq!(told(1_u64.to_le_bytes()), Some(true));
    assert_eq!(told(0_u64.to_le_bytes()), Some(false));
    assert_eq!(told(2_u64.to_le_bytes()), Some(false));
    let mut other = bytes.clone();
    // The same eight bytes as an unreadable policy of no bytes, and something unknown behind it.
    other[at + 4..at + 8].copy_from_slice(&0_u32.to_le_bytes());
    other[at + 8..at + 16].copy_from_slice(&[9, 0, 0x0A, 0, 0, 0, 0, 0]);
    assert_eq!(story(&parse(&other).unwrap()).windows.unwrap().hvci, Some(false));
    let mut none = bytes;
    none[at] = 9;
    assert_eq!(story(&parse(&none).unwrap()).windows.unwrap().hvci, None);
}
