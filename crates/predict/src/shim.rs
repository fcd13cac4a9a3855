//! What shim carries inside: the vendor's certificates, and the SBAT levels that it can apply.

use veriboot_eventlog::Certificate;

use crate::limits::MAX_CERTIFICATES;
use crate::pe::{Anchor, Image};
use crate::source::Fields;

/// Bytes of one certificate; more is no certificate.
const MAX_CERTIFICATE_BYTES: usize = 64 << 10;
/// Bytes of one SBAT level.
const MAX_LEVEL_BYTES: usize = 64 << 10;

/// Certificates that the vendor built into shim (`.vendor_cert`; shim, cert.S): one certificate, or an EFI signature list.
pub fn vendor_certificates(shim: &Image<'_>) -> Vec<Anchor> {
    let Some(section) = shim.section(".vendor_cert") else { return Vec::new() };
    let fields = Fields(section);
    let (Some(size), Some(at)) = (fields.u32(0), fields.u32(8)) else { return Vec::new() };
    let (Ok(size), Ok(at)) = (usize::try_from(size), usize::try_from(at)) else { return Vec::new() };
    let Some(content) = at.checked_add(size).and_then(|end| section.get(at..end)) else { return Vec::new() };
    if let Some(certificate) = Certificate::parse(content) {
        return vec![anchor(certificate.der)];
    }
    // An EFI signature list per entry: type, size of list, of its header and of each signature; owner and certificate.
    let mut found = Vec::new();
    let mut rest = content;
    while let Some(list) = Fields(rest).u32(16).and_then(|size| rest.get(..usize::try_from(size).ok()?)) {
        if list.len() < 28 || found.len() >= MAX_CERTIFICATES {
            break;
        }
        if let Some(certificate) = list.get(28 + 16..).and_then(Certificate::parse)
            && certificate.der.len() <= MAX_CERTIFICATE_BYTES
        {
            found.push(anchor(certificate.der));
        }
        rest = rest.get(list.len()..).unwrap_or_default();
    }
    found
}

fn anchor(der: &[u8]) -> Anchor {
    Anchor { from: "inside shim".to_owned(), der: der.to_vec() }
}

/// The level that shim writes to the variable SbatLevel by itself when it is newer than the one there (`.sbatlevel`; shim,
/// include/sbat_var_defs.h): the first of its two levels.
pub fn automatic_level<'a>(shim: &Image<'a>) -> Option<&'a [u8]> {
    let section = shim.section(".sbatlevel")?;
    let fields = Fields(section);
    if fields.u32(0)? != 0 {
        return None;
    }
    // Offsets count from behind the version.
    let at = usize::try_from(fields.u32(4)?).ok()?.checked_add(4)?;
    let text = section.get(at..)?.split(|b| *b == 0).next()?;
    (text.starts_with(b"sbat,") && text.len() <= MAX_LEVEL_BYTES).then_some(text)
}
