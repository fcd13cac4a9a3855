//! Boot entries: EFI_LOAD_OPTION (UEFI 2.11, section 3.1.3).

use serde::{Serialize, Serializer};

use super::device_path::DevicePath;
use crate::reader::Reader;
use crate::text::{Hex, Text, Utf16};

/// Content of a Boot#### variable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct LoadOption<'a> {
    /// LOAD_OPTION_ACTIVE and others.
    pub attributes: u32,
    /// Title in the boot menu.
    pub description: Utf16<'a>,
    /// What is started.
    pub path: DevicePath<'a>,
    /// Data for what is started.
    #[serde(skip_serializing_if = "OptionalData::is_empty")]
    pub optional_data: OptionalData<'a>,
}

impl<'a> LoadOption<'a> {
    /// `None` when the lengths do not fit.
    pub fn parse(data: &'a [u8]) -> Option<Self> {
        let mut reader = Reader::new(data);
        let attributes = reader.u32()?;
        let path_len = usize::from(reader.u16()?);
        let description = Utf16::c_string(reader.rest());
        reader.take(description.0.len())?;
        reader.take(2)?;
        let path = DevicePath(reader.take(path_len)?);
        Some(Self { attributes, description, path, optional_data: OptionalData(reader.rest()) })
    }
}

/// Data that a boot entry hands over: text where it is, hex otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OptionalData<'a>(pub &'a [u8]);

impl OptionalData<'_> {
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl std::fmt::Display for OptionalData<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (text, wide) = (Text::trimmed(self.0), Utf16::trimmed(self.0));
        if text.is_plain() {
            text.fmt(f)
        } else if wide.is_plain() {
            wide.fmt(f)
        } else {
            Hex(self.0).fmt(f)
        }
    }
}

impl Serialize for OptionalData<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
