//! Describes a machine before it exists: what it boots and what its firmware holds.

use std::path::{Path, PathBuf};

use anyhow::Result;

use super::disk::DiskPlan;
use super::firmware::{self, VarsEdit};
use super::lab::Lab;
use super::machine::Machine;

/// Kernel command line of a machine that asks for nothing else. The console is the first serial port; a panic ends
/// the machine; the timer check takes an emulated machine on a busy host for a broken one.
pub const CMDLINE: &str = "console=ttyS0 quiet panic=-1 no_timer_check";
/// Where Debian's signed GRUB looks for its configuration.
pub(super) const GRUB_CONFIG: &str = "EFI/debian/grub.cfg";

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

/// A kernel as a distribution installs it: under names that hold its release.
#[derive(Clone, Debug)]
pub struct Installed {
    /// Release as `uname -r` says it.
    pub release: String,
    /// Kernel image.
    pub kernel: PathBuf,
    /// Initramfs.
    pub initrd: PathBuf,
}

/// Describes a machine before it exists.
#[derive(Clone, Debug)]
pub struct MachineBuilder<'a> {
    pub(super) lab: &'a Lab,
    pub(super) name: String,
    pub(super) chain: BootChain,
    pub(super) cmdline: String,
    pub(super) secure_boot: bool,
    pub(super) vars: Vec<VarsEdit>,
    pub(super) banks: String,
    pub(super) state_files: Vec<PathBuf>,
    pub(super) second_disk: Option<DiskPlan>,
    pub(super) press_enter: bool,
    firmware: Option<PathBuf>,
    shim: Option<PathBuf>,
    grub: Option<PathBuf>,
    grub_commands: String,
    files: Vec<(String, PathBuf)>,
    disk_number: u8,
    installed: Vec<Installed>,
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
            state_files: Vec::new(),
            second_disk: None,
            press_enter: false,
            firmware: None,
            shim: None,
            grub: None,
            grub_commands: String::new(),
            files: Vec::new(),
            disk_number: 1,
            installed: Vec::new(),
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
        self.cmdline = cmdline_with(words);
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

    /// Other firmware code than the lab's.
    #[must_use]
    pub fn firmware(mut self, code: PathBuf) -> Self {
        self.firmware = Some(code);
        self
    }

    /// Another shim than the lab's.
    #[must_use]
    pub fn shim(mut self, image: PathBuf) -> Self {
        self.shim = Some(image);
        self
    }

    /// Another GRUB than the lab's.
    #[must_use]
    pub fn grub(mut self, image: PathBuf) -> Self {
        self.grub = Some(image);
        self
    }

    /// Lines in the GRUB configuration before the kernel is loaded, each ended by a line feed.
    #[must_use]
    pub fn grub_commands(mut self, lines: &str) -> Self {
        lines.clone_into(&mut self.grub_commands);
        self
    }

    /// One more file on the boot disk.
    #[must_use]
    pub fn boot_file(mut self, path: &str, source: PathBuf) -> Self {
        self.files.push((path.to_owned(), source));
        self
    }

    /// Number of the boot disk, 1 unless said otherwise: it goes into the GUIDs of disk and partition.
    #[must_use]
    pub fn disk_number(mut self, number: u8) -> Self {
        self.disk_number = number;
        self
    }

    /// Kernels with a menu as Debian's `update-grub` writes it, instead of the one kernel of the chain. The first is
    /// booted.
    #[must_use]
    pub fn installed(mut self, kernels: Vec<Installed>) -> Self {
        self.installed = kernels;
        self
    }

    /// A second disk that the firmware boots from when the first one fails.
    #[must_use]
    pub fn second_disk(mut self, plan: DiskPlan) -> Self {
        self.second_disk = Some(plan);
        self
    }

    /// Presses Enter every few seconds: shim shows what it refuses and waits.
    #[must_use]
    pub fn press_enter(mut self) -> Self {
        self.press_enter = true;
        self
    }

    /// A file that the guest finds below `/state`. What is brought so is not in the initramfs, and not measured.
    #[must_use]
    pub fn state_file(mut self, file: PathBuf) -> Self {
        self.state_files.push(file);
        self
    }

    /// Makes the machine in this folder: new disk, new TPM, no state.
    pub fn build(self, folder: &Path) -> Result<Machine<'a>> {
        Machine::make(self, folder)
    }

    pub(super) fn firmware_code(&self) -> Result<PathBuf> {
        self.firmware.clone().map_or_else(|| firmware::code(&self.lab.ovmf), Ok)
    }

    /// The boot disk of this machine; give it to another one as its second disk.
    pub fn disk_plan(&self) -> Result<DiskPlan> {
        let plan = DiskPlan::default().numbered(self.disk_number);
        let plan = match &self.chain {
            BootChain::ShimGrub { kernel, initrd } => {
                let shim = match &self.shim {
                    Some(shim) => shim.clone(),
                    None => self.lab.shim.path("usr/lib/shim/shimx64.efi.signed")?,
                };
                let grub = match &self.grub {
                    Some(grub) => grub.clone(),
                    None => self.lab.grub.path("usr/lib/grub/x86_64-efi-signed/grubx64.efi.signed")?,
                };
                let plan = plan
                    .file("EFI/BOOT/BOOTX64.EFI", &shim)
                    .file("EFI/BOOT/grubx64.efi", &grub)
                    .text(GRUB_CONFIG, self.grub_config());
                if self.installed.is_empty() {
                    plan.file("vmlinuz", kernel).file("initrd.img", initrd)
                } else {
                    self.installed.iter().fold(plan, |plan, installed| {
                        plan.file(&format!("vmlinuz-{}", installed.release), &installed.kernel)
                            .file(&format!("initrd.img-{}", installed.release), &installed.initrd)
                    })
                }
            }
            BootChain::SystemdBoot { loader, uki } => plan
                .file("EFI/BOOT/BOOTX64.EFI", loader)
                .file("EFI/Linux/veriboot.efi", uki)
                .text("loader/loader.conf", "timeout 0\neditor no\n"),
            BootChain::Direct { .. } => plan,
        };
        Ok(self.files.iter().fold(plan, |plan, (path, source)| plan.file(path, source)))
    }

    /// A GRUB configuration that boots at once and shows what it does on the serial port.
    ///
    /// With Secure Boot off, Debian's `linux` starts the kernel by the BIOS-era protocol, and a kernel that was
    /// started so has no event log to show. `linuxefi` always takes the EFI stub, and with it the configuration is
    /// the same whatever the state of Secure Boot.
    pub(super) fn grub_config(&self) -> String {
        let head = format!("serial --unit=0\nterminal_output serial\nset timeout=0\n{}", self.grub_commands);
        let Some(first) = self.installed.first() else {
            return format!("{head}linuxefi /vmlinuz {}\ninitrdefi /initrd.img\nboot\n", self.cmdline);
        };
        let mut text = format!("{head}set default=\"0\"\n");
        text.push_str(&self.menu_entry("Debian GNU/Linux", "gnulinux-simple-lab", first));
        text.push_str("submenu 'Advanced options for Debian GNU/Linux' --id 'gnulinux-advanced-lab' {\n");
        for installed in &self.installed {
            let title = format!("Debian GNU/Linux, with Linux {}", installed.release);
            let id = format!("gnulinux-{}-advanced-lab", installed.release);
            text.push_str(&self.menu_entry(&title, &id, installed));
        }
        text.push_str("}\n");
        text
    }

    fn menu_entry(&self, title: &str, id: &str, installed: &Installed) -> String {
        let release = &installed.release;
        format!(
            "menuentry '{title}' --class debian --class gnu-linux --id '{id}' {{\n\
             \techo 'Loading Linux {release} ...'\n\tlinuxefi /vmlinuz-{release} {}\n\
             \techo 'Loading initial ramdisk ...'\n\tinitrdefi /initrd.img-{release}\n}}\n",
            self.cmdline
        )
    }
}

/// The lab's kernel command line and these words.
pub fn cmdline_with(words: &str) -> String {
    if words.is_empty() { CMDLINE.to_owned() } else { format!("{CMDLINE} {words}") }
}
