//! `veriboot baseline predict` on real logs: exit codes, what people and programs are told.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test fails by panicking")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

fn veriboot(dir: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_veriboot"))
        .args(args)
        .current_dir(dir)
        .env("COLUMNS", "140")
        .env("VERIBOOT_CLI_CONFIG", dir.join("none.toml"))
        .env_remove("VERIBOOT_SERVER")
        .output()
        .unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn run(dir: &Path, exit: i32, args: &[&str]) -> (String, String) {
    let out = veriboot(dir, args);
    let (said, errors) = (text(&out.stdout), text(&out.stderr));
    assert_eq!(out.status.code(), Some(exit), "{args:?}: {said}{errors}");
    (said, errors)
}

/// A folder with a baseline, and the GRUB configuration that a machine of the corpus booted with later.
fn folder() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let corpus = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../testkit/corpus");
    for (name, variant) in [("before.bin", "secure-boot"), ("after.bin", "cmdline")] {
        std::fs::copy(corpus.join(variant).join("eventlog.bin"), dir.path().join(name)).unwrap();
    }
    let meta: Value =
        serde_json::from_slice(&std::fs::read(corpus.join("cmdline/meta.json")).unwrap()).unwrap();
    let config = format!(
        "serial --unit=0\nterminal_output serial\nset timeout=0\nlinuxefi /vmlinuz {}\ninitrdefi /initrd.img\nboot\n",
        meta["cmdline"].as_str().unwrap()
    );
    std::fs::write(dir.path().join("grub.cfg"), config).unwrap();
    run(dir.path(), 0, &["baseline", "learn", "--log", "before.bin", "-o", "base.json"]);
    dir
}

#[test]
fn the_predicted_boot_is_accepted() {
    let dir = folder();
    let (dir, check) = (dir.path(), ["baseline", "check", "--log", "after.bin", "--baseline"]);
    run(dir, 1, &[&check[..], &["base.json"]].concat());
    let predict = ["baseline", "predict", "--baseline", "base.json", "--grub-cfg", "grub.cfg"];
    let (said, _) = run(dir, 0, &[&predict[..], &["-o", "next.json"]].concat());
    for words in ["changed", "grub.cfg", "kernel command line", "init=/bin/sh", "Written to next.json"] {
        assert!(said.contains(words), "{words}: {said}");
    }
    run(dir, 0, &[&check[..], &["next.json"]].concat());
    run(dir, 0, &["baseline", "check", "--log", "before.bin", "--baseline", "next.json"]);
    run(dir, 0, &["baseline", "lint", "next.json"]);
    // As TOML, and for programs.
    let (said, _) = run(dir, 0, &[&predict[..], &["-o", "next.toml", "--json"]].concat());
    run(dir, 0, &[&check[..], &["next.toml"]].concat());
    let said: Value = serde_json::from_str(&said).unwrap();
    assert_eq!(said["complete"], true);
    assert_eq!(said["output"], "next.toml");
    assert_eq!(said["from"][0]["file"], "grub.cfg");
    let changed: Vec<&Value> =
        said["measurements"].as_array().unwrap().iter().filter(|row| row["change"] == "changed").collect();
    assert_eq!(changed.len(), 3, "configuration, linux command, command line: {changed:?}");
}

#[test]
fn what_is_not_predicted_is_said() {
    let dir = folder();
    let predict = ["baseline", "predict", "--baseline", "base.json", "--cmdline", "quiet"];
    let (said, _) = run(dir.path(), 1, &predict);
    assert!(said.contains("Not predicted:") && said.contains("grub-config-missing"), "{said}");
    let (said, _) = run(dir.path(), 1, &[&predict[..], &["--json"]].concat());
    let said: Value = serde_json::from_str(&said).unwrap();
    assert_eq!(said["complete"], false);
    assert_eq!(said["unpredicted"][0]["code"], "grub-config-missing");
}

#[test]
fn files_that_cannot_be_used_are_named() {
    let dir = folder();
    let cases: [(&[&str], &str); 8] = [
        (&[], "nothing-given"),
        (&["--deb", "grub.cfg"], "not-a-package"),
        (&["--rpm", "grub.cfg"], "not-a-package"),
        (&["--efi", "grub.cfg"], "not-an-efi-image"),
        (&["--disk", "grub.cfg"], "disk-without-file-system"),
        (&["--loader-entry", "grub.cfg"], "loader-entry-malformed"),
        (&["--initrd", "grub.cfg", "--certificate", "grub.cfg"], "not-a-certificate"),
        (&["--kernel", "absent"], "cannot-read"),
    ];
    for (args, code) in cases {
        let (_, errors) =
            run(dir.path(), 2, &[&["baseline", "predict", "--baseline", "base.json"], args].concat());
        assert!(errors.contains(&format!("[{code}]")), "{args:?}: {errors}");
        assert!(code == "nothing-given" || errors.contains(args[1]) || code == "cannot-read", "{errors}");
    }
    let (_, errors) = run(
        dir.path(),
        2,
        &["baseline", "predict", "--baseline", "base.json", "--initrd", "grub.cfg", "-o", "-", "--json"],
    );
    assert!(errors.contains("[output-missing]"), "{errors}");
}
