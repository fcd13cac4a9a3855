//! `veriboot profile lint`: what the service would refuse or warn of is told before, without one.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test fails by panicking")]

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

fn lint(dir: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_veriboot"))
        .args(["profile", "lint"])
        .args(args)
        .current_dir(dir)
        .env("COLUMNS", "100")
        .env_remove("VERIBOOT_SERVER")
        .env_remove("VERIBOOT_TOKEN")
        .env("VERIBOOT_CLI_CONFIG", dir.join("none.toml"))
        .output()
        .unwrap()
}

fn told(dir: &Path, exit: i32, args: &[&str]) -> String {
    let out = lint(dir, args);
    let said = String::from_utf8_lossy(&out.stdout).into_owned();
    assert_eq!(out.status.code(), Some(exit), "{args:?}: {said}{}", String::from_utf8_lossy(&out.stderr));
    said
}

const HEAD: &str = "name = \"web\"\nsecure_boot = \"required\"\n";

#[test]
fn flaws_and_conditions_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    for (name, text) in [
        ("good.toml", String::new()),
        (
            "warned.toml",
            "[changes]\nkernel-update = { action = \"propose\", signed = false }\n".to_owned(),
        ),
        (
            "condition.toml",
            "[[conditions]]\nid = \"a\"\nexpression = \"no_such_thing == 1\"\nseverity = \"high\"\nmessage = \"x\"\n"
                .to_owned(),
        ),
        (
            "twice.toml",
            "[[conditions]]\nid = \"a\"\nexpression = \"true\"\nseverity = \"high\"\nmessage = \"x\"\n".repeat(2),
        ),
        ("wrong.toml", "no_such_member = 1\n".to_owned()),
    ] {
        std::fs::write(dir.join(name), format!("{HEAD}{text}")).unwrap();
    }
    assert!(told(dir, 0, &["good.toml"]).contains("nothing is wrong"));
    assert!(told(dir, 0, &["by-authority"]).contains("nothing is wrong"));
    let warned = told(dir, 0, &["warned.toml"]);
    assert!(warned.contains("change-proposed-unsigned") && warned.contains("hint: "), "{warned}");
    told(dir, 1, &["warned.toml", "--deny-warnings"]);
    let condition = told(dir, 1, &["condition.toml"]);
    assert!(condition.contains("cannot be used") && condition.contains("no_such_thing"), "{condition}");
    let twice: Value = serde_json::from_str(&told(dir, 1, &["twice.toml", "--json"])).unwrap();
    assert_eq!(twice["ok"], Value::Bool(false));
    assert!(
        twice["flaws"].as_array().unwrap().iter().any(|flaw| flaw["code"] == "condition-twice"),
        "{twice}"
    );
    told(dir, 2, &["wrong.toml"]);
    told(dir, 2, &["none.toml"]);
}
