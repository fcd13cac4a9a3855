//! Firmware code and variable stores.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};
use serde_json::json;

use super::lab::Lab;
use super::packages::Package;
use super::process;

/// Owner GUID of the certificates that the lab enrols.
const OWNER: &str = "7665726a-626f-6f74-6c61-620000000001";
/// Owner GUID of what Microsoft enrols.
const MICROSOFT: &str = "77fa9abd-0359-4d32-bd60-28f4e78f784b";

/// What is changed in a variable store from outside, with virt-fw-vars. Edits of one call are not done in order:
/// deletions come first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VarsEdit {
    /// Adds a certificate (PEM) to the machine owner keys.
    EnrollMok(PathBuf),
    /// Adds a certificate (PEM) to db.
    EnrollDb(PathBuf),
    /// Adds a certificate (PEM) to KEK.
    EnrollKek(PathBuf),
    /// Makes a certificate (PEM) the platform key, the only one.
    ReplacePlatformKey(PathBuf),
    /// Adds Microsoft's certificates of 2023 to KEK (KEK CA) and db (UEFI CA, Windows UEFI CA).
    EnrollMicrosoft2023,
    /// Adds a SHA-256 digest (hex) of an image to dbx.
    RevokeHash(String),
    /// Removes a variable.
    Delete(&'static str),
    /// Switches Secure Boot off or on, keys stay.
    SecureBoot(bool),
    /// Sets the SBAT level that shim enforces and measures.
    SbatLevel(String),
    /// Adds a boot entry for a file, and puts it at the end of the boot order.
    AppendBootEntry(String),
    /// Sets a variable.
    Set {
        /// Name.
        name: &'static str,
        /// Vendor GUID.
        guid: &'static str,
        /// Attributes (UEFI 2.10, section 8.2).
        attributes: u32,
        /// Content.
        data: Vec<u8>,
    },
}

/// Firmware code with System Management Mode and Secure Boot support.
pub(super) fn code(ovmf: &Package) -> Result<PathBuf> {
    ovmf.path("usr/share/OVMF/OVMF_CODE_4M.secboot.fd")
}

/// A new variable store: with Microsoft's keys and Secure Boot on, or empty and in setup mode.
pub(super) fn write_vars(lab: &Lab, target: &Path, secure_boot: bool) -> Result<()> {
    let template = if secure_boot { "OVMF_VARS_4M.ms.fd" } else { "OVMF_VARS_4M.fd" };
    fs::copy(lab.ovmf.path(&format!("usr/share/OVMF/{template}"))?, target)?;
    Ok(())
}

/// Changes a variable store.
pub(super) fn edit_vars(lab: &Lab, store: &Path, edits: &[VarsEdit]) -> Result<()> {
    if edits.is_empty() {
        return Ok(());
    }
    let tool = virt_firmware(lab)?;
    let certificates = tool.join("virt/firmware/certs/microsoft.com");
    let folder = tempfile::tempdir()?;
    let mut command = Command::new("python3");
    command
        .env("PYTHONPATH", &tool)
        .args(["-c", "import sys; from virt.firmware.vars import main; sys.exit(main())"])
        .arg("--inplace")
        .arg(store);
    let mut variables = Vec::new();
    for edit in edits {
        match edit {
            VarsEdit::EnrollMok(certificate) => command.args(["--add-mok", OWNER]).arg(certificate),
            VarsEdit::EnrollDb(certificate) => command.args(["--add-db", OWNER]).arg(certificate),
            VarsEdit::EnrollKek(certificate) => command.args(["--add-kek", OWNER]).arg(certificate),
            VarsEdit::ReplacePlatformKey(certificate) => command.args(["--set-pk", OWNER]).arg(certificate),
            VarsEdit::EnrollMicrosoft2023 => {
                command.args(["--add-kek", MICROSOFT]).arg(certificates.join("ms-kek-2023.pem"));
                command.args(["--add-db", MICROSOFT]).arg(certificates.join("windows-2023.pem"));
                command.args(["--add-db", MICROSOFT]).arg(certificates.join("ms-uefi-2023.pem"))
            }
            VarsEdit::RevokeHash(digest) => command.args(["--add-dbx-hash", MICROSOFT, digest]),
            VarsEdit::Delete(name) => command.args(["--delete", name]),
            VarsEdit::SecureBoot(true) => command.args(["--set-true", "SecureBootEnable"]),
            VarsEdit::SecureBoot(false) => command.args(["--set-false", "SecureBootEnable"]),
            VarsEdit::SbatLevel(text) => {
                let file = folder.path().join("sbat-level.csv");
                fs::write(&file, text)?;
                command.arg("--set-sbat-level").arg(file)
            }
            VarsEdit::AppendBootEntry(path) => command.args(["--append-boot-filepath", path]),
            VarsEdit::Set { name, guid, attributes, data } => {
                variables
                    .push(json!({"name": name, "guid": guid, "attr": attributes, "data": hex::encode(data)}));
                &mut command
            }
        };
    }
    if !variables.is_empty() {
        let file = folder.path().join("variables.json");
        fs::write(&file, serde_json::to_vec(&json!({"version": 2, "variables": variables}))?)?;
        command.arg("--set-json").arg(file);
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

/// Authenticode SHA-256 digest of an EFI image in hex, by virt-firmware: what firmware measures and dbx revokes.
pub fn authenticode_of(lab: &Lab, image: &Path) -> Result<String> {
    const SCRIPT: &str = "import sys, pefile; from virt.peutils.pesign import pe_authenticode_hash; \
                          print(pe_authenticode_hash(pefile.PE(sys.argv[1])).hex())";
    let text = process::output(
        Command::new("python3").env("PYTHONPATH", virt_firmware(lab)?).args(["-c", SCRIPT]).arg(image),
    )
    .with_context(|| format!("cannot compute the digest of {}", image.display()))?;
    Ok(String::from_utf8_lossy(&text).trim().to_owned())
}
