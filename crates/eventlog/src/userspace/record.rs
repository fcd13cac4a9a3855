//! First layer: where the records of a log are. Fails only at a byte offset and keeps everything before it.

use serde::{Deserialize, Serialize, Serializer};

use super::json::{self, Parts};
use crate::limits::{MAX_ALGORITHMS, MAX_LOG_BYTES, MAX_RECORD_BYTES, MAX_RECORDS, MAX_WARNINGS};
use crate::text::{Text, bounded};
use crate::{Digest, HashAlg, Warning};

/// How the records are strung together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Layout {
    /// One after the other: JSON text sequence or lines.
    Sequence,
    /// An object with `records`: a component file of pcrlock.
    Component,
    /// An array of records.
    Array,
}

impl Layout {
    /// The word for it: `cel-json-seq`, `pcrlock`, `cel-json`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sequence => "cel-json-seq",
            Self::Component => "pcrlock",
            Self::Array => "cel-json",
        }
    }
}

impl Serialize for Layout {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// Why reading stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RecordReason {
    /// No record at all.
    #[error("the log holds no record")]
    Empty,
    /// Larger than [`MAX_LOG_BYTES`].
    #[error("the log has {bytes} bytes, more than the {MAX_LOG_BYTES} that are read")]
    TooLarge {
        /// Bytes of the log.
        bytes: usize,
    },
    /// More than [`MAX_RECORDS`] records.
    #[error("the log has more than {MAX_RECORDS} records")]
    TooManyRecords,
    /// A record of more than [`MAX_RECORD_BYTES`].
    #[error("a record has {bytes} bytes, more than the {MAX_RECORD_BYTES} that are read")]
    RecordTooLarge {
        /// Bytes of the record.
        bytes: usize,
    },
    /// Not JSON, or a record that does not end.
    #[error("a record is cut or not JSON")]
    NotJson,
    /// A record says the same thing twice, so readers would disagree on it.
    #[error("a record has a member twice")]
    Ambiguous,
    /// `pcr` is not a number, or `digests` not a list of algorithm and digest of its size.
    #[error("the register or the digests of a record are malformed")]
    Malformed,
}

/// The place where reading stopped, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason} (at byte {offset})")]
pub struct RecordError {
    /// Offset of what cannot be read.
    pub offset: usize,
    /// Why it cannot be read.
    pub reason: RecordReason,
}

impl RecordError {
    /// Stable identifier in kebab case.
    pub const fn code(&self) -> &'static str {
        match self.reason {
            RecordReason::Empty => "records-empty",
            RecordReason::TooLarge { .. } => "records-too-large",
            RecordReason::TooManyRecords => "records-too-many",
            RecordReason::RecordTooLarge { .. } => "record-too-large",
            RecordReason::NotJson => "record-not-json",
            RecordReason::Ambiguous => "record-ambiguous",
            RecordReason::Malformed => "record-malformed",
        }
    }
}

/// A log whose structure was read.
#[derive(Clone, Debug)]
pub struct UserSpaceLog<'a> {
    /// How the records are strung together.
    pub layout: Layout,
    /// Every record, in log order.
    pub records: Vec<Record<'a>>,
    /// What was unusual; at most [`MAX_WARNINGS`].
    pub warnings: Vec<Warning>,
    /// Where and why reading stopped before the end.
    pub cut: Option<RecordError>,
}

/// One record.
#[derive(Clone, Debug)]
pub struct Record<'a> {
    /// Position in the log, from 0.
    pub index: u32,
    /// Byte offset in the log.
    pub offset: usize,
    /// Register; `None` for a record of something else (an NV index), which is not replayed.
    pub pcr: Option<u32>,
    /// Digests by bank, in the order of the record. Algorithms that are not known are left out.
    pub digests: Vec<(HashAlg, Digest)>,
    /// `content_type`, without its quotes.
    pub content_type: Option<Text<'a>>,
    /// `content`, as the log has it; empty without one.
    pub raw_content: &'a [u8],
}

impl Record<'_> {
    /// The digest for a bank.
    pub fn digest(&self, bank: HashAlg) -> Option<&Digest> {
        self.digests.iter().find(|(alg, _)| *alg == bank).map(|(_, digest)| digest)
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WrittenDigest<'a> {
    #[serde(borrow)]
    hash_alg: std::borrow::Cow<'a, str>,
    #[serde(borrow)]
    digest: std::borrow::Cow<'a, str>,
}

/// Whether the bytes start like such a log.
pub(crate) fn looks_like(bytes: &[u8]) -> bool {
    matches!(bytes.get(json::skip_space(bytes, 0)), Some(b'{' | b'['))
}

/// Reads the structure of a log.
///
/// # Errors
/// Only when not even the first record can be read; later trouble is in [`UserSpaceLog::cut`].
pub fn parse(bytes: &[u8]) -> Result<UserSpaceLog<'_>, RecordError> {
    if bytes.len() > MAX_LOG_BYTES {
        return Err(RecordError { offset: 0, reason: RecordReason::TooLarge { bytes: bytes.len() } });
    }
    let mut log =
        UserSpaceLog { layout: Layout::Sequence, records: Vec::new(), warnings: Vec::new(), cut: None };
    log.cut = read_all(bytes, &mut log).err();
    match log.cut {
        Some(cut) if log.records.is_empty() => Err(cut),
        None if log.records.is_empty() => Err(RecordError { offset: 0, reason: RecordReason::Empty }),
        _ => Ok(log),
    }
}

fn read_all<'a>(bytes: &'a [u8], log: &mut UserSpaceLog<'a>) -> Result<(), RecordError> {
    let mut at = json::skip_space(bytes, 0);
    while at < bytes.len() {
        let array = match bytes.get(at) {
            Some(b'[') => Some((Layout::Array, at)),
            Some(b'{') => records_member(bytes, at)?.map(|records| (Layout::Component, records)),
            _ => return Err(RecordError { offset: at, reason: RecordReason::NotJson }),
        };
        if let Some((layout, start)) = array {
            log.layout = layout;
            // Element by element: what comes before a cut is kept.
            for element in Parts::new(bytes, start) {
                let (_, offset, record) =
                    element.map_err(|offset| RecordError { offset, reason: RecordReason::NotJson })?;
                log.push(record, offset)?;
            }
        }
        let Some(value) = json::value(bytes, at) else {
            return Err(RecordError { offset: at, reason: RecordReason::NotJson });
        };
        if array.is_none() {
            log.push(value, at)?;
        }
        at = json::skip_space(bytes, at + value.len());
    }
    Ok(())
}

/// Place of the array `records` of the object at `at`, where it is the first member: that of a component file.
fn records_member(bytes: &[u8], at: usize) -> Result<Option<usize>, RecordError> {
    let name_at = json::skip_space(bytes, at + 1);
    if json::value(bytes, name_at) != Some(b"\"records\"") {
        return Ok(None);
    }
    let cut = |offset| RecordError { offset, reason: RecordReason::NotJson };
    let colon = json::skip_space(bytes, name_at + b"\"records\"".len());
    let start = json::skip_space(bytes, colon + 1);
    match (bytes.get(colon), bytes.get(start)) {
        (Some(b':'), Some(b'[')) => Ok(Some(start)),
        _ => Err(cut(colon)),
    }
}

impl<'a> UserSpaceLog<'a> {
    fn push(&mut self, bytes: &'a [u8], offset: usize) -> Result<(), RecordError> {
        let fail = |reason| RecordError { offset, reason };
        if self.records.len() >= MAX_RECORDS {
            return Err(fail(RecordReason::TooManyRecords));
        }
        if bytes.len() > MAX_RECORD_BYTES {
            return Err(fail(RecordReason::RecordTooLarge { bytes: bytes.len() }));
        }
        let index = u32::try_from(self.records.len()).unwrap_or(u32::MAX);
        let record = self.record(bytes, index, offset).map_err(fail)?;
        self.records.push(record);
        Ok(())
    }

    fn record(&mut self, bytes: &'a [u8], index: u32, offset: usize) -> Result<Record<'a>, RecordReason> {
        if bytes.first() != Some(&b'{') {
            return Err(RecordReason::NotJson);
        }
        let mut record =
            Record { index, offset, pcr: None, digests: Vec::new(), content_type: None, raw_content: b"" };
        let (mut pcr, mut digests, mut content_type, mut content) = (None, None, None, None);
        for part in Parts::new(bytes, 0) {
            let (name, _, value) = part.map_err(|_| RecordReason::NotJson)?;
            let place = match name {
                b"pcr" => &mut pcr,
                b"digests" => &mut digests,
                b"content_type" => &mut content_type,
                b"content" => &mut content,
                // A name may be escaped; one that could mean something here is not guessed at.
                name if name.contains(&b'\\') => return Err(RecordReason::Ambiguous),
                _ => continue,
            };
            if place.replace(value).is_some() {
                return Err(RecordReason::Ambiguous);
            }
        }
        if let Some(pcr) = pcr {
            record.pcr = Some(serde_json::from_slice(pcr).map_err(|_| RecordReason::Malformed)?);
        } else {
            self.warn("no-register", index, offset, "a record names no register; not replayed".to_owned());
        }
        let digests = digests.ok_or(RecordReason::Malformed)?;
        let written: Vec<WrittenDigest<'_>> =
            serde_json::from_slice(digests).map_err(|_| RecordReason::Malformed)?;
        if written.len() > MAX_ALGORITHMS {
            return Err(RecordReason::Malformed);
        }
        for WrittenDigest { hash_alg, digest } in &written {
            let Some(bank) = HashAlg::from_name(hash_alg) else {
                let message = format!(
                    "a digest of the unknown algorithm {} is not replayed",
                    bounded(&Text(hash_alg.as_bytes()), 32)
                );
                self.warn("unknown-bank", index, offset, message);
                continue;
            };
            if record.digest(bank).is_some() {
                return Err(RecordReason::Ambiguous);
            }
            let digest = Digest::from_hex(digest).filter(|digest| digest.as_ref().len() == bank.size());
            record.digests.push((bank, digest.ok_or(RecordReason::Malformed)?));
        }
        record.content_type =
            content_type.and_then(|quoted: &[u8]| quoted.strip_prefix(b"\"")?.strip_suffix(b"\"")).map(Text);
        record.raw_content = content.unwrap_or_default();
        Ok(record)
    }

    fn warn(&mut self, code: &'static str, index: u32, offset: usize, message: String) {
        if self.warnings.len() < MAX_WARNINGS {
            self.warnings.push(Warning { code, event: Some(index), offset, message });
        }
    }
}
