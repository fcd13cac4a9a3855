//! A report is the same with a memo as without one, whatever the memo has learned and from whom.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test fails by panicking")]

use std::path::Path;

use proptest::prelude::*;
use veriboot_appraisal::{Content, Memo, examine, examine_with};
use veriboot_eventlog::ComponentKind;

fn own(variant: &str) -> Vec<u8> {
    let path =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../testkit/corpus").join(variant).join("eventlog.bin");
    std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// Our own captures, and the logs that VERIBOOT_CORPUS names.
fn logs() -> Vec<Vec<u8>> {
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("../testkit/corpus");
    let mut paths: Vec<_> =
        std::fs::read_dir(own).unwrap().map(|entry| entry.unwrap().path().join("eventlog.bin")).collect();
    if let Some(folder) = std::env::var_os("VERIBOOT_CORPUS") {
        let more = std::fs::read_dir(Path::new(&folder).join("logs")).unwrap();
        paths.extend(more.map(|entry| entry.unwrap().path()));
    }
    paths.sort();
    paths.into_iter().filter_map(|path| std::fs::read(path).ok()).collect()
}

/// Everything that a report says.
fn assert_same(bytes: &[u8], memo: &Memo) {
    let (without, with) = (examine(bytes), examine_with(bytes, memo).report);
    assert_eq!(without.entries, with.entries);
    assert_eq!(format!("{without:?}"), format!("{with:?}"));
}

fn learned(memo: &mut Memo, log: &[u8]) {
    for part in examine_with(log, memo).unknown.chunks(64) {
        memo.learn(log, part);
    }
}

#[test]
fn logs_say_the_same_with_everything_known() {
    let logs = logs();
    let mut memo = Memo::new(64 << 20);
    for log in &logs {
        // Of the same log the second time: all that it would keep is known.
        learned(&mut memo, log);
        assert_same(log, &memo);
    }
    // Our captures have much in common with one another; logs of other machines have less.
    let least = if std::env::var_os("VERIBOOT_CORPUS").is_some() { 300 } else { 80 };
    assert!(memo.len() > least, "{memo:?}");
    for log in &logs {
        assert_same(log, &memo);
    }
    let known = examine_with(&own("secure-boot"), &memo);
    assert_eq!(known.unknown, [0_u32; 0]);
}

#[test]
fn another_boot_of_the_machine_is_mostly_known() {
    let mut memo = Memo::new(1 << 20);
    let empty = examine_with(&own("secure-boot"), &memo).unknown.len();
    learned(&mut memo, &own("secure-boot"));
    let unknown = examine_with(&own("dbx-updated"), &memo);
    // Beside the eight separators, which say the same in every log and are not kept.
    assert!(empty == 28 && unknown.unknown.len() == 1, "{empty} {:?}", unknown.unknown);
    let dbx = unknown.report.entries.iter().find(|entry| entry.event == unknown.unknown[0]).unwrap();
    assert_eq!(dbx.kind, ComponentKind::RevocationDb);
    assert_eq!(examine_with(&own("secure-boot"), &Memo::new(0)).unknown, [0_u32; 0], "nothing to be kept");
}

/// An event with the digest of a known one and other data is an edited one, and says nothing.
#[test]
fn an_edit_is_found_as_ever() {
    let mut memo = Memo::new(1 << 20);
    let genuine = own("secure-boot");
    learned(&mut memo, &genuine);
    let db = genuine.windows(4).position(|w| w == b"d\0b\0").unwrap();
    let mut edited = genuine.clone();
    edited[db + 200] ^= 1;
    assert_same(&edited, &memo);
    let report = examine_with(&edited, &memo).report;
    assert!(report.findings.iter().any(|finding| finding.code == "log-digest-mismatch"));
    let db = report.entries.iter().find(|entry| entry.kind == ComponentKind::SignatureDb).unwrap();
    assert_eq!(db.content, Content::Opaque);
    // What such a log teaches is what is true of it: the genuine one stays what it is.
    let all: Vec<u32> = (0..200).collect();
    memo.learn(&edited, &all);
    assert_same(&genuine, &memo);
    assert_same(&edited, &memo);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    /// Logs of an attacker teach, and are read with what genuine logs and other attackers taught.
    #[test]
    fn hostile_logs_say_the_same_and_teach_nothing_wrong(
        which in 0_usize..64,
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..12),
        cut in any::<prop::sample::Index>(),
        max_bytes in prop::sample::select(vec![0_usize, 4096, 40_000, 1 << 20]),
    ) {
        let names = ["secure-boot", "uki", "three-banks", "debian-menu", "mok"];
        let genuine = own(names[which % names.len()]);
        let mut memo = Memo::new(max_bytes);
        learned(&mut memo, &genuine);
        let mut edited = genuine.clone();
        for (at, value) in edits {
            let at = at.index(edited.len());
            edited[at] = value;
        }
        if which > 48 {
            edited.truncate(cut.index(edited.len()));
        }
        assert_same(&edited, &memo);
        let all: Vec<u32> = (0..200).collect();
        memo.learn(&edited, &all);
        assert_same(&edited, &memo);
        assert_same(&genuine, &memo);
    }
}
