//! Entries of the boot loader specification (UAPI group, "Type #1 Boot Loader Specification Entries").

use crate::limits::MAX_CONFIG_BYTES;

/// What an entry boots.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LoaderEntry {
    /// Path of the kernel.
    pub linux: String,
    /// Paths of the initial RAM disks, in their order.
    pub initrds: Vec<String>,
    /// The kernel command line.
    pub options: String,
}

/// Why a file is not such an entry.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LoaderEntryError {
    /// Too large, or not text.
    #[error("it is not text of at most {MAX_CONFIG_BYTES} bytes")]
    NotText,
    /// No kernel.
    #[error("it has no `linux` line, so it boots no kernel")]
    NoKernel,
}

impl LoaderEntryError {
    /// Stable identifier in kebab case.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::NotText | Self::NoKernel => "loader-entry-malformed",
        }
    }
}

impl LoaderEntry {
    /// Reads an entry. Keys that are not measured are passed over.
    pub fn parse(bytes: &[u8]) -> Result<Self, LoaderEntryError> {
        let text =
            Some(bytes).filter(|b| b.len() <= MAX_CONFIG_BYTES).and_then(|b| std::str::from_utf8(b).ok());
        let mut entry = Self::default();
        let mut options: Vec<&str> = Vec::new();
        for line in text.ok_or(LoaderEntryError::NotText)?.lines().map(str::trim) {
            let Some((key, value)) = line.split_once(char::is_whitespace) else { continue };
            let value = value.trim();
            match key {
                "linux" => value.clone_into(&mut entry.linux),
                "initrd" => entry.initrds.push(value.to_owned()),
                "options" => options.push(value),
                _ => {}
            }
        }
        entry.options = options.join(" ");
        if entry.linux.is_empty() { Err(LoaderEntryError::NoKernel) } else { Ok(entry) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_may_repeat_and_comments_are_passed_over() {
        let entry = LoaderEntry::parse(
            b"# x\ntitle\tFedora\nlinux  /vmlinuz-6\ninitrd /ucode.img\ninitrd /initrd-6\noptions root=/dev/vda2  ro\noptions quiet\n",
        )
        .unwrap();
        assert_eq!(entry.linux, "/vmlinuz-6");
        assert_eq!(entry.initrds, ["/ucode.img", "/initrd-6"]);
        assert_eq!(entry.options, "root=/dev/vda2  ro quiet");
        assert_eq!(LoaderEntry::parse(b"title x\n"), Err(LoaderEntryError::NoKernel));
        assert_eq!(LoaderEntry::parse(b"\xff"), Err(LoaderEntryError::NotText));
    }
}
