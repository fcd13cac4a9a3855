//! EV_NO_ACTION: events that inform and extend nothing (PC Client Platform Firmware Profile 1.06, section 10.4.5).

use std::fmt;

use serde::{Serialize, Serializer};

use super::device_path::DevicePath;
use super::firmware::Loose;
use super::sipa::TaggedEvents;
use crate::reader::Reader;
use crate::text::{Guid, Hex, Text, Utf16};

/// An informative event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum NoAction<'a> {
    /// Start of a log.
    SpecId {
        /// Version of the layout, `2.0`.
        version: String,
        /// Errata level.
        errata: u8,
        /// Platform class: 0 client, 1 server.
        platform_class: u32,
        /// TPM_ALG_ID and bytes of each digest.
        algorithms: Vec<(u16, u16)>,
        /// Vendor information.
        vendor: Loose<'a>,
    },
    /// Locality from which the TPM was started.
    StartupLocality {
        /// 0, 3 or 4.
        locality: u8,
    },
    /// SP800-155 reference manifest.
    ReferenceManifest(ReferenceManifest<'a>),
    /// What firmware wrote into an NV index of the TPM beside the registers: measurements and policies of SPDM devices.
    NvIndex {
        /// `instance`: of one device; `dynamic`: named by the firmware.
        of: &'static str,
        /// Version of the event.
        version: u16,
        /// Identifier of a dynamic index entry.
        #[serde(skip_serializing_if = "Option::is_none")]
        uid: Option<u64>,
        /// Description of a dynamic index entry.
        #[serde(skip_serializing_if = "Option::is_none")]
        description: Option<Text<'a>>,
        /// What was written.
        data: Hex<'a>,
    },
    /// Windows: trust points, with their signed aggregate.
    Windows {
        /// Tagged events.
        events: TaggedEvents<'a>,
    },
    /// Something else.
    Other {
        /// Text or hex.
        text: Loose<'a>,
    },
}

/// Which reference manifest describes this platform.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ReferenceManifest<'a> {
    /// Version of the event: 1, 2 or 3.
    pub version: u8,
    /// IANA number of the vendor.
    pub vendor_id: u32,
    /// GUID of the manifest.
    pub guid: Guid,
    /// Manufacturer of the platform.
    pub platform_manufacturer: Option<Text<'a>>,
    /// Model of the platform.
    pub platform_model: Option<Text<'a>>,
    /// Version of the platform.
    pub platform_version: Option<Text<'a>>,
    /// Manufacturer of the firmware.
    pub firmware_manufacturer: Option<Text<'a>>,
    /// Version of the firmware.
    pub firmware_version: Option<Text<'a>>,
    /// Where the manifest is (version 3).
    pub locator: Option<Locator<'a>>,
}

/// Where a reference manifest is (PC Client Platform Firmware Profile 1.06, section 10.4.5.2). Shown as URI, device path,
/// or GUID and name of a variable; what is of another kind as hex.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Locator<'a> {
    /// 0 the manifest itself, 1 URI, 2 device path, 3 variable.
    pub kind: u32,
    /// As the log has it.
    pub data: &'a [u8],
}

impl fmt::Display for Locator<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.kind, self.data.split_first_chunk::<16>()) {
            (1, _) => Text::c_string(self.data).fmt(f),
            (2, _) => DevicePath(self.data).fmt(f),
            (3, Some((vendor, name))) => write!(f, "{} {}", Guid(*vendor), Utf16::c_string(name)),
            _ => Hex(self.data).fmt(f),
        }
    }
}

impl Serialize for Locator<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'a> NoAction<'a> {
    /// Never fails: what is not known is [`NoAction::Other`].
    pub fn parse(data: &'a [u8]) -> Self {
        spec_id(data)
            .or_else(|| startup_locality(data))
            .or_else(|| reference_manifest(data).map(NoAction::ReferenceManifest))
            .or_else(|| nv_index(data))
            .or_else(|| TaggedEvents::parse(data).map(|events| NoAction::Windows { events }))
            .unwrap_or(NoAction::Other { text: Loose(data) })
    }
}

fn spec_id(data: &[u8]) -> Option<NoAction<'_>> {
    let mut r = Reader::new(data);
    let agile = match r.take(16)? {
        b"Spec ID Event03\0" => true,
        b"Spec ID Event02\0" | b"Spec ID Event00\0" => false,
        _ => return None,
    };
    let platform_class = r.u32()?;
    let (minor, major, errata, _uintn) = (r.u8()?, r.u8()?, r.u8()?, r.u8()?);
    let mut algorithms = Vec::new();
    if agile {
        let count = r.u32()?;
        for _ in 0..count.min(crate::limits::MAX_ALGORITHMS as u32) {
            algorithms.push((r.u16()?, r.u16()?));
        }
    }
    let vendor_len = r.u8().map_or(0, usize::from);
    let vendor = Loose(r.take(vendor_len).unwrap_or_default());
    Some(NoAction::SpecId { version: format!("{major}.{minor}"), errata, platform_class, algorithms, vendor })
}

fn startup_locality(data: &[u8]) -> Option<NoAction<'_>> {
    Some(NoAction::StartupLocality { locality: *data.strip_prefix(b"StartupLocality\0")?.first()? })
}

/// TCG_NV_INDEX_INSTANCE_EVENT_LOG_DATA and TCG_NV_INDEX_DYNAMIC_EVENT_LOG_DATA (PC Client Platform Firmware Profile 1.06,
/// section 10.4.5.4).
fn nv_index(data: &[u8]) -> Option<NoAction<'_>> {
    let mut r = Reader::new(data);
    let of = match r.take(16)? {
        b"NvIndexInstance\0" => "instance",
        b"NvIndexDynamic\0\0" => "dynamic",
        _ => return None,
    };
    let version = r.u16()?;
    r.take(6)?;
    if of == "instance" {
        return Some(NoAction::NvIndex { of, version, uid: None, description: None, data: Hex(r.rest()) });
    }
    let uid = r.u64()?;
    let mut sized = || {
        let len = usize::from(r.u16()?);
        r.take(len)
    };
    let (description, data) = (Text::trimmed(sized()?), sized()?);
    Some(NoAction::NvIndex { of, version, uid: Some(uid), description: Some(description), data: Hex(data) })
}

fn reference_manifest(data: &[u8]) -> Option<ReferenceManifest<'_>> {
    let mut r = Reader::new(data);
    let version = match r.take(16)? {
        b"SP800-155 Event\0" => 1,
        b"SP800-155 Event2" => 2,
        b"SP800-155 Event3" => 3,
        _ => return None,
    };
    let (vendor_id, guid) = (r.u32()?, Guid(r.array()?));
    let mut text = || {
        let len = usize::from(r.u8()?);
        r.take(len).map(Text::trimmed)
    };
    let mut manifest = ReferenceManifest {
        version,
        vendor_id,
        guid,
        platform_manufacturer: None,
        platform_model: None,
        platform_version: None,
        firmware_manufacturer: None,
        firmware_version: None,
        locator: None,
    };
    if version >= 2 {
        manifest.platform_manufacturer = text();
        manifest.platform_model = text();
        manifest.platform_version = text();
        manifest.firmware_manufacturer = text();
        r.u32();
        manifest.firmware_version = (|| {
            let len = usize::from(r.u8()?);
            r.take(len).map(Text::trimmed)
        })();
    }
    if version >= 3 {
        manifest.locator = (|| {
            let kind = r.u32()?;
            let len = usize::try_from(r.u32()?).ok()?;
            r.take(len).map(|data| Locator { kind, data })
        })();
    }
    Some(manifest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nv_index_events_of_both_kinds() {
        let instance = [b"NvIndexInstance\0".as_slice(), &[1, 0], &[0; 6], b"SPDM"].concat();
        assert_eq!(
            NoAction::parse(&instance),
            NoAction::NvIndex {
                of: "instance",
                version: 1,
                uid: None,
                description: None,
                data: Hex(b"SPDM")
            }
        );
        let dynamic = [
            b"NvIndexDynamic\0\0".as_slice(),
            &[1, 0],
            &[0; 6],
            &7_u64.to_le_bytes(),
            &[5, 0],
            b"slot\0",
            &[2, 0],
            &[0xAA, 0xBB],
        ]
        .concat();
        let expected = NoAction::NvIndex {
            of: "dynamic",
            version: 1,
            uid: Some(7),
            description: Some(Text(b"slot")),
            data: Hex(&[0xAA, 0xBB]),
        };
        assert_eq!(NoAction::parse(&dynamic), expected);
        for end in 16..dynamic.len() {
            assert!(matches!(NoAction::parse(&dynamic[..end]), NoAction::Other { .. }), "cut at {end}");
        }
    }
}
