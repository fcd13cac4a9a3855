//! First layer: where the entries of a list are. Fails only at a byte offset and keeps everything before it.

use std::borrow::Cow;

use serde::{Serialize, Serializer};

use super::{ascii, template};
use crate::limits::{MAX_IMA_ENTRIES, MAX_IMA_NAME_BYTES, MAX_LOG_BYTES};
use crate::reader::Reader;
use crate::text::Text;
use crate::{Digest, HashAlg};

/// How a list is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Encoding {
    /// `binary_runtime_measurements`, little-endian.
    Binary,
    /// `ascii_runtime_measurements`.
    Ascii,
}

impl Encoding {
    /// The word for it: `ima-binary`, `ima-ascii`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Binary => "ima-binary",
            Self::Ascii => "ima-ascii",
        }
    }
}

impl Serialize for Encoding {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// Why reading a list stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ImaReason {
    /// Zero bytes.
    #[error("the list is empty")]
    Empty,
    /// Larger than [`MAX_LOG_BYTES`].
    #[error("the list has {bytes} bytes, more than the {MAX_LOG_BYTES} that are read")]
    TooLarge {
        /// Bytes of the list.
        bytes: usize,
    },
    /// More than [`MAX_IMA_ENTRIES`] entries.
    #[error("the list has more than {MAX_IMA_ENTRIES} entries")]
    TooManyEntries,
    /// The list ends inside an entry.
    #[error("the list ends inside an entry")]
    EntryCut,
    /// A template name is empty, too long, or holds bytes that no name has.
    #[error("the name of a template is malformed")]
    TemplateName,
    /// A line of the ASCII list does not start with register, digest and template.
    #[error("a line does not start with register, template digest and template name")]
    LineMalformed,
}

/// The place where reading stopped, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason} (at byte {offset})")]
pub struct ImaError {
    /// Offset of the entry that cannot be read.
    pub offset: usize,
    /// Why it cannot be read.
    pub reason: ImaReason,
}

impl ImaError {
    /// Stable identifier in kebab case.
    pub const fn code(&self) -> &'static str {
        match self.reason {
            ImaReason::Empty => "ima-empty",
            ImaReason::TooLarge { .. } => "ima-too-large",
            ImaReason::TooManyEntries => "ima-too-many-entries",
            ImaReason::EntryCut => "ima-entry-cut",
            ImaReason::TemplateName => "ima-template-name",
            ImaReason::LineMalformed => "ima-line-malformed",
        }
    }
}

/// A list whose structure was read.
#[derive(Clone, Debug)]
pub struct ImaList<'a> {
    /// How it is written.
    pub encoding: Encoding,
    /// Algorithm of the template digests that the list shows: SHA-1, or another in `…_measurements_sha256` and the
    /// like.
    pub digest_alg: HashAlg,
    /// Every entry, in list order.
    pub entries: Vec<ImaEntry<'a>>,
    /// Where and why reading stopped before the end.
    pub cut: Option<ImaError>,
}

/// One entry.
#[derive(Clone, Debug)]
pub struct ImaEntry<'a> {
    /// Position in the list, from 0.
    pub index: u32,
    /// Byte offset in the list.
    pub offset: usize,
    /// Register.
    pub pcr: u32,
    /// Template digest as the list shows it; zero for a violation.
    pub digest: Digest,
    /// Template: a name such as `ima-sig`, or the fields of one without a name, `d-ng|n-ng`.
    pub template: Text<'a>,
    /// Template data in its binary form; rebuilt from the text of an ASCII list. `None` when an ASCII list shows a
    /// template whose fields are not known, so that only the bank of the shown digest can be replayed.
    pub data: Option<Cow<'a, [u8]>>,
    /// Whether lengths and numbers in the data are big-endian, as the kernel of a big-endian machine measures them.
    pub big_endian: bool,
}

impl ImaEntry<'_> {
    /// Whether IMA could not vouch for the file: it was open for writing while it was measured. The register was
    /// extended with 0xFF bytes instead of a digest.
    pub fn is_violation(&self) -> bool {
        self.digest.as_ref().iter().all(|byte| *byte == 0)
    }
}

/// Reads a list in either encoding.
///
/// # Errors
/// Only when not even the first entry can be read; later trouble is in [`ImaList::cut`].
pub fn parse(bytes: &[u8]) -> Result<ImaList<'_>, ImaError> {
    let fail = |reason| ImaError { offset: 0, reason };
    if bytes.is_empty() {
        return Err(fail(ImaReason::Empty));
    }
    if bytes.len() > MAX_LOG_BYTES {
        return Err(fail(ImaReason::TooLarge { bytes: bytes.len() }));
    }
    let list = if ascii::looks_like(bytes) {
        ascii::read(bytes)
    } else {
        let (digest_alg, order) = binary_layout(bytes).unwrap_or((HashAlg::Sha1, Order::Little));
        read(bytes, Encoding::Binary, digest_alg, |index, offset, rest| {
            binary_entry(index, offset, rest, digest_alg, order)
        })
    };
    match list.cut {
        Some(cut) if list.entries.is_empty() => Err(cut),
        _ => Ok(list),
    }
}

/// Whether the bytes start with an entry of a binary list: a register that exists and a known template.
pub(crate) fn looks_binary(bytes: &[u8]) -> bool {
    binary_layout(bytes).is_some()
}

/// Byte order of a list: that of the machine, unless its kernel runs with `ima_canonical_fmt`, which makes it little.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Order {
    Little,
    Big,
}

impl Order {
    fn u32(self, reader: &mut Reader<'_>) -> Option<u32> {
        match self {
            Self::Little => reader.u32(),
            Self::Big => reader.u32().map(u32::swap_bytes),
        }
    }
}

/// Reads entries with `next`, which gives the entry and how many bytes it took.
pub(super) fn read<'a>(
    bytes: &'a [u8],
    encoding: Encoding,
    digest_alg: HashAlg,
    mut next: impl FnMut(u32, usize, &'a [u8]) -> Result<(Option<ImaEntry<'a>>, usize), ImaReason>,
) -> ImaList<'a> {
    let mut list = ImaList { encoding, digest_alg, entries: Vec::new(), cut: None };
    let mut offset = 0;
    while let Some(rest) = bytes.get(offset..).filter(|rest| !rest.is_empty()) {
        let index = u32::try_from(list.entries.len()).unwrap_or(u32::MAX);
        let read = match list.entries.len() < MAX_IMA_ENTRIES {
            true => next(index, offset, rest),
            false => Err(ImaReason::TooManyEntries),
        };
        match read {
            Ok((entry, taken)) => {
                list.entries.extend(entry);
                // Every entry takes bytes; a reader that took none would not end.
                offset += taken.max(1);
            }
            Err(reason) => {
                list.cut = Some(ImaError { offset, reason });
                break;
            }
        }
    }
    list
}

/// Byte order and algorithm of the shown digests: the register exists in one order only, and where the first template
/// name is gives the size of the digest before it.
fn binary_layout(bytes: &[u8]) -> Option<(HashAlg, Order)> {
    let order = match *bytes.first_chunk::<4>()? {
        [pcr, 0, 0, 0] if u32::from(pcr) < crate::PCR_COUNT => Order::Little,
        [0, 0, 0, pcr] if u32::from(pcr) < crate::PCR_COUNT => Order::Big,
        _ => return None,
    };
    let algorithms = [HashAlg::Sha1, HashAlg::Sha256, HashAlg::Sha384, HashAlg::Sha512];
    let fits = |alg: &HashAlg| {
        let mut reader = Reader::new(bytes);
        let name = (|| {
            reader.take(4 + alg.size())?;
            let len = order.u32(&mut reader)?;
            reader.take(usize::try_from(len).ok().filter(|len| *len <= MAX_IMA_NAME_BYTES)?)
        })();
        name.is_some_and(|name| template::fields_of(name).is_some())
    };
    algorithms.into_iter().find(fits).map(|alg| (alg, order))
}

/// Register, digest, length and name of the template, length of the data, data. The template `ima` has no such
/// length: its digest is 20 bytes, its file name follows its own length.
fn binary_entry<'a>(
    index: u32,
    offset: usize,
    rest: &'a [u8],
    digest_alg: HashAlg,
    order: Order,
) -> Result<(Option<ImaEntry<'a>>, usize), ImaReason> {
    let mut reader = Reader::new(rest);
    let head =
        (|| Some((order.u32(&mut reader)?, reader.take(digest_alg.size())?, order.u32(&mut reader)?)))();
    let (pcr, digest, name_len) = head.ok_or(ImaReason::EntryCut)?;
    let name_len = usize::try_from(name_len)
        .ok()
        .filter(|len| (1..=MAX_IMA_NAME_BYTES).contains(len))
        .ok_or(ImaReason::TemplateName)?;
    let name = reader.take(name_len).ok_or(ImaReason::EntryCut)?;
    if !template::is_name(name) {
        return Err(ImaReason::TemplateName);
    }
    let before = reader.rest();
    let data = (|| {
        if name == template::ORIGINAL {
            reader.take(HashAlg::Sha1.size())?;
            let len = usize::try_from(order.u32(&mut reader)?).ok()?;
            reader.take(len)?;
            before.get(..before.len() - reader.rest().len())
        } else {
            let len = usize::try_from(order.u32(&mut reader)?).ok()?;
            reader.take(len)
        }
    })()
    .ok_or(ImaReason::EntryCut)?;
    let digest = Digest::new(digest).ok_or(ImaReason::EntryCut)?;
    let entry = ImaEntry {
        index,
        offset,
        pcr,
        digest,
        template: Text(name),
        data: Some(Cow::Borrowed(data)),
        big_endian: order == Order::Big,
    };
    Ok((Some(entry), rest.len() - reader.rest().len()))
}
