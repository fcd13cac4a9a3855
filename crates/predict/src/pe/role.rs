//! Which part an EFI image plays, by its content; the file name only tells helpers of shim apart.

use super::Image;

/// The part of an image in a boot chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ImageRole {
    /// First-stage loader of Linux distributions.
    Shim,
    /// GRUB.
    Grub,
    /// systemd-boot.
    SystemdBoot,
    /// A Linux kernel with its EFI stub.
    Kernel,
    /// A unified kernel image.
    Uki,
    /// Something else: MokManager, fallback, a firmware updater.
    Other,
}

impl ImageRole {
    /// Plain words for people.
    pub const fn title(self) -> &'static str {
        match self {
            Self::Shim => "shim",
            Self::Grub => "GRUB",
            Self::SystemdBoot => "systemd-boot",
            Self::Kernel => "kernel",
            Self::Uki => "unified kernel image",
            Self::Other => "EFI program",
        }
    }
}

/// Offset of the magic in the boot protocol header of x86 (Linux, `Documentation/arch/x86/boot.rst`).
const X86_MAGIC_AT: usize = 0x202;
/// Offset of the magic in the header of arm64 and riscv images (`Documentation/arch/arm64/booting.rst`).
const ARM_MAGIC_AT: usize = 0x38;

pub(super) fn role(image: &Image<'_>, file_name: &str) -> ImageRole {
    let at =
        |offset: usize, magic: &[u8]| image.data().get(offset..).is_some_and(|rest| rest.starts_with(magic));
    let sections = image.sections();
    let has = |name: &str| sections.iter().any(|(seen, _)| seen == name);
    if has(".linux") {
        return ImageRole::Uki;
    }
    if at(X86_MAGIC_AT, b"HdrS") || at(ARM_MAGIC_AT, b"ARM\x64") || at(ARM_MAGIC_AT, b"RSC\x05") {
        return ImageRole::Kernel;
    }
    if has(".vendor_cert") || has(".vendor_") {
        return ImageRole::Shim;
    }
    let components = image.sbat().map(|sbat| sbat.generations).unwrap_or_default();
    if components.keys().any(|name| name == "grub" || name.starts_with("grub.")) {
        return ImageRole::Grub;
    }
    let loader = sections.iter().any(|(name, content)| {
        name == ".sdmagic" && content.windows(12).any(|window| window == b"systemd-boot")
    });
    if loader || components.contains_key("systemd-boot") {
        return ImageRole::SystemdBoot;
    }
    // Images from before SBAT have only their names.
    let name = file_name.rsplit(['/', '\\']).next().unwrap_or_default().to_ascii_lowercase();
    match name.as_str() {
        n if n.starts_with("shim") => ImageRole::Shim,
        n if n.starts_with("grub") => ImageRole::Grub,
        n if n.starts_with("systemd-boot") => ImageRole::SystemdBoot,
        n if n.starts_with("vmlinuz") => ImageRole::Kernel,
        _ => ImageRole::Other,
    }
}
