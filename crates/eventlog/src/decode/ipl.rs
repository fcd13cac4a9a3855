//! EV_IPL: what boot loaders measure. GRUB: commands, modules, files, command lines. shim: MOK state. systemd-stub: UKI
//! sections, credentials, command line.

use serde::Serialize;

use super::firmware::Loose;
use crate::text::{Text, Utf16};

/// An event of a boot loader.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Ipl<'a> {
    /// A GRUB command.
    Command {
        /// The command with its arguments.
        text: Text<'a>,
    },
    /// Kernel command line as GRUB hands it over, image path first.
    KernelCommandLine {
        /// Path and arguments.
        text: Text<'a>,
    },
    /// Command line of a Multiboot or Xen module.
    ModuleCommandLine {
        /// Path and arguments.
        text: Text<'a>,
    },
    /// A file that the boot loader read; the digest is that of the file.
    File {
        /// Path with its device.
        path: Text<'a>,
    },
    /// Machine owner keys, measured by shim.
    Mok {
        /// Variable: MokList, MokListX, MokListTrusted, MokSBState…
        name: Text<'a>,
    },
    /// A section of a unified kernel image: `.linux`, `.cmdline`.
    Section {
        /// Name.
        name: Loose<'a>,
    },
    /// UTF-16 text: a command line or a description of systemd-stub.
    Wide {
        /// The text.
        text: Utf16<'a>,
    },
    /// Other text.
    Text {
        /// The text.
        text: Text<'a>,
    },
    /// Not text.
    Unknown {
        /// Hex.
        text: Loose<'a>,
    },
}

const COMMAND: &[&[u8]] = &[b"grub_cmd: ", b"grub_cmd "];
const KERNEL: &[&[u8]] = &[b"kernel_cmdline: ", b"grub_kernel_cmdline ", b"kernel_cmdline "];
const MODULE: &[&[u8]] = &[b"module_cmdline: "];
/// Sections of a UKI in the order in which systemd-stub measures them.
const SECTIONS: &[&str] = &[
    ".linux", ".osrel", ".cmdline", ".initrd", ".ucode", ".splash", ".dtb", ".uname", ".sbat", ".pcrpkey",
    ".profile", ".dtbauto", ".hwids", ".efifw",
];

impl<'a> Ipl<'a> {
    /// Bytes of the prefix that marks a command or command line and is not measured.
    pub(crate) fn prefix_len(data: &[u8]) -> Option<usize> {
        [COMMAND, KERNEL, MODULE]
            .into_iter()
            .flatten()
            .find(|prefix| data.starts_with(prefix))
            .map(|p| p.len())
    }

    /// Never fails.
    pub fn parse(data: &'a [u8]) -> Self {
        let after =
            |prefixes: &[&[u8]]| prefixes.iter().find_map(|p| data.strip_prefix(*p)).map(Text::c_string);
        if let Some(text) = after(COMMAND) {
            return Self::Command { text };
        }
        if let Some(text) = after(KERNEL) {
            return Self::KernelCommandLine { text };
        }
        if let Some(text) = after(MODULE) {
            return Self::ModuleCommandLine { text };
        }
        // Some builds of GRUB leave a stray byte after the NUL (quirk 11); the digest does not cover it.
        let (text, wide) = (Text::c_string(data), Utf16::trimmed(data));
        if data.get(1) == Some(&0) && wide.is_plain() {
            if SECTIONS.iter().any(|section| wide.is(section)) {
                return Self::Section { name: Loose(data) };
            }
            return Self::Wide { text: wide };
        }
        if SECTIONS.iter().any(|section| text.0 == section.as_bytes()) {
            return Self::Section { name: Loose(data) };
        }
        if text.0.starts_with(b"Mok") && text.0.iter().all(u8::is_ascii_alphanumeric) {
            return Self::Mok { name: text };
        }
        if matches!(text.0, [b'(' | b'/', ..]) {
            return Self::File { path: text };
        }
        if text.0.is_empty() || std::str::from_utf8(text.0).is_err() {
            return Self::Unknown { text: Loose(data) };
        }
        Self::Text { text }
    }
}
