//! What posture reads from real boots.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)] // a test that fails here says where

use veriboot_appraisal::examine;
use veriboot_posture::{LogFacts, MicrosoftKeys};

fn facts(capture: &str) -> LogFacts {
    let path = format!("{}/../testkit/corpus/{capture}/eventlog.bin", env!("CARGO_MANIFEST_DIR"));
    LogFacts::of(&examine(&std::fs::read(path).unwrap()))
}

#[test]
fn a_usual_boot_of_debian() {
    let facts = facts("secure-boot");
    assert_eq!((facts.secure_boot, facts.shim_validation_off), (Some(true), false));
    let keys = facts.microsoft_keys.unwrap();
    assert!(keys.kek_2011 && keys.uefi_2011 && keys.windows_2011, "{keys:?}");
    assert!(facts.sbat_level.is_some_and(|level| level > 2_021_000_000), "{:?}", facts.sbat_level);
    assert!(facts.dbx_entries.is_some() && facts.command_line);
    assert_eq!((facts.lockdown, facts.module_signatures), (None, false));
}

#[test]
fn facts_fit_into_a_short_text_and_come_back() {
    for capture in ["secure-boot", "cmdline"] {
        let facts = facts(capture);
        let text = serde_json::to_string(&facts).unwrap();
        assert!(text.len() < 400, "{text}");
        assert_eq!(serde_json::from_str::<LogFacts>(&text).unwrap(), facts);
    }
}

#[test]
fn what_cannot_be_read_shows_nothing() {
    for bytes in [&b""[..], &[0xFF; 64], b"nonsense"] {
        let facts = LogFacts::of(&examine(bytes));
        assert_eq!(facts, LogFacts { version: LogFacts::VERSION, ..LogFacts::default() });
    }
}

/// A list whose text is not what its digest was taken over counts as one that cannot be read.
#[test]
fn an_edited_list_is_not_believed() {
    let path = format!("{}/../testkit/corpus/secure-boot/eventlog.bin", env!("CARGO_MANIFEST_DIR"));
    let mut log = std::fs::read(path).unwrap();
    let name = b"Microsoft Corporation UEFI CA 2011";
    let at = log.windows(name.len()).position(|window| window == name).unwrap();
    log[at..at + name.len()].copy_from_slice(b"Microsoft Corporation UEFI CA 2023");
    let edited = LogFacts::of(&examine(&log));
    assert_eq!(edited.microsoft_keys, None);
    assert_ne!(MicrosoftKeys::default(), facts("secure-boot").microsoft_keys.unwrap());
}

#[test]
fn no_byte_of_a_log_makes_it_panic() {
    let path = format!("{}/../testkit/corpus/secure-boot/eventlog.bin", env!("CARGO_MANIFEST_DIR"));
    let log = std::fs::read(path).unwrap();
    for at in (0..log.len()).step_by(97) {
        let mut flipped = log.clone();
        flipped[at] ^= 0x5A;
        LogFacts::of(&examine(&flipped));
        LogFacts::of(&examine(&log[..at]));
    }
}

/// Real boots that differ in one thing, each against the usual one.
#[test]
fn each_real_difference_shows() {
    let usual = facts("secure-boot");
    let assert_only = |capture: &str, change: &dyn Fn(&mut LogFacts)| {
        let mut expected = usual.clone();
        change(&mut expected);
        assert_eq!(facts(capture), expected, "{capture}");
    };
    assert_only("other-kernel", &|_| {});
    assert_only("mok-validation-off", &|facts| facts.shim_validation_off = true);
    let more = facts("dbx-updated");
    assert!(more.dbx_entries > usual.dbx_entries, "{more:?}");
    assert!(facts("sbat-raised").sbat_level > usual.sbat_level);
    let keys = facts("microsoft-2023").microsoft_keys.unwrap();
    assert!(keys.uefi_2023 && keys.windows_2023 && keys.kek_2023, "{keys:?}");
    assert_eq!(facts("own-keys").microsoft_keys, Some(MicrosoftKeys::default()));
    assert_eq!(facts("secure-boot-disabled").secure_boot, Some(false));
}
