//! The TPM of one machine: swtpm in the mode that QEMU's `-tpmdev emulator` speaks.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use super::process::{self, Guard};

/// Makes the state of a new TPM with an EK, its certificate from the lab's own CA, and the given PCR banks.
pub(super) fn manufacture(state: &Path, banks: &str, ca: &Path) -> Result<()> {
    fs::create_dir_all(state)?;
    process::output(
        Command::new("swtpm_setup")
            .args(["--tpm2", "--overwrite", "--create-ek-cert", "--create-platform-cert", "--lock-nvram"])
            .args(["--pcr-banks", banks])
            .arg("--tpmstate")
            .arg(state)
            .arg("--config")
            .arg(ca.join("swtpm_setup.conf")),
    )
    .context("cannot make a TPM")?;
    Ok(())
}

/// Writes the configuration of a local EK CA, which swtpm makes on first use. Works without root.
pub(super) fn prepare_ca(ca: &Path) -> Result<()> {
    fs::create_dir_all(ca)?;
    let folder = ca.display();
    let tool = ["/usr/bin/swtpm_localca", "/usr/lib/swtpm/swtpm_localca", "/usr/share/swtpm/swtpm-localca"]
        .into_iter()
        .find(|path| Path::new(path).exists())
        .context("swtpm_localca is not installed (package swtpm-tools)")?;
    let files = [
        (
            "swtpm_setup.conf",
            format!(
                "create_certs_tool={tool}\ncreate_certs_tool_config={folder}/localca.conf\n\
                 create_certs_tool_options={folder}/localca.options\n"
            ),
        ),
        (
            "localca.conf",
            format!(
                "statedir = {folder}\nsigningkey = {folder}/signkey.pem\nissuercert = {folder}/issuercert.pem\n\
                 certserial = {folder}/certserial\n"
            ),
        ),
        (
            "localca.options",
            "--platform-manufacturer Veriboot\n--platform-version 1\n--platform-model lab\n".to_owned(),
        ),
    ];
    for (name, content) in files {
        let path = ca.join(name);
        if fs::read_to_string(&path).ok().as_deref() != Some(content.as_str()) {
            fs::write(path, content)?;
        }
    }
    Ok(())
}

/// A running TPM that waits for QEMU on a socket.
#[derive(Debug)]
pub(super) struct Tpm {
    process: Guard,
    socket: PathBuf,
    // A socket path is short (sun_path), wherever the machine's folder is.
    _folder: tempfile::TempDir,
}

impl Tpm {
    /// Starts swtpm on existing state.
    pub(super) fn start(state: &Path, log: &Path) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let socket = folder.path().join("tpm");
        let mut process = Guard::start(
            Command::new("swtpm")
                .args(["socket", "--tpm2", "--terminate", "--tpmstate"])
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

    /// Waits until the TPM has saved its state and ended, after QEMU has gone.
    pub(super) fn finish(mut self) -> Result<()> {
        match self.process.wait(Duration::from_secs(10))? {
            Some(_) => Ok(()),
            None => bail!("swtpm {} does not end", self.process.id()),
        }
    }
}
