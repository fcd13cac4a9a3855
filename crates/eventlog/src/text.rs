//! Text from logs. A log is hostile input: nothing that moves a cursor, hides or reorders text leaves this module.

use std::fmt::{self, Write as _};

use serde::{Serialize, Serializer};

/// Whether a character may be shown as it is. Controls, line and paragraph separators, zero-width and
/// bidirectional formatting, private use and tags may not.
pub(crate) fn is_printable(c: char) -> bool {
    !(c.is_control()
        || matches!(c,
            '\u{00AD}' | '\u{061C}' | '\u{115F}' | '\u{1160}' | '\u{17B4}' | '\u{17B5}' | '\u{180E}' | '\u{3164}'
            | '\u{200B}'..='\u{200F}' | '\u{2028}'..='\u{202E}' | '\u{2060}'..='\u{206F}' | '\u{FE00}'..='\u{FE0F}'
            | '\u{FEFF}' | '\u{FFA0}' | '\u{FFF0}'..='\u{FFFB}' | '\u{E000}'..='\u{F8FF}' | '\u{E0000}'..='\u{10FFFF}'))
}

fn write_char(f: &mut impl fmt::Write, c: char) -> fmt::Result {
    if is_printable(c) { f.write_char(c) } else { write!(f, "\\u{{{:x}}}", u32::from(c)) }
}

/// Writes text with everything that is not printable escaped.
pub(crate) fn write_printable(f: &mut impl fmt::Write, text: &str) -> fmt::Result {
    // In runs: commands of several lines are plain but for their ends.
    let mut rest = text;
    while !rest.is_empty() {
        let run = rest.bytes().position(|byte| !matches!(byte, 0x20..=0x7E)).unwrap_or(rest.len());
        let (plain, odd) = rest.split_at_checked(run).unwrap_or((rest, ""));
        f.write_str(plain)?;
        let mut odd = odd.chars();
        if let Some(c) = odd.next() {
            write_char(f, c)?;
        }
        rest = odd.as_str();
    }
    Ok(())
}

/// A writer that stops after so many characters.
struct Bounded {
    text: String,
    left: usize,
}

impl fmt::Write for Bounded {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if text.len() <= self.left && text.is_ascii() {
            self.left -= text.len();
            self.text.push_str(text);
            return Ok(());
        }
        for c in text.chars() {
            if self.left == 0 {
                return Err(fmt::Error);
            }
            self.left -= 1;
            self.text.push(c);
        }
        Ok(())
    }
}

/// A value that may know its text without writing it.
pub(crate) trait Shown: fmt::Display {
    /// Exactly what it shows, when that is its own bytes and all of them printable ASCII.
    fn plain(&self) -> Option<&str> {
        None
    }

    /// Appends what it shows, when that is at most `max` characters, all of them printable ASCII, and easily made from
    /// other bytes. Otherwise leaves the text as it is and gives `false`.
    fn push_plain(&self, _text: &mut String, _max: usize) -> bool {
        false
    }
}

impl Shown for fmt::Arguments<'_> {}
impl Shown for String {}
impl Shown for &dyn fmt::Display {}
impl Shown for Hex<'_> {}

impl Shown for Utf16<'_> {
    fn push_plain(&self, text: &mut String, max: usize) -> bool {
        let (units, _) = self.0.as_chunks::<2>();
        let plain = units.len() <= max && units.iter().all(|unit| matches!(unit, [b' '..=b'~', 0]));
        for run in units.chunks(64).filter(|_| plain) {
            let mut letters = [0; 64];
            for (to, [letter, _]) in letters.iter_mut().zip(run) {
                *to = *letter;
            }
            let letters = letters.get(..run.len()).and_then(|letters| std::str::from_utf8(letters).ok());
            text.push_str(letters.unwrap_or_default());
        }
        plain
    }
}

impl Shown for Text<'_> {
    fn plain(&self) -> Option<&str> {
        plain_ascii(self.0)
    }
}

/// Bytes as text when every one of them is printable ASCII.
pub(crate) fn plain_ascii(bytes: &[u8]) -> Option<&str> {
    if is_plain_ascii(bytes) { std::str::from_utf8(bytes).ok() } else { None }
}

/// Whether every byte is printable ASCII.
pub(crate) fn is_plain_ascii(bytes: &[u8]) -> bool {
    // Without a branch per byte, and without a loop over what is left of blocks: most texts of a log are plain.
    let is_odd = |bytes: &[u8]| bytes.iter().fold(false, |odd, byte| odd | !matches!(byte, 0x20..=0x7E));
    !match bytes.last_chunk::<16>() {
        Some(last) => {
            bytes.as_chunks::<16>().0.iter().chain([last]).fold(false, |odd, block| odd | is_odd(block))
        }
        None => is_odd(bytes),
    }
}

/// What a value shows, cut at `max` characters; a cut one ends in `…`.
pub(crate) fn bounded(value: &impl Shown, max: usize) -> String {
    if let Some(plain) = value.plain().filter(|plain| plain.len() <= max) {
        return plain.to_owned();
    }
    let mut text = String::with_capacity(max.min(64));
    push_bounded(&mut text, value, max);
    text
}

/// Appends what a value shows, cut at `max` characters; a cut one ends in `…`.
pub(crate) fn push_bounded(text: &mut String, value: &impl Shown, max: usize) {
    if let Some(plain) = value.plain().filter(|plain| plain.len() <= max) {
        text.push_str(plain);
        return;
    }
    if value.push_plain(text, max) {
        return;
    }
    let mut out = Bounded { text: std::mem::take(text), left: max };
    if write!(out, "{value}").is_err() {
        out.text.push('…');
    }
    *text = out.text;
}

/// Words joined by `; `, cut at so many characters.
pub(crate) struct Words(Bounded);

impl Words {
    pub(crate) fn new(max: usize) -> Self {
        Self(Bounded { text: String::new(), left: max })
    }

    pub(crate) fn push(&mut self, word: &impl fmt::Display) {
        let separator = if self.0.text.is_empty() { "" } else { "; " };
        // A full buffer keeps what it has; `finish` marks it.
        let _ = write!(self.0, "{separator}{word}");
    }

    pub(crate) fn finish(mut self) -> String {
        if self.0.left == 0 {
            self.0.text.push('…');
        }
        self.0.text
    }
}

/// Bytes that should be UTF-8. Shown escaped; bytes that are not UTF-8 as `\x9b`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Text<'a>(pub &'a [u8]);

impl<'a> Text<'a> {
    /// Without NUL bytes at the end.
    pub fn trimmed(bytes: &'a [u8]) -> Self {
        let end = bytes.iter().rposition(|b| *b != 0).map_or(0, |last| last + 1);
        Self(bytes.get(..end).unwrap_or_default())
    }

    /// Up to the first NUL byte.
    pub fn c_string(bytes: &'a [u8]) -> Self {
        Self(std::ffi::CStr::from_bytes_until_nul(bytes).map_or(bytes, std::ffi::CStr::to_bytes))
    }

    /// Whether every byte is printable ASCII, with at least one of them.
    pub fn is_plain(&self) -> bool {
        !self.0.is_empty() && self.0.iter().all(|b| matches!(b, 0x20..=0x7E | b'\t' | b'\n' | b'\r'))
    }
}

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for chunk in self.0.utf8_chunks() {
            write_printable(f, chunk.valid())?;
            for byte in chunk.invalid() {
                write!(f, "\\x{byte:02x}")?;
            }
        }
        Ok(())
    }
}

impl Serialize for Text<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// UTF-16 in little-endian bytes. Shown escaped; lone surrogates as `\u{d800}`, an odd last byte is left out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Utf16<'a>(pub &'a [u8]);

impl<'a> Utf16<'a> {
    /// Without NUL characters at the end.
    pub fn trimmed(bytes: &'a [u8]) -> Self {
        let mut bytes = bytes.get(..bytes.len() & !1).unwrap_or_default();
        while let Some(head) = bytes.strip_suffix(&[0, 0]) {
            bytes = head;
        }
        Self(bytes)
    }

    /// Up to the first NUL character.
    pub fn c_string(bytes: &'a [u8]) -> Self {
        let end = bytes.chunks_exact(2).position(|pair| pair == [0, 0]).map_or(bytes.len() & !1, |i| i * 2);
        Self(bytes.get(..end).unwrap_or_default())
    }

    /// UTF-16 code units.
    pub fn units(&self) -> impl Iterator<Item = u16> + 'a {
        self.0.chunks_exact(2).map(|pair| match pair {
            [low, high] => u16::from_le_bytes([*low, *high]),
            _ => 0,
        })
    }

    /// Whether it spells exactly this.
    pub fn is(&self, text: &str) -> bool {
        if text.is_ascii() {
            let (pairs, _) = self.0.as_chunks::<2>();
            return pairs.len() == text.len() && pairs.iter().zip(text.bytes()).all(|(p, b)| *p == [b, 0]);
        }
        self.units().eq(text.encode_utf16())
    }

    /// The text in one byte per character, for comparison with many names at once, when it is ASCII and short enough;
    /// otherwise no text.
    pub(crate) fn short_ascii(&self) -> ShortAscii {
        let (units, _) = self.0.as_chunks::<2>();
        let mut short = ShortAscii { bytes: [0; 16], len: 0 };
        if units.len() > short.bytes.len() || units.iter().any(|[_, high]| *high != 0) {
            return short;
        }
        for (to, [low, _]) in short.bytes.iter_mut().zip(units) {
            *to = *low;
        }
        short.len = units.len();
        short
    }

    /// Whether bytes look like UTF-16 text in the Latin range: even length, printable.
    pub fn is_plain(&self) -> bool {
        !self.0.is_empty()
            && self.0.len().is_multiple_of(2)
            && self.units().all(|unit| matches!(unit, 0x20..=0x7E | 0x09 | 0x0A | 0x0D | 0xA0..=0x24F))
    }
}

/// A short text in ASCII.
pub(crate) struct ShortAscii {
    bytes: [u8; 16],
    len: usize,
}

impl ShortAscii {
    pub(crate) fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }
}

impl fmt::Display for Utf16<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Most names are plain ASCII: written in runs, not character by character.
        let mut run = [0_u8; 64];
        let mut rest = self.0;
        loop {
            let mut len = 0;
            for (to, pair) in run.iter_mut().zip(rest.chunks_exact(2)) {
                match pair {
                    [byte @ 0x20..=0x7E, 0] => *to = *byte,
                    _ => break,
                }
                len += 1;
            }
            if len == 0 {
                break;
            }
            let plain = run.get(..len).and_then(|run| std::str::from_utf8(run).ok()).ok_or(fmt::Error)?;
            f.write_str(plain)?;
            rest = rest.get(2 * len..).unwrap_or_default();
        }
        char::decode_utf16(Utf16(rest).units()).try_for_each(|unit| match unit {
            Ok(c) => write_char(f, c),
            Err(lone) => write!(f, "\\u{{{:x}}}", lone.unpaired_surrogate()),
        })
    }
}

impl Serialize for Utf16<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Bytes shown as hex; more than 64 of them are cut and the length is given.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Hex<'a>(pub &'a [u8]);

impl fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = self.0.get(..64).unwrap_or(self.0);
        let mut text = [0_u8; 128];
        let text = text.get_mut(..2 * shown.len()).ok_or(fmt::Error)?;
        hex::encode_to_slice(shown, text).map_err(|_| fmt::Error)?;
        f.write_str(std::str::from_utf8(text).map_err(|_| fmt::Error)?)?;
        if self.0.len() > 64 {
            write!(f, "… ({} bytes)", self.0.len())?;
        }
        Ok(())
    }
}

impl Serialize for Hex<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// An EFI GUID, in the mixed byte order of the UEFI specification (appendix A).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Guid(pub [u8; 16]);

impl Guid {
    /// From the fields as they are written: `Guid::new(0x8be4df61, 0x93ca, 0x11d2, 0xaa0d, 0x00e098032b8c)`.
    pub const fn new(a: u32, b: u16, c: u16, d: u16, e: u64) -> Self {
        let [a0, a1, a2, a3] = a.to_le_bytes();
        let [b0, b1] = b.to_le_bytes();
        let [c0, c1] = c.to_le_bytes();
        let [d0, d1] = d.to_be_bytes();
        let [_, _, e0, e1, e2, e3, e4, e5] = e.to_be_bytes();
        Self([a0, a1, a2, a3, b0, b1, c0, c1, d0, d1, e0, e1, e2, e3, e4, e5])
    }

    /// Vendor namespace that the UEFI, TCG, shim or Windows community knows by name.
    pub fn name(&self) -> Option<&'static str> {
        Some(match *self {
            guids::GLOBAL_VARIABLE => "EFI global variable",
            guids::IMAGE_SECURITY_DATABASE => "EFI image security database",
            guids::SHIM_LOCK => "shim",
            guids::SYSTEMD_LOADER => "systemd boot loader interface",
            guids::MICROSOFT => "Microsoft",
            guids::ACPI_10_TABLE => "ACPI 1.0",
            guids::ACPI_20_TABLE => "ACPI 2.0",
            guids::SMBIOS_TABLE => "SMBIOS",
            guids::SMBIOS3_TABLE => "SMBIOS 3",
            guids::SAL_SYSTEM_TABLE => "SAL system table",
            guids::TDX_HOB => "TD hand-off blocks",
            guids::QEMU_KERNEL_LOADER => "QEMU kernel loader",
            guids::STUB_PAYLOAD => "systemd-stub payload",
            _ => return None,
        })
    }
}

impl fmt::Display for Guid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a0, a1, a2, a3, b0, b1, c0, c1, d0, d1, e0, e1, e2, e3, e4, e5] = self.0;
        write!(
            f,
            "{:08x}-{:04x}-{:04x}-{d0:02x}{d1:02x}-{e0:02x}{e1:02x}{e2:02x}{e3:02x}{e4:02x}{e5:02x}",
            u32::from_le_bytes([a0, a1, a2, a3]),
            u16::from_le_bytes([b0, b1]),
            u16::from_le_bytes([c0, c1]),
        )
    }
}

impl Serialize for Guid {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// GUIDs with a meaning here.
pub mod guids {
    use super::Guid;

    /// EFI_GLOBAL_VARIABLE.
    pub const GLOBAL_VARIABLE: Guid = Guid::new(0x8be4_df61, 0x93ca, 0x11d2, 0xaa0d, 0x00e0_9803_2b8c);
    /// EFI_IMAGE_SECURITY_DATABASE_GUID.
    pub const IMAGE_SECURITY_DATABASE: Guid =
        Guid::new(0xd719_b2cb, 0x3d3a, 0x4596, 0xa3bc, 0xdad0_0e67_656f);
    /// SHIM_LOCK_GUID.
    pub const SHIM_LOCK: Guid = Guid::new(0x605d_ab50, 0xe046, 0x4300, 0xabb6, 0x3dd8_10dd_8b23);
    /// Boot loader interface of systemd.
    pub const SYSTEMD_LOADER: Guid = Guid::new(0x4a67_b082, 0x0a4c, 0x41cf, 0xb6c7, 0x440b_29bb_8c4f);
    /// Owner of Microsoft's keys.
    pub const MICROSOFT: Guid = Guid::new(0x77fa_9abd, 0x0359, 0x4d32, 0xbd60, 0x28f4_e78f_784b);
    /// ACPI 1.0 RSDP.
    pub const ACPI_10_TABLE: Guid = Guid::new(0xeb9d_2d30, 0x2d88, 0x11d3, 0x9a16, 0x0090_273f_c14d);
    /// ACPI 2.0 RSDP.
    pub const ACPI_20_TABLE: Guid = Guid::new(0x8868_e871, 0xe4f1, 0x11d3, 0xbc22, 0x0080_c73c_8881);
    /// SMBIOS entry point.
    pub const SMBIOS_TABLE: Guid = Guid::new(0xeb9d_2d31, 0x2d88, 0x11d3, 0x9a16, 0x0090_273f_c14d);
    /// SMBIOS 3 entry point.
    pub const SMBIOS3_TABLE: Guid = Guid::new(0xf2fd_1544, 0x9794, 0x4a2c, 0x992e, 0xe5bb_cf20_e394);
    /// SAL system table.
    pub const SAL_SYSTEM_TABLE: Guid = Guid::new(0xeb9d_2d32, 0x2d88, 0x11d3, 0x9a16, 0x0090_273f_c14d);
    /// Hand-off block list of TDVF.
    pub const TDX_HOB: Guid = Guid::new(0x93bb_96af, 0xb9f2, 0x4eb8, 0x9462, 0xe0ba_7456_4236);
    /// EFI_CERT_X509_GUID.
    pub const CERT_X509: Guid = Guid::new(0xa5c0_59a1, 0x94e4, 0x4aa7, 0x87b5, 0xab15_5c2b_f072);
    /// EFI_CERT_SHA1_GUID.
    pub const CERT_SHA1: Guid = Guid::new(0x826c_a512, 0xcf10, 0x4ac9, 0xb187, 0xbe01_4966_31bd);
    /// EFI_CERT_SHA256_GUID.
    pub const CERT_SHA256: Guid = Guid::new(0xc1c4_1626, 0x504c, 0x4092, 0xaca9, 0x41f9_3693_4328);
    /// EFI_CERT_SHA384_GUID.
    pub const CERT_SHA384: Guid = Guid::new(0xff3e_5307, 0x9fd0, 0x48c9, 0x85f1, 0x8ad5_6c70_1e01);
    /// EFI_CERT_SHA512_GUID.
    pub const CERT_SHA512: Guid = Guid::new(0x093e_0fae, 0xa6c4, 0x4f50, 0x9f1b, 0xd41e_2b89_c19a);
    /// EFI_CERT_RSA2048_GUID.
    pub const CERT_RSA2048: Guid = Guid::new(0x3c57_66e8, 0x269c, 0x4e34, 0xaa14, 0xed77_6e85_b3b6);
    /// EFI_CERT_X509_SHA256_GUID: digest of a certificate's to-be-signed part, with a revocation time.
    pub const CERT_X509_SHA256: Guid = Guid::new(0x3bd2_a492, 0x96c0, 0x4079, 0xb420, 0xfcf9_8ef1_03ed);
    /// EFI_CERT_X509_SHA384_GUID.
    pub const CERT_X509_SHA384: Guid = Guid::new(0x7076_876e, 0x80c2, 0x4ee6, 0xaad2, 0x28b3_49a6_865b);
    /// EFI_CERT_X509_SHA512_GUID.
    pub const CERT_X509_SHA512: Guid = Guid::new(0x446d_bf63, 0x2502, 0x4cda, 0xbcfa, 0x2465_d2b0_fe9d);
    /// EFI_CERT_TYPE_PKCS7_GUID.
    pub const CERT_PKCS7: Guid = Guid::new(0x4aaf_d29d, 0x68df, 0x49ee, 0x8aa9, 0x347d_3756_65a7);
    /// Secure version numbers in dbx (Windows boot manager, cdboot, wdsmgfw).
    pub const DBX_SVN_OWNER: Guid = Guid::new(0x9d13_2b61, 0x59d5, 0x4388, 0xab1c, 0x185c_fcb2_eb92);
    /// Media of QEMU's -kernel and -initrd.
    pub const QEMU_KERNEL_LOADER: Guid = Guid::new(0x1428_f772, 0xb64a, 0x441e, 0xb8c3, 0x9ebd_d7f8_93c7);
    /// Media of the kernel inside a unified kernel image.
    pub const STUB_PAYLOAD: Guid = Guid::new(0x55c5_d1f8, 0x04cd, 0x46b5, 0x8a20, 0xe56c_bb30_52d0);
    /// Media of the initrd of the Linux EFI stub.
    pub const LINUX_EFI_INITRD: Guid = Guid::new(0x5568_e427, 0x68fc, 0x4f3d, 0xac74, 0xca55_5231_cc68);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terminal_escapes_and_bidi_do_not_get_out() {
        let hostile = "a\u{1b}[2J\u{202e}b\u{9b}\u{200b}\r\nc";
        let shown = Text(hostile.as_bytes()).to_string();
        assert_eq!(shown, "a\\u{1b}[2J\\u{202e}b\\u{9b}\\u{200b}\\u{d}\\u{a}c");
        assert!(shown.chars().all(is_printable));
        assert_eq!(Text(b"ok\xff\x9b").to_string(), "ok\\xff\\x9b");
    }

    #[test]
    fn utf16_with_lone_surrogate() {
        let bytes: Vec<u8> = [0x61_u16, 0xD800, 0x1B].iter().flat_map(|u| u.to_le_bytes()).collect();
        assert_eq!(Utf16(&bytes).to_string(), "a\\u{d800}\\u{1b}");
        assert_eq!(Utf16::trimmed(b"a\0\0\0\0").to_string(), "a");
    }

    #[test]
    fn long_text_is_bounded() {
        let text = "é".repeat(10_000_000);
        let shown = bounded(&Text(text.as_bytes()), 100);
        assert_eq!(shown.chars().count(), 101);
        assert!(shown.ends_with('…'));
    }

    #[test]
    fn guid_text() {
        assert_eq!(guids::GLOBAL_VARIABLE.to_string(), "8be4df61-93ca-11d2-aa0d-00e098032b8c");
    }
}
