//! A Windows log that another program wrote (tests/windows/make.py): registers and every line of the story.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod common;

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
    let found: BTreeMap<u32, String> = replayed
        .extended
        .iter()
        .map(|pcr| (*pcr, replayed.pcrs.get(pcr).copied().unwrap().to_string()))
        .collect();
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

/// What the loader of a real Windows 11 with HVCI measured about its settings: id, size and value of each in its order, from
/// the log of "boot 64" that EnclaveHost publishes (enclave, test/fixtures/vbs/boot64-evidence.json, PCR 12, the event with
/// VBS_HVCI_POLICY). The log cannot be kept here, so that its digest is not checked; the numbers are facts.
#[test]
fn settings_that_a_real_machine_with_hvci_measured() {
    const SETTINGS: [(u32, usize, u64); 18] = [
        (0x0002_0008, 4, 1),
        (0x0005_0001, 1, 0),
        (0x0005_0008, 4, 0x0001_0004),
        (0x0005_0004, 8, 0),
        (0x0005_0005, 1, 0),
        (0x0005_0006, 1, 0),
        (0x0005_000A, 8, 1),
        (0x0005_0012, 8, 1),
        (0x0005_0022, 1, 0),
        (0x0005_0024, 1, 0),
        (0x0005_0025, 1, 0),
        (0x0005_0026, 1, 0),
        (0x000A_0001, 1, 1),
        (0x000A_0007, 8, 1),
        (0x000A_0008, 4, 1),
        (0x000A_000A, 1, 0),
        (0x0005_000E, 4, 1),
        (0x0005_0014, 4, 1),
    ];
    let tagged = |id: u32, data: &[u8]| {
        let size = u32::try_from(data.len()).unwrap();
        [&id.to_le_bytes()[..], &size.to_le_bytes(), data].concat()
    };
    let told = |hvci: u64| {
        let members: Vec<u8> = SETTINGS
            .iter()
            .map(|(id, size, value)| (*id, *size, if *id == 0x000A_0007 { hvci } else { *value }))
            .flat_map(|(id, size, value)| tagged(id, &value.to_le_bytes()[..size]))
            .collect();
        let mut log = common::LogBuilder::new(&[common::SHA256]);
        log.event(12, 6, &tagged(0x4001_0001, &members));
        let log = parse(&log.bytes).unwrap();
        (serde_json::to_string(&log.events[1].decode()).unwrap(), story(&log).windows.unwrap())
    };
    let (json, windows) = told(1);
    for setting in [
        r#""VBS_HVCI_POLICY","value":1"#,
        r#""VBS_VSM_REQUIRED","value":true"#,
        r#""VBS_MICROSOFT_BOOT_CHAIN_REQUIRED","value":true"#,
        r#""VBS_VSM_NOSECRETS_ENFORCED","value":false"#,
        r#""HYPERVISOR_LAUNCH_TYPE","value":"on (1)""#,
        r#""VSM_LAUNCH_TYPE","value":"on (1)""#,
        r#""OSDEVICE","value":"partition (65540)""#,
        r#""SMT_STATUS","value":"on (1)""#,
    ] {
        assert!(json.contains(setting), "{setting}: {json}");
    }
    assert_eq!((windows.hvci, windows.vbs_required), (Some(true), Some(true)));
    assert_eq!(told(0).1.hvci, Some(false));
}
