//! `scripts/packages.sh` on a machine that has nothing: a PATH with a package manager that installs nothing.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// A folder to stand for PATH, with `apt-get` as told and an `id` that is root.
fn machine(name: &str, apt_get: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).unwrap();
    for (program, text) in [("apt-get", apt_get), ("id", "echo 0")] {
        let path = folder.join(program);
        fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    folder
}

fn packages(path: &Path, groups: &[&str]) -> Output {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/packages.sh");
    Command::new("/bin/sh").arg(script).args(groups).env_clear().env("PATH", path).output().unwrap()
}

fn asked_for(path: &Path) -> Vec<Vec<String>> {
    let asked = fs::read_to_string(path.join("asked")).unwrap();
    asked
        .lines()
        .filter(|line| line.starts_with("install"))
        .map(|line| {
            line.split(' ').skip(1).filter(|word| !word.starts_with('-')).map(str::to_owned).collect()
        })
        .collect()
}

#[test]
fn a_package_of_two_groups_is_installed_once_and_none_is_left_out() {
    let path = machine("nothing", "echo \"$@\" >>\"${0%/*}/asked\"");
    let output = packages(&path, &["build", "demo", "test"]);
    let asked = asked_for(&path);
    assert_eq!(asked.len(), 2, "{output:?}");
    for package in ["build-essential", "qemu-system-x86", "mtools", "qemu-utils", "postgresql"] {
        let times = asked[0].iter().filter(|word| *word == package).count();
        // The server's programs are looked for where Debian puts them, whatever PATH is.
        let there = package == "postgresql" && Path::new("/usr/lib/postgresql").exists();
        assert!(times == 1 || there && times <= 1, "{package} {times} times in {asked:?}");
    }
    assert_eq!(output.status.code(), Some(1));
    assert!(
        String::from_utf8_lossy(&output.stderr)
            .contains("still missing after they were installed: build-essential")
    );
}

#[test]
fn what_the_installation_of_another_removed_is_installed_again() {
    let path = machine(
        "removes",
        "folder=${0%/*}\necho \"$@\" >>\"$folder/asked\"\n\
         [ \"$1\" = install ] || exit 0\n\
         [ ! -e \"$folder/before\" ] || { echo '#!/bin/sh' >\"$folder/cc\"; /bin/chmod +x \"$folder/cc\"; }\n\
         : >\"$folder/before\"",
    );
    let output = packages(&path, &["build"]);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(asked_for(&path), [["build-essential"], ["build-essential"]]);
}
