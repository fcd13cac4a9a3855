//! What shim, GRUB, systemd-boot and systemd-stub write beside the digests of EV_IPL events.

use std::borrow::Cow;

use super::{Label, Labels, name, value};
use crate::ComponentKind;
use crate::decode::ipl::Ipl;
use crate::images::{file_name, is_initrd_name, is_kernel_name};
use crate::limits::MAX_NAME_CHARS;
use crate::text::{Text, Utf16, push_bounded};

impl<'a> Labels<'a> {
    pub(super) fn label_ipl(&mut self, label: &mut Label, ipl: &Ipl<'a>) {
        if let Ipl::Section { name: section } = ipl {
            label.kind = ComponentKind::UkiSection;
            // systemd-stub measures the name of a section, then its content, with the same event data.
            let content = self.section.take() == Some(section.0);
            label.name = if content { name(section) } else { format!("{section} (name)").into() };
            self.section = (!content).then_some(section.0);
            return;
        }
        match ipl {
            Ipl::Command { text } => {
                let (command, rest) = first_word(text.0);
                if is_linux_command(command) {
                    label.kind = ComponentKind::KernelCommandLine;
                    label.name = "GRUB linux command".into();
                    label.value = Some(value(&Text(first_word(rest).1)));
                } else {
                    label.kind = ComponentKind::BootLoaderConfig;
                    label.name = grub_command(command);
                    label.value = Some(value(text));
                }
            }
            Ipl::KernelCommandLine { text } => {
                label.kind = ComponentKind::KernelCommandLine;
                label.name = "GRUB kernel_cmdline".into();
                label.value = Some(value(&Text(first_word(text.0).1)));
            }
            Ipl::ModuleCommandLine { text } => {
                label.kind = ComponentKind::BootLoaderConfig;
                label.name = "GRUB module_cmdline".into();
                label.value = Some(value(text));
            }
            Ipl::File { path } => {
                label.kind = self.file_kind(*path);
                label.name = name(path);
            }
            Ipl::Mok { name: variable } => {
                label.kind = ComponentKind::MokState;
                label.name = name(variable);
            }
            Ipl::Wide { text } => label_wide(label, *text),
            Ipl::Text { text } => match text.0 {
                b"grub_linuxefi Kernel" => {
                    label.kind = ComponentKind::Kernel;
                    label.name = self.kernel_path.map_or_else(|| name(text), |path| name(&Text(path)));
                }
                b"grub_linuxefi Initrd" => {
                    label.kind = ComponentKind::Initrd;
                    label.name = self.initrd_paths.map_or_else(|| name(text), |paths| name(&Text(paths)));
                }
                _ => {
                    label.kind = ComponentKind::BootLoaderFile;
                    label.name = name(text);
                }
            },
            Ipl::Section { .. } | Ipl::Unknown { .. } => label.name = "EV_IPL".into(),
        }
    }

    fn file_kind(&self, path: Text<'_>) -> ComponentKind {
        let local = without_device(path.0);
        if self.kernel_path.is_some_and(|kernel| without_device(kernel) == local) {
            return ComponentKind::Kernel;
        }
        let mut initrds = self.initrd_paths.unwrap_or_default().split(|b| *b == b' ');
        if initrds.any(|initrd| !initrd.is_empty() && without_device(initrd) == local) {
            return ComponentKind::Initrd;
        }
        let file = file_name(path);
        if is_initrd_name(&file) {
            ComponentKind::Initrd
        } else if is_kernel_name(&file) {
            ComponentKind::Kernel
        } else if file.contains(".cfg") || file.ends_with(".conf") {
            ComponentKind::BootLoaderConfig
        } else {
            ComponentKind::BootLoaderFile
        }
    }
}

/// `GRUB command set`: most events of a Linux boot, so the names of the usual commands are written down.
fn grub_command(command: &[u8]) -> Cow<'static, str> {
    macro_rules! known {
        ($($command:literal)+) => {
            match std::str::from_utf8(command) {
                $(Ok($command) => return Cow::Borrowed(concat!("GRUB command ", $command)),)+
                _ => {}
            }
        };
    }
    known!(
        "set" "if" "[" "search" "insmod" "menuentry" "load_env" "save_env" "export" "echo" "initrd" "then" "else" "fi"
        "elif" "true" "false" "test" "setparams" "submenu" "function" "terminal_input" "terminal_output" "gfxmode"
        "load_video" "loadfont" "font" "source" "configfile" "linuxefi" "initrdefi" "regexp" "probe" "background_color"
        "gfxpayload" "recordfail" "savedefault" "blscfg" "increment" "unset" "for" "while" "return" "normal" "boot"
        "play" "serial" "terminal" "keymap" "loopback" "multiboot2" "module2" "chainloader" "fwsetup"
    );
    let mut name = String::with_capacity(16 + command.len().min(64));
    name.push_str("GRUB command ");
    push_bounded(&mut name, &Text(command), MAX_NAME_CHARS);
    name.into()
}

/// Whether a command of GRUB loads Linux.
pub(super) fn is_linux_command(command: &[u8]) -> bool {
    matches!(command, b"linux" | b"linuxefi" | b"linux16")
}

/// The first word and what follows it, without the blank between them.
pub(super) fn first_word(text: &[u8]) -> (&[u8], &[u8]) {
    let end = text.iter().position(|b| *b == b' ').unwrap_or(text.len());
    let (word, rest) = text.split_at_checked(end).unwrap_or((text, &[]));
    (word, rest.strip_prefix(b" ").unwrap_or(rest))
}

/// A GRUB path without its device: `(hd0,gpt2)/vmlinuz` gives `/vmlinuz`.
fn without_device(path: &[u8]) -> &[u8] {
    match path.iter().position(|b| *b == b')') {
        Some(end) if path.first() == Some(&b'(') => path.get(end + 1..).unwrap_or_default(),
        _ => path,
    }
}

/// UTF-16 events are the command line itself or a description by systemd-stub.
fn label_wide(label: &mut Label, text: Utf16<'_>) {
    let shown = name(&text);
    let description =
        shown.ends_with(" initrd") || shown.ends_with("credentials") || shown.ends_with("extensions");
    if description {
        label.kind = ComponentKind::UkiSection;
        label.name = shown;
    } else {
        label.kind = ComponentKind::KernelCommandLine;
        label.name = "load options".into();
        label.value = Some(value(&text));
    }
}
