//! The payload of an RPM package, behind lead and two headers (RPM v4 package format).

use super::ArchiveError;
use crate::source::Fields;

const LEAD: usize = 96;
const LEAD_MAGIC: &[u8] = &[0xed, 0xab, 0xee, 0xdb];
const HEADER_MAGIC: &[u8] = &[0x8e, 0xad, 0xe8];

/// What follows the headers.
pub(super) fn payload(bytes: &[u8]) -> Result<&[u8], ArchiveError> {
    if !bytes.starts_with(LEAD_MAGIC) {
        return Err(ArchiveError::Format("an RPM package"));
    }
    let cut = || ArchiveError::Malformed("a header is cut".to_owned());
    let signature_end = header_end(bytes, LEAD).ok_or_else(cut)?;
    // The signature header is padded, the main header is not.
    let main = signature_end.checked_next_multiple_of(8).ok_or_else(cut)?;
    bytes.get(header_end(bytes, main).ok_or_else(cut)?..).ok_or_else(cut)
}

fn header_end(bytes: &[u8], at: usize) -> Option<usize> {
    let rest = bytes.get(at..)?;
    if !rest.starts_with(HEADER_MAGIC) {
        return None;
    }
    let fields = Fields(rest);
    let entries = usize::try_from(fields.u32_be(8)?).ok()?.checked_mul(16)?;
    let data = usize::try_from(fields.u32_be(12)?).ok()?;
    at.checked_add(16)?.checked_add(entries)?.checked_add(data).filter(|end| *end <= bytes.len())
}
