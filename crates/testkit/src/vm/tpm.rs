//! The TPM of one machine: swtpm in the mode that QEMU's `-tpmdev emulator` speaks.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use super::process::{self, Guard};
use crate::swtpm::Swtpm;

/// A running TPM that waits for QEMU on a socket.
#[derive(Debug)]
pub(super) struct Tpm {
    process: Guard,
    socket: PathBuf,
    // A socket path is short (sun_path), wherever the machine's folder is.
    _folder: tempfile::TempDir,
}

impl Tpm {
    /// Starts swtpm on existing state. It ends when QEMU goes.
    pub(super) fn start(state: &Path, log: &Path) -> Result<Self> {
        Self::start_with(state, log, &["--terminate"])
    }

    /// Starts swtpm on existing state. It stays when QEMU is ended from outside.
    pub(super) fn start_kept(state: &Path, log: &Path) -> Result<Self> {
        Self::start_with(state, log, &[])
    }

    fn start_with(state: &Path, log: &Path, flags: &[&str]) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let socket = folder.path().join("tpm");
        let mut process = Guard::start(
            Command::new("swtpm")
                .args(["socket", "--tpm2"])
                .args(flags)
                .arg("--tpmstate")
                .arg(format!("dir={}", state.display()))
                .arg("--ctrl")
                .arg(format!("type=unixio,path={}", socket.display())),
            log,
        )?;
        let start = Instant::now();
        while !socket.exists() {
            if process.ended()?.is_some() || start.elapsed() > Duration::from_secs(10) {
                bail!("swtpm does not start:\n{}", process::tail_of(log));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(Self { process, socket, _folder: folder })
    }

    /// Where QEMU connects.
    pub(super) fn socket(&self) -> &Path {
        &self.socket
    }

    /// Saves what the TPM knows, its PCRs as well, ends it, and goes on with a TPM that the host can talk to.
    pub(super) fn resume(self, state: &Path) -> Result<Swtpm> {
        process::output(Command::new("swtpm_ioctl").arg("--unix").arg(&self.socket).arg("-v"))?;
        drop(self);
        Swtpm::resume(state)
    }

    /// Waits until the TPM has saved its state and ended, after QEMU has gone.
    pub(super) fn finish(mut self) -> Result<()> {
        match self.process.wait(Duration::from_secs(10))? {
            Some(_) => Ok(()),
            None => bail!("swtpm {} does not end", self.process.id()),
        }
    }
}
