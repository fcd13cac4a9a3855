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
        (windows.bitlocker_unlock, windows.vbs_required, windows.hvci_policy),
        (Some(1), Some(true), true)
    );
    assert_eq!(windows.data_execution_prevention.as_deref(), Some("opt-out (1)"));
    assert_eq!(windows.elam, ["Example Anti-Malware"]);
    assert_eq!(windows.modules.len(), 8);
    assert!(windows.modules.iter().all(|m| m.validated == Some(true) && m.publisher.is_some()));
}
