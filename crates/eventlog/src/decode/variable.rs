//! Events that carry an EFI variable: UEFI_VARIABLE_DATA (PC Client Platform Firmware Profile 1.06, section 10.2.6).

use serde::ser::SerializeStruct as _;
use serde::{Serialize, Serializer};

use super::load_option::LoadOption;
use super::signature_list::SignatureDatabase;
use crate::der::Certificate;
use crate::reader::Reader;
use crate::text::{Guid, Hex, Text, Utf16, guids};

/// A measured variable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Variable<'a> {
    /// Namespace.
    pub vendor: Guid,
    /// Name.
    pub name: Utf16<'a>,
    /// Content.
    pub data: &'a [u8],
    /// Bytes after the content; not empty in events of some versions of shim.
    pub rest: &'a [u8],
}

/// What a variable holds, by its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content<'a> {
    /// A flag: SecureBoot, SetupMode, AuditMode, DeployedMode, MokSBState. `None` when the variable is empty.
    Flag(Option<bool>),
    /// PK, KEK, db, dbx, dbt, dbr, vendor_db, MokList…
    Signatures(SignatureDatabase<'a>),
    /// BootOrder: numbers of boot entries.
    BootOrder(Vec<u16>),
    /// Boot####.
    BootEntry(LoadOption<'a>),
    /// SbatLevel, and other variables that are text.
    Text(Text<'a>),
    /// Not known; the raw bytes are in [`Variable::data`].
    Unknown,
}

impl<'a> Variable<'a> {
    /// Reads UEFI_VARIABLE_DATA. `None` when the lengths do not fit.
    pub fn parse(data: &'a [u8]) -> Option<Self> {
        let mut reader = Reader::new(data);
        let vendor = Guid(reader.array()?);
        let name_units = reader.len64()?;
        let data_len = reader.len64()?;
        let name = Utf16::trimmed(reader.take(name_units.checked_mul(2)?)?);
        let content = reader.take(data_len)?;
        Some(Self { vendor, name, data: content, rest: reader.rest() })
    }

    /// Whether it is this variable of the EFI global namespace.
    pub fn is_global(&self, name: &str) -> bool {
        self.vendor == guids::GLOBAL_VARIABLE && self.name.is(name)
    }

    /// Whether it is this variable of the image security database.
    pub fn is_database(&self, name: &str) -> bool {
        self.vendor == guids::IMAGE_SECURITY_DATABASE && self.name.is(name)
    }

    /// Whether it is one of the variables that steer Secure Boot, in the namespace that the specification gives it.
    pub fn is_secure_boot_configuration(&self) -> bool {
        let name = self.name.short_ascii();
        match self.vendor {
            guids::GLOBAL_VARIABLE => matches!(
                name.as_bytes(),
                b"SecureBoot" | b"SetupMode" | b"AuditMode" | b"DeployedMode" | b"PK" | b"KEK"
            ),
            guids::IMAGE_SECURITY_DATABASE => matches!(name.as_bytes(), b"db" | b"dbx" | b"dbt" | b"dbr"),
            _ => false,
        }
    }

    /// Number of a Boot#### variable.
    pub fn boot_number(&self) -> Option<u16> {
        let mut units = self.name.units();
        for letter in "Boot".encode_utf16() {
            if units.next()? != letter {
                return None;
            }
        }
        let mut number = 0_u16;
        for _ in 0..4 {
            let digit = char::from_u32(u32::from(units.next()?))?.to_digit(16)?;
            number = (number << 4) | u16::try_from(digit).ok()?;
        }
        units.next().is_none().then_some(number)
    }

    /// What it holds, for variables measured as configuration.
    pub fn content(&self) -> Content<'a> {
        if self.boot_number().is_some() {
            return LoadOption::parse(self.data).map_or(Content::Unknown, Content::BootEntry);
        }
        let database = SignatureDatabase(self.data);
        match self.name.short_ascii().as_bytes() {
            b"SecureBoot" | b"SetupMode" | b"AuditMode" | b"DeployedMode" | b"MokSBState" | b"MokDBState"
            | b"MokIgnoreDB" => {
                return match self.data {
                    [] => Content::Flag(None),
                    [value] => Content::Flag(Some(*value != 0)),
                    _ => Content::Unknown,
                };
            }
            b"BootOrder" => {
                let (numbers, _) = self.data.as_chunks();
                return Content::BootOrder(
                    numbers.iter().map(|number| u16::from_le_bytes(*number)).collect(),
                );
            }
            b"SbatLevel" | b"SbatLevelRT" => return Content::Text(Text::trimmed(self.data)),
            b"PK" | b"KEK" | b"db" | b"dbx" | b"dbr" | b"dbt" | b"vendor_db" | b"vendor_dbx" | b"MokList"
            | b"MokListX" => return Content::Signatures(database),
            _ if !self.data.is_empty() && database.is_well_formed() => return Content::Signatures(database),
            _ => {}
        }
        match Text::trimmed(self.data) {
            text if text.is_plain() && self.data.len() > 1 => Content::Text(text),
            _ => Content::Unknown,
        }
    }

    /// The certificate that admitted an image, for EV_EFI_VARIABLE_AUTHORITY: EFI_SIGNATURE_DATA, a whole signature
    /// list, or the bare certificate (shim).
    pub fn authority(&self) -> Option<Certificate<'a>> {
        if let Some((_, der)) = self.data.split_first_chunk::<16>()
            && let Some(certificate) = Certificate::parse(der)
        {
            return Some(certificate);
        }
        Certificate::parse(self.data).or_else(|| SignatureDatabase(self.data).certificates().next())
    }
}

impl Serialize for Variable<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut out = serializer.serialize_struct("Variable", 4)?;
        out.serialize_field("vendor", &self.vendor)?;
        out.serialize_field("name", &self.name)?;
        match self.content() {
            Content::Flag(flag) => out.serialize_field("enabled", &flag)?,
            Content::Signatures(database) => out.serialize_field("signatures", &database)?,
            Content::BootOrder(order) => {
                let order: Vec<_> = order.iter().map(|n| format!("Boot{n:04X}")).collect();
                out.serialize_field("boot_order", &order)?;
            }
            Content::BootEntry(entry) => out.serialize_field("boot_entry", &entry)?,
            Content::Text(text) => out.serialize_field("text", &text)?,
            Content::Unknown => match self.authority() {
                Some(certificate) => out.serialize_field("certificate", &certificate)?,
                None => out.serialize_field("data", &Hex(self.data))?,
            },
        }
        out.end()
    }
}

/// A variable of EV_EFI_VARIABLE_AUTHORITY.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Authority<'a>(pub Variable<'a>);

impl Serialize for Authority<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Some(certificate) = self.0.authority() else { return self.0.serialize(serializer) };
        let mut out = serializer.serialize_struct("Authority", 3)?;
        out.serialize_field("vendor", &self.0.vendor)?;
        out.serialize_field("name", &self.0.name)?;
        out.serialize_field("certificate", &certificate)?;
        out.end()
    }
}
