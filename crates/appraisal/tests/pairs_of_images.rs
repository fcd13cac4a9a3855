//! One pair of real boots for each class of change (SPEC section 5): what runs, and what it reads.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "helpers of tests may fail loudly"
)]

mod common;

use common::pairs::*;
use veriboot_appraisal::Profile;
use veriboot_wire::{ChangeClass as C, Severity};

/// A kernel package brings an initrd along, which nobody signed: the boot fails unless the profile lets initrds follow
/// from signed kernels.
#[test]
fn kernel_update() {
    let (kernel, initrd) = (sha256("secure-boot", "kernel"), sha256("secure-boot", "initrd"));
    let (new_kernel, new_initrd) = (sha256("other-kernel", "kernel"), sha256("other-kernel", "initrd"));
    fails(
        "secure-boot",
        "other-kernel",
        &[
            told(C::KernelUpdate, KERNEL, 9, &kernel, &new_kernel),
            told(C::InitrdChange, INITRD, 9, &initrd, &new_initrd),
        ],
    );
    let updates = Profile::named("distribution-updates").unwrap();
    let judgement = judged_under("secure-boot", "other-kernel", &updates);
    assert!(judgement.accepts(), "{}", lines(&judgement));
    let proposed = judgement.proposed.as_ref().unwrap();
    assert_eq!(proposed.pcrs.iter().copied().collect::<Vec<_>>(), [4, 9]);
    hold(
        "distribution-updates",
        &judgement,
        Severity::Medium,
        &[
            told(C::KernelUpdate, KERNEL, 9, &kernel, &new_kernel),
            told(C::InitrdChange, INITRD, 9, &initrd, &new_initrd),
        ],
    );
    // An initrd alone follows from nothing.
    let judgement = judged_under("secure-boot", "initrd", &updates);
    assert!(judgement.proposed.is_none() && !judgement.accepts(), "{}", lines(&judgement));
}

/// The same as a distribution does it: names with the release, an entry more in the menu, another message.
#[test]
fn kernel_update_with_a_menu() {
    let (before, after) = ("debian-menu", "debian-menu-updated");
    let updates = Profile::named("distribution-updates").unwrap();
    let judgement = judged_under(before, after, &updates);
    assert!(judgement.accepts(), "{}", lines(&judgement));
    let proposed = judgement.proposed.as_ref().unwrap();
    assert_eq!(proposed.pcrs.iter().copied().collect::<Vec<_>>(), [4, 8, 9]);
    let (kernel, initrd) = (sha256(before, "kernel"), sha256(before, "initrd"));
    let (new_kernel, new_initrd) = (sha256(after, "kernel"), sha256(after, "initrd"));
    let told = [
        told(C::KernelUpdate, KERNEL, 9, &kernel, &new_kernel),
        told(C::InitrdChange, INITRD, 9, &initrd, &new_initrd),
        told(C::BootloaderUpdate, "boot loader configuration", 8, "6.1.0-50", "6.1.0-56"),
    ];
    hold("distribution-updates", &judgement, Severity::Medium, &told);
    // The default takes no initrd and no configuration on trust.
    fails(before, after, &told);
    // Back to the kernel before: signed as well, and no signature says which is newer.
    assert!(judged_under(after, before, &updates).proposed.is_some());
}

/// The signature over a unified kernel image covers all that is in it. That the signed image is one is not shown: a kernel
/// of the same signer, with an initrd that nobody signed, could stand there. So the profile has to take initrds on trust.
#[test]
fn kernel_update_in_a_unified_image() {
    let (old, new) = (authenticode("uki", "uki"), authenticode("uki-other-kernel", "uki"));
    let (initrd, new_initrd) = (sha256("uki", "initrd"), sha256("uki-other-kernel", "initrd"));
    let expected = [
        told(C::KernelUpdate, KERNEL, 4, &old, &new),
        told(C::InitrdChange, INITRD, 9, &initrd, &new_initrd),
    ];
    fails("uki", "uki-other-kernel", &expected);
    let updates = Profile::named("distribution-updates").unwrap();
    let judgement = judged_under("uki", "uki-other-kernel", &updates);
    let pcrs = &judgement.proposed.as_ref().unwrap().pcrs;
    assert_eq!(pcrs.iter().copied().collect::<Vec<_>>(), [4, 9, 11]);
    hold("distribution-updates", &judgement, Severity::Medium, &expected);
    // Another command line in the image is not what follows from a kernel.
    let cmdline = judged_under("uki", "uki-cmdline", &updates);
    assert!(cmdline.proposed.is_none() && !cmdline.accepts(), "{}", lines(&cmdline));
}

#[test]
fn initrd_change() {
    let (old, new) = (sha256("secure-boot", "initrd"), sha256("initrd", "initrd"));
    fails("secure-boot", "initrd", &[told(C::InitrdChange, INITRD, 9, &old, &new)]);
}

#[test]
fn command_line_change() {
    let words = "console=ttyS0 quiet panic=-1 no_timer_check";
    let judgement = fails(
        "secure-boot",
        "cmdline",
        &[told(C::CmdlineChange, CMDLINE, 8, words, &format!("{words} init=/bin/sh lockdown=none"))],
    );
    assert!(judgement.findings[0].message.contains("added `init=/bin/sh`, `lockdown=none`"));
    // The reverse is a change of the same class.
    fails("cmdline", "secure-boot", &[told(C::CmdlineChange, CMDLINE, 8, "init=/bin/sh", words)]);
}

/// The key that may sign images may sign any command line into them: the boot fails all the same.
#[test]
fn command_line_change_in_a_unified_image() {
    let (old, new) = (authenticode("uki", "uki"), authenticode("uki-cmdline", "uki"));
    let words = "console=ttyS0 quiet panic=-1 no_timer_check";
    fails(
        "uki",
        "uki-cmdline",
        &[
            told(C::KernelUpdate, KERNEL, 4, &old, &new),
            told(C::CmdlineChange, CMDLINE, 12, words, &format!("{words} lockdown=none")),
        ],
    );
}

#[test]
fn grub_update() {
    let (old, new) = (authenticode("grub-older", "grub"), authenticode("shim-older", "grub"));
    proposes("grub-older", "shim-older", &[told(C::BootloaderUpdate, "boot loader", 4, &old, &new)]);
    // An older GRUB by the same signer is nothing that Secure Boot tells from a newer one.
    proposes("shim-older", "grub-older", &[told(C::BootloaderUpdate, "boot loader", 4, &new, &old)]);
}

/// Nobody signs the configuration of GRUB.
#[test]
fn grub_configuration_change() {
    fails(
        "secure-boot",
        "grub-config",
        &[told(C::BootloaderUpdate, "boot loader configuration", 8, "not measured", "set superusers=lab")],
    );
}

/// shim measures what it then refuses.
#[test]
fn unsigned_kernel_refused() {
    let judgement = judged("secure-boot", "unsigned-kernel");
    assert!(judgement.proposed.is_none() && !judgement.accepts());
    let kernel = judgement.findings.iter().find(|f| f.change == Some(C::KernelUpdate)).unwrap();
    assert_eq!((kernel.code.as_str(), kernel.pcr), ("component-added", Some(4)));
    assert!(kernel.message.contains("vmlinuz.unsigned"), "{}", kernel.message);
    let classes: Vec<_> = judgement.findings.iter().filter_map(|f| f.change).collect();
    assert!(classes.contains(&C::BootloaderUpdate), "{}", lines(&judgement));
}

/// A newer shim brings a newer SBAT level along.
#[test]
fn shim_update() {
    let (old, new) = (authenticode("shim-older", "shim"), authenticode("secure-boot", "shim"));
    proposes(
        "shim-older",
        "secure-boot",
        &[
            told(C::ShimUpdate, "shim", 4, &old, &new),
            told(C::SbatUpdate, SBAT, 7, "sbat,1,2024010900", "sbat,1,2025021800; shim,4; grub,5"),
        ],
    );
    // With the older shim the level falls too, and that is no update.
    fails(
        "secure-boot",
        "shim-older",
        &[
            told(C::ShimUpdate, "shim", 4, &new, &old),
            told(C::SbatUpdate, SBAT, 7, "sbat,1,2025021800", "sbat,1,2024010900"),
        ],
    );
}

/// Something that was never there runs before the boot loader, admitted by a certificate that db holds.
#[test]
fn program_before_the_boot_loader() {
    let judgement = judged("operator-db", "extra-program");
    let program = authenticode("extra-program", "program");
    assert!(judgement.proposed.is_none() && !judgement.accepts(), "{}", lines(&judgement));
    let found = judgement
        .findings
        .iter()
        .find(|f| f.seen.as_deref() == Some(&program))
        .unwrap_or_else(|| panic!("{}", lines(&judgement)));
    assert_eq!(
        (found.change, found.pcr, found.severity),
        (Some(C::UnknownComponent), Some(4), Severity::High)
    );
    assert_eq!(found.code, "component-added");
}

/// shim refuses a revoked GRUB; the firmware goes on with the second disk, where everything is as usual.
#[test]
fn revoked_grub_refused() {
    let judgement = judged("secure-boot", "grub-revoked");
    assert!(judgement.proposed.is_none() && !judgement.accepts(), "{}", lines(&judgement));
    let twice =
        judgement.findings.iter().find(|f| f.seen.as_deref() == Some(&authenticode("secure-boot", "shim")));
    let twice = twice.unwrap_or_else(|| panic!("{}", lines(&judgement)));
    assert_eq!((twice.change, twice.code.as_str()), (Some(C::UnknownComponent), "component-added"));
}
