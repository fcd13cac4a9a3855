//! The shared corpus of logs of others (`VERIBOOT_CORPUS`): everything that somebody else published or derived about
//! them must come out of this crate as well.
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

use serde_json::Value;
use veriboot_eventlog::decode::variable::Content;
use veriboot_eventlog::{
    ComponentKind, Decoded, Document, EventLog, EventType, Format, HashAlg, check_digests, measurements,
    parse, replay, story,
};

fn each_row(mut check: impl FnMut(&str, &Value, &[u8], &EventLog<'_>)) {
    let Some(corpus) = common::corpus() else { return };
    let rows: Vec<Value> = serde_json::from_slice(&std::fs::read(corpus.join("logs.json")).unwrap()).unwrap();
    assert!(rows.len() >= 50);
    for row in &rows {
        let file = row["file"].as_str().unwrap();
        let bytes = std::fs::read(Path::new(&corpus).join(file)).unwrap();
        let log = parse(&bytes).unwrap_or_else(|e| panic!("{file}: {e}"));
        check(file, row, &bytes, &log);
    }
}

#[test]
fn structure_of_every_log() {
    each_row(|file, row, _, log| {
        let format = match (row["cc"].as_bool(), row["fmt"].as_str()) {
            (Some(true), _) => Format::Ccel,
            (_, Some("tcg1.2")) => Format::Tcg12,
            _ => Format::Tcg2,
        };
        assert_eq!(log.format, format, "{file}");
        let header = usize::from(log.format != Format::Tcg12);
        assert_eq!(log.events.len() - header, row["n"].as_u64().unwrap() as usize, "{file}");
        assert_eq!(log.trailing, row["trailing"].as_u64().unwrap() as usize, "{file}");
        assert_eq!(log.cut, None, "{file}");
        let banks: Vec<_> = log.active_banks().iter().map(|b| b.name()).collect();
        assert_eq!(serde_json::to_value(banks).unwrap(), row["algs"], "{file}");
        let mut counts: BTreeMap<String, u64> = BTreeMap::new();
        for event in &log.events[header..] {
            *counts.entry(event.event_type.to_string()).or_default() += 1;
        }
        let expected: BTreeMap<String, u64> = serde_json::from_value(row["counts"].clone()).unwrap();
        for (name, count) in &expected {
            let known = EventType::ALL.iter().any(|t| t.name() == Some(name));
            assert!(!known || counts.get(name) == Some(count), "{file}: {name} {count} vs {counts:?}");
        }
        let ours = replay(log, log.active_banks()[0]).startup_locality;
        assert_eq!(ours.map(u64::from), row["loc"].as_u64(), "{file}");
    });
}

#[test]
fn every_register_of_the_independent_replay_and_of_the_publishers() {
    let mut published = 0;
    each_row(|file, row, _, log| {
        for (bank, registers) in row["replay"].as_object().unwrap() {
            let replayed = replay(log, HashAlg::from_name(bank).unwrap());
            for (pcr, value) in registers.as_object().unwrap() {
                let pcr: u32 = pcr.parse().unwrap();
                if let Some(ours) = replayed.pcrs.get(&pcr) {
                    assert_eq!(Some(ours.to_string().as_str()), value.as_str(), "{file} {bank} {pcr}");
                }
            }
        }
        for source in row["expected_sources"].as_array().into_iter().flatten() {
            let Some(pcrs) = source["pcrs"].as_object() else { continue };
            for (bank, registers) in pcrs {
                let replayed = replay(log, HashAlg::from_name(bank).unwrap());
                for (pcr, value) in registers.as_object().unwrap() {
                    let pcr: u32 = pcr.parse().unwrap();
                    let differs = &source["replay_match"][bank][2];
                    let excused =
                        differs.as_array().is_some_and(|d| d.iter().any(|v| v.as_u64() == Some(pcr.into())));
                    // PCR 10 belongs to the kernel: see `ima_boot_aggregate`.
                    if excused || pcr == 10 {
                        continue;
                    }
                    assert_eq!(
                        Some(replayed.pcrs.get(&pcr).copied().unwrap().to_string().as_str()),
                        value.as_str(),
                        "{file} {bank} {pcr}"
                    );
                    published += 1;
                }
            }
        }
    });
    eprintln!("{published} published registers");
}

#[test]
fn secure_boot_state_and_keys() {
    each_row(|file, row, _, log| {
        let told = story(log);
        let expected = match row["sb"]["SecureBoot"].as_str() {
            Some("01") => Some(true),
            Some(_) => Some(false),
            None => None,
        };
        assert_eq!(told.secure_boot, expected, "{file}");
        for event in log.session() {
            let Decoded::SecureBootVariable(variable) = event.decode() else { continue };
            let row = &row["sb"][variable.name.to_string()];
            let (Content::Signatures(database), true) = (variable.content(), row.is_object()) else {
                continue;
            };
            let names: Vec<String> = database.certificates().map(|c| c.short_name().to_string()).collect();
            let expected: Vec<String> = serde_json::from_value(row["certs"].clone()).unwrap();
            assert_eq!(names.len(), expected.len(), "{file} {}", variable.name);
            // The list cuts long names.
            for (name, expected) in names.iter().zip(&expected) {
                assert!(name.starts_with(expected.as_str()), "{file}: {name} vs {expected}");
            }
            assert_eq!(
                Some(database.hash_count() as u64),
                row["hashes"].as_u64(),
                "{file} {}",
                variable.name
            );
        }
    });
}

#[test]
fn authorities_sbat_and_command_line() {
    each_row(|file, row, _, log| {
        let bank = log.active_banks()[0];
        let measured = measurements(log, bank);
        let authorities: Vec<String> = measured
            .iter()
            .filter(|m| m.kind == ComponentKind::Authority)
            .filter(|m| log.events[m.event as usize].event_type == EventType::EV_EFI_VARIABLE_AUTHORITY)
            .map(|m| format!("{}:{}", m.name, m.signer.as_deref().unwrap_or_default()))
            .collect();
        assert_eq!(serde_json::to_value(authorities).unwrap(), row["auth"], "{file}");
        let told = story(log);
        assert_eq!(told.sbat_level.as_deref(), row["sbat"].as_str(), "{file}");
        if let Some(line) = row["cmdline"].as_str() {
            let (_image, line) = line.split_once(' ').unwrap();
            // One build of GRUB leaves a stray byte behind the NUL that ends the line (quirk 11).
            let line = line.split('\0').next().unwrap();
            assert_eq!(told.command_line.as_deref().map(str::trim_end), Some(line.trim_end()), "{file}");
        }
        let left = told.exit_boot_services == Some(true);
        assert!(
            left || row["ebs"] == false || log.session().iter().any(|e| e.data.starts_with(b"Exit Boot")),
            "{file}"
        );
    });
}

/// Digests belong to their data in every log, but for the one that was altered and one vendor's quirk.
#[test]
fn digests_belong_to_their_data() {
    each_row(|file, _, _, log| {
        for bank in log.active_banks() {
            let edited: Vec<_> = veriboot_eventlog::check_digests_of(log, bank)
                .into_iter()
                .filter(|m| m.quirk.is_none())
                .collect();
            assert_eq!(edited.len(), usize::from(file.ends_with("TPMLog_Altered.bin")), "{file}: {edited:?}");
        }
        assert!(check_digests(log).len() <= 1, "{file}");
    });
}

/// Every event of every log is understood, and the machine-readable form can be written.
#[test]
fn no_event_is_unknown() {
    each_row(|file, _, bytes, log| {
        for event in &log.events {
            let decoded = event.decode();
            assert!(
                !matches!(decoded, Decoded::Unknown { .. }),
                "{file}: event {} {}",
                event.index,
                event.event_type
            );
        }
        let json = serde_json::to_vec(&Document::new(log)).unwrap();
        assert!(json.len() < 64 * bytes.len() + 65_536);
    });
}

/// Certificates are named as an independent X.509 parser names them.
#[test]
fn certificates_agree_with_x509_cert() {
    use x509_cert::der::Decode as _;
    let mut compared = 0;
    each_row(|file, _, _, log| {
        for event in log.session() {
            let (Decoded::SecureBootVariable(v) | Decoded::BootVariable(v)) = event.decode() else {
                continue;
            };
            let Content::Signatures(database) = v.content() else { continue };
            for ours in database.certificates() {
                let Ok(theirs) = x509_cert::Certificate::from_der(ours.der) else { continue };
                let tbs = theirs.tbs_certificate();
                assert_eq!(ours.serial, tbs.serial_number().as_bytes(), "{file}");
                let theirs: Vec<String> =
                    tbs.subject().to_string().split(',').map(|p| p.trim().to_owned()).collect();
                for part in ours.subject.to_string().split(',').filter(|p| p.starts_with("CN=")) {
                    assert!(theirs.iter().any(|t| t == part), "{file}: {part} not in {theirs:?}");
                }
                let not_after = tbs.validity().not_after.to_string();
                assert!(
                    not_after.starts_with(&ours.not_after.to_string()),
                    "{file}: {not_after} vs {}",
                    ours.not_after
                );
                compared += 1;
            }
        }
    });
    eprintln!("{compared} certificates compared");
}

/// Truncated and flipped logs of every kind; a stride keeps it within seconds.
#[test]
fn mutations_of_every_log() {
    each_row(|_, _, bytes, log| {
        let used = bytes.len() - log.trailing;
        let stride = (used / 40).max(1);
        for at in (0..used).step_by(stride) {
            common::exercise(&bytes[..at]);
            let mut flipped = bytes[..used].to_vec();
            flipped[at] ^= 0xFF;
            common::exercise(&flipped);
        }
    });
}
