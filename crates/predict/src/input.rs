//! What is predicted from: files, and what is inside them.

use std::fmt;

use serde::Serialize;
use veriboot_eventlog::{Certificate, Digest, HashAlg};

use crate::archive::{self, ArchiveError};
use crate::disk::{Disk, DiskError};
use crate::limits::{MAX_CONFIG_BYTES, MAX_FILE_BYTES, MAX_INPUTS};
use crate::loader_entry::{LoaderEntry, LoaderEntryError};
use crate::pe::{Anchor, Image, ImageRole, PeError};

/// Where bytes come from.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Origin {
    /// Name of the file that was given, without folders.
    pub file: String,
    /// SHA-256 of that file.
    pub sha256: Digest,
    /// Path inside of it, for packages and disk images.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub member: Option<String>,
}

impl Origin {
    /// A file that was given itself.
    pub fn file(name: &str, sha256: Digest) -> Self {
        let name = name.rsplit('/').next().unwrap_or(name);
        Self { file: name.chars().filter(|c| !c.is_control()).take(255).collect(), sha256, member: None }
    }

    fn member(&self, path: &str) -> Self {
        let member = path.chars().filter(|c| !c.is_control()).take(1024).collect();
        Self { member: Some(member), ..self.clone() }
    }

    /// Last part of the path.
    pub fn name(&self) -> &str {
        let path = self.member.as_deref().unwrap_or(&self.file);
        path.rsplit(['/', '\\']).next().unwrap_or(path)
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.member {
            Some(member) => write!(f, "{}: {member}", self.file),
            None => f.write_str(&self.file),
        }
    }
}

/// What a file is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// An EFI image.
    Image(ImageRole),
    /// An initial RAM disk.
    Initrd,
    /// A GRUB configuration.
    GrubConfig,
    /// An entry of the boot loader specification.
    LoaderEntry(LoaderEntry),
}

/// A file that is measured at boot.
#[derive(Clone, Debug)]
pub struct Artifact {
    /// Where it comes from.
    pub origin: Origin,
    /// What it is for.
    pub what: What,
    /// Content.
    pub bytes: Vec<u8>,
}

/// Why a file cannot be used; names the file.
#[derive(Debug, thiserror::Error)]
#[error("{file}: {why}")]
pub struct InputError {
    /// The file.
    pub file: String,
    /// Why.
    pub why: InputReason,
}

/// What is wrong with a file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InputReason {
    /// A package.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// An EFI image.
    #[error(transparent)]
    Pe(#[from] PeError),
    /// A disk image.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// A loader entry.
    #[error(transparent)]
    LoaderEntry(#[from] LoaderEntryError),
    /// Too large.
    #[error("it has {bytes} bytes, more than the {max} that are read")]
    TooLarge {
        /// Bytes of the file.
        bytes: usize,
        /// Bytes that are read.
        max: usize,
    },
    /// Too many files.
    #[error("more than {MAX_INPUTS} files are given")]
    TooMany,
    /// Another kind of file than the option is for.
    #[error("expected {expected}, found {found}")]
    OtherKind {
        /// What it is.
        found: &'static str,
        /// What it should be.
        expected: &'static str,
    },
    /// Nothing in it is measured at boot.
    #[error("nothing in it is measured at boot")]
    NoBootFile,
    /// No certificate.
    #[error("it is not a certificate in DER")]
    NotACertificate,
    /// A second one where there can be one.
    #[error("there can be only one {0}")]
    Twice(&'static str),
}

impl InputError {
    /// What to do.
    pub const fn hint(&self) -> &'static str {
        match &self.why {
            InputReason::Archive(ArchiveError::Format(_))
            | InputReason::OtherKind { .. }
            | InputReason::Pe(_) => {
                "--deb and --rpm take packages, --efi any EFI image, --kernel and --uki those alone, --initrd the rest"
            }
            InputReason::Archive(_) => "get the package again from where it was published",
            InputReason::NoBootFile => {
                "shim, GRUB, systemd-boot and kernels are measured: on Debian the packages shim-signed, \
                 grub-efi-amd64-signed, systemd-boot-efi and linux-image-…"
            }
            InputReason::Disk(_) => "give a raw or qcow2 image with a GPT, an MBR or a bare file system",
            InputReason::LoaderEntry(_) => "give an entry of /loader/entries",
            InputReason::TooLarge { .. } | InputReason::TooMany => "give only what the machine boots from",
            InputReason::NotACertificate => "give an X.509 certificate in PEM or DER",
            InputReason::Twice(_) => "give one of them",
        }
    }

    /// Stable identifier in kebab case.
    pub const fn code(&self) -> &'static str {
        match &self.why {
            InputReason::Archive(e) => e.code(),
            InputReason::Pe(e) => e.code(),
            InputReason::Disk(e) => e.code(),
            InputReason::LoaderEntry(e) => e.code(),
            InputReason::TooLarge { .. } => "file-too-large",
            InputReason::TooMany => "too-many-files",
            InputReason::OtherKind { .. } => "other-kind-of-file",
            InputReason::NoBootFile => "no-boot-file",
            InputReason::NotACertificate => "not-a-certificate",
            InputReason::Twice(_) => "given-twice",
        }
    }
}

/// A reader of packages.
type Unpack = fn(&[u8], &dyn Fn(&str) -> bool) -> Result<Vec<archive::Member>, ArchiveError>;

/// Everything that was given.
#[derive(Debug, Default)]
pub struct Inputs {
    pub(crate) artifacts: Vec<Artifact>,
    pub(crate) disk: Option<(Origin, Disk)>,
    pub(crate) cmdline: Option<String>,
    pub(crate) anchors: Vec<Anchor>,
    origins: Vec<Origin>,
}

impl Inputs {
    /// Nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether nothing was given.
    pub fn is_empty(&self) -> bool {
        self.artifacts.is_empty() && self.disk.is_none() && self.cmdline.is_none()
    }

    /// The files that were given, without those that are only certificates.
    pub fn origins(&self) -> &[Origin] {
        &self.origins
    }

    /// The boot files of a `.deb`. Gives how many there are.
    pub fn add_deb(&mut self, name: &str, bytes: &[u8]) -> Result<usize, InputError> {
        self.add_package(name, bytes, archive::deb)
    }

    /// The boot files of an `.rpm`. Gives how many there are.
    pub fn add_rpm(&mut self, name: &str, bytes: &[u8]) -> Result<usize, InputError> {
        self.add_package(name, bytes, archive::rpm)
    }

    fn add_package(&mut self, name: &str, bytes: &[u8], unpack: Unpack) -> Result<usize, InputError> {
        let origin = self.origin(name, bytes)?;
        let members = unpack(bytes, &archive::is_boot_file).map_err(|e| fail(name, e))?;
        let mut count = 0;
        for member in members {
            let origin = origin.member(&member.path);
            let what = match Image::parse(&member.bytes) {
                Ok(image) => What::Image(image.role(&member.path)),
                Err(_) if origin.name().starts_with("init") => What::Initrd,
                // A kernel that is not an EFI image is loaded by no firmware.
                Err(_) => continue,
            };
            count += 1;
            self.artifacts.push(Artifact { origin, what, bytes: member.bytes });
        }
        if count == 0 { Err(fail(name, InputReason::NoBootFile)) } else { Ok(count) }
    }

    /// An EFI image of any kind.
    pub fn add_efi(&mut self, name: &str, bytes: Vec<u8>) -> Result<ImageRole, InputError> {
        let origin = self.origin(name, &bytes)?;
        let role = Image::parse(&bytes).map_err(|e| fail(name, e))?.role(name);
        self.artifacts.push(Artifact { origin, what: What::Image(role), bytes });
        Ok(role)
    }

    /// A kernel with its EFI stub.
    pub fn add_kernel(&mut self, name: &str, bytes: Vec<u8>) -> Result<(), InputError> {
        self.add_role(name, bytes, ImageRole::Kernel)
    }

    /// A unified kernel image.
    pub fn add_uki(&mut self, name: &str, bytes: Vec<u8>) -> Result<(), InputError> {
        self.add_role(name, bytes, ImageRole::Uki)
    }

    fn add_role(&mut self, name: &str, bytes: Vec<u8>, expected: ImageRole) -> Result<(), InputError> {
        match self.add_efi(name, bytes)? {
            found if found == expected => Ok(()),
            found => {
                self.artifacts.pop();
                Err(fail(name, InputReason::OtherKind { found: found.title(), expected: expected.title() }))
            }
        }
    }

    /// An initial RAM disk. Its content is not looked at.
    pub fn add_initrd(&mut self, name: &str, bytes: Vec<u8>) -> Result<(), InputError> {
        let origin = self.origin(name, &bytes)?;
        self.artifacts.push(Artifact { origin, what: What::Initrd, bytes });
        Ok(())
    }

    /// The GRUB configuration.
    pub fn add_grub_config(&mut self, name: &str, bytes: Vec<u8>) -> Result<(), InputError> {
        if self.artifacts.iter().any(|a| a.what == What::GrubConfig) {
            return Err(fail(name, InputReason::Twice("GRUB configuration")));
        }
        if bytes.len() > MAX_CONFIG_BYTES {
            return Err(fail(name, InputReason::TooLarge { bytes: bytes.len(), max: MAX_CONFIG_BYTES }));
        }
        let origin = self.origin(name, &bytes)?;
        self.artifacts.push(Artifact { origin, what: What::GrubConfig, bytes });
        Ok(())
    }

    /// An entry of the boot loader specification, as systemd-boot reads it.
    pub fn add_loader_entry(&mut self, name: &str, bytes: Vec<u8>) -> Result<(), InputError> {
        let origin = self.origin(name, &bytes)?;
        let entry = LoaderEntry::parse(&bytes).map_err(|e| fail(name, e))?;
        self.artifacts.push(Artifact { origin, what: What::LoaderEntry(entry), bytes });
        Ok(())
    }

    /// The kernel command line, without image path.
    pub fn set_cmdline(&mut self, text: &str) {
        self.cmdline = Some(text.trim().to_owned());
    }

    /// A disk image that will boot. `sha256` is that of the image file.
    pub fn set_disk(&mut self, name: &str, sha256: Digest, disk: Disk) -> Result<(), InputError> {
        if self.disk.is_some() {
            return Err(fail(name, InputReason::Twice("disk image")));
        }
        let origin = Origin::file(name, sha256);
        self.origins.push(origin.clone());
        self.disk = Some((origin, disk));
        Ok(())
    }

    /// A certificate (DER) that admits images: shows who signed them, and changes nothing else.
    pub fn add_certificate(&mut self, name: &str, der: &[u8]) -> Result<(), InputError> {
        let certificate = Certificate::parse(der).ok_or_else(|| fail(name, InputReason::NotACertificate))?;
        self.anchors.push(Anchor { from: name.to_owned(), der: certificate.der.to_vec() });
        Ok(())
    }

    fn origin(&mut self, name: &str, bytes: &[u8]) -> Result<Origin, InputError> {
        if bytes.len() > MAX_FILE_BYTES {
            return Err(fail(name, InputReason::TooLarge { bytes: bytes.len(), max: MAX_FILE_BYTES }));
        }
        if self.origins.len() >= MAX_INPUTS {
            return Err(fail(name, InputReason::TooMany));
        }
        let origin = Origin::file(name, HashAlg::Sha256.hash(&[bytes]));
        self.origins.push(origin.clone());
        Ok(origin)
    }

    /// The file of this path in the disk image: in this partition, or in the only one that has it.
    pub(crate) fn on_disk(&self, partition: Option<u32>, path: &str) -> Result<Option<Artifact>, DiskError> {
        let Some((origin, disk)) = &self.disk else { return Ok(None) };
        let places = partition.map_or_else(|| disk.all_partitions(), |number| vec![number]);
        let mut found = None;
        for number in places {
            if let Some(file) = disk.read(number, path)? {
                if found.is_some() {
                    return Ok(None);
                }
                let origin = origin.member(&format!("/{} (partition {number})", file.path));
                found = Some(Artifact { origin, what: What::Initrd, bytes: file.bytes });
            }
        }
        Ok(found)
    }
}

fn fail(file: &str, why: impl Into<InputReason>) -> InputError {
    InputError { file: Origin::file(file, Digest::zero(HashAlg::Sha256)).file, why: why.into() }
}
