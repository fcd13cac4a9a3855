//! Which Linux took over, as far as a log shows it.

use crate::measurement::measurements;
use crate::{ComponentKind, EventLog, EventType, Format};

/// The version in a kernel's file name: `vmlinuz-6.1.0-30-cloud-amd64` gives `6.1.0-30-cloud-amd64`.
pub(crate) fn kernel_version(path: &str) -> Option<&str> {
    let file = path.rsplit(['/', '\\']).next()?;
    let version = ["vmlinuz-", "vmlinux-", "bzImage-", "kernel-", "linux-"]
        .iter()
        .find_map(|p| file.strip_prefix(p))?;
    let version = version.strip_suffix(".efi").unwrap_or(version);
    version.starts_with(|c: char| c.is_ascii_digit()).then_some(version)
}

/// What is known about the Linux kernel that took over.
pub(crate) struct LinuxRelease {
    version: Option<(u32, u32)>,
    recent: bool,
}

impl LinuxRelease {
    /// Linux 5.8 began to extend each bank with its own digest. A kernel without a version in its path is taken for
    /// recent when shim has SBAT or the kernel's EFI stub measures, both of which came later.
    pub(crate) fn is_recent(&self) -> bool {
        self.version.map_or(self.recent, |version| version >= (5, 8))
    }
}

/// `None` unless the log shows a Linux boot chain and the hand-over to the operating system.
pub(crate) fn linux_release(log: &EventLog<'_>) -> Option<LinuxRelease> {
    let bank = *log.active_banks().first()?;
    if log.format == Format::Ccel {
        return None;
    }
    let handed_over = log.session().iter().any(|event| {
        event.event_type == EventType::EV_EFI_ACTION
            && event.data == crate::replay::EXIT_BOOT_SERVICES_SUCCESS
    });
    let all = measurements(log, bank);
    let linux = all.iter().any(|m| match m.kind {
        ComponentKind::Kernel | ComponentKind::KernelCommandLine | ComponentKind::Shim => true,
        ComponentKind::BootLoader => m.name.to_ascii_lowercase().contains("grub"),
        _ => false,
    });
    let windows =
        all.iter().any(|m| matches!(m.kind, ComponentKind::WindowsModule | ComponentKind::WindowsPolicy));
    if !handed_over || !linux || windows {
        return None;
    }
    let version = all.iter().filter(|m| m.kind == ComponentKind::Kernel).find_map(|m| {
        let mut parts = kernel_version(&m.name)?.split(['.', '-']);
        Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
    });
    Some(LinuxRelease {
        version,
        recent: all.iter().any(|m| m.kind == ComponentKind::SbatLevel || m.name.ends_with("of the EFI stub")),
    })
}
