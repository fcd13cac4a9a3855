//! One machine: its disk, firmware variables, TPM and state, and its boots.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use super::disk::{self, BootFile, BootSource};
use super::firmware::{self, VarsEdit};
use super::job::Job;
use super::keyboard::Keyboard;
use super::plan::{self, BootChain, MachineBuilder};
use super::process::{self, Guard};
use super::report::Report;
use super::tpm::Tpm;
use crate::swtpm::{self, SwtpmOptions};

const STATE_DISK_BYTES: u64 = 1 << 20;
/// State disk of a machine with [`MachineBuilder::state_file`](super::MachineBuilder::state_file).
const FILLED_STATE_DISK_BYTES: u64 = 16 << 20;
/// The network card, the same for all machines: boot entries may name it.
const MAC: &str = "52:54:00:76:62:01";

/// A machine that can be booted.
#[derive(Debug)]
pub struct Machine<'a> {
    plan: MachineBuilder<'a>,
    folder: PathBuf,
}

impl<'a> Machine<'a> {
    /// Makes the machine: new disk, new TPM, no state.
    pub(super) fn make(plan: MachineBuilder<'a>, folder: &Path) -> Result<Self> {
        let machine = Self { plan, folder: folder.to_owned() };
        machine.fill_folder().with_context(|| {
            format!("cannot make machine {} in {}", machine.plan.name, machine.folder.display())
        })?;
        Ok(machine)
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.plan.name
    }

    /// Its kernel command line as GRUB or QEMU gives it.
    pub fn cmdline(&self) -> &str {
        &self.plan.cmdline
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
        self.plan.cmdline = plan::cmdline_with(words);
        if let BootChain::ShimGrub { .. } = self.plan.chain {
            let file = BootFile {
                path: plan::GRUB_CONFIG.to_owned(),
                source: BootSource::Text(self.plan.grub_config()),
            };
            disk::put(&self.disk(), &file)?;
        }
        Ok(())
    }

    /// Changes the variable store between two boots, as an administrator or an attacker with access to it can.
    pub fn edit_vars(&self, edits: &[VarsEdit]) -> Result<()> {
        firmware::edit_vars(self.plan.lab, &self.vars(), edits)
    }

    /// Starts the machine with a job.
    pub fn boot(&self, job: &Job) -> Result<Running> {
        self.start(job).with_context(|| format!("cannot start machine {}", self.plan.name))
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

    fn fill_folder(&self) -> Result<()> {
        let plan = &self.plan;
        if self.folder.exists() {
            fs::remove_dir_all(&self.folder)?;
        }
        fs::create_dir_all(&self.folder)?;
        plan.disk_plan()?.write(&self.disk())?;
        if let Some(second) = &plan.second_disk {
            second.write(&self.second_disk())?;
        }
        firmware::write_vars(plan.lab, &self.vars(), plan.secure_boot)?;
        firmware::edit_vars(plan.lab, &self.vars(), &plan.vars)?;
        self.write_state()?;
        let banks: Vec<&str> = plan.banks.split(',').collect();
        let options = SwtpmOptions::default().banks(&banks).with_ek_certificate();
        swtpm::manufacture(&self.folder.join("tpm"), &options).context("cannot make a TPM")
    }

    /// The state disk: empty, or a tar with the files that the plan names.
    fn write_state(&self) -> Result<()> {
        let image = self.folder.join("state.img");
        if self.plan.state_files.is_empty() {
            fs::File::create(image)?.set_len(STATE_DISK_BYTES)?;
            return Ok(());
        }
        let mut tar = Command::new("tar");
        tar.arg("-cf").arg(&image);
        for file in &self.plan.state_files {
            let (Some(folder), Some(name)) = (file.parent(), file.file_name()) else {
                bail!("{} is not a file", file.display());
            };
            tar.arg("-C").arg(folder).arg(name);
        }
        process::output(&mut tar)?;
        let file = fs::OpenOptions::new().write(true).open(&image)?;
        file.set_len(file.metadata()?.len().max(FILLED_STATE_DISK_BYTES))?;
        Ok(())
    }

    fn vars(&self) -> PathBuf {
        self.folder.join("vars.fd")
    }

    fn second_disk(&self) -> PathBuf {
        self.folder.join("second.img")
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
            .args(self.plan.lab.accel.args())
            .args(["-name", &self.plan.name, "-m", "512", "-smp", "1", "-M", "q35,smm=on"])
            .args(["-global", "driver=cfi.pflash01,property=secure,value=on"])
            .args(["-nodefaults", "-display", "none", "-no-reboot", "-rtc", "base=utc"]);
        let drives = [
            ("if=pflash,unit=0,readonly=on", self.plan.firmware_code()?),
            ("if=pflash,unit=1", self.vars()),
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
        if self.plan.second_disk.is_some() {
            command
                .arg("-drive")
                .arg(format!("if=none,id=second,format=raw,file={}", comma_safe(&self.second_disk())))
                .args(["-device", "virtio-blk-pci,drive=second,bootindex=2"]);
        }
        if let BootChain::Direct { kernel, initrd } = &self.plan.chain {
            command.arg("-kernel").arg(kernel).arg("-initrd").arg(initrd).args(["-append", self.cmdline()]);
        }
        let keyboard = self.plan.press_enter.then(Keyboard::new).transpose()?;
        if let Some(keyboard) = &keyboard {
            command.arg("-monitor").arg(format!("unix:{},server=on,wait=off", keyboard.socket().display()));
        }
        let qemu = Guard::start(&mut command, &self.folder.join("qemu.log"))?;
        Ok(Running {
            name: self.plan.name.clone(),
            folder: self.folder.clone(),
            console: self.console(),
            report,
            started: Instant::now(),
            qemu,
            tpm: Some(tpm),
            keyboard,
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
    keyboard: Option<Keyboard>,
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
            if let Some(keyboard) = self.keyboard.as_mut() {
                keyboard.press_enter();
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

/// A path as value in a QEMU option list, where a comma is written twice.
pub(super) fn comma_safe(path: &Path) -> String {
    path.display().to_string().replace(',', ",,")
}
