//! Lists of IMA and logs of user space, against what Python's hashes say (tests/runtime/make.py) and against the
//! registers of machines that we booted.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use veriboot_eventlog::ima::{
    self, BootAggregate, Encoding, Extend, Field, ImaReason, PCR_IMA, check_boot_aggregate, check_templates,
    entries_until,
};
use veriboot_eventlog::userspace::{self, Content, Layout, RecordReason, check_words};
use veriboot_eventlog::{BootLogs, Digest, HashAlg, LogKind, LogsDocument, parse, recognise, replay};

type Registers = BTreeMap<String, String>;

const CASES: [&str; 6] = ["ima", "ima-ng", "ima-sig", "ima-v2", "ima-modsig", "evm-sig"];

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/runtime")
}

fn read(name: &str) -> Vec<u8> {
    std::fs::read(folder().join(name)).unwrap()
}

/// Firmware log and registers of the boot that a list beside it was read in.
fn capture(variant: &str, file: &str) -> Vec<u8> {
    std::fs::read(folder().join("../machines").join(variant).join(file)).unwrap()
}

fn expected() -> BTreeMap<String, BTreeMap<String, Registers>> {
    serde_json::from_slice(&read("expected.json")).unwrap()
}

fn hex_registers(pcrs: &BTreeMap<u32, Digest>) -> Registers {
    pcrs.iter().map(|(pcr, value)| (pcr.to_string(), value.to_string())).collect()
}

#[test]
fn every_template_replays_in_every_bank_from_binary_and_from_text() {
    let expected = expected();
    for case in CASES {
        for (file, encoding) in [("bin", Encoding::Binary), ("txt", Encoding::Ascii)] {
            let bytes = read(&format!("{case}.{file}"));
            assert_eq!(recognise(&bytes), LogKind::Ima, "{case}");
            let list = ima::parse(&bytes).unwrap();
            assert_eq!((list.encoding, list.cut, list.digest_alg), (encoding, None, HashAlg::Sha1), "{case}");
            assert_eq!(check_templates(&list), [], "{case}.{file}");
            for bank in [HashAlg::Sha1, HashAlg::Sha256, HashAlg::Sha384, HashAlg::Sha512] {
                let replayed = ima::replay(&list, bank, Extend::OwnDigest, |_| None);
                assert_eq!(
                    hex_registers(&replayed.pcrs),
                    expected[case][bank.name()],
                    "{case}.{file} {bank}"
                );
                assert_eq!(replayed.warnings, []);
            }
            let padded = ima::replay(&list, HashAlg::Sha256, Extend::PaddedSha1, |_| None);
            assert_eq!(hex_registers(&padded.pcrs), expected[case]["sha256-padded"], "{case}.{file} padded");
            for entry in &list.entries {
                let decoded = entry.decode();
                assert!(decoded.well_formed, "{case}.{file} {decoded:?}");
                assert!(decoded.name().is_some());
                assert!(entry.is_violation() || decoded.file_digest().is_some());
            }
        }
        // Both encodings hold the same.
        let (binary, text) = (read(&format!("{case}.bin")), read(&format!("{case}.txt")));
        let (binary, text) = (ima::parse(&binary).unwrap(), ima::parse(&text).unwrap());
        for (a, b) in binary.entries.iter().zip(&text.entries) {
            assert_eq!(
                (a.pcr, a.digest, a.template, &a.data),
                (b.pcr, b.digest, b.template, &b.data),
                "{case}"
            );
        }
        assert_eq!(binary.entries.len(), text.entries.len());
    }
}

#[test]
fn lists_of_another_digest_are_told_apart() {
    for file in ["ima-ng-sha256.bin", "ima-ng-sha256.txt"] {
        let bytes = read(file);
        let list = ima::parse(&bytes).unwrap();
        assert_eq!((list.digest_alg, list.entries.len(), list.cut), (HashAlg::Sha256, 4, None), "{file}");
        assert_eq!(check_templates(&list), []);
        for bank in [HashAlg::Sha1, HashAlg::Sha256] {
            let replayed = ima::replay(&list, bank, Extend::OwnDigest, |_| None);
            assert_eq!(hex_registers(&replayed.pcrs), expected()["ima-ng"][bank.name()], "{file} {bank}");
            assert_eq!(replayed.violations, 1);
        }
    }
}

#[test]
fn fields_have_a_meaning() {
    let bytes = read("ima-sig.bin");
    let list = ima::parse(&bytes).unwrap();
    let signed = list.entries[1].decode();
    assert_eq!(signed.name().unwrap().to_string(), "/usr/bin/signed");
    let signature = signed.signature().unwrap();
    assert_eq!((signature.of, signature.key_id.unwrap().to_string().as_str()), ("file", "1a2b3c4d"));
    let buffer = list.entries[2].decode();
    assert!(matches!(&buffer.fields[2].1, Field::BufferText(text) if text.0 == b"root=/dev/sda1 ro"));
    let bytes = read("ima-v2.txt");
    let list = ima::parse(&bytes).unwrap();
    let digest =
        list.entries[1].decode().file_digest().map(|d| (d.of.unwrap().to_string(), d.algorithm.to_string()));
    assert_eq!(digest, Some(("verity".to_owned(), "sha256".to_owned())));
    let bytes = read("evm-sig.txt");
    let list = ima::parse(&bytes).unwrap();
    let decoded = list.entries[0].decode();
    assert_eq!(decoded.fields[8].1, Field::Number(0o100_755));
    assert_eq!(decoded.fields[6].1, Field::Number(1000));
}

/// What the TPM of a machine of ours held in PCR 10 is what the list with the one entry replays to.
#[test]
fn boot_aggregate_and_pcr_10_of_a_real_machine() {
    for variant in ["secure-boot-off", "direct-kernel"] {
        let (firmware, list) = (capture(variant, "eventlog.bin"), read(&format!("{variant}.bin")));
        let (firmware, list) = (parse(&firmware).unwrap(), ima::parse(&list).unwrap());
        let tpm: BTreeMap<String, Registers> =
            serde_json::from_slice(&capture(variant, "pcrs.json")).unwrap();
        let logs = BootLogs { firmware: Some(&firmware), ima: Some(&list), user_space: None };
        let combined = logs.replay(HashAlg::Sha256);
        for pcr in (0..=10).chain([14]) {
            assert_eq!(
                combined.pcrs.get(&pcr).copied().unwrap().to_string(),
                tpm["sha256"][&pcr.to_string()],
                "{variant} PCR {pcr}"
            );
        }
        assert_eq!(combined.boot_aggregate, Some(BootAggregate::Matches { bank: HashAlg::Sha256 }));
        assert!(combined.extended[&PCR_IMA].contains(&LogKind::Ima));
        assert_eq!(combined.warnings, []);
        let value = Digest::from_hex(&tpm["sha256"]["10"]).unwrap();
        let zero = Digest::zero(HashAlg::Sha256);
        let until = |value| entries_until(&list, HashAlg::Sha256, PCR_IMA, zero, value, Extend::OwnDigest);
        assert_eq!(
            (until(value), until(zero), until(combined.pcrs.get(&0).copied().unwrap())),
            (Some(1), Some(0), None)
        );
    }
    // The list of one boot beside the firmware log of another.
    let (firmware, list) = (capture("secure-boot", "eventlog.bin"), read("direct-kernel.bin"));
    let (firmware, list) = (parse(&firmware).unwrap(), ima::parse(&list).unwrap());
    let replayed = replay(&firmware, HashAlg::Sha256);
    let register =
        |bank, pcr: u32| (bank == replayed.bank).then(|| replayed.pcrs.get(&pcr).copied().unwrap());
    assert!(matches!(check_boot_aggregate(&list, register), BootAggregate::Differs { .. }));
    assert!(matches!(check_boot_aggregate(&list, |_, _| None), BootAggregate::NotComparable { .. }));
    let bytes = read("ima-modsig.bin");
    let other = ima::parse(&bytes).unwrap();
    assert_eq!(check_boot_aggregate(&other, register), BootAggregate::Absent);
}

/// The list as a big-endian machine writes it: every length and number the other way round, which the digests cover.
fn big_endian(list: &ima::ImaList<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    for entry in &list.entries {
        let data = entry.data.as_deref().unwrap();
        let mut swapped = Vec::new();
        let mut rest = data;
        if entry.template.0 == b"ima" {
            swapped.extend(&rest[..20]);
            rest = &rest[20..];
        }
        while !rest.is_empty() {
            let len = u32::from_le_bytes(rest[..4].try_into().unwrap());
            swapped.extend(len.to_be_bytes());
            swapped.extend(&rest[4..4 + len as usize]);
            rest = &rest[4 + len as usize..];
        }
        let digest = match entry.is_violation() {
            true => Digest::zero(HashAlg::Sha1),
            false if entry.template.0 == b"ima" => entry.digest,
            false => HashAlg::Sha1.hash(&[&swapped]),
        };
        out.extend(entry.pcr.to_be_bytes());
        out.extend(digest.as_ref());
        out.extend((entry.template.0.len() as u32).to_be_bytes());
        out.extend(entry.template.0);
        if entry.template.0 != b"ima" {
            out.extend((swapped.len() as u32).to_be_bytes());
        }
        out.extend(swapped);
    }
    out
}

#[test]
fn lists_of_big_endian_machines() {
    for case in ["ima", "ima-ng", "ima-sig", "ima-v2", "ima-modsig"] {
        let little = read(&format!("{case}.bin"));
        let little = ima::parse(&little).unwrap();
        let bytes = big_endian(&little);
        let big = ima::parse(&bytes).unwrap();
        assert_eq!((big.cut, big.entries.len()), (None, little.entries.len()), "{case}");
        assert!(big.entries.iter().all(|entry| entry.big_endian));
        assert_eq!(check_templates(&big), [], "{case}");
        for (big, little) in big.entries.iter().zip(&little.entries) {
            assert_eq!(big.decode(), little.decode(), "{case}");
        }
        // The register holds what that machine measured, lengths included.
        let mut register = Digest::zero(HashAlg::Sha1);
        for entry in &big.entries {
            let digest = if entry.is_violation() { Digest::repeat(0xFF, 20) } else { entry.digest };
            register = HashAlg::Sha1.extend(&register, digest.as_ref());
        }
        let replayed = ima::replay(&big, HashAlg::Sha1, Extend::OwnDigest, |_| None);
        assert_eq!(replayed.pcrs.get(&10).copied().unwrap(), register, "{case}");
    }
}

#[test]
fn an_edited_list_is_seen() {
    let bytes = read("ima-ng.bin");
    let at = bytes.windows(13).position(|w| w == b"/usr/bin/bash").unwrap();
    let mut edited = bytes.clone();
    edited[at + 9] = b'd';
    let list = ima::parse(&edited).unwrap();
    let found = check_templates(&list);
    assert_eq!(found.iter().map(|m| (m.entry, m.pcr)).collect::<Vec<_>>(), [(1, 10)]);
    let replayed = ima::replay(&list, HashAlg::Sha256, Extend::OwnDigest, |_| None);
    assert_ne!(hex_registers(&replayed.pcrs), expected()["ima-ng"]["sha256"]);
    // An entry dropped, doubled or moved does not replay either.
    let list = ima::parse(&bytes).unwrap();
    let ends: Vec<usize> = list.entries.iter().skip(1).map(|e| e.offset).chain([bytes.len()]).collect();
    let parts: Vec<&[u8]> = list.entries.iter().zip(&ends).map(|(e, end)| &bytes[e.offset..*end]).collect();
    for order in [vec![0, 2, 3], vec![0, 1, 1, 2, 3], vec![1, 0, 2, 3], vec![0, 1, 3, 2]] {
        let forged: Vec<u8> = order.iter().flat_map(|i| parts[*i].to_vec()).collect();
        let list = ima::parse(&forged).unwrap();
        for bank in [HashAlg::Sha1, HashAlg::Sha256] {
            let replayed = ima::replay(&list, bank, Extend::OwnDigest, |_| None);
            assert_ne!(hex_registers(&replayed.pcrs), expected()["ima-ng"][bank.name()], "{order:?}");
        }
    }
}

#[test]
fn an_unknown_template_is_a_value_and_said_where_it_matters() {
    let mut text = read("ima-ng.txt");
    text.extend(format!("10 {} own-template abc def\n", "12".repeat(20)).bytes());
    let list = ima::parse(&text).unwrap();
    assert_eq!((list.entries.len(), list.cut), (5, None));
    assert!(!list.entries[4].decode().well_formed);
    assert!(ima::replay(&list, HashAlg::Sha1, Extend::OwnDigest, |_| None).warnings.is_empty());
    let warnings = ima::replay(&list, HashAlg::Sha256, Extend::OwnDigest, |_| None).warnings;
    assert_eq!(warnings.iter().map(|w| w.code).collect::<Vec<_>>(), ["template-unknown"]);
}

#[test]
fn trouble_in_a_list_keeps_what_came_before() {
    let bytes = read("ima-ng.bin");
    let whole = ima::parse(&bytes).unwrap();
    let third = whole.entries[2].offset;
    let cut = ima::parse(&bytes[..third + 30]).unwrap();
    assert_eq!(cut.entries.len(), 2);
    assert_eq!(cut.cut.map(|c| (c.offset, c.reason)), Some((third, ImaReason::EntryCut)));
    let text = read("ima-ng.txt");
    let broken = [&text[..], b"10 zz ima-ng x y\n"].concat();
    let list = ima::parse(&broken).unwrap();
    assert_eq!(list.cut.map(|c| (c.offset, c.reason)), Some((text.len(), ImaReason::LineMalformed)));
    assert_eq!(ima::parse(b"").unwrap_err().reason, ImaReason::Empty);
    // A claimed length of 4 GiB allocates nothing.
    let mut hostile = bytes[..whole.entries[1].offset].to_vec();
    let data_len = 4 + 20 + 4 + 6;
    hostile[data_len..data_len + 4].copy_from_slice(&u32::MAX.to_le_bytes());
    assert_eq!(ima::parse(&hostile).unwrap_err().reason, ImaReason::EntryCut);
}

#[test]
fn user_space_records_replay() {
    let bytes = read("tpm2-measure.log");
    assert_eq!(recognise(&bytes), LogKind::UserSpace);
    let log = userspace::parse(&bytes).unwrap();
    assert_eq!((log.layout, log.records.len(), log.cut), (Layout::Sequence, 7, None));
    let logs = BootLogs { user_space: Some(&log), ..BootLogs::default() };
    assert_eq!(logs.banks().len(), 4);
    for bank in logs.banks() {
        let combined = logs.replay(bank);
        for (pcr, value) in &expected()["tpm2-measure"][bank.name()] {
            assert_eq!(
                &combined.pcrs.get(&pcr.parse().unwrap()).copied().unwrap().to_string(),
                value,
                "{bank} PCR {pcr}"
            );
        }
        assert_eq!(combined.extended.keys().copied().collect::<Vec<_>>(), [11, 15]);
    }
    assert_eq!(check_words(&log), []);
    let Content::Systemd(content) = log.records[2].content() else { panic!("systemd's content") };
    assert_eq!(content.title(), "machine identity");
    assert!(content.boot_id.is_some() && content.timestamp.is_some());
    // Other words under the same digest are seen.
    let forged = String::from_utf8(bytes).unwrap().replace("\"sysinit\"", "\"sysINIT\"");
    let log = userspace::parse(forged.as_bytes()).unwrap();
    assert_eq!(check_words(&log).iter().map(|m| m.record).collect::<Vec<_>>(), [5; 4]);
}

/// The log that systemd-pcrextend 257 of Debian wrote beside a real TPM, and what that TPM's register 11 then held
/// (docs/lab.md).
#[test]
fn boot_phases_of_a_real_systemd() {
    let bytes = read("systemd-257.log");
    let log = userspace::parse(&bytes).unwrap();
    assert_eq!((log.layout, log.cut), (Layout::Sequence, None));
    let told: Vec<(String, String)> = (log.records.iter())
        .map(|record| {
            let Content::Systemd(content) = record.content() else { panic!("systemd's content") };
            (content.title().to_owned(), content.string.clone())
        })
        .collect();
    let phases = ["enter-initrd", "leave-initrd", "sysinit", "ready"];
    assert_eq!(told, phases.map(|phase| ("boot phase".to_owned(), phase.to_owned())));
    let logs = BootLogs { user_space: Some(&log), ..BootLogs::default() };
    assert_eq!(
        logs.replay(HashAlg::Sha256).pcrs.get(&11).copied().unwrap().to_string(),
        "38d2047d0545f701a253005037bd1d1662e5f59388885f9e9443f38e2f23531e"
    );
    assert_eq!(check_words(&log), []);
}

#[test]
fn pcrlock_and_cel_records_are_read() {
    for (file, layout) in [("phase.pcrlock", Layout::Component), ("cel.json", Layout::Array)] {
        let bytes = read(file);
        let log = userspace::parse(&bytes).unwrap();
        assert_eq!((log.layout, log.records.len()), (layout, 1), "{file}");
        let logs = BootLogs { user_space: Some(&log), ..BootLogs::default() };
        for bank in logs.banks() {
            let value = &expected()["phase"][bank.name()]["11"];
            assert_eq!(
                &logs.replay(bank).pcrs.get(&11).copied().unwrap().to_string(),
                value,
                "{file} {bank}"
            );
        }
    }
}

/// systemd-stub measured the UKI into PCR 11; user space goes on from there.
#[test]
fn user_space_goes_on_where_firmware_stopped() {
    let (firmware, user) = (capture("uki", "eventlog.bin"), read("tpm2-measure.log"));
    let (firmware, user) = (parse(&firmware).unwrap(), userspace::parse(&user).unwrap());
    let logs = BootLogs { firmware: Some(&firmware), user_space: Some(&user), ima: None };
    let bank = HashAlg::Sha256;
    let mut register = replay(&firmware, bank).pcrs.get(&11).copied().unwrap();
    assert_ne!(register, Digest::zero(bank));
    for phase in ["enter-initrd", "leave-initrd", "sysinit", "ready"] {
        register = bank.hash(&[register.as_ref(), bank.hash(&[phase.as_bytes()]).as_ref()]);
    }
    let combined = logs.replay(bank);
    assert_eq!(combined.pcrs.get(&11).copied().unwrap(), register);
    assert_eq!(combined.extended[&11].len(), 2);
    let json = serde_json::to_value(LogsDocument::new(&logs)).unwrap();
    assert_eq!(json["format"], "tcg2+cel-json-seq");
    assert_eq!(json["banks"]["sha256"]["11"], register.to_string());
    assert_eq!(json["events"].as_array().unwrap().len(), firmware.events.len() + 7);
    for key in ["index", "pcr", "type", "digests", "decoded", "log"] {
        assert!(json["events"].as_array().unwrap().iter().all(|e| e.get(key).is_some()), "{key}");
    }
}

#[test]
fn hostile_records_stop_at_their_offset() {
    let good = String::from_utf8(read("tpm2-measure.log")).unwrap();
    let reason = |tail: &str| {
        let log = format!("{good}{tail}");
        let log = userspace::parse(log.as_bytes()).unwrap();
        assert_eq!(log.records.len(), 7, "{tail}");
        let cut = log.cut.unwrap();
        assert!(cut.offset >= good.len(), "{tail}");
        cut.reason
    };
    let digest = "00".repeat(32);
    let sha256 = format!("[{{\"hashAlg\":\"sha256\",\"digest\":\"{digest}\"}}]");
    let twice = format!(
        "[{{\"hashAlg\":\"sha256\",\"digest\":\"{digest}\"}},{{\"hashAlg\":\"sha256\",\"digest\":\"{digest}\"}}]"
    );
    assert_eq!(reason("\u{1e}{\"pcr\":11,\"digests\":["), RecordReason::NotJson);
    assert_eq!(reason("hello"), RecordReason::NotJson);
    assert_eq!(reason(&format!("{{\"pcr\":11,\"pcr\":12,\"digests\":{sha256}}}")), RecordReason::Ambiguous);
    assert_eq!(reason(&format!("{{\"p\\u0063r\":11,\"digests\":{sha256}}}")), RecordReason::Ambiguous);
    assert_eq!(reason(&format!("{{\"pcr\":11,\"digests\":{twice}}}")), RecordReason::Ambiguous);
    assert_eq!(reason(&format!("{{\"pcr\":\"11\",\"digests\":{sha256}}}")), RecordReason::Malformed);
    assert_eq!(reason("{\"pcr\":11}"), RecordReason::Malformed);
    assert_eq!(
        reason("{\"pcr\":11,\"digests\":[{\"hashAlg\":\"sha256\",\"digest\":\"00\"}]}"),
        RecordReason::Malformed
    );
    let deep = format!("{{\"pcr\":11,\"digests\":{}", "[".repeat(1 << 20));
    assert_eq!(reason(&deep), RecordReason::NotJson);
    let deep = format!("{{\"pcr\":11,\"digests\":{}{}}}", "[".repeat(9_999), "]".repeat(9_999));
    assert_eq!(reason(&deep), RecordReason::Malformed);
    assert_eq!(userspace::parse(b"").unwrap_err().reason, RecordReason::Empty);
    assert_eq!(userspace::parse(b"{\"records\":[]}").unwrap_err().reason, RecordReason::Empty);
    // A register that does not exist is said and not replayed.
    let log = format!("{{\"pcr\":99,\"digests\":{sha256}}}");
    let log = userspace::parse(log.as_bytes()).unwrap();
    let logs = BootLogs { user_space: Some(&log), ..BootLogs::default() };
    assert_eq!(logs.replay(HashAlg::Sha256).warnings[0].code, "pcr-out-of-range");
}

/// Each byte flipped and each cut, over every file: nothing panics, and what was read is a prefix.
#[test]
fn mutations() {
    for file in std::fs::read_dir(folder()).unwrap() {
        let path = file.unwrap().path();
        if path.extension().is_some_and(|e| e == "py") || path.ends_with("expected.json") {
            continue;
        }
        let mut bytes = std::fs::read(&path).unwrap();
        for end in 0..bytes.len() {
            exercise(&bytes[..end]);
        }
        for at in 0..bytes.len() {
            for mask in [0xFF, 1 << (at % 8)] {
                bytes[at] ^= mask;
                exercise(&bytes);
                bytes[at] ^= mask;
            }
        }
        for at in 0..bytes.len().saturating_sub(4) {
            let old: [u8; 4] = bytes[at..at + 4].try_into().unwrap();
            let value = u32::from_le_bytes(old);
            for new in [0, value.wrapping_add(1), value.wrapping_sub(1), u32::MAX] {
                bytes[at..at + 4].copy_from_slice(&new.to_le_bytes());
                exercise(&bytes);
            }
            bytes[at..at + 4].copy_from_slice(&old);
        }
    }
}

fn exercise(bytes: &[u8]) {
    let list = ima::parse(bytes);
    let log = userspace::parse(bytes);
    if let Ok(list) = &list {
        check_templates(list);
        for entry in &list.entries {
            entry.decode();
        }
        let logs = BootLogs { ima: Some(list), ..BootLogs::default() };
        logs.replay(HashAlg::Sha256);
    }
    if let Ok(log) = &log {
        check_words(log);
        let logs = BootLogs { user_space: Some(log), ..BootLogs::default() };
        logs.replay(HashAlg::Sha256);
    }
}
