//! Builds the binaries that demo, capture and machine tests run.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

/// Target of the static agent. Naming it keeps the flags away from build scripts.
const TARGET: &str = "x86_64-unknown-linux-gnu";

/// Builds everything.
pub fn all() -> Result<()> {
    let root = crate::root()?;
    let say = |what: &str| println!("building {what}");
    service(&root, &say)?;
    agent(&root, &say)?;
    Ok(())
}

/// Builds the static agent and gives its path.
pub fn agent(root: &Path, say: &dyn Fn(&str)) -> Result<PathBuf> {
    say("static agent and TPM interposer");
    cargo(
        root,
        &[
            "build",
            "--profile",
            "agent",
            "--target",
            TARGET,
            "-p",
            "veriboot-agent",
            "-p",
            "veriboot-interposer",
            "--bins",
        ],
        Some("-C target-feature=+crt-static"),
    )?;
    Ok(target(root).join(TARGET).join("agent/veriboot-agent"))
}

/// The TPM interposer that was built with this agent.
pub fn interposer(agent: &Path) -> PathBuf {
    agent.with_file_name("veriboot-tpm-interposer")
}

/// Builds the service and CLI and gives the path of the binary.
pub fn service(root: &Path, say: &dyn Fn(&str)) -> Result<PathBuf> {
    say("service and CLI");
    cargo(root, &["build", "--release", "-p", "veriboot", "--bins"], None)?;
    Ok(target(root).join("release/veriboot"))
}

fn target(root: &Path) -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from)
}

fn cargo(root: &Path, arguments: &[&str], flags: Option<&str>) -> Result<()> {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(arguments).current_dir(root).stdin(Stdio::null());
    // What `cargo run` sets for us must not make this build differ from one started by hand.
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("CARGO_PKG_") || name == "CARGO_MANIFEST_DIR" {
            command.env_remove(name);
        }
    }
    if let Some(flags) = flags {
        command.env("RUSTFLAGS", flags);
    }
    let status = command.status().context("cannot start cargo")?;
    if !status.success() {
        bail!("`cargo {}` failed", arguments.join(" "));
    }
    Ok(())
}
