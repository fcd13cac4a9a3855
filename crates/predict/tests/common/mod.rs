//! Real files of the lab, where they are there.
#![allow(dead_code)]

use std::path::{Path, PathBuf};

/// Root of the repository.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Paths below the lab's packages that match, sorted. Empty, and said so, where the lab was never used here.
pub fn lab_files(folder: &str, part: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![root().join(".cache/lab/packages").join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() && !path.is_symlink() {
                folders.push(path);
            } else if path.to_string_lossy().contains(part) && !path.to_string_lossy().ends_with(".gz") {
                found.push(path);
            }
        }
    }
    if found.is_empty() {
        println!("skipped: no {part} in {folder} of the lab; `cargo xtask boot` fetches it");
    }
    found.sort();
    found
}

/// What a program prints; `None`, and said so, where it is not installed.
pub fn output(program: &str, args: &[&str]) -> Option<String> {
    match std::process::Command::new(program).args(args).output() {
        Ok(output) => Some(
            String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr),
        ),
        Err(_) => {
            println!("skipped: {program} is not installed");
            None
        }
    }
}
