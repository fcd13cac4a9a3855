//! What firmware measures about itself and the platform (PC Client Platform Firmware Profile 1.06, sections 10.2.4,
//! 10.2.7 and 10.4.1).

use std::fmt;

use serde::{Serialize, Serializer};

use crate::limits::MAX_TABLES;
use crate::reader::Reader;
use crate::text::{Guid, Hex, Shown, Text, Utf16, plain_ascii};

/// Event data that some firmware writes as ASCII, some as UTF-16, some as a GUID and some as plain bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Loose<'a>(pub &'a [u8]);

impl Loose<'_> {
    /// Whether it is text of some kind.
    pub fn is_text(&self) -> bool {
        Text::trimmed(self.0).is_plain() || Utf16::trimmed(self.0).is_plain()
    }
}

impl fmt::Display for Loose<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (text, wide) = (Text::trimmed(self.0), Utf16::trimmed(self.0));
        if wide.is_plain() && self.0.get(1) == Some(&0) {
            wide.fmt(f)
        } else if text.is_plain() {
            text.fmt(f)
        } else if let Ok(guid) = <[u8; 16]>::try_from(self.0) {
            Guid(guid).fmt(f)
        } else {
            Hex(self.0).fmt(f)
        }
    }
}

impl Shown for Loose<'_> {
    fn plain(&self) -> Option<&str> {
        // One letter and a NUL are the same text in both encodings.
        plain_ascii(Text::trimmed(self.0).0).filter(|text| !text.is_empty())
    }

    fn push_plain(&self, text: &mut String, max: usize) -> bool {
        let wide = Utf16::trimmed(self.0);
        !wide.0.is_empty() && wide.push_plain(text, max)
    }
}

impl Serialize for Loose<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// UEFI_PLATFORM_FIRMWARE_BLOB and its second version, which adds a description.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Blob<'a> {
    /// Description, in the second version.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<Loose<'a>>,
    /// Physical address.
    pub base: u64,
    /// Bytes.
    pub length: u64,
}

impl<'a> Blob<'a> {
    /// First version: exactly 16 bytes.
    pub fn parse(data: &'a [u8]) -> Option<Self> {
        let mut r = Reader::new(data);
        let blob = Self { description: None, base: r.u64()?, length: r.u64()? };
        r.is_empty().then_some(blob)
    }

    /// Second version.
    pub fn parse2(data: &'a [u8]) -> Option<Self> {
        let mut r = Reader::new(data);
        let len = usize::from(r.u8()?);
        Some(Self { description: Some(Loose(r.take(len)?)), base: r.u64()?, length: r.u64()? })
    }
}

/// UEFI_HANDOFF_TABLE_POINTERS and its second version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct HandoffTables<'a> {
    /// Description, in the second version.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<Loose<'a>>,
    /// Tables.
    pub tables: Tables<'a>,
}

impl<'a> HandoffTables<'a> {
    /// First version.
    pub fn parse(data: &'a [u8]) -> Option<Self> {
        let mut r = Reader::new(data);
        Some(Self { description: None, tables: Tables::parse(&mut r)? })
    }

    /// Second version.
    pub fn parse2(data: &'a [u8]) -> Option<Self> {
        let mut r = Reader::new(data);
        let len = usize::from(r.u8()?);
        Some(Self { description: Some(Loose(r.take(len)?)), tables: Tables::parse(&mut r)? })
    }
}

/// Configuration tables: GUID and address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tables<'a>(&'a [u8]);

impl<'a> Tables<'a> {
    fn parse(r: &mut Reader<'a>) -> Option<Self> {
        let count = r.len64()?;
        r.take(count.checked_mul(24)?).map(Self)
    }

    /// Each table; at most [`MAX_TABLES`].
    pub fn iter(&self) -> impl Iterator<Item = (Guid, u64)> + use<'a> {
        self.0.chunks_exact(24).take(MAX_TABLES).filter_map(|entry| {
            let mut r = Reader::new(entry);
            Some((Guid(r.array()?), r.u64()?))
        })
    }
}

impl Serialize for Tables<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Table {
            guid: Guid,
            name: Option<&'static str>,
            address: u64,
        }
        serializer.collect_seq(self.iter().map(|(guid, address)| Table { guid, name: guid.name(), address }))
    }
}

/// GCE NonHostInfo: which confidential-computing technology the virtual firmware runs under.
pub fn gce_technology(data: &[u8]) -> Option<&'static str> {
    match data.strip_prefix(b"GCE NonHostInfo\0")?.first()? {
        0 => Some("none"),
        1 => Some("AMD SEV"),
        2 => Some("AMD SEV-ES"),
        3 => Some("Intel TDX"),
        4 => Some("AMD SEV-SNP"),
        _ => None,
    }
}

/// Configuration of td-shim: a name of 16 bytes, a length, the content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct HandedOver<'a> {
    /// Name: `td_hob`, `td_payload_info`.
    pub name: Text<'a>,
    /// Content, where it is text.
    pub text: Option<Text<'a>>,
}

impl<'a> HandedOver<'a> {
    /// `None` when the event has another layout.
    pub fn parse(data: &'a [u8]) -> Option<Self> {
        let mut r = Reader::new(data);
        let name = Text::c_string(r.take(16)?);
        let len = usize::try_from(r.u32()?).ok()?;
        if !name.is_plain() || len != r.rest().len() {
            return None;
        }
        let text = Text::trimmed(r.rest());
        Some(Self { name, text: text.is_plain().then_some(text) })
    }
}
