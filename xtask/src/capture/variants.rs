//! What is captured: one boot of each variant, and what it changes.

/// What one variant changes.
#[derive(Clone, Copy)]
pub struct Variant {
    /// Name of its folder.
    pub name: &'static str,
    /// One sentence for people.
    pub about: &'static str,
    pub chain: Chain,
    /// Microsoft's keys enrolled, or none.
    pub keys: bool,
    pub kernel: Age,
    /// Kernels under names with their release, and a menu as Debian writes it.
    pub menu: Menu,
    pub other_initrd: bool,
    /// Words added to the kernel command line.
    pub cmdline: &'static str,
    /// Lines added to the GRUB configuration before the kernel is loaded.
    pub grub_commands: &'static str,
    pub shim: Age,
    pub grub: Age,
    pub firmware: Age,
    pub edits: &'static [Edit],
    pub disk_number: u8,
    /// A second boot disk with the usual files.
    pub second_disk: bool,
    pub banks: &'static str,
    pub run_time: RunTime,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Chain {
    ShimGrub,
    SystemdBoot,
    Direct,
}

/// Which version of a part.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Age {
    /// The lab's.
    Usual,
    /// An older one.
    Older,
    /// That of the next release of the distribution.
    Next,
    /// The lab's, with a signature by the lab's key added.
    LabSigned,
}

/// Kernels that a distribution installed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Menu {
    /// One kernel without a release in its name, and no menu.
    None,
    /// The kernel that is booted.
    One,
    /// The kernel that is booted and the older one, as after an update.
    Both,
}

/// A change of the variable store.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Edit {
    /// A machine owner key.
    Mok,
    /// shim is told not to verify what it loads, as `mokutil --disable-validation` does.
    MokValidationOff,
    /// The lab's certificate in db.
    LabDb,
    /// PK, KEK and db of the lab, nobody else's.
    OwnKeys,
    /// The 2023 certificates in KEK and db.
    Microsoft2023,
    /// Three digests in dbx.
    DbxHashes,
    /// No dbx.
    DbxGone,
    /// A higher SBAT level.
    Sbat,
    /// Secure Boot off, keys stay.
    SecureBootOff,
    /// A boot entry at the end of the boot order.
    BootEntry,
    /// dbt (who may time-stamp) and dbr (what may repair the platform), with one digest each.
    OtherLists,
    /// Credentials beside the UKI: one for it, one for all.
    Credentials,
    /// A program that the firmware runs before the boot loader, signed with the lab's key.
    Program,
    /// The same place for a program that has the firmware measure what Windows would.
    Windows(WindowsSettings),
}

/// What Windows' loader says of its settings.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct WindowsSettings {
    pub test_signing: bool,
    /// Hypervisor-enforced code integrity.
    pub hvci: bool,
}

/// What happens after the boot.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum RunTime {
    /// Nothing.
    Quiet,
    /// A process extends PCR 9; a second quote follows.
    Extend,
    /// Files are read and run while IMA measures.
    Ima,
}

/// shim, GRUB, cloud kernel, Secure Boot with Microsoft's keys, one SHA-256 bank.
const PLAIN: Variant = Variant {
    name: "secure-boot",
    about: "shim, GRUB and cloud kernel with Secure Boot and Microsoft's keys",
    chain: Chain::ShimGrub,
    keys: true,
    kernel: Age::Usual,
    menu: Menu::None,
    other_initrd: false,
    cmdline: "",
    grub_commands: "",
    shim: Age::Usual,
    grub: Age::Usual,
    firmware: Age::Usual,
    edits: &[],
    disk_number: 1,
    second_disk: false,
    banks: "sha256",
    run_time: RunTime::Quiet,
};

/// A unified kernel image, signed with the lab's key.
const UKI: Variant = Variant {
    name: "uki",
    about: "systemd-boot and a unified kernel image, signed with a key in db; Secure Boot on",
    chain: Chain::SystemdBoot,
    edits: &[Edit::LabDb],
    ..PLAIN
};

/// All variants.
pub const VARIANTS: &[Variant] = &[
    PLAIN,
    Variant {
        name: "secure-boot-off",
        about: "firmware without keys, Secure Boot off",
        keys: false,
        ..PLAIN
    },
    Variant {
        name: "secure-boot-disabled",
        about: "Secure Boot switched off, Microsoft's keys still enrolled",
        edits: &[Edit::SecureBootOff],
        ..PLAIN
    },
    Variant { name: "other-kernel", about: "another signed kernel", kernel: Age::Older, ..PLAIN },
    Variant {
        name: "debian-menu",
        about: "the older kernel under a name with its release, in a menu as Debian writes it",
        kernel: Age::Older,
        menu: Menu::One,
        ..PLAIN
    },
    Variant {
        name: "debian-menu-updated",
        about: "the same after a kernel update: the new kernel first, the older one still in the menu",
        menu: Menu::Both,
        ..PLAIN
    },
    Variant {
        name: "cmdline",
        about: "another kernel command line in the GRUB configuration",
        cmdline: "init=/bin/sh lockdown=none",
        ..PLAIN
    },
    Variant {
        name: "initrd",
        about: "another initramfs: one text file differs",
        other_initrd: true,
        ..PLAIN
    },
    Variant { name: "mok", about: "a machine owner key enrolled", edits: &[Edit::Mok], ..PLAIN },
    Variant {
        name: "other-lists",
        about: "dbt and dbr are set; the firmware measures dbt",
        edits: &[Edit::OtherLists],
        ..PLAIN
    },
    Variant {
        name: "mok-validation-off",
        about: "shim does not verify what it loads (MokSBState)",
        edits: &[Edit::MokValidationOff],
        ..PLAIN
    },
    UKI,
    Variant { name: "uki-other-kernel", about: "the UKI with another kernel", kernel: Age::Older, ..UKI },
    Variant {
        name: "uki-credentials",
        about: "the UKI with credentials beside it, one for this image and one for all",
        edits: &[Edit::LabDb, Edit::Credentials],
        ..UKI
    },
    Variant {
        name: "uki-cmdline",
        about: "the UKI with another command line, signed with the same key",
        cmdline: "lockdown=none",
        ..UKI
    },
    Variant {
        name: "direct-kernel",
        about: "kernel and initramfs handed over by QEMU, started through the EFI stub; Secure Boot off",
        chain: Chain::Direct,
        keys: false,
        ..PLAIN
    },
    Variant {
        name: "three-banks",
        about: "SHA-1, SHA-256 and SHA-384 banks active",
        banks: "sha1,sha256,sha384",
        ..PLAIN
    },
    Variant {
        name: "grub-older",
        about: "the shim of the release before with the GRUB of the update before",
        shim: Age::Older,
        grub: Age::Older,
        ..PLAIN
    },
    Variant {
        name: "shim-older",
        about: "the shim of the release before, signed by Microsoft",
        shim: Age::Older,
        ..PLAIN
    },
    Variant {
        name: "grub-config",
        about: "one more command in the GRUB configuration; the kernel command line stays",
        grub_commands: "set superusers=lab\n",
        ..PLAIN
    },
    Variant {
        name: "unsigned-kernel",
        about: "the GRUB configuration asks for an unsigned kernel first, which shim refuses",
        grub_commands: "linuxefi /vmlinuz.unsigned console=ttyS0\n",
        ..PLAIN
    },
    Variant {
        name: "sbat-raised",
        about: "the next SBAT level that shim's project published",
        edits: &[Edit::Sbat],
        ..PLAIN
    },
    Variant { name: "dbx-updated", about: "three digests more in dbx", edits: &[Edit::DbxHashes], ..PLAIN },
    Variant { name: "dbx-emptied", about: "dbx removed", edits: &[Edit::DbxGone], ..PLAIN },
    Variant {
        name: "grub-revoked",
        about: "shim refuses the GRUB of the update before by its SBAT level; the firmware boots the second disk",
        grub: Age::Older,
        second_disk: true,
        ..PLAIN
    },
    Variant {
        name: "microsoft-2023",
        about: "Microsoft's 2023 certificates added to KEK and db",
        edits: &[Edit::Microsoft2023],
        ..PLAIN
    },
    Variant {
        name: "own-keys",
        about: "PK, KEK and db of the operator, Microsoft's removed; shim signed by the operator",
        shim: Age::LabSigned,
        edits: &[Edit::OwnKeys],
        ..PLAIN
    },
    Variant {
        name: "operator-db",
        about: "a certificate of the operator in db beside Microsoft's",
        edits: &[Edit::LabDb],
        ..PLAIN
    },
    Variant {
        name: "extra-program",
        about: "a program (fwupd, SysPrep0000), signed by the operator, runs before the boot loader",
        edits: &[Edit::LabDb, Edit::Program],
        ..PLAIN
    },
    Variant {
        name: "windows-events",
        about: "a program (SysPrep0000) has the firmware measure what Windows' loader would, HVCI on",
        edits: &[Edit::LabDb, Edit::Windows(WindowsSettings { test_signing: false, hvci: true })],
        ..PLAIN
    },
    Variant {
        name: "windows-events-changed",
        about: "the same with test signing on and HVCI off",
        edits: &[Edit::LabDb, Edit::Windows(WindowsSettings { test_signing: true, hvci: false })],
        ..PLAIN
    },
    Variant {
        name: "boot-entry",
        about: "one more boot entry, at the end of the boot order",
        edits: &[Edit::BootEntry],
        ..PLAIN
    },
    Variant {
        name: "other-disk",
        about: "the same files on a disk with other GUIDs",
        disk_number: 2,
        ..PLAIN
    },
    Variant { name: "firmware-older", about: "the OVMF of the update before", firmware: Age::Older, ..PLAIN },
    Variant {
        name: "firmware-next",
        about: "the OVMF of the next Debian release",
        firmware: Age::Next,
        ..PLAIN
    },
    Variant {
        name: "runtime-extend",
        about: "a process of the guest extends PCR 9 between two quotes",
        run_time: RunTime::Extend,
        ..PLAIN
    },
    Variant {
        name: "ima-list",
        about: "IMA with ima_policy=tcb: files run and read, two of them while they were written",
        cmdline: "ima_policy=tcb ima_template=ima-ng rootfstype=ramfs",
        banks: "sha1,sha256",
        run_time: RunTime::Ima,
        ..PLAIN
    },
];
