//! Which part a loaded image plays: shim, boot loader, kernel. Firmware does not say; the path and what follows do.

use crate::decode::device_path::DevicePath;
use crate::decode::ipl::Ipl;
use crate::decode::variable::Variable;
use crate::text::{Text, bounded, guids};
use crate::{ComponentKind, Decoded, Event, EventType};

/// What was seen between an image and the next one.
#[derive(Clone, Copy, Default)]
struct Aftermath {
    shim: bool,
    uki: bool,
}

/// Parts of the images of one session, by position among its EV_EFI_BOOT_SERVICES_APPLICATION events.
pub(crate) struct ImageRoles {
    roles: Vec<ComponentKind>,
}

/// The images of a session and what followed each, while its events are looked at in their order.
#[derive(Default)]
pub(crate) struct ImagesSeen<'a> {
    images: Vec<(DevicePath<'a>, Aftermath)>,
}

impl<'a> ImagesSeen<'a> {
    /// An event that extends a register: what extends none is a claim that no quote can prove. Those of the type EV_IPL
    /// go to [`Self::told`].
    pub(crate) fn see(&mut self, event: &Event<'a>) {
        match event.event_type {
            EventType::EV_EFI_BOOT_SERVICES_APPLICATION => {
                let path = match event.decode() {
                    Decoded::Image(image) => image.path,
                    _ => DevicePath(&[]),
                };
                if path.vendor_media() == Some(guids::STUB_PAYLOAD)
                    && let Some((_, aftermath)) = self.images.last_mut()
                {
                    aftermath.uki = true;
                }
                self.images.push((path, Aftermath::default()));
            }
            EventType::EV_EFI_VARIABLE_AUTHORITY => {
                let Some((_, aftermath)) = self.images.last_mut() else { return };
                aftermath.shim |= Variable::parse(event.data).is_some_and(|v| v.vendor == guids::SHIM_LOCK);
            }
            _ => {}
        }
    }

    /// What an event of a boot loader says, if it is one that tells what the image before it is.
    pub(crate) fn told(&mut self, ipl: &Ipl<'_>) {
        let Some((_, aftermath)) = self.images.last_mut() else { return };
        match ipl {
            Ipl::Mok { .. } => aftermath.shim = true,
            Ipl::Section { .. } => aftermath.uki = true,
            _ => {}
        }
    }
}

impl ImageRoles {
    pub(crate) fn of(seen: ImagesSeen<'_>) -> Self {
        let images = seen.images;
        let mut roles: Vec<ComponentKind> = Vec::with_capacity(images.len());
        for (path, aftermath) in images {
            let before = roles.last().copied();
            // MOK events also follow what shim loads; only the first of them names shim.
            let shim_known = roles.contains(&ComponentKind::Shim);
            roles.push(role(&path, aftermath, before, shim_known));
        }
        Self { roles }
    }

    /// Part of the image at this position; a driver when it is not an application.
    pub(crate) fn get(&self, position: usize) -> ComponentKind {
        self.roles.get(position).copied().unwrap_or(ComponentKind::Unknown)
    }
}

fn role(
    path: &DevicePath<'_>,
    aftermath: Aftermath,
    before: Option<ComponentKind>,
    shim_known: bool,
) -> ComponentKind {
    if path.vendor_media() == Some(guids::STUB_PAYLOAD) {
        return ComponentKind::Kernel;
    }
    if path.is_in_firmware() {
        return ComponentKind::Firmware;
    }
    let file = path.file().map(|file| bounded(&file, 1_024).to_ascii_lowercase()).unwrap_or_default();
    let name = file.rsplit(['\\', '/']).next().unwrap_or_default();
    let starts = |prefixes: &[&str]| prefixes.iter().any(|p| name.starts_with(p));
    if starts(&["shim"]) {
        return ComponentKind::Shim;
    }
    if is_kernel_name(name) || file.contains("\\efi\\linux\\") || aftermath.uki {
        return ComponentKind::Kernel;
    }
    let named_loader =
        starts(&["grub", "systemd-boot", "bootmgfw", "bootmgr", "refind", "elilo", "fbx64", "mmx64"])
            || starts(&["fbaa64", "mmaa64", "fwupd", "ipxe", "limine", "xen"]);
    if named_loader {
        return ComponentKind::BootLoader;
    }
    if aftermath.shim && !shim_known {
        return ComponentKind::Shim;
    }
    match (name.is_empty(), before) {
        (true, Some(ComponentKind::BootLoader | ComponentKind::Kernel)) => ComponentKind::Kernel,
        (true, None) if path.is_empty() => ComponentKind::Unknown,
        _ => ComponentKind::BootLoader,
    }
}

/// Whether a file name, in lower case, is that of a Linux kernel.
pub(crate) fn is_kernel_name(name: &str) -> bool {
    ["vmlinuz", "vmlinux", "bzimage", "kernel", "linux"].iter().any(|p| name.starts_with(p))
        && !name.ends_with(".cfg")
}

/// Whether a file name, in lower case, is that of an initial RAM disk.
pub(crate) fn is_initrd_name(name: &str) -> bool {
    ["initrd", "initramfs"].iter().any(|p| name.starts_with(p)) || name.ends_with("-ucode.img")
}

/// Last part of a path, in lower case.
pub(crate) fn file_name(path: Text<'_>) -> String {
    let shown = bounded(&path, 1_024).to_ascii_lowercase();
    shown.rsplit(['/', '\\']).next().unwrap_or_default().to_owned()
}
