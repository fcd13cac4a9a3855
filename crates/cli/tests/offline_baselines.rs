//! `veriboot baseline learn|check|diff|lint|convert` on real logs: exit codes, what people and programs are told.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test fails by panicking")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

/// Runs `veriboot` in `dir`, with no service in its environment.
fn veriboot(dir: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_veriboot"))
        .args(args)
        .current_dir(dir)
        .env("COLUMNS", "100")
        .env_remove("NO_COLOR")
        .env_remove("VERIBOOT_SERVER")
        .env_remove("VERIBOOT_TOKEN")
        .env("VERIBOOT_CLI_CONFIG", dir.join("none.toml"))
        .output()
        .unwrap()
}

/// A folder with the logs of two kernels, of a changed command line and without Secure Boot.
fn folder() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (name, variant) in [
        ("boot.bin", "secure-boot"),
        ("shell.bin", "cmdline"),
        ("initrd.bin", "initrd"),
        ("off.bin", "secure-boot-off"),
        ("banks.bin", "three-banks"),
    ] {
        let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../testkit/corpus").join(variant);
        std::fs::copy(path.join("eventlog.bin"), dir.path().join(name)).unwrap();
    }
    dir
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Runs it and gives standard output, after the exit code was checked.
fn told(dir: &Path, exit: i32, args: &[&str]) -> String {
    let out = veriboot(dir, args);
    assert_eq!(out.status.code(), Some(exit), "{args:?}: {}{}", text(&out.stdout), text(&out.stderr));
    text(&out.stdout)
}

fn json(dir: &Path, exit: i32, args: &[&str]) -> Value {
    let shown = told(dir, exit, &[args, &["--json"]].concat());
    serde_json::from_str(&shown).unwrap_or_else(|e| panic!("{e}: {shown}"))
}

/// The code of an error, after exit code 2.
fn refused(dir: &Path, args: &[&str]) -> String {
    let out = veriboot(dir, args);
    let said = text(&out.stderr);
    assert_eq!(out.status.code(), Some(2), "{args:?}: {}{said}", text(&out.stdout));
    let error = said.lines().find(|line| line.ends_with(']')).unwrap_or_else(|| panic!("{said}"));
    error.rsplit_once('[').unwrap().1.trim_end_matches(']').to_owned()
}

#[test]
fn learned_and_checked() {
    let dir = folder();
    let dir = dir.path();
    let learned =
        told(dir, 0, &["baseline", "learn", "--log", "boot.bin", "-o", "web.json", "--name", "web"]);
    insta::assert_snapshot!("learn", learned);
    let accepted = told(dir, 0, &["baseline", "check", "--log", "boot.bin", "--baseline", "web.json"]);
    assert!(accepted.starts_with("verdict   accepted\n"), "{accepted}");
    let deviates = told(dir, 1, &["baseline", "check", "--log", "shell.bin", "--baseline", "web.json"]);
    assert!(deviates.contains("init=/bin/sh") && deviates.contains("cmdline-change"), "{deviates}");
    assert!(!deviates.contains('\u{1b}'), "no colour into a pipe");
    let checked = json(dir, 1, &["baseline", "check", "--log", "shell.bin", "--baseline", "web.json"]);
    assert_eq!(checked["accepted"], false);
    assert_eq!(checked["bank"], "sha256");
    assert_eq!(checked["baseline"]["name"], "web");
    assert_eq!(checked["baseline"]["signature"], "none");
    assert_eq!(checked["profile"], "secure-boot-required");
    let finding = checked["findings"].as_array().unwrap().iter().find(|f| f["severity"] == "high").unwrap();
    assert_eq!(finding["code"], "component-changed");
    assert_eq!(finding["change"], "cmdline-change");
    let checked = json(dir, 0, &["baseline", "check", "--log", "boot.bin", "--baseline", "web.json"]);
    assert_eq!(checked["accepted"], true);
    // What no profile lets pass fails whatever the baseline says.
    told(dir, 0, &["baseline", "learn", "--log", "off.bin", "-o", "off.toml"]);
    told(dir, 1, &["baseline", "check", "--log", "off.bin", "--baseline", "off.toml"]);
    let measured =
        ["baseline", "check", "--log", "off.bin", "--baseline", "off.toml", "--profile", "measured-only"];
    told(dir, 0, &measured);
}

#[test]
fn learned_from_several_logs() {
    let dir = folder();
    let dir = dir.path();
    let several = ["baseline", "learn", "--log", "boot.bin", "initrd.bin", "-o", "both.toml"];
    let learned = told(dir, 0, &several);
    assert!(learned.contains("learned from    2 logs"), "{learned}");
    assert!(learned.contains("Accepted boots, oldest first"), "{learned}");
    for log in ["boot.bin", "initrd.bin"] {
        told(dir, 0, &["baseline", "check", "--log", log, "--baseline", "both.toml"]);
    }
    told(dir, 1, &["baseline", "check", "--log", "shell.bin", "--baseline", "both.toml"]);
    let learned = json(dir, 0, &several);
    assert_eq!(learned["logs"], 2);
    assert_eq!(learned["flaws"], serde_json::json!([]));
    // One bank, the one that was asked for.
    told(dir, 0, &["baseline", "learn", "--log", "banks.bin", "--bank", "sha384", "-o", "384.json"]);
    let document: Value = serde_json::from_slice(&std::fs::read(dir.join("384.json")).unwrap()).unwrap();
    assert_eq!(document["bank"], "sha384");
    told(dir, 0, &["baseline", "check", "--log", "banks.bin", "--baseline", "384.json"]);
    let other = told(dir, 1, &["baseline", "check", "--log", "boot.bin", "--baseline", "384.json"]);
    assert!(other.contains("log-bank-missing"), "{other}");
}

#[test]
fn compared_and_converted() {
    let dir = folder();
    let dir = dir.path();
    told(dir, 0, &["baseline", "learn", "--log", "boot.bin", "-o", "a.json"]);
    told(dir, 0, &["baseline", "learn", "--log", "boot.bin", "initrd.bin", "-o", "b.toml"]);
    assert_eq!(told(dir, 0, &["baseline", "diff", "a.json", "a.json"]), "Both baselines accept the same.\n");
    let difference = told(dir, 1, &["baseline", "diff", "a.json", "b.toml"]);
    assert!(difference.contains("boot-accepted") && difference.contains("initrd"), "{difference}");
    let difference = json(dir, 1, &["baseline", "diff", "b.toml", "a.json"]);
    assert_eq!(difference["same"], false);
    assert_eq!(difference["changes"][0]["code"], "boot-dropped");
    // There and back again.
    told(dir, 0, &["baseline", "convert", "b.toml", "-o", "b.json"]);
    told(dir, 0, &["baseline", "convert", "b.json", "-o", "again.toml"]);
    assert_eq!(std::fs::read(dir.join("b.toml")).unwrap(), std::fs::read(dir.join("again.toml")).unwrap());
    let shown = told(dir, 0, &["baseline", "convert", "b.toml"]);
    assert_eq!(shown, text(&std::fs::read(dir.join("b.json")).unwrap()));
    // Documents of the first version, and the answer of the service.
    let new: Value = serde_json::from_str(&told(dir, 0, &["baseline", "convert", "a.json"])).unwrap();
    let detail = serde_json::json!({ "id": "x", "name": "vm/default/web", "document": new });
    std::fs::write(dir.join("shown.json"), detail.to_string()).unwrap();
    told(dir, 0, &["baseline", "check", "--log", "boot.bin", "--baseline", "shown.json"]);
}

#[test]
fn signed_baselines_are_held_against_the_key_that_is_given() {
    use veriboot_appraisal::{BASELINE_PAYLOAD_TYPE, Envelope, EnvelopeKey};
    let dir = folder();
    let dir = dir.path();
    told(dir, 0, &["baseline", "learn", "--log", "boot.bin", "-o", "a.json"]);
    let sign = || {
        let key = EnvelopeKey::from_pkcs8(&EnvelopeKey::generate_pkcs8().unwrap()).unwrap();
        let payload = std::fs::read(dir.join("a.json")).unwrap();
        let envelope = Envelope::sign(BASELINE_PAYLOAD_TYPE, &payload, &key).unwrap().to_json().unwrap();
        use base64::Engine as _;
        let der = base64::engine::general_purpose::STANDARD.encode(key.public().spki());
        (envelope, format!("-----BEGIN PUBLIC KEY-----\n{der}\n-----END PUBLIC KEY-----\n"))
    };
    let ((envelope, key), (_, other)) = (sign(), sign());
    for (name, content) in [("signed.json", &envelope), ("key.pem", &key), ("other.pem", &other)] {
        std::fs::write(dir.join(name), content).unwrap();
    }
    let check = ["baseline", "check", "--log", "boot.bin", "--baseline"];
    let with = |more: &[&'static str]| [&check[..], more].concat();
    assert_eq!(json(dir, 0, &with(&["signed.json"]))["baseline"]["signature"], "not-checked");
    assert_eq!(json(dir, 0, &with(&["signed.json", "--key", "key.pem"]))["baseline"]["signature"], "valid");
    assert_eq!(refused(dir, &with(&["a.json", "--key", "key.pem"])), "baseline-unsigned");
    assert_ne!(refused(dir, &with(&["signed.json", "--key", "other.pem"])), "baseline-unsigned");
    assert_eq!(refused(dir, &with(&["signed.json", "--key", "a.json"])), "key-unreadable");
}

#[test]
fn linted() {
    let dir = folder();
    let dir = dir.path();
    told(dir, 0, &["baseline", "learn", "--log", "boot.bin", "-o", "a.toml"]);
    assert!(told(dir, 0, &["baseline", "lint", "a.toml"]).contains("nothing is wrong"));
    let head = "schema = \"veriboot-baseline/2\"\nbank = \"sha256\"\nunlisted = \"note\"\n";
    std::fs::write(dir.join("all.toml"), head).unwrap();
    let everything = told(dir, 1, &["baseline", "lint", "all.toml"]);
    assert!(
        everything.contains("baseline-accepts-everything") && everything.contains("hint: "),
        "{everything}"
    );
    let linted = json(dir, 1, &["baseline", "lint", "all.toml"]);
    assert_eq!((&linted["ok"], &linted["flaws"][0]["refused"]), (&Value::Bool(false), &Value::Bool(true)));
    // It would accept everything, so it accepts nothing.
    let checked = told(dir, 1, &["baseline", "check", "--log", "boot.bin", "--baseline", "all.toml"]);
    assert!(checked.contains("baseline-flawed"), "{checked}");
    let warned =
        format!("{head}[[rules]]\ncomponent = \"secure-boot-state\"\nstate = {{ secure-boot = \"on\" }}\n");
    std::fs::write(dir.join("policy.toml"), warned).unwrap();
    told(dir, 0, &["baseline", "lint", "policy.toml"]);
    told(dir, 1, &["baseline", "lint", "policy.toml", "--deny-warnings"]);
}

#[test]
fn what_cannot_be_read_is_told_with_its_place() {
    let dir = folder();
    let dir = dir.path();
    told(dir, 0, &["baseline", "learn", "--log", "boot.bin", "-o", "a.json"]);
    let check = |log, baseline| refused(dir, &["baseline", "check", "--log", log, "--baseline", baseline]);
    std::fs::write(dir.join("zero.bin"), [0; 64]).unwrap();
    std::fs::write(dir.join("newer.toml"), "schema = \"veriboot-baseline/3\"\n").unwrap();
    std::fs::write(dir.join("wrong.toml"), "schema = \"veriboot-baseline/2\"\nbank = \"sha256\"\nrule = 1\n")
        .unwrap();
    std::fs::write(dir.join("cut.json"), "{\"schema\": ").unwrap();
    assert_eq!(check("absent.bin", "a.json"), "cannot-read");
    assert_eq!(check("zero.bin", "a.json"), "log-only-padding");
    assert_eq!(check("boot.bin", "absent.json"), "cannot-read");
    assert_eq!(check("boot.bin", "newer.toml"), "baseline-schema-unknown");
    assert_eq!(check("boot.bin", "wrong.toml"), "baseline-malformed");
    assert_eq!(check("boot.bin", "cut.json"), "baseline-malformed");
    assert_eq!(check("boot.bin", "boot.bin"), "baseline-malformed");
    let profile = ["baseline", "check", "--log", "boot.bin", "--baseline", "a.json", "--profile", "strict"];
    assert_eq!(refused(dir, &profile), "profile-unknown");
    std::fs::write(dir.join("profile.toml"), "name = \"x\"\n").unwrap();
    let profile =
        ["baseline", "check", "--log", "boot.bin", "--baseline", "a.json", "--profile", "profile.toml"];
    assert_eq!(refused(dir, &profile), "profile-malformed");
    let learn = ["baseline", "learn", "--log", "boot.bin", "--bank", "sha512", "-o", "x.json"];
    assert_eq!(refused(dir, &learn), "bank-not-measured");
    assert_eq!(refused(dir, &["baseline", "learn", "--log", "boot.bin", "--json"]), "output-missing");
    let said = text(&veriboot(dir, &["baseline", "lint", "wrong.toml"]).stderr);
    assert!(said.contains("line 3") && said.contains("hint: "), "{said}");
}

#[test]
fn rules_are_told_in_words() {
    let dir = folder();
    let dir = dir.path();
    let text = r#"
schema = "veriboot-baseline/2"
bank = "sha256"
unlisted = "note"

[[rules]]
component = "kernel"
description = "of the November update"
digests = ["459f55861ba14b72e5bde86809e513acc94229e133da23fc86c24af4adc9ca66"]

[[rules]]
component = "shim"
authorities = [{ sha256 = "48e99b991f57fc52f76149599bff0a58c47154229b9f8d603ac40d3500248507", subject = "Microsoft Corporation UEFI CA 2011" }]

[[rules]]
component = "sbat-level"
minimum = { level = 2023012900, generations = { shim = 2 } }

[[rules]]
component = "revocation-db"
minimum = { entries = 77 }

[[rules]]
component = "kernel-command-line"
parameters = { required = ["ro"], forbidden = ["init=*", "rd.break"], forbid_dangerous = true }

[[rules]]
component = "secure-boot-state"
state = { secure-boot = "on" }

[[rules]]
component = "boot-entry"
any = ["*"]
"#;
    std::fs::write(dir.join("rules.toml"), text).unwrap();
    insta::assert_snapshot!(told(dir, 0, &["baseline", "lint", "rules.toml"]));
}
