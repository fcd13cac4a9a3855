//! The boot files inside a package: `.deb` and `.rpm`.

mod ar;
mod cpio;
mod rpm;
mod tarball;
mod unpack;

use crate::limits::{MAX_FILE_BYTES, MAX_KEPT_BYTES, MAX_MEMBERS, MAX_UNPACKED_BYTES, MAX_WINDOW_BYTES};

/// A file of a package.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Path without leading `/` or `./`.
    pub path: String,
    /// Content.
    pub bytes: Vec<u8>,
}

/// Why a package cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ArchiveError {
    /// Too large.
    #[error("the package has {bytes} bytes, more than the {MAX_FILE_BYTES} that are read")]
    TooLarge {
        /// Bytes of the package.
        bytes: usize,
    },
    /// Neither `.deb` nor `.rpm`.
    #[error("the file is not {0}")]
    Format(&'static str),
    /// A header or an entry is broken or cut.
    #[error("the package is malformed: {0}")]
    Malformed(String),
    /// A decompression bomb, or more than a package has.
    #[error(
        "the package unpacks to more than {MAX_UNPACKED_BYTES} bytes, {MAX_MEMBERS} files or {MAX_KEPT_BYTES} bytes \
         of boot files, or needs a decoder with more than {MAX_WINDOW_BYTES} bytes of memory"
    )]
    Bomb,
    /// A compression that is not supported.
    #[error("the package is compressed in a way that is not supported: {0}")]
    Compression(String),
}

impl ArchiveError {
    /// Stable identifier in kebab case.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::TooLarge { .. } => "file-too-large",
            Self::Format(_) => "not-a-package",
            Self::Malformed(_) => "package-malformed",
            Self::Bomb => "package-too-large",
            Self::Compression(_) => "package-compression-unknown",
        }
    }
}

/// The boot files of a Debian package: those whose path `wanted` takes, in archive order.
pub fn deb(bytes: &[u8], wanted: &dyn Fn(&str) -> bool) -> Result<Vec<Member>, ArchiveError> {
    bounded(bytes)?;
    for member in ar::members(bytes)? {
        let (name, content) = member?;
        if let Some(suffix) = name.strip_prefix("data.tar") {
            return tarball::files(unpack::open(content, suffix)?, wanted);
        }
    }
    Err(ArchiveError::Malformed("it has no data.tar".to_owned()))
}

/// The boot files of an RPM package: those whose path `wanted` takes, in archive order.
pub fn rpm(bytes: &[u8], wanted: &dyn Fn(&str) -> bool) -> Result<Vec<Member>, ArchiveError> {
    bounded(bytes)?;
    cpio::files(unpack::open(rpm::payload(bytes)?, "")?, wanted)
}

/// Whether a package path may hold something that is measured at boot.
pub fn is_boot_file(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or_default().to_ascii_lowercase();
    let starts = |prefixes: &[&str]| prefixes.iter().any(|p| name.starts_with(p));
    name.ends_with(".efi")
        || name.ends_with(".efi.signed")
        || name.ends_with(".efi.stub")
        || starts(&["vmlinuz", "vmlinux", "initrd", "initramfs"])
}

fn bounded(bytes: &[u8]) -> Result<(), ArchiveError> {
    if bytes.len() > MAX_FILE_BYTES { Err(ArchiveError::TooLarge { bytes: bytes.len() }) } else { Ok(()) }
}

/// Collects wanted files and counts all of them.
struct Kept<'w> {
    wanted: &'w dyn Fn(&str) -> bool,
    members: usize,
    bytes: usize,
    files: Vec<Member>,
}

impl<'w> Kept<'w> {
    fn new(wanted: &'w dyn Fn(&str) -> bool) -> Self {
        Self { wanted, members: 0, bytes: 0, files: Vec::new() }
    }

    /// Counts one entry, or what only names the next one.
    fn count(&mut self) -> Result<(), ArchiveError> {
        self.members += 1;
        if self.members > 2 * MAX_MEMBERS { Err(ArchiveError::Bomb) } else { Ok(()) }
    }

    /// The path of an entry whose content is wanted.
    fn offer(&self, path: &str) -> Option<String> {
        let path = path.trim_start_matches("./").trim_start_matches('/');
        (self.wanted)(path).then(|| path.to_owned())
    }

    /// Reads the content of a wanted entry that claims `size` bytes.
    fn take(&mut self, path: String, size: u64, from: &mut dyn std::io::Read) -> Result<(), ArchiveError> {
        let size = usize::try_from(size).map_err(|_| ArchiveError::Bomb)?;
        self.bytes = self.bytes.saturating_add(size);
        if self.bytes > MAX_KEPT_BYTES {
            return Err(ArchiveError::Bomb);
        }
        let mut bytes = Vec::new();
        let mut limited = std::io::Read::take(from, size as u64);
        std::io::Read::read_to_end(&mut limited, &mut bytes).map_err(|e| unpack::failed(&e))?;
        if bytes.len() != size {
            return Err(ArchiveError::Malformed(format!("{path} is cut")));
        }
        self.files.push(Member { path, bytes });
        Ok(())
    }
}
