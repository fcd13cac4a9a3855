//! One machine: its disk, firmware variables, TPM and state, and its boots.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use super::disk::{self, BootFile, BootSource, DiskPlan};
use super::firmware::{self, VarsEdit};
use super::job::Job;
use super::lab::Lab;
use super::process::{self, Guard};
use super::report::Report;
use super::tpm::Tpm;
use crate::swtpm::{self, SwtpmOptions};

/// Kernel command line of a machine that asks for nothing else. The console is the first serial port; a panic ends
/// the machine; the timer check takes an emulated machine on a busy host for a broken one.
pub const CMDLINE: &str = "console=ttyS0 quiet panic=-1 no_timer_check";
/// Where Debian's signed GRUB looks for its configuration.
const GRUB_CONFIG: &str = "EFI/debian/grub.cfg";
const STATE_DISK_BYTES: u64 = 1 << 20;
/// The network card, the same for all machines: boot entries may name it.
const MAC: &str = "52:54:00:76:62:01";

/// How a machine gets from firmware to the kernel.
#[derive(Clone, Debug)]
pub enum BootChain {
    /// Debian's signed shim and GRUB load this kernel and initramfs.
    ShimGrub {
        /// Kernel image.
        kernel: PathBuf,
        /// Initramfs.
        initrd: PathBuf,
    },
    /// systemd-boot, signed as given, loads one UKI. The command line is inside.
    SystemdBoot {
        /// systemd-boot itself.
        loader: PathBuf,
        /// The UKI.
        uki: PathBuf,
    },
    /// QEMU hands kernel and initramfs to the firmware, which starts the kernel's EFI stub.
    Direct {
        /// Kernel image.
        kernel: PathBuf,
        /// Initramfs.
        initrd: PathBuf,
    },
}

/// Describes a machine before it exists.
#[derive(Clone, Debug)]
pub struct MachineBuilder<'a> {
    lab: &'a Lab,
    name: String,
    chain: BootChain,
    cmdline: String,
    secure_boot: bool,
    vars: Vec<VarsEdit>,
    banks: String,
}

impl<'a> MachineBuilder<'a> {
    /// A machine with Secure Boot on and a SHA-256 bank.
    pub fn new(lab: &'a Lab, name: &str, chain: BootChain) -> Self {
        Self {
            lab,
            name: name.to_owned(),
            chain,
            cmdline: CMDLINE.to_owned(),
            secure_boot: true,
            vars: Vec::new(),
            banks: "sha256".to_owned(),
        }
    }

    /// Secure Boot with Microsoft's keys, or off and without keys.
    #[must_use]
    pub fn secure_boot(mut self, on: bool) -> Self {
        self.secure_boot = on;
        self
    }

    /// Adds words to the kernel command line.
    #[must_use]
    pub fn cmdline_extra(mut self, words: &str) -> Self {
        self.cmdline = with_words(words);
        self
    }

    /// Changes the variable store before the first boot.
    #[must_use]
    pub fn edit_vars(mut self, edit: VarsEdit) -> Self {
        self.vars.push(edit);
        self
    }

    /// Active PCR banks, comma-separated.
    #[must_use]
    pub fn banks(mut self, banks: &str) -> Self {
        self.banks = banks.to_owned();
        self
    }

    /// Makes the machine in this folder: new disk, new TPM, no state.
    pub fn build(self, folder: &Path) -> Result<Machine<'a>> {
        let machine = Machine {
            lab: self.lab,
            name: self.name,
            folder: folder.to_owned(),
            chain: self.chain,
            cmdline: self.cmdline,
            secure_boot: self.secure_boot,
        };
        machine.make(&self.vars, &self.banks).with_context(|| {
            format!("cannot make machine {} in {}", machine.name, machine.folder.display())
        })?;
        Ok(machine)
    }
}

/// A machine that can be booted.
#[derive(Debug)]
pub struct Machine<'a> {
    lab: &'a Lab,
    name: String,
    folder: PathBuf,
    chain: BootChain,
    cmdline: String,
    secure_boot: bool,
}

impl Machine<'_> {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its kernel command line as GRUB or QEMU gives it.
    pub fn cmdline(&self) -> &str {
        &self.cmdline
    }

    /// Its folder: disk, variables, TPM state and logs.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The file with the console output of the last boot.
    pub fn console(&self) -> PathBuf {
        self.folder.join("console.log")
    }

    /// Replaces the words added to the kernel command line, as somebody with access to the boot disk can:
    /// Secure Boot does not protect the GRUB configuration.
    pub fn rewrite_cmdline(&mut self, words: &str) -> Result<()> {
        self.cmdline = with_words(words);
        if let BootChain::ShimGrub { .. } = self.chain {
            let file = BootFile {
                path: GRUB_CONFIG.to_owned(),
                source: BootSource::Text(grub_config(&self.cmdline, self.secure_boot)),
            };
            disk::put(&self.disk(), &file)?;
        }
        Ok(())
    }

    /// Starts the machine with a job.
    pub fn boot(&self, job: &Job) -> Result<Running> {
        self.start(job).with_context(|| format!("cannot start machine {}", self.name))
    }

    /// Boots and waits. A machine that dies before init, as emulation on a busy host can, is started once more: no
    /// job has run then.
    pub fn run(&self, job: &Job, limit: Duration, watch: &mut dyn FnMut(&Report) -> bool) -> Result<Report> {
        let running = self.boot(job)?;
        let report = running.report.clone();
        match running.wait_watching(limit, watch) {
            Err(first) if !Report::read_file(&report)?.started => self
                .boot(job)?
                .wait_watching(limit, watch)
                .with_context(|| format!("second start; the first ended so: {first:#}")),
            other => other,
        }
    }

    fn make(&self, vars: &[VarsEdit], banks: &str) -> Result<()> {
        if self.folder.exists() {
            fs::remove_dir_all(&self.folder)?;
        }
        fs::create_dir_all(&self.folder)?;
        self.disk_plan()?.write(&self.disk())?;
        firmware::write_vars(self.lab, &self.folder.join("vars.fd"), self.secure_boot, vars)?;
        fs::File::create(self.folder.join("state.img"))?.set_len(STATE_DISK_BYTES)?;
        let banks: Vec<&str> = banks.split(',').collect();
        let options = SwtpmOptions::default().banks(&banks).with_ek_certificate();
        swtpm::manufacture(&self.folder.join("tpm"), &options).context("cannot make a TPM")
    }

    fn disk_plan(&self) -> Result<DiskPlan> {
        Ok(match &self.chain {
            BootChain::ShimGrub { kernel, initrd } => DiskPlan::default()
                .file("EFI/BOOT/BOOTX64.EFI", &self.lab.shim.path("usr/lib/shim/shimx64.efi.signed")?)
                .file(
                    "EFI/BOOT/grubx64.efi",
                    &self.lab.grub.path("usr/lib/grub/x86_64-efi-signed/grubx64.efi.signed")?,
                )
                .text(GRUB_CONFIG, grub_config(&self.cmdline, self.secure_boot))
                .file("vmlinuz", kernel)
                .file("initrd.img", initrd),
            BootChain::SystemdBoot { loader, uki } => DiskPlan::default()
                .file("EFI/BOOT/BOOTX64.EFI", loader)
                .file("EFI/Linux/veriboot.efi", uki)
                .text("loader/loader.conf", "timeout 0\neditor no\n"),
            BootChain::Direct { .. } => DiskPlan::default(),
        })
    }

    fn disk(&self) -> PathBuf {
        self.folder.join("disk.img")
    }

    fn start(&self, job: &Job) -> Result<Running> {
        let job_file = self.folder.join("job.sh");
        fs::write(&job_file, job.script())?;
        let report = self.folder.join("report.log");
        for file in [&report, &self.console()] {
            if file.exists() {
                fs::remove_file(file)?;
            }
        }
        let tpm = Tpm::start(&self.folder.join("tpm"), &self.folder.join("swtpm.log"))?;
        let mut command = Command::new("qemu-system-x86_64");
        command
            .args(self.lab.accel.args())
            .args(["-name", &self.name, "-m", "512", "-smp", "1", "-M", "q35,smm=on"])
            .args(["-global", "driver=cfi.pflash01,property=secure,value=on"])
            .args(["-nodefaults", "-display", "none", "-no-reboot", "-rtc", "base=utc"]);
        let drives = [
            ("if=pflash,unit=0,readonly=on", firmware::code(self.lab)?),
            ("if=pflash,unit=1", self.folder.join("vars.fd")),
            ("if=none,id=disk,cache=unsafe", self.disk()),
            ("if=none,id=state,cache=writeback", self.folder.join("state.img")),
        ];
        for (options, path) in drives {
            command.arg("-drive").arg(format!("{options},format=raw,file={}", comma_safe(&path)));
        }
        command
            .args(["-device", "virtio-blk-pci,drive=disk,bootindex=1"])
            .args(["-device", "virtio-blk-pci,drive=state"])
            .args(["-netdev", "user,id=net", "-device"])
            .arg(format!("virtio-net-pci,netdev=net,mac={MAC},romfile="))
            .arg("-chardev")
            .arg(format!("socket,id=tpm,path={}", comma_safe(tpm.socket())))
            .args(["-tpmdev", "emulator,id=tpm0,chardev=tpm", "-device", "tpm-crb,tpmdev=tpm0"])
            .arg("-fw_cfg")
            .arg(format!("name=opt/veriboot/job,file={}", comma_safe(&job_file)))
            .arg("-serial")
            .arg(format!("file:{}", self.console().display()))
            .arg("-serial")
            .arg(format!("file:{}", report.display()));
        if let BootChain::Direct { kernel, initrd } = &self.chain {
            command.arg("-kernel").arg(kernel).arg("-initrd").arg(initrd).args(["-append", &self.cmdline]);
        }
        let qemu = Guard::start(&mut command, &self.folder.join("qemu.log"))?;
        Ok(Running {
            name: self.name.clone(),
            folder: self.folder.clone(),
            console: self.console(),
            report,
            started: Instant::now(),
            qemu,
            tpm: Some(tpm),
        })
    }
}

/// A machine that runs. It is ended when this is dropped.
#[derive(Debug)]
pub struct Running {
    name: String,
    folder: PathBuf,
    console: PathBuf,
    report: PathBuf,
    started: Instant,
    // QEMU goes before its TPM.
    qemu: Guard,
    tpm: Option<Tpm>,
}

impl Running {
    /// Process id of QEMU.
    pub fn id(&self) -> u32 {
        self.qemu.id()
    }

    /// How long it runs.
    pub fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// What the guest reported until now.
    pub fn report(&self) -> Result<Report> {
        Report::read_file(&self.report)
    }

    /// Waits until the job is done and the machine is off.
    pub fn wait(self, limit: Duration) -> Result<Report> {
        self.wait_watching(limit, &mut |_| true)
    }

    /// Like [`Running::wait`]; `watch` sees the report grow and ends the machine by saying `false`.
    pub fn wait_watching(
        mut self,
        limit: Duration,
        watch: &mut dyn FnMut(&Report) -> bool,
    ) -> Result<Report> {
        let ended = loop {
            // A half-written file is no fault while the machine runs.
            if let Ok(report) = self.report()
                && !watch(&report)
            {
                bail!("machine {} was interrupted", self.name);
            }
            if let Some(status) = self.qemu.wait(Duration::from_millis(200))? {
                break Some(status);
            }
            if self.elapsed() >= limit {
                break None;
            }
        };
        let report = self.report()?;
        watch(&report);
        if ended.is_some() && report.done {
            if let Some(tpm) = self.tpm.take() {
                tpm.finish()?;
            }
            return Ok(report);
        }
        let what = match ended {
            Some(status) if status.success() => "stopped before its job was done".to_owned(),
            Some(status) => format!("QEMU ended with {status}"),
            None => format!("did not finish within {} s", limit.as_secs()),
        };
        bail!(
            "machine {} {what} (init {}reached)\n{}console ends with:\n{}\nQEMU says:\n{}",
            self.name,
            if report.started { "" } else { "not " },
            report.describe(),
            process::tail_of(&self.console),
            process::tail_of(&self.folder.join("qemu.log")),
        )
    }
}

fn with_words(words: &str) -> String {
    if words.is_empty() { CMDLINE.to_owned() } else { format!("{CMDLINE} {words}") }
}

/// A GRUB configuration that boots at once and shows what it does on the serial port.
///
/// With Secure Boot on, Debian's `linux` starts the kernel through its EFI stub; with Secure Boot off it uses
/// the BIOS-era protocol, and a kernel that was started so has no event log to show. `linuxefi` always takes
/// the stub.
fn grub_config(cmdline: &str, secure_boot: bool) -> String {
    let suffix = if secure_boot { "" } else { "efi" };
    format!(
        "serial --unit=0\nterminal_output serial\nset timeout=0\n\
         linux{suffix} /vmlinuz {cmdline}\ninitrd{suffix} /initrd.img\nboot\n"
    )
}

/// A path as value in a QEMU option list, where a comma is written twice.
fn comma_safe(path: &Path) -> String {
    path.display().to_string().replace(',', ",,")
}
