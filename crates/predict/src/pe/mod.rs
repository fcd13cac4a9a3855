//! EFI images: sections, what they are, and the digests that firmware measures.

mod role;
mod signature;

use authenticode::authenticode_digest;
use object::LittleEndian as LE;
use object::pe::ImageSectionHeader;
use object::read::pe::{ImageNtHeaders, PeFile, PeFile32, PeFile64};
use veriboot_eventlog::sbat::Sbat;
use veriboot_eventlog::{Digest, HashAlg};

use crate::limits::{MAX_FILE_BYTES, MAX_SECTIONS};

pub use role::ImageRole;
pub use signature::{Anchor, ChainLink, Signature, Verified, signatures};

/// Bytes of a symbol in front of the string table (PE format, "COFF Symbol Table").
const SYMBOL_BYTES: u64 = 18;
/// Bytes of the name of a section.
const MAX_NAME_BYTES: usize = 64;

/// Why a file is not an EFI image that can be predicted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PeError {
    /// Too large.
    #[error("the image has {bytes} bytes, more than the {MAX_FILE_BYTES} that are read")]
    TooLarge {
        /// Bytes of the file.
        bytes: usize,
    },
    /// No PE image.
    #[error("the file is not an EFI image: {0}")]
    NotPe(String),
    /// Too many sections.
    #[error("the image has {sections} sections, more than the {MAX_SECTIONS} that are read")]
    TooManySections {
        /// Sections that its header claims.
        sections: usize,
    },
    /// Headers, sections and signatures do not fit into the file, so firmware refuses it too.
    #[error("the sections of the image reach over its end or over each other")]
    SectionsOutside,
    /// The signature cannot be read.
    #[error("the signature of the image cannot be read: {0}")]
    Signature(String),
}

impl PeError {
    /// Stable identifier in kebab case.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::TooLarge { .. } => "file-too-large",
            Self::NotPe(_) => "not-an-efi-image",
            Self::TooManySections { .. } | Self::SectionsOutside => "efi-image-malformed",
            Self::Signature(_) => "efi-signature-malformed",
        }
    }
}

/// An EFI image whose headers fit into its bytes.
#[derive(Clone, Copy, Debug)]
pub struct Image<'a> {
    data: &'a [u8],
    wide: bool,
}

impl<'a> Image<'a> {
    /// Reads headers and section table. Everything that is asked for later costs at most one pass over the bytes.
    pub fn parse(data: &'a [u8]) -> Result<Self, PeError> {
        if data.len() > MAX_FILE_BYTES {
            return Err(PeError::TooLarge { bytes: data.len() });
        }
        let wide = match object::FileKind::parse(data) {
            Ok(object::FileKind::Pe64) => true,
            Ok(object::FileKind::Pe32) => false,
            _ => return Err(PeError::NotPe("it has no PE header".to_owned())),
        };
        let image = Self { data, wide };
        if wide {
            check(&PeFile64::parse(data).map_err(|e| PeError::NotPe(e.to_string()))?)?;
        } else {
            check(&PeFile32::parse(data).map_err(|e| PeError::NotPe(e.to_string()))?)?;
        }
        Ok(image)
    }

    /// The bytes of the file.
    pub fn data(&self) -> &'a [u8] {
        self.data
    }

    /// The Authenticode digest: what firmware and shim extend PCR 4 with when they start the image (PE Authenticode
    /// specification, "Calculating the PE Image Hash").
    pub fn authenticode(&self, alg: HashAlg) -> Result<Digest, PeError> {
        let mut hashed = Collect(Vec::with_capacity(self.data.len()));
        let done = if self.wide {
            PeFile64::parse(self.data).ok().map(|pe| authenticode_digest(&pe, &mut hashed))
        } else {
            PeFile32::parse(self.data).ok().map(|pe| authenticode_digest(&pe, &mut hashed))
        };
        match done {
            Some(Ok(())) => Ok(alg.hash(&[&hashed.0])),
            _ => Err(PeError::SectionsOutside),
        }
    }

    /// Name and content of each section, in file order. The content is what is in memory: `VirtualSize` bytes, or what the
    /// file has of them.
    pub fn sections(&self) -> Vec<(String, &'a [u8])> {
        let table = if self.wide {
            PeFile64::parse(self.data).ok().map(|pe| named(&pe)).unwrap_or_default()
        } else {
            PeFile32::parse(self.data).ok().map(|pe| named(&pe)).unwrap_or_default()
        };
        let section = |(name, header): (String, ImageSectionHeader)| {
            let start = usize::try_from(header.pointer_to_raw_data.get(LE)).ok()?;
            let raw = usize::try_from(header.size_of_raw_data.get(LE)).ok()?;
            let size = match usize::try_from(header.virtual_size.get(LE)).ok()? {
                0 => raw,
                size => size.min(raw),
            };
            Some((name, self.data.get(start..start.checked_add(size)?)?))
        };
        table.into_iter().filter_map(section).collect()
    }

    /// Content of the first section of this name.
    pub fn section(&self, name: &str) -> Option<&'a [u8]> {
        self.sections().into_iter().find(|(seen, _)| seen == name).map(|(_, content)| content)
    }

    /// The section `.sbat`: which generation of which component the image is (shim, SBAT.md).
    pub fn sbat(&self) -> Option<Sbat> {
        Sbat::parse(self.section(".sbat")?)
    }

    /// What the image is.
    pub fn role(&self, file_name: &str) -> ImageRole {
        role::role(self, file_name)
    }
}

fn check<I: ImageNtHeaders>(pe: &PeFile<'_, I>) -> Result<(), PeError> {
    let headers = headers(pe);
    if headers.len() > MAX_SECTIONS {
        return Err(PeError::TooManySections { sections: headers.len() });
    }
    // What is hashed is bounded by the file only when the parts do not overlap.
    let mut total = u64::from(size_of_headers(pe));
    for header in &headers {
        total = total.saturating_add(u64::from(header.size_of_raw_data.get(LE)));
    }
    if total > pe.data().len() as u64 { Err(PeError::SectionsOutside) } else { Ok(()) }
}

fn size_of_headers<I: ImageNtHeaders>(pe: &PeFile<'_, I>) -> u32 {
    use object::read::pe::ImageOptionalHeader as _;
    pe.nt_headers().optional_header().size_of_headers()
}

fn headers<I: ImageNtHeaders>(pe: &PeFile<'_, I>) -> Vec<ImageSectionHeader> {
    pe.section_table().iter().copied().collect()
}

/// Section headers with their names; long names are in the string table behind the symbols.
fn named<I: ImageNtHeaders>(pe: &PeFile<'_, I>) -> Vec<(String, ImageSectionHeader)> {
    let file = pe.nt_headers().file_header();
    let symbols = u64::from(file.number_of_symbols.get(LE)) * SYMBOL_BYTES;
    let strings = u64::from(file.pointer_to_symbol_table.get(LE)) + symbols;
    let name = |header: &ImageSectionHeader| {
        // No more of a name is looked at than is kept: it may have no end.
        let long = header.name_offset().ok().flatten().and_then(|offset| {
            let at = usize::try_from(strings + u64::from(offset)).ok()?;
            let rest = pe.data().get(at..)?;
            rest.get(..rest.len().min(MAX_NAME_BYTES))?.split(|byte| *byte == 0).next()
        });
        let bytes = long.unwrap_or_else(|| header.raw_name());
        String::from_utf8_lossy(bytes.get(..bytes.len().min(MAX_NAME_BYTES)).unwrap_or_default()).into_owned()
    };
    headers(pe).into_iter().map(|header| (name(&header), header)).collect()
}

/// Takes the bytes in the order in which they are hashed.
struct Collect(Vec<u8>);

impl digest_0_10::Update for Collect {
    fn update(&mut self, data: &[u8]) {
        self.0.extend_from_slice(data);
    }
}
