//! Real machines without hardware: QEMU with OVMF, swtpm, Debian's signed boot chain and a busybox
//! initramfs.
//!
//! A [`Lab`] holds what all machines share (unpacked packages, initramfs, accelerator) in one cache folder.
//! A [`Machine`] is a folder with its own disk, firmware variables, TPM state and state disk; it can be
//! booted again and again. One boot runs a [`Job`] and ends with a [`Report`].
//!
//! The job reaches the guest through `fw_cfg` and the report leaves it through the second serial port, so
//! neither changes anything that firmware, shim, GRUB or kernel measure: members of a scale set measure the
//! same, whatever they are told to do.

mod accel;
mod cpio;
mod disk;
mod evidence;
mod firmware;
mod gpt;
mod initramfs;
mod job;
mod keyboard;
mod lab;
mod machine;
mod packages;
mod plan;
pub(crate) mod process;
mod report;
mod tpm;
mod uboot;
mod uboot_machine;
mod uki;

pub use accel::Accel;
pub use disk::DiskPlan;
pub use evidence::Capture;
pub use firmware::{VarsEdit, authenticode_of};
pub use initramfs::{GuestFile, INIT};
pub use job::{AgentSetup, Job};
pub use lab::{Kernel, Lab, LabOptions, Variants, sha256_of, tool_version};
pub use machine::{Machine, Running};
pub use packages::{Package, Repository};
pub use plan::{BootChain, CMDLINE, Installed, MachineBuilder, cmdline_with};
pub use report::{Report, Step};
pub use uboot::{SeedVariable, UBootLab, guid};
pub use uboot_machine::UBootMachine;
pub use uki::{SigningKey, UkiParts, build_uki};
