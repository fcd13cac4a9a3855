//! Firmware code and variable stores.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use super::lab::Lab;
use super::process;

/// Owner GUID of the certificates that the lab enrols.
const OWNER: &str = "7665726a-626f-6f74-6c61-620000000001";

/// What is changed in a variable store from outside, with virt-fw-vars.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VarsEdit {
    /// Adds a certificate (PEM) to the machine owner keys.
    EnrollMok(PathBuf),
    /// Adds a certificate (PEM) to db.
    EnrollDb(PathBuf),
}

/// Firmware code with System Management Mode and Secure Boot support.
pub(super) fn code(lab: &Lab) -> Result<PathBuf> {
    lab.ovmf.path("usr/share/OVMF/OVMF_CODE_4M.secboot.fd")
}

/// A new variable store: with Microsoft's keys and Secure Boot on, or empty and in setup mode.
pub(super) fn write_vars(lab: &Lab, target: &Path, secure_boot: bool, edits: &[VarsEdit]) -> Result<()> {
    let template = if secure_boot { "OVMF_VARS_4M.ms.fd" } else { "OVMF_VARS_4M.fd" };
    let template = lab.ovmf.path(&format!("usr/share/OVMF/{template}"))?;
    if edits.is_empty() {
        fs::copy(template, target)?;
        return Ok(());
    }
    let tool = virt_firmware(lab)?;
    let mut command = Command::new("python3");
    command
        .env("PYTHONPATH", &tool)
        .args(["-c", "import sys; from virt.firmware.vars import main; sys.exit(main())"])
        .arg("--input")
        .arg(template)
        .arg("--output")
        .arg(target);
    for edit in edits {
        let (flag, certificate) = match edit {
            VarsEdit::EnrollMok(certificate) => ("--add-mok", certificate),
            VarsEdit::EnrollDb(certificate) => ("--add-db", certificate),
        };
        command.args([flag, OWNER]).arg(certificate);
    }
    process::output(&mut command).context("cannot edit firmware variables")?;
    Ok(())
}

/// Folder with virt-firmware from PyPI, installed into the cache.
fn virt_firmware(lab: &Lab) -> Result<PathBuf> {
    let folder = lab.folder().join("virt-firmware");
    if !folder.join("virt").is_dir() {
        process::output(
            Command::new("python3")
                .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--target"])
                .arg(&folder)
                .arg("virt-firmware"),
        )
        .context("cannot install virt-firmware (needs python3 and pip)")?;
    }
    Ok(folder)
}
