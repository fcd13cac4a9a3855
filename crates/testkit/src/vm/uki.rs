//! Builds unified kernel images: kernel, initrd and command line as sections of one signed EFI binary.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use super::process;

/// Free address space between two sections.
const ALIGN: u64 = 0x1000;

/// What goes into a UKI.
#[derive(Clone, Debug)]
pub struct UkiParts {
    /// EFI stub of systemd-boot.
    pub stub: PathBuf,
    /// Kernel image.
    pub kernel: PathBuf,
    /// Initramfs.
    pub initrd: PathBuf,
    /// Kernel command line.
    pub cmdline: String,
    /// Content of `.osrel`.
    pub os_release: String,
    /// Content of `.uname`.
    pub uname: String,
}

/// A key that signs EFI binaries, made when it is needed.
#[derive(Clone, Debug)]
pub struct SigningKey {
    /// Private key, PEM.
    pub key: PathBuf,
    /// Self-signed certificate, PEM.
    pub certificate: PathBuf,
}

impl SigningKey {
    /// Makes a key in this folder, or gives the one that is there.
    pub fn in_folder(folder: &Path, common_name: &str) -> Result<Self> {
        fs::create_dir_all(folder)?;
        let key = Self { key: folder.join("signing.key"), certificate: folder.join("signing.pem") };
        if !key.certificate.exists() {
            process::output(
                Command::new("openssl")
                    .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "3650", "-subj"])
                    .arg(format!("/CN={common_name}"))
                    .args(["-addext", "extendedKeyUsage=codeSigning", "-keyout"])
                    .arg(&key.key)
                    .arg("-out")
                    .arg(&key.certificate),
            )?;
        }
        Ok(key)
    }

    /// Signs an EFI binary.
    pub fn sign(&self, binary: &Path, target: &Path) -> Result<()> {
        process::output(
            Command::new("sbsign")
                .arg("--key")
                .arg(&self.key)
                .arg("--cert")
                .arg(&self.certificate)
                .arg("--output")
                .arg(target)
                .arg(binary),
        )
        .context("cannot sign (package sbsigntool)")?;
        Ok(())
    }
}

/// Writes the UKI, unsigned.
pub fn build_uki(parts: &UkiParts, target: &Path) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let mut at = end_of_sections(&parts.stub)?.next_multiple_of(ALIGN);
    let mut command = Command::new("objcopy");
    let texts = [
        (".osrel", parts.os_release.clone()),
        (".cmdline", parts.cmdline.clone()),
        (".uname", parts.uname.clone()),
    ];
    let mut sections = Vec::new();
    for (name, text) in texts {
        let path = folder.path().join(name);
        fs::write(&path, text)?;
        sections.push((name, path));
    }
    sections.push((".initrd", parts.initrd.clone()));
    sections.push((".linux", parts.kernel.clone()));
    for (name, path) in sections {
        command
            .arg("--add-section")
            .arg(format!("{name}={}", path.display()))
            .arg("--change-section-vma")
            .arg(format!("{name}={at:#x}"));
        let bytes = fs::metadata(&path).with_context(|| format!("cannot read {}", path.display()))?.len();
        at = (at + bytes).next_multiple_of(ALIGN);
    }
    process::output(command.arg(&parts.stub).arg(target)).context("cannot build a UKI (package binutils)")?;
    Ok(())
}

/// First address behind the last section of a PE file, as objdump sees it.
fn end_of_sections(binary: &Path) -> Result<u64> {
    let text = process::output(Command::new("objdump").arg("-h").arg(binary))?;
    let text = String::from_utf8_lossy(&text);
    // Idx Name Size VMA LMA File-off Algn
    let end = text
        .lines()
        .filter_map(|line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            words.first()?.parse::<u32>().ok()?;
            let size = u64::from_str_radix(words.get(2)?, 16).ok()?;
            let address = u64::from_str_radix(words.get(3)?, 16).ok()?;
            Some(address + size)
        })
        .max();
    match end {
        Some(end) => Ok(end),
        None => bail!("objdump shows no sections in {}", binary.display()),
    }
}
