//! Builds the initramfs of lab machines: busybox, kernel modules, the init script and files of the caller.
//!
//! GRUB measures it into PCR 9, so the same input gives the same bytes.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use super::lab::Kernel;
use super::{cpio, process};

/// The init script.
pub const INIT: &str = include_str!("init.sh");

/// Kernel modules in the order in which they are loaded. Some are built into some kernels.
const MODULES: &[&str] = &[
    "virtio_ring",
    "virtio",
    "virtio_pci_legacy_dev",
    "virtio_pci_modern_dev",
    "virtio_pci",
    "failover",
    "net_failover",
    "virtio_net",
    "virtio_blk",
    "qemu_fw_cfg",
    "tpm",
    "tpm_tis_core",
    "tpm_crb",
];

/// What machines with a 64-bit Arm processor need beyond [`MODULES`].
pub(super) const ARM64_MODULES: &[&str] = &["tpm_tis"];

/// A file that the initramfs carries, executable for everybody.
#[derive(Clone, Debug)]
pub struct GuestFile {
    /// Path in the guest: `bin/veriboot-agent`.
    pub path: String,
    /// File on the host.
    pub source: PathBuf,
}

/// Writes the initramfs into `folder`, named by its content, and gives its path. `modules` are loaded after the usual
/// ones.
pub(super) fn build(
    folder: &Path,
    busybox: &Path,
    kernel: &Kernel,
    modules: &[&str],
    files: &[GuestFile],
    note: &str,
) -> Result<PathBuf> {
    let mut archive = cpio::Archive::default();
    let mut folders: BTreeSet<String> =
        ["bin", "dev", "etc", "lib", "lib/modules", "proc", "root", "run", "sys", "tmp", "var"]
            .into_iter()
            .map(str::to_owned)
            .collect();
    for file in files {
        for (at, _) in file.path.match_indices('/') {
            folders.extend(file.path.get(..at).map(str::to_owned));
        }
    }
    for folder in &folders {
        archive.directory(folder)?;
    }
    archive.file("init", 0o755, INIT.as_bytes())?;
    archive.file("bin/busybox", 0o755, &read(busybox)?)?;
    // Free text that makes an initramfs differ on purpose.
    archive.file("etc/note", 0o644, note.as_bytes())?;
    let mut order = String::new();
    for name in MODULES.iter().chain(modules) {
        if let Some(content) = kernel.module(name)? {
            archive.file(&format!("lib/modules/{name}.ko"), 0o644, &content)?;
            order.push_str(name);
            order.push_str(".ko\n");
        }
    }
    archive.file("lib/modules/order", 0o644, order.as_bytes())?;
    for file in files {
        archive.file(&file.path, 0o755, &read(&file.source)?)?;
    }
    fs::create_dir_all(folder)?;
    let mut plain = tempfile::NamedTempFile::new_in(folder)?;
    plain.write_all(&archive.finish()?)?;
    // -n leaves name and time out of the header.
    let packed = process::output(Command::new("gzip").args(["-n", "-c", "-6"]).arg(plain.path()))?;
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(&packed)?;
    let digest = super::lab::sha256_of(file.path())?;
    let target = folder.join(format!("initramfs-{digest}.img"));
    file.persist(&target)?;
    Ok(target)
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}
