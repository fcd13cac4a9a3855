//! Which QEMU accelerator works here.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use super::process::Guard;

/// Longest time that OVMF under working KVM takes to its boot menu, with room.
const PROBE_LIMIT: Duration = Duration::from_secs(12);

/// A QEMU accelerator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accel {
    /// Hardware virtualization.
    Kvm,
    /// Emulation; works everywhere.
    Tcg,
}

impl std::fmt::Display for Accel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Kvm => "KVM",
            Self::Tcg => "TCG emulation",
        })
    }
}

impl Accel {
    /// Arguments that choose the accelerator and the CPU.
    pub(super) fn args(self) -> [&'static str; 4] {
        match self {
            Self::Kvm => ["-accel", "kvm", "-cpu", "host"],
            Self::Tcg => ["-accel", "tcg", "-cpu", "max"],
        }
    }

    /// Reads `VERIBOOT_ACCEL`, or finds out by running firmware: a present `/dev/kvm` proves nothing on
    /// machines that are virtual themselves.
    pub(super) fn detect(firmware_code: &Path, firmware_vars: &Path) -> Result<(Self, String)> {
        match std::env::var("VERIBOOT_ACCEL").as_deref() {
            Ok("kvm") => return Ok((Self::Kvm, "VERIBOOT_ACCEL says so".to_owned())),
            Ok("tcg") => return Ok((Self::Tcg, "VERIBOOT_ACCEL says so".to_owned())),
            Ok("") | Err(_) => {}
            Ok(other) => bail!("VERIBOOT_ACCEL is {other:?}; it can be `kvm` or `tcg`"),
        }
        if fs::OpenOptions::new().read(true).write(true).open("/dev/kvm").is_err() {
            return Ok((Self::Tcg, "/dev/kvm cannot be used".to_owned()));
        }
        Ok(match probe(firmware_code, firmware_vars)? {
            None => (Self::Kvm, "firmware runs under KVM".to_owned()),
            Some(why) => (Self::Tcg, format!("KVM does not run our firmware: {why}")),
        })
    }
}

/// Runs the firmware without a disk under KVM. `None` when it reaches its boot menu, else why not.
fn probe(firmware_code: &Path, firmware_vars: &Path) -> Result<Option<String>> {
    let folder = tempfile::tempdir()?;
    let vars = folder.path().join("vars.fd");
    fs::copy(firmware_vars, &vars)?;
    let serial = folder.path().join("serial.log");
    let log = folder.path().join("qemu.log");
    let mut qemu = Guard::start(
        Command::new("qemu-system-x86_64")
            .args(Accel::Kvm.args())
            .args(["-M", "q35,smm=on", "-global", "driver=cfi.pflash01,property=secure,value=on"])
            .args(["-m", "256", "-nodefaults", "-display", "none", "-no-reboot"])
            .arg("-drive")
            .arg(format!("if=pflash,format=raw,unit=0,readonly=on,file={}", firmware_code.display()))
            .arg("-drive")
            .arg(format!("if=pflash,format=raw,unit=1,file={}", vars.display()))
            .arg("-serial")
            .arg(format!("file:{}", serial.display())),
        &log,
    )?;
    let start = Instant::now();
    while start.elapsed() < PROBE_LIMIT {
        if String::from_utf8_lossy(&fs::read(&serial).unwrap_or_default()).contains("BdsDxe") {
            return Ok(None);
        }
        // Under working KVM QEMU is silent; an emulation failure leaves it paused with a register dump.
        let said = fs::read_to_string(&log).unwrap_or_default();
        let ended = qemu.ended()?.is_some();
        if ended || said.contains("KVM internal error") || said.contains("DR6=") {
            let first = said.lines().find(|line| !line.contains("warning:")).unwrap_or("it ended at once");
            return Ok(Some(first.chars().filter(|c| !c.is_control()).take(120).collect()));
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(Some(format!("no boot menu after {} s", PROBE_LIMIT.as_secs())))
}
