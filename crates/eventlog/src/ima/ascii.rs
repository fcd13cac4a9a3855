//! The ASCII list: one line per entry, fields separated by one blank. Blanks inside names are underscores already
//! when IMA measures them, so the binary template data can be rebuilt from the text.

use std::borrow::Cow;

use super::list::{self, Encoding, ImaEntry, ImaList, ImaReason};
use super::template::{self, FieldKind};
use crate::text::Text;
use crate::{Digest, HashAlg};

/// Whether the bytes start with a line of such a list.
pub(crate) fn looks_like(bytes: &[u8]) -> bool {
    let line = bytes.split(|b| *b == b'\n').next().unwrap_or_default();
    head(line).is_some()
}

fn read_line(index: u32, offset: usize, rest: &[u8]) -> Result<(Option<ImaEntry<'_>>, usize), ImaReason> {
    let end = rest.iter().position(|b| *b == b'\n');
    let line = rest.get(..end.unwrap_or(rest.len())).unwrap_or_default();
    let taken = line.len() + usize::from(end.is_some());
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    if line.is_empty() {
        return Ok((None, taken));
    }
    match head(line) {
        Some((pcr, digest, name, fields)) => {
            let data = rebuild(name, fields).map(Cow::Owned);
            Ok((
                Some(ImaEntry { index, offset, pcr, digest, template: Text(name), data, big_endian: false }),
                taken,
            ))
        }
        None if end.is_none() => Err(ImaReason::EntryCut),
        None => Err(ImaReason::LineMalformed),
    }
}

/// All digests of a list have one size; a line with another one ends it.
pub(super) fn read(bytes: &[u8]) -> ImaList<'_> {
    let mut digest_alg = None;
    let mut list = list::read(bytes, Encoding::Ascii, HashAlg::Sha1, |index, offset, rest| {
        let (entry, taken) = read_line(index, offset, rest)?;
        if let Some(entry) = &entry {
            let size = entry.digest.as_ref().len();
            let alg = *digest_alg.get_or_insert(alg_of_size(size).ok_or(ImaReason::LineMalformed)?);
            if alg.size() != size {
                return Err(ImaReason::LineMalformed);
            }
        }
        Ok((entry, taken))
    });
    list.digest_alg = digest_alg.unwrap_or(HashAlg::Sha1);
    list
}

fn alg_of_size(size: usize) -> Option<HashAlg> {
    [HashAlg::Sha1, HashAlg::Sha256, HashAlg::Sha384, HashAlg::Sha512].into_iter().find(|a| a.size() == size)
}

/// Register, template digest, template name, and the text of the fields.
fn head(line: &[u8]) -> Option<(u32, Digest, &[u8], &[u8])> {
    let line = line.trim_ascii_start();
    let mut parts = line.splitn(4, |b| *b == b' ');
    let pcr: u32 = std::str::from_utf8(parts.next()?).ok()?.parse().ok()?;
    let digest = Digest::from_hex(std::str::from_utf8(parts.next()?).ok()?)?;
    alg_of_size(digest.as_ref().len())?;
    let name = parts.next()?;
    let fields = parts.next().unwrap_or_default();
    (pcr < crate::PCR_COUNT && template::is_name(name)).then_some((pcr, digest, name, fields))
}

/// The template data that this text shows.
fn rebuild(name: &[u8], text: &[u8]) -> Option<Vec<u8>> {
    let kinds = template::fields_of(name)?;
    let mut values = text.split(|b| *b == b' ');
    let mut data = Vec::with_capacity(text.len());
    if name == template::ORIGINAL {
        let digest = unhex(values.next()?)?;
        if digest.len() != HashAlg::Sha1.size() {
            return None;
        }
        data.extend_from_slice(&digest);
        push_field(&mut data, values.next()?)?;
        return values.next().is_none().then_some(data);
    }
    for (_, kind) in kinds.iter().copied() {
        let value = values.next().unwrap_or_default();
        let field = match kind {
            FieldKind::Digest => unhex(value)?,
            FieldKind::TypedDigest | FieldKind::AppendedDigest if value.is_empty() => Vec::new(),
            FieldKind::TypedDigest | FieldKind::AppendedDigest => {
                let colon = value.iter().rposition(|b| *b == b':')?;
                let (prefix, digest) = value.split_at_checked(colon + 1)?;
                [prefix, b"\0", &unhex(digest)?].concat()
            }
            FieldKind::Name | FieldKind::Text if value.is_empty() => Vec::new(),
            FieldKind::Name | FieldKind::Text => [value, b"\0"].concat(),
            FieldKind::Signature | FieldKind::AppendedSignature | FieldKind::Buffer | FieldKind::Hex => {
                unhex(value)?
            }
            FieldKind::Number { .. } if value.is_empty() => Vec::new(),
            FieldKind::Number { bytes } => {
                let number: u64 = std::str::from_utf8(value).ok()?.parse().ok()?;
                let number = number.to_le_bytes();
                let (low, high) = number.split_at_checked(bytes)?;
                high.iter().all(|b| *b == 0).then(|| low.to_vec())?
            }
        };
        push_field(&mut data, &field)?;
    }
    values.next().is_none().then_some(data)
}

fn push_field(data: &mut Vec<u8>, field: &[u8]) -> Option<()> {
    data.extend_from_slice(&u32::try_from(field.len()).ok()?.to_le_bytes());
    data.extend_from_slice(field);
    Some(())
}

fn unhex(text: &[u8]) -> Option<Vec<u8>> {
    hex::decode(text).ok()
}
