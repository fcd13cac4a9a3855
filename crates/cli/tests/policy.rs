//! `veriboot policy …` with no service: exit codes and output, as snapshots.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::path::{Path, PathBuf};
use std::process::Command;

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../testkit/corpus")
}

/// Runs it in the folder of the captures, so that their names are the same everywhere.
fn veriboot(args: &[&str]) -> String {
    let out = Command::new(env!("CARGO_BIN_EXE_veriboot"))
        .args(args)
        .env("COLUMNS", "160")
        .env_remove("VERIBOOT_SERVER")
        .env("VERIBOOT_CLI_CONFIG", "/nonexistent/cli.toml")
        .current_dir(corpus())
        .output()
        .unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let errors =
        if out.stderr.is_empty() { String::new() } else { format!("-- stderr --\n{}", text(&out.stderr)) };
    format!("exit {}\n{}{errors}", out.status.code().unwrap(), text(&out.stdout))
}

fn policy(dir: &Path, text: &str) -> String {
    let file = dir.join("policy.toml");
    std::fs::write(&file, text).unwrap();
    file.to_string_lossy().into_owned()
}

const GOOD: &str = r#"
[[conditions]]
id = "no-init"
expression = "!parameters.exists(p, p.name == 'init')"
severity = "high"
message = "The kernel command line starts another first process"

[[conditions]]
id = "secure-boot"
expression = "secure_boot.enabled"
severity = "medium"
message = "Secure Boot is off"
"#;

const BAD: &str = r#"
[[conditions]]
id = "mistyped"
expression = "secureboot.enabled"
severity = "high"
message = "Secure Boot is off"

[[conditions]]
id = "open"
expression = "!has(windows.test_signing) || !windows.test_signing"
severity = "high"
message = "Windows runs test-signed code"

[[conditions]]
id = "unfinished"
expression = """
secure_boot.enabled &&
  (secure_boot.mode =="""
severity = "high"
message = "Secure Boot is off"
"#;

#[test]
fn check_says_what_is_wrong() {
    let dir = tempfile::tempdir().unwrap();
    insta::assert_snapshot!("check-good", veriboot(&["policy", "check", &policy(dir.path(), GOOD)]));
    insta::assert_snapshot!("check-bad", veriboot(&["policy", "check", &policy(dir.path(), BAD)]));
    insta::assert_snapshot!(
        "check-bad-json",
        veriboot(&["policy", "check", "--json", &policy(dir.path(), BAD)])
    );
}

#[test]
fn test_tries_event_logs() {
    let dir = tempfile::tempdir().unwrap();
    let file = policy(dir.path(), GOOD);
    let logs = [
        "--log",
        "secure-boot/eventlog.bin",
        "--log",
        "cmdline/eventlog.bin",
        "--log",
        "secure-boot-off/eventlog.bin",
    ];
    insta::assert_snapshot!("test-logs", veriboot(&[&["policy", "test", file.as_str()][..], &logs].concat()));
    let json = veriboot(&["policy", "test", "--json", &file, "--log", "cmdline/eventlog.bin"]);
    insta::assert_snapshot!("test-logs-json", json);
    assert!(
        veriboot(&["policy", "test", &file, "--log", "secure-boot/eventlog.bin"]).starts_with("exit 0\n")
    );
    // A folder may hold other files; they are named.
    let folder = veriboot(&["policy", "test", &file, "--corpus", "secure-boot"]);
    assert!(
        folder.starts_with("exit 0\n") && folder.contains("skipped") && folder.contains("meta.json"),
        "{folder}"
    );
}

#[test]
fn what_cannot_be_used_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let refused = veriboot(&["policy", "test", &policy(dir.path(), BAD), "--log", "cmdline/eventlog.bin"]);
    insta::assert_snapshot!("test-bad", refused);
    for (text, code) in [
        ("", "policy-empty"),
        ("conditions = 7", "policy-malformed"),
        ("[[conditions]]\nid = \"x\"", "policy-malformed"),
        (
            "[[conditions]]\nid = \"x\"\nexpression = \"true\"\nseverity = \"huge\"\nmessage = \"m\"",
            "policy-malformed",
        ),
        ("{", "policy-malformed"),
    ] {
        let said = veriboot(&["policy", "check", &policy(dir.path(), text)]);
        assert!(said.starts_with("exit 2\n") && said.contains(&format!("[{code}]")), "{text:?}: {said}");
    }
    std::fs::write(dir.path().join("binary"), [0xFF, 0xFE]).unwrap();
    let said = veriboot(&["policy", "check", &dir.path().join("binary").to_string_lossy()]);
    assert!(said.contains("[policy-not-text]"), "{said}");
    std::fs::write(dir.path().join("large"), vec![b' '; 1 << 21]).unwrap();
    let said = veriboot(&["policy", "check", &dir.path().join("large").to_string_lossy()]);
    assert!(said.contains("[policy-too-large]"), "{said}");
    assert!(veriboot(&["policy", "check", "/nonexistent"]).contains("[policy-unreadable]"));
    let good = policy(dir.path(), GOOD);
    assert!(veriboot(&["policy", "test", &good, "--corpus", "/nonexistent"]).contains("[folder-unreadable]"));
    std::fs::create_dir(dir.path().join("empty")).unwrap();
    let empty = dir.path().join("empty").to_string_lossy().into_owned();
    assert!(veriboot(&["policy", "test", &good, "--corpus", &empty]).contains("[folder-empty]"));
    assert!(veriboot(&["policy", "test", &good, "--log", &good]).starts_with("exit 2\n"));
    // Without event logs the service is asked.
    assert!(veriboot(&["policy", "test", &good]).contains("[no-server]"));
}

#[test]
fn variables_are_listed_and_shown() {
    let listed = veriboot(&["policy", "variables", "--json"]);
    let json: serde_json::Value = serde_json::from_str(listed.strip_prefix("exit 0\n").unwrap()).unwrap();
    let first = &json[0];
    assert!(first["name"].is_string() && first["type"].is_string() && first["basis"].is_string(), "{first}");
    assert!(json.as_array().unwrap().len() > 80);
    assert!(veriboot(&["policy", "variables"]).contains("parameters[].name"));
    insta::assert_snapshot!(
        "variables-log",
        veriboot(&["policy", "variables", "--log", "cmdline/eventlog.bin"])
    );
}
