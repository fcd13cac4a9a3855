//! The same logs through `tpm2_eventlog` of tpm2-tools, where it is installed and can read them.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod common;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use veriboot_eventlog::{Event, EventType, Format, HashAlg, parse, replay};

/// Registers by bank.
type Registers = BTreeMap<String, BTreeMap<u32, String>>;

/// What the tool says: number of events, and registers. `None` when it refuses the log.
fn tool(path: &Path) -> Option<(usize, Registers)> {
    let out = Command::new("tpm2_eventlog").arg(path).output().ok()?;
    if !out.status.success() {
        return None;
    }
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    let events = text.lines().filter(|line| line.trim_start().starts_with("- EventNum:")).count();
    if events == 0 {
        return None;
    }
    let mut banks = Registers::new();
    let mut bank = None;
    let registers = text.lines().skip_while(|line| *line != "pcrs:").skip(1);
    for line in registers {
        let (name, value) = line.trim().split_once(':')?;
        match value.trim().strip_prefix("0x") {
            None => bank = Some(name.to_owned()),
            Some(hex) => {
                banks.entry(bank.clone()?).or_default().insert(name.trim().parse().ok()?, hex.to_lowercase());
            }
        }
    }
    Some((events, banks))
}

fn logs() -> Vec<PathBuf> {
    let mut logs: Vec<PathBuf> =
        common::captures().into_iter().map(|(_, path)| path.join("eventlog.bin")).collect();
    if let Some(corpus) = common::corpus() {
        logs.extend(std::fs::read_dir(corpus.join("logs")).unwrap().map(|entry| entry.unwrap().path()));
    }
    logs
}

#[test]
fn registers_and_event_count_agree_with_tpm2_eventlog() {
    if Command::new("tpm2_eventlog").arg("--version").output().is_err() {
        eprintln!("SKIPPED: tpm2_eventlog is not installed");
        return;
    }
    let (mut read, mut refused) = (0, 0);
    for path in logs() {
        let bytes = std::fs::read(&path).unwrap();
        let log = parse(&bytes).unwrap();
        let Some((events, banks)) = tool(&path) else {
            refused += 1;
            continue;
        };
        read += 1;
        if log.format != Format::Ccel {
            assert_eq!(events, log.events.len(), "{}", path.display());
        }
        for (bank, registers) in banks {
            let Some(bank) = HashAlg::from_name(&bank) else { continue };
            let replayed = replay(&log, bank);
            for (pcr, value) in registers {
                // tpm2-tools up to 5.4 extends EV_NO_ACTION events behind the header and knows no StartupLocality. The
                // PC Client Platform Firmware Profile says otherwise, and so do the values that were published for
                // such logs (tests/corpus.rs).
                let unmeasured = |e: &Event<'_>| e.pcr == pcr && e.event_type == EventType::EV_NO_ACTION;
                if replayed.extended.contains(&pcr) && !log.events.iter().skip(1).any(unmeasured) {
                    assert_eq!(
                        replayed.pcrs.get(&pcr).copied().unwrap().to_string(),
                        value,
                        "{} {bank} {pcr}",
                        path.display()
                    );
                }
            }
        }
    }
    eprintln!("tpm2_eventlog read {read} logs and refused {refused}");
    assert!(read > 0 || refused == 0);
}
