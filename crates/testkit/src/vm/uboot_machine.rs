//! A machine with U-Boot: its disk, its TPM and its one boot.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use super::disk::DiskPlan;
use super::job::Job;
use super::machine::comma_safe;
use super::process::{self, Guard};
use super::report::Report;
use super::tpm::Tpm;
use crate::swtpm::{self, Swtpm, SwtpmOptions};

/// A machine that boots once.
#[derive(Debug)]
pub struct UBootMachine {
    folder: PathBuf,
    firmware: PathBuf,
}

impl UBootMachine {
    /// Makes the machine in this folder: new disk, new TPM with these banks.
    pub fn make(folder: &Path, firmware: &Path, disk: &DiskPlan, banks: &[&str]) -> Result<Self> {
        if folder.exists() {
            fs::remove_dir_all(folder)?;
        }
        fs::create_dir_all(folder)?;
        let machine = Self { folder: folder.to_owned(), firmware: firmware.to_owned() };
        disk.write(&machine.disk())?;
        let options = SwtpmOptions::default().banks(banks).with_ek_certificate();
        swtpm::manufacture(&machine.tpm(), &options)?;
        Ok(machine)
    }

    /// Boots and waits until the job is done. The machine is stopped then, not switched off: its TPM is given with the
    /// PCRs that the boot left.
    pub fn run(&self, job: &Job, limit: Duration) -> Result<(Report, Swtpm)> {
        let job = job.clone().line("report done").line("while :; do sleep 60; done");
        let (job_file, report, console) =
            (self.folder.join("job.sh"), self.folder.join("report.log"), self.folder.join("console.log"));
        fs::write(&job_file, job.script())?;
        let tpm = Tpm::start_kept(&self.tpm(), &self.folder.join("swtpm.log"))?;
        let mut command = Command::new("qemu-system-aarch64");
        command
            .args(["-M", "virt", "-cpu", "cortex-a57", "-accel", "tcg", "-m", "512", "-smp", "1"])
            .args(["-nodefaults", "-display", "none", "-no-reboot", "-rtc", "base=utc", "-bios"])
            .arg(&self.firmware)
            .arg("-drive")
            .arg(format!("if=none,id=disk,cache=unsafe,format=raw,file={}", comma_safe(&self.disk())))
            .args(["-device", "virtio-blk-pci,drive=disk"])
            .arg("-chardev")
            .arg(format!("socket,id=tpm,path={}", comma_safe(tpm.socket())))
            .args(["-tpmdev", "emulator,id=tpm0,chardev=tpm", "-device", "tpm-tis-device,tpmdev=tpm0"])
            .arg("-fw_cfg")
            .arg(format!("name=opt/veriboot/job,file={}", comma_safe(&job_file)))
            .arg("-serial")
            .arg(format!("file:{}", console.display()))
            // Of the two serial ports on PCI the second takes the report, as on other machines.
            .args(["-chardev", "null,id=first", "-device", "pci-serial,chardev=first", "-chardev"])
            .arg(format!("file,id=report,path={}", comma_safe(&report)))
            .args(["-device", "pci-serial,chardev=report"]);
        let mut qemu = Guard::start(&mut command, &self.folder.join("qemu.log"))?;
        let started = Instant::now();
        loop {
            let now = Report::read_file(&report);
            if let Ok(now) = &now
                && now.done
            {
                let now = now.clone();
                // Ended from outside, QEMU cannot tell the TPM that the machine is switched off.
                drop(qemu);
                return Ok((now, tpm.resume(&self.tpm())?));
            }
            if qemu.wait(Duration::from_millis(200))?.is_some() || started.elapsed() >= limit {
                bail!(
                    "the machine with U-Boot did not do its job within {} s\nconsole ends with:\n{}\nQEMU says:\n{}",
                    started.elapsed().as_secs(),
                    process::tail_of(&console),
                    process::tail_of(&self.folder.join("qemu.log")),
                );
            }
        }
    }

    fn disk(&self) -> PathBuf {
        self.folder.join("disk.img")
    }

    fn tpm(&self) -> PathBuf {
        self.folder.join("tpm")
    }
}
