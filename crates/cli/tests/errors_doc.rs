//! Every error code of the CLI stands in docs/cli.md, and docs/cli.md explains no other.
#![allow(clippy::unwrap_used, clippy::string_slice, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Enums of other crates whose codes the CLI passes on as its own, with the beginning of those codes.
const PASSED_ON: [(&str, &str, &str); 17] = [
    ("../appraisal/src/baseline/read.rs", "Self::", "baseline-"),
    ("../appraisal/src/baseline/learn.rs", "Self::", ""),
    ("../appraisal/src/profile/read.rs", "Self::", "profile-"),
    ("../appraisal/src/envelope.rs", "Self::", ""),
    ("../predict/src/archive/mod.rs", "Self::", ""),
    ("../predict/src/disk/mod.rs", "Self::", ""),
    ("../predict/src/engine.rs", "Self::", ""),
    ("../predict/src/input.rs", "InputReason::", ""),
    ("../predict/src/loader_entry.rs", "Self::", ""),
    ("../predict/src/pe/mod.rs", "Self::", ""),
    ("../policy/src/document.rs", "Self::", "policy-"),
    ("../inventory/src/error.rs", "Self::", "inventory-"),
    ("../service/src/inventory/files.rs", "Self::", "inventory-"),
    ("../eventlog/src/structure_error.rs", "StructureReason::", "log-"),
    ("../eventlog/src/ima/list.rs", "ImaReason::", "ima-"),
    ("../eventlog/src/userspace/record.rs", "RecordReason::", "record"),
    ("../tpm/src/certificate.rs", "Self::", "certificate-"),
];
/// The three faults of a key that make a bundle unreadable; the others are findings.
const KEY_FORMS: [&str; 3] = ["ak-malformed", "ak-certificate-malformed", "ak-form-unknown"];

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

fn is_code(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

#[test]
fn every_code_is_explained() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    sources(&root.join("src"), &mut files);
    let mut codes: BTreeSet<String> = KEY_FORMS.map(str::to_owned).into();
    for file in files {
        let source = std::fs::read_to_string(file).unwrap();
        for call in ["CliError::usage(", "CliError::unreachable(", "CliError::unreadable("] {
            for rest in source.split(call).skip(1) {
                let argument = rest.trim_start();
                if let Some(literal) = argument.strip_prefix('"') {
                    codes.insert(literal.split('"').next().unwrap().to_owned());
                } else {
                    assert!(
                        ["error.code()", "e.code()"].iter().any(|known| argument.starts_with(known)),
                        "a code that this test cannot see: {}",
                        argument.lines().next().unwrap()
                    );
                }
            }
        }
    }
    assert!(codes.len() > 20, "{codes:?}");
    for (file, name, beginning) in PASSED_ON {
        let source = std::fs::read_to_string(root.join(file)).unwrap();
        let before = codes.len();
        for (variant, rest) in source.lines().filter_map(|line| line.split_once(" => \"")) {
            let word = rest.split('"').next().unwrap();
            if variant.contains(name) && word.starts_with(beginning) && is_code(word) {
                codes.insert(word.to_owned());
            }
        }
        assert!(codes.len() > before, "no code in {file}");
    }
    let document = std::fs::read_to_string(root.join("../../docs/cli.md")).unwrap();
    let (_, errors) = document.split_once("## Errors").unwrap();
    let (errors, _) = errors.split_once("## JSON").unwrap();
    let explained: BTreeSet<String> = errors
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split(" |").next())
        .flat_map(|cell| cell.split(['`', ',', ' ']))
        .filter(|word| is_code(word))
        .map(str::to_owned)
        .collect();
    assert_eq!(codes, explained);
}
