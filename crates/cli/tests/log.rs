//! `veriboot log …` on real logs: exit codes, output, and what it says about bad input.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::path::PathBuf;
use std::process::{Command, Output};

fn veriboot(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_veriboot"))
        .args(args)
        .env("COLUMNS", "100")
        .env_remove("NO_COLOR")
        .output()
        .unwrap()
}

fn capture(variant: &str) -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../testkit/corpus")
        .join(variant)
        .join("eventlog.bin");
    assert!(path.is_file(), "{} is part of the repository", path.display());
    path.to_string_lossy().into_owned()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn show_tells_the_story() {
    let out = veriboot(&["log", "show", &capture("secure-boot")]);
    assert_eq!(out.status.code(), Some(0), "{}", text(&out.stderr));
    let shown = text(&out.stdout);
    for part in [
        "TCG 2.0 event log",
        "Microsoft Corporation UEFI CA 2011",
        "admitted by Debian Secure Boot CA",
        "\\EFI\\BOOT\\BOOTX64.EFI",
        "console=ttyS0",
        "every digest that can be checked belongs to its event",
    ] {
        assert!(shown.contains(part), "{part:?} is missing in\n{shown}");
    }
    assert!(!shown.contains('\u{1b}'), "no colour into a pipe");
    assert!(shown.lines().all(|line| line.chars().count() <= 200));
}

#[test]
fn show_filters_events_and_gives_json() {
    let out = veriboot(&["log", "show", "--pcr", "7", &capture("secure-boot")]);
    let shown = text(&out.stdout);
    assert!(shown.contains("SBAT level") && !shown.contains("boot loader file"), "{shown}");
    let out = veriboot(&["log", "show", "--json", &capture("secure-boot-off")]);
    let json: serde_json::Value = serde_json::from_slice(&out.stdout).unwrap();
    assert_eq!(json["story"]["secure_boot"], false);
}

#[test]
fn replay_json_has_the_registers_of_the_tpm() {
    let path = capture("secure-boot");
    let out = veriboot(&["log", "replay", "--json", &path]);
    let json: serde_json::Value = serde_json::from_slice(&out.stdout).unwrap();
    let tpm = std::fs::read(PathBuf::from(&path).with_file_name("pcrs.json")).unwrap();
    let tpm: serde_json::Value = serde_json::from_slice(&tpm).unwrap();
    for pcr in 0..10 {
        let pcr = pcr.to_string();
        assert_eq!(json["banks"]["sha256"][&pcr], tpm["sha256"][&pcr], "PCR {pcr}");
    }
    for key in ["format", "banks", "events", "secure_boot", "warnings"] {
        assert!(json.get(key).is_some(), "{key} is in the contract");
    }
    let event = &json["events"][5];
    for key in ["index", "pcr", "type", "digests", "decoded"] {
        assert!(event.get(key).is_some(), "{key} is in the contract");
    }
}

#[test]
fn diff_names_what_changed() {
    let (before, after) = (capture("secure-boot"), capture("cmdline"));
    let out = veriboot(&["log", "diff", &before, &after]);
    assert_eq!(out.status.code(), Some(1));
    assert!(text(&out.stdout).contains("init=/bin/sh"), "{}", text(&out.stdout));
    assert_eq!(veriboot(&["log", "diff", &before, &before]).status.code(), Some(0));
}

#[test]
fn bad_input_exits_2_with_offset_and_reason() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("log");
    let path = file.to_string_lossy().into_owned();
    for (content, code) in [
        (&b""[..], "log-empty"),
        (&[0; 64], "log-only-padding"),
        (b"no", "log-header-cut"),
        (&b"This is prose and not an event log at all, is it?"[..], "log-data-cut"),
    ] {
        std::fs::write(&file, content).unwrap();
        for command in ["show", "replay"] {
            let out = veriboot(&["log", command, &path]);
            let said = text(&out.stderr);
            assert_eq!(out.status.code(), Some(2), "{said}");
            assert!(said.contains(code) && said.contains("at byte 0"), "{said}");
            assert!(out.stdout.is_empty());
        }
    }
    assert_eq!(veriboot(&["log", "show", "/nonexistent"]).status.code(), Some(2));
}

/// A log that breaks in the middle: everything before it, exit code 0, the offset on standard error.
#[test]
fn a_cut_log_gives_what_can_be_read() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("log");
    let whole = std::fs::read(capture("secure-boot")).unwrap();
    std::fs::write(&file, &whole[..whole.len() / 2]).unwrap();
    let out = veriboot(&["log", "replay", "--json", &file.to_string_lossy()]);
    assert_eq!(out.status.code(), Some(0));
    let json: serde_json::Value = serde_json::from_slice(&out.stdout).unwrap();
    let offset = json["cut"]["offset"].as_u64().unwrap();
    assert!(text(&out.stderr).contains(&format!("up to byte {offset}")), "{}", text(&out.stderr));
}

fn runtime(file: &str) -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../eventlog/tests/runtime").join(file);
    assert!(path.is_file(), "{} is part of the repository", path.display());
    path.to_string_lossy().into_owned()
}

#[test]
fn each_kind_of_log_is_recognised_by_its_content() {
    for (file, parts) in [
        ("ima-sig.bin", &["measurement list of Linux IMA, 3 entries", "/usr/bin/signed", "1a2b3c4d"][..]),
        (
            "ima-ng.txt",
            &["was written to while it was measured", "every template digest belongs to its data"],
        ),
        ("tpm2-measure.log", &["log of user space (cel-json-seq), 7 records", "boot phase", "sysinit"]),
        ("phase.pcrlock", &["log of user space (pcrlock), 1 record"]),
        ("cel.json", &["log of user space (cel-json), 1 record"]),
    ] {
        let out = veriboot(&["log", "show", "--events", &runtime(file)]);
        assert_eq!(out.status.code(), Some(0), "{file}: {}", text(&out.stderr));
        let shown = text(&out.stdout);
        for part in parts {
            assert!(shown.contains(part), "{file}: {part:?} is missing in\n{shown}");
        }
        let out = veriboot(&["log", "replay", "--json", &runtime(file)]);
        let json: serde_json::Value = serde_json::from_slice(&out.stdout).unwrap();
        for key in ["format", "banks", "events", "secure_boot", "warnings"] {
            assert!(json.get(key).is_some(), "{file}: {key} is in the contract");
        }
    }
}

#[test]
fn the_logs_of_one_boot_replay_together() {
    let firmware = runtime("../machines/secure-boot-off/eventlog.bin");
    let (list, user) = (runtime("secure-boot-off.bin"), runtime("tpm2-measure.log"));
    let args = ["log", "replay", &firmware, "--ima", &list, "--userspace", &user];
    let out = veriboot(&[&args[..], &["--json"]].concat());
    assert_eq!(out.status.code(), Some(0), "{}", text(&out.stderr));
    let json: serde_json::Value = serde_json::from_slice(&out.stdout).unwrap();
    let tpm = std::fs::read(PathBuf::from(&firmware).with_file_name("pcrs.json")).unwrap();
    let tpm: serde_json::Value = serde_json::from_slice(&tpm).unwrap();
    assert_eq!(
        json["banks"]["sha256"]["10"], tpm["sha256"]["10"],
        "PCR 10 as the TPM of the machine gave it"
    );
    assert_eq!(json["boot_aggregate"]["state"], "matches");
    assert_eq!(json["extended_by"]["11"], serde_json::json!(["user-space"]));
    let shown = text(&veriboot(&args).stdout);
    assert!(shown.contains("list and firmware log are of one boot"), "{shown}");
    // Another machine's list.
    let other = text(&veriboot(&["log", "replay", &capture("secure-boot"), "--ima", &list]).stdout);
    assert!(other.contains("does not match"), "{other}");
    let twice = veriboot(&["log", "replay", &list, "--ima", &list]);
    assert_eq!(twice.status.code(), Some(2));
    assert!(text(&twice.stderr).contains("log-twice"));
    let wrong = veriboot(&["log", "replay", &firmware, "--ima", &user]);
    assert_eq!(wrong.status.code(), Some(2));
}

/// What docs/log-formats.md shows is what the commands print.
#[test]
fn the_documented_output_is_true() {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..");
    let doc = std::fs::read_to_string(root.join("docs/log-formats.md")).unwrap();
    let mut shown = 0;
    for block in doc.split("```text\n$ veriboot ").skip(1) {
        let block = block.split("\n```").next().unwrap();
        let (command, expected) = block.split_once('\n').unwrap();
        let out = Command::new(env!("CARGO_BIN_EXE_veriboot"))
            .args(command.split(' '))
            .current_dir(&root)
            .env("COLUMNS", "100")
            .output()
            .unwrap();
        assert_eq!(text(&out.stdout).trim_end(), expected, "{command}: docs/log-formats.md is out of date");
        shown += 1;
    }
    assert_eq!(shown, 4);
}
