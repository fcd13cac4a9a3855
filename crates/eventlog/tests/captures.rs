//! Logs of machines that we booted, against the registers that their TPM gave and what was put into the machine.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod common;

use std::collections::BTreeMap;

use common::captures;
use serde::Deserialize;
use veriboot_eventlog::sbat::{Sbat, compare};
use veriboot_eventlog::{
    ComponentKind, HashAlg, check_digests, ima_boot_aggregate, measurements, parse, replay, story,
};

#[derive(Deserialize)]
struct Meta {
    secure_boot: bool,
    cmdline: String,
    sha256: BTreeMap<String, String>,
}

type Registers = BTreeMap<String, BTreeMap<u32, String>>;

fn read<T: for<'de> Deserialize<'de>>(path: &std::path::Path) -> T {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

#[test]
fn replay_gives_the_registers_of_the_tpm() {
    let mut compared = 0;
    for (name, folder) in captures() {
        let bytes = std::fs::read(folder.join("eventlog.bin")).unwrap();
        let log = parse(&bytes).unwrap();
        assert_eq!(log.cut, None, "{name}");
        let registers: Registers = read(&folder.join("pcrs.json"));
        for (bank, values) in registers {
            let bank = HashAlg::from_name(&bank).unwrap();
            let replayed = replay(&log, bank);
            if !replayed.active {
                continue;
            }
            for pcr in (0..=9).chain([11, 12, 13, 14]) {
                let Some(value) = values.get(&pcr) else { continue };
                // systemd's user space and others may extend these after the hand-over; firmware registers never move.
                if pcr > 9 && pcr != 14 && !replayed.extended.contains(&pcr) {
                    continue;
                }
                assert_eq!(
                    &replayed.pcrs.get(&pcr).copied().unwrap().to_string(),
                    value,
                    "{name} {bank} PCR {pcr}"
                );
                compared += 1;
            }
        }
        assert_eq!(check_digests(&log), [], "{name}");
    }
    eprintln!("{compared} registers compared");
}

#[test]
fn the_log_tells_what_was_put_into_the_machine() {
    for (name, folder) in captures() {
        let bytes = std::fs::read(folder.join("eventlog.bin")).unwrap();
        let log = parse(&bytes).unwrap();
        let meta: Meta = read(&folder.join("meta.json"));
        let told = story(&log);
        assert_eq!(told.secure_boot, Some(meta.secure_boot), "{name}");
        if let Some(line) = &told.command_line {
            assert_eq!(line, &meta.cmdline, "{name}");
        }
        let measured = measurements(&log, HashAlg::Sha256);
        let has =
            |kind, digest: &str| measured.iter().any(|m| m.kind == kind && m.digest.to_string() == digest);
        // GRUB and the EFI stub measure the files themselves; a UKI carries them as sections.
        if told.uki_sections.is_empty() {
            if let Some(initrd) = meta.sha256.get("initrd") {
                assert!(has(ComponentKind::Initrd, initrd), "{name}: initrd");
            }
            if told.boot_loader_commands > 0 {
                assert!(has(ComponentKind::Kernel, &meta.sha256["kernel"]), "{name}: kernel");
            }
        }
    }
}

/// Without Secure Boot the kernel's IMA measures its boot_aggregate and nothing else.
#[test]
fn pcr_10_of_a_linux_machine_is_predicted() {
    for (name, folder) in captures() {
        let meta: Meta = read(&folder.join("meta.json"));
        if meta.secure_boot {
            continue;
        }
        let bytes = std::fs::read(folder.join("eventlog.bin")).unwrap();
        let log = parse(&bytes).unwrap();
        let registers: Registers = read(&folder.join("pcrs.json"));
        let predicted = ima_boot_aggregate(&log, &replay(&log, HashAlg::Sha256));
        assert_eq!(predicted.map(|d| d.to_string()).as_ref(), registers["sha256"].get(&10), "{name}");
    }
}

/// shim of Debian 12 (16.1) installs this level when Secure Boot is on.
#[test]
fn the_sbat_level_of_our_machines_has_date_and_generations() {
    let folder = captures().into_iter().find(|(name, _)| name == "secure-boot").unwrap().1;
    let bytes = std::fs::read(folder.join("eventlog.bin")).unwrap();
    let level = story(&parse(&bytes).unwrap()).sbat.unwrap();
    assert_eq!(level.date_text().as_deref(), Some("2025-02-18"));
    assert_eq!(level.malformed_lines, 0);
    let old = Sbat::parse(b"sbat,1,SBAT Version\nshim,3,UEFI shim,shim,15.7,https://example.org\n").unwrap();
    let revoked: Vec<_> = compare(&level, &old).into_iter().map(|r| (r.component, r.has)).collect();
    assert_eq!(revoked, [("shim".to_owned(), 3)]);
}
