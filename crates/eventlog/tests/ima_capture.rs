//! The list of IMA of a machine that booted for real (docs/lab.md, `ima-list`), against what its TPM held in PCR 10 and
//! what the kernel printed.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::collections::BTreeMap;
use std::path::Path;

use veriboot_eventlog::ima::{
    self, BootAggregate, Encoding, Extend, PCR_IMA, check_templates, entries_until,
};
use veriboot_eventlog::{BootLogs, Digest, HashAlg, LogKind, parse, recognise};

type Registers = BTreeMap<String, String>;

const BANKS: [HashAlg; 2] = [HashAlg::Sha1, HashAlg::Sha256];

fn read(file: &str) -> Vec<u8> {
    std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("../testkit/corpus/ima-list").join(file))
        .unwrap()
}

/// PCR values by bank, read by the kernel from the TPM.
fn tpm() -> BTreeMap<String, Registers> {
    serde_json::from_slice(&read("pcrs.json")).unwrap()
}

#[test]
fn binary_and_text_replay_to_the_values_of_the_tpm() {
    let firmware = read("eventlog.bin");
    let firmware = parse(&firmware).unwrap();
    for (file, encoding) in [("ima.bin", Encoding::Binary), ("ima.ascii", Encoding::Ascii)] {
        let bytes = read(file);
        assert_eq!(recognise(&bytes), LogKind::Ima, "{file}");
        let list = ima::parse(&bytes).unwrap();
        assert_eq!((list.encoding, list.cut, list.digest_alg), (encoding, None, HashAlg::Sha1), "{file}");
        assert!(list.entries.len() > 90, "{file}: {} entries", list.entries.len());
        assert_eq!(check_templates(&list), [], "{file}");
        let logs = BootLogs { firmware: Some(&firmware), ima: Some(&list), user_space: None };
        for bank in BANKS {
            let replayed = ima::replay(&list, bank, Extend::OwnDigest, |_| None);
            assert_eq!(replayed.violations, 2, "{file} {bank}");
            assert_eq!(
                replayed.pcrs.get(&PCR_IMA).copied().unwrap().to_string(),
                tpm()[bank.name()]["10"],
                "{file} {bank}"
            );
            let combined = logs.replay(bank);
            for pcr in (0..=10).chain([14]) {
                let expected = &tpm()[bank.name()][&pcr.to_string()];
                assert_eq!(
                    &combined.pcrs.get(&pcr).copied().unwrap().to_string(),
                    expected,
                    "{file} {bank} PCR {pcr}"
                );
            }
        }
        let aggregate = logs.replay(HashAlg::Sha256).boot_aggregate;
        assert_eq!(aggregate, Some(BootAggregate::Matches { bank: HashAlg::Sha256 }), "{file}");
    }
}

/// The kernel wrote both, so each line of one is an entry of the other.
#[test]
fn binary_and_text_say_the_same() {
    let (binary, text) = (read("ima.bin"), read("ima.ascii"));
    let lines = String::from_utf8(text.clone()).unwrap();
    let (binary, text) = (ima::parse(&binary).unwrap(), ima::parse(&text).unwrap());
    assert_eq!((binary.entries.len(), text.entries.len()), (lines.lines().count(), lines.lines().count()));
    for ((a, b), line) in binary.entries.iter().zip(&text.entries).zip(lines.lines()) {
        // The kernel prints blanks of names as underscores, and measures them so too.
        assert_eq!((a.pcr, a.digest, a.template, &a.data), (b.pcr, b.digest, b.template, &b.data), "{line}");
        let decoded = a.decode();
        let words: Vec<&str> = line.split(' ').collect();
        assert_eq!(decoded.name().unwrap().to_string(), words[4], "{line}");
        assert_eq!(a.is_violation(), words[1].bytes().all(|b| b == b'0'), "{line}");
        if !a.is_violation() {
            let digest = decoded.file_digest().unwrap();
            assert_eq!(format!("{}:{}", digest.algorithm, digest.digest), words[3], "{line}");
        }
    }
}

/// A quote may be older than the list: it covers the entries that existed when it was made, and no others.
#[test]
fn every_prefix_is_found_again() {
    let bytes = read("ima.bin");
    let list = ima::parse(&bytes).unwrap();
    for bank in BANKS {
        let zero = Digest::zero(bank);
        let until = |value| entries_until(&list, bank, PCR_IMA, zero, value, Extend::OwnDigest);
        let mut ends: Vec<usize> = list.entries.iter().skip(1).map(|entry| entry.offset).collect();
        ends.push(bytes.len());
        for (count, end) in (1..).zip(ends).step_by(7) {
            let prefix = ima::parse(&bytes[..end]).unwrap();
            let value =
                ima::replay(&prefix, bank, Extend::OwnDigest, |_| None).pcrs.get(&PCR_IMA).copied().unwrap();
            assert_eq!(until(value), Some(count), "{bank}");
        }
        let held = Digest::from_hex(&tpm()[bank.name()]["10"]).unwrap();
        assert_eq!(until(held), Some(list.entries.len()));
    }
}

#[test]
fn an_edited_entry_is_seen() {
    let bytes = read("ima.bin");
    let at = bytes.windows(13).position(|w| w == b"/bin/busybox\0").unwrap();
    let mut edited = bytes.clone();
    edited[at + 1] = b'x';
    let list = ima::parse(&edited).unwrap();
    let found = check_templates(&list);
    assert_eq!(found.len(), 1);
    let replayed = ima::replay(&list, HashAlg::Sha256, Extend::OwnDigest, |_| None);
    assert_ne!(replayed.pcrs.get(&PCR_IMA).copied().unwrap().to_string(), tpm()["sha256"]["10"]);
}
