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

/// What the prefix of an event says about the text after it.
#[derive(Clone, Copy)]
enum Marked {
    Command,
    KernelCommandLine,
    ModuleCommandLine,
}

/// The mark of an event and all bytes after it: prefixes mark a text and are not measured.
fn marked(data: &[u8]) -> Option<(Marked, &[u8])> {
    let after = |prefix: &[u8]| data.strip_prefix(prefix);
    match data.first()? {
        b'g' => after(b"grub_cmd: ")
            .or_else(|| after(b"grub_cmd "))
            .map(|rest| (Marked::Command, rest))
            .or_else(|| after(b"grub_kernel_cmdline ").map(|rest| (Marked::KernelCommandLine, rest))),
        b'k' => after(b"kernel_cmdline: ")
            .or_else(|| after(b"kernel_cmdline "))
            .map(|rest| (Marked::KernelCommandLine, rest)),
        b'm' => after(b"module_cmdline: ").map(|rest| (Marked::ModuleCommandLine, rest)),
        _ => None,
    }
}

/// Sections of a UKI in the order in which systemd-stub measures them.
const SECTIONS: &[&str] = &[
    ".linux", ".osrel", ".cmdline", ".initrd", ".ucode", ".splash", ".dtb", ".uname", ".sbat", ".pcrpkey",
    ".profile", ".dtbauto", ".hwids", ".efifw",
];

impl<'a> Ipl<'a> {
    /// Bytes of the prefix that marks a command or command line; the text after it is what the digest is taken over.
    pub fn prefix_len(data: &[u8]) -> Option<usize> {
        marked(data).map(|(_, rest)| data.len() - rest.len())
    }

    /// What is measured of a command or command line: without prefix and NUL, and with the NUL where there is one.
    pub(crate) fn measured_text(data: &'a [u8]) -> Option<(&'a [u8], Option<&'a [u8]>)> {
        let (_, rest) = marked(data)?;
        let text = Text::c_string(rest).0;
        Some((text, rest.get(..text.len() + 1)))
    }

    /// The text of a command.
    pub(crate) fn command(data: &'a [u8]) -> Option<&'a [u8]> {
        Self::command_and_rest(data).map(|rest| Text::c_string(rest).0)
    }

    /// The text of a command, and what follows the NUL at its end.
    pub(crate) fn command_and_rest(data: &'a [u8]) -> Option<&'a [u8]> {
        match marked(data)? {
            (Marked::Command, rest) => Some(rest),
            _ => None,
        }
    }

    /// The event if it is a command or command line that names kernel or initrd, or one that tells what the image before
    /// it is: MOK state, UKI section. For passes that look at every event and need nothing else.
    pub(crate) fn parse_if_telling(data: &'a [u8]) -> Option<Self> {
        let telling = match data {
            [b'M' | b'.', ..] => true,
            _ => match marked(data)? {
                (Marked::Command, rest) => rest.starts_with(b"linux") || rest.starts_with(b"initrd"),
                (Marked::KernelCommandLine, _) => true,
                (Marked::ModuleCommandLine, _) => false,
            },
        };
        telling.then(|| Self::parse(data))
    }

    /// Never fails.
    pub fn parse(data: &'a [u8]) -> Self {
        if let Some((mark, rest)) = marked(data) {
            let text = Text::c_string(rest);
            return match mark {
                Marked::Command => Self::Command { text },
                Marked::KernelCommandLine => Self::KernelCommandLine { text },
                Marked::ModuleCommandLine => Self::ModuleCommandLine { text },
            };
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
