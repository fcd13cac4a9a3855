//! Windows boot configuration log: tagged events of the System Integrity Platform Attestation (SIPA), nested in trust
//! boundaries (Windows SDK, wbcl.h).

use std::fmt;

use serde::ser::SerializeStruct as _;
use serde::{Serialize, Serializer};

use crate::limits::{MAX_SIPA_DEPTH, MAX_SIPA_EVENTS};
use crate::reader::Reader;
use crate::text::{Hex, Text, Utf16};

const AGGREGATION: u32 = 0x4000_0000;
const LOADED_MODULE: u32 = 0x4001_0003;
const HVCI_POLICY: u32 = 0x000A_0007;

/// A sequence of tagged events that fills its bytes exactly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TaggedEvents<'a> {
    bytes: &'a [u8],
    depth: usize,
}

/// One tagged event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TaggedEvent<'a> {
    /// SIPAEVENT_… number.
    pub id: u32,
    /// Its data.
    pub data: &'a [u8],
    depth: usize,
}

/// What a tagged event holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TaggedValue<'a> {
    /// Nested events.
    Container(TaggedEvents<'a>),
    /// Yes or no.
    Flag(bool),
    /// A number.
    Number(u64),
    /// A number that stands for a choice, in words.
    Choice(u64, &'static str),
    /// Text.
    Text(Utf16<'a>),
    /// A revocation list: when it was made, its hash algorithm and digest.
    RevocationList {
        /// FILETIME.
        created: u64,
        /// TPM_ALG_ID or length, as Windows writes it.
        algorithm: u16,
        /// Digest.
        digest: &'a [u8],
    },
    /// A code integrity policy.
    Policy {
        /// Version, four parts.
        version: u64,
        /// Name.
        name: Utf16<'a>,
        /// Digest.
        digest: &'a [u8],
    },
    /// Something else.
    Bytes(&'a [u8]),
}

impl<'a> TaggedEvents<'a> {
    /// `None` unless the bytes are nothing but well-formed tagged events of a class that Windows uses.
    pub fn parse(bytes: &'a [u8]) -> Option<Self> {
        Self::nested(bytes, 0)
    }

    fn nested(bytes: &'a [u8], depth: usize) -> Option<Self> {
        let mut reader = Reader::new(bytes);
        let mut count = 0;
        while !reader.is_empty() {
            count += 1;
            let (id, len) = (reader.u32()?, usize::try_from(reader.u32()?).ok()?);
            reader.take(len)?;
            // Class in bits 16 to 29; the highest that Windows defines is 0x0C (DRTM).
            let class = (id >> 16) & 0x3FFF;
            if count > MAX_SIPA_EVENTS || !(1..=0x40).contains(&class) {
                return None;
            }
        }
        (count > 0 && depth <= MAX_SIPA_DEPTH).then_some(Self { bytes, depth })
    }

    /// The events on this level.
    pub fn iter(&self) -> impl Iterator<Item = TaggedEvent<'a>> + use<'a> {
        let (mut reader, depth) = (Reader::new(self.bytes), self.depth);
        std::iter::from_fn(move || {
            let (id, len) = (reader.u32()?, usize::try_from(reader.u32()?).ok()?);
            Some(TaggedEvent { id, data: reader.take(len)?, depth })
        })
    }

    /// Calls `visit` for every event on every level, containers before what is in them.
    pub fn walk(&self, visit: &mut impl FnMut(&TaggedEvent<'a>)) {
        for event in self.iter() {
            visit(&event);
            if let TaggedValue::Container(nested) = event.value() {
                nested.walk(visit);
            }
        }
    }

    /// The first event of this type on this level.
    pub fn find(&self, id: u32) -> Option<TaggedEvent<'a>> {
        self.iter().find(|event| event.id == id)
    }
}

/// A module that the Windows loader loaded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LoadedModule<'a> {
    /// File path.
    pub path: Option<Utf16<'a>>,
    /// Authenticode digest.
    pub digest: Option<&'a [u8]>,
    /// Who signed it.
    pub publisher: Option<Utf16<'a>>,
    /// Who issued the certificate.
    pub issuer: Option<Utf16<'a>>,
    /// Whether the signature was valid.
    pub validated: Option<bool>,
}

impl<'a> TaggedEvent<'a> {
    /// Name without the prefix SIPAEVENT_, `None` for unknown ones.
    pub fn name(&self) -> Option<&'static str> {
        NAMES
            .binary_search_by_key(&self.id, |(id, _, _)| *id)
            .ok()
            .and_then(|i| NAMES.get(i))
            .map(|(_, name, _)| *name)
    }

    /// What it holds.
    pub fn value(&self) -> TaggedValue<'a> {
        let kind = NAMES.binary_search_by_key(&self.id, |(id, _, _)| *id).ok().and_then(|i| NAMES.get(i));
        let decoded = match kind.map(|(_, _, kind)| *kind) {
            Some(Kind::Container) => self.container(),
            None if self.id & AGGREGATION != 0 => self.container(),
            Some(Kind::Flag) => self.number().map(|n| TaggedValue::Flag(n != 0)),
            Some(Kind::Number) => self.number().map(TaggedValue::Number),
            Some(Kind::Choice(words)) => self.number().map(|n| {
                let word = usize::try_from(n).ok().and_then(|n| words.get(n)).copied().unwrap_or("unknown");
                TaggedValue::Choice(n, word)
            }),
            Some(Kind::Code(words)) => self.number().map(|n| {
                let word = words.iter().find(|(number, _)| *number == n).map_or("unknown", |(_, word)| word);
                TaggedValue::Choice(n, word)
            }),
            Some(Kind::Text) => Some(TaggedValue::Text(Utf16::trimmed(self.data))),
            Some(Kind::RevocationList) => self.revocation_list(),
            Some(Kind::Policy) => self.policy(),
            Some(Kind::Bytes) | None => None,
        };
        decoded.unwrap_or(TaggedValue::Bytes(self.data))
    }

    /// The module, when this is a loaded-module aggregation.
    pub fn module(&self) -> Option<LoadedModule<'a>> {
        let TaggedValue::Container(nested) = self.value() else { return None };
        if self.id != LOADED_MODULE {
            return None;
        }
        let mut module = LoadedModule::default();
        for event in nested.iter() {
            match event.id {
                0x0007_0001 => module.path = Some(Utf16::trimmed(event.data)),
                0x0007_0004 => module.digest = Some(event.data),
                0x0007_0005 => module.issuer = Some(Utf16::trimmed(event.data)),
                0x0007_0008 => module.publisher = Some(Utf16::trimmed(event.data)),
                0x0007_000A => module.validated = event.number().map(|n| n != 0),
                _ => {}
            }
        }
        Some(module)
    }

    /// Whether this is a policy for hypervisor-enforced code integrity (VBS_HVCI_POLICY), and if so, whether it is
    /// enforced: bit 0, which Azure Attestation calls HypervisorEnforcedCodeIntegrityEnable. What cannot be read as a
    /// number enforces nothing.
    pub fn hvci(&self) -> Option<bool> {
        (self.id == HVCI_POLICY).then(|| self.number().is_some_and(|bits| bits & 1 != 0))
    }

    /// Little-endian number of 1, 2, 4 or 8 bytes.
    pub fn number(&self) -> Option<u64> {
        matches!(self.data.len(), 1 | 2 | 4 | 8)
            .then(|| self.data.iter().rev().fold(0, |number, byte| (number << 8) | u64::from(*byte)))
    }

    fn container(&self) -> Option<TaggedValue<'a>> {
        TaggedEvents::nested(self.data, self.depth + 1).map(TaggedValue::Container)
    }

    fn revocation_list(&self) -> Option<TaggedValue<'a>> {
        let mut r = Reader::new(self.data);
        let created = r.u64()?;
        let len = usize::try_from(r.u32()?).ok()?;
        let algorithm = r.u16()?;
        Some(TaggedValue::RevocationList { created, algorithm, digest: r.take(len)? })
    }

    fn policy(&self) -> Option<TaggedValue<'a>> {
        let mut r = Reader::new(self.data);
        let version = r.u64()?;
        let name_len = usize::from(r.u16()?);
        let _algorithm = r.u16()?;
        let digest_len = usize::try_from(r.u32()?).ok()?;
        let name = Utf16::trimmed(r.take(name_len)?);
        Some(TaggedValue::Policy { version, name, digest: r.take(digest_len)? })
    }
}

impl fmt::Display for TaggedValue<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Container(events) => write!(f, "{} events", events.iter().count()),
            Self::Flag(true) => f.write_str("yes"),
            Self::Flag(false) => f.write_str("no"),
            Self::Number(number) => number.fmt(f),
            Self::Choice(number, word) => write!(f, "{word} ({number})"),
            Self::Text(text) => text.fmt(f),
            Self::RevocationList { digest, .. } => Hex(digest).fmt(f),
            Self::Policy { name, version, digest } => {
                let [a, b, c, d, e, g, h, i] = version.to_be_bytes();
                let part = |high: u8, low: u8| u16::from_be_bytes([high, low]);
                write!(
                    f,
                    "{name} {}.{}.{}.{} {}",
                    part(a, b),
                    part(c, d),
                    part(e, g),
                    part(h, i),
                    Hex(digest)
                )
            }
            Self::Bytes(bytes) => {
                let (text, wide) = (Text::trimmed(bytes), Utf16::trimmed(bytes));
                if bytes.len() >= 8 && wide.is_plain() {
                    wide.fmt(f)
                } else if bytes.len() >= 6 && text.is_plain() {
                    text.fmt(f)
                } else {
                    Hex(bytes).fmt(f)
                }
            }
        }
    }
}

impl Serialize for TaggedEvents<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter())
    }
}

impl Serialize for TaggedEvent<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut out = serializer.serialize_struct("TaggedEvent", 3)?;
        out.serialize_field("id", &format_args!("0x{:08x}", self.id))?;
        out.serialize_field("name", &self.name())?;
        match self.value() {
            TaggedValue::Container(events) => out.serialize_field("events", &events)?,
            TaggedValue::Flag(flag) => out.serialize_field("value", &flag)?,
            TaggedValue::Number(number) => out.serialize_field("value", &number)?,
            other => out.serialize_field("value", &format_args!("{other}"))?,
        }
        out.end()
    }
}

#[derive(Clone, Copy)]
enum Kind {
    Container,
    Flag,
    Number,
    Choice(&'static [&'static str]),
    /// Words for numbers that do not follow each other.
    Code(&'static [(u64, &'static str)]),
    Text,
    RevocationList,
    Policy,
    Bytes,
}

/// Where the operating system was loaded from.
const DEVICE: Kind = Kind::Code(&[
    (0x0001_0001, "hard disk"),
    (0x0001_0002, "removable disk"),
    (0x0001_0003, "optical disc"),
    (0x0001_0004, "partition"),
    (0x0001_0005, "file"),
    (0x0001_0006, "RAM disk"),
    (0x0001_0007, "virtual hard disk"),
    (0x0002_0000, "serial line"),
    (0x0003_0000, "network"),
    (0x0004_0000, "VMBus"),
    (0x0005_0000, "composite device"),
    (0x0006_0000, "CimFS"),
]);
const LAUNCH: Kind = Kind::Choice(&["off", "on", "automatic"]);
const DRIVER_POLICY: Kind = Kind::Choice(&[
    "default",
    "good only",
    "good and unknown",
    "unknown",
    "good, unknown and critical",
    "",
    "",
    "all",
]);

/// Sorted by number.
const NAMES: &[(u32, &str, Kind)] = &[
    (0x0002_0001, "INFORMATION", Kind::Bytes),
    (0x0002_0002, "BOOTCOUNTER", Kind::Number),
    (0x0002_0003, "TRANSFER_CONTROL", Kind::Number),
    (0x0002_0004, "APPLICATION_RETURN", Kind::Bytes),
    (0x0002_0005, "BITLOCKER_UNLOCK", Kind::Number),
    (0x0002_0006, "EVENTCOUNTER", Kind::Number),
    (0x0002_0007, "COUNTERID", Kind::Number),
    (0x0002_0008, "MORBIT_NOT_CANCELABLE", Kind::Number),
    (0x0002_0009, "APPLICATION_SVN", Kind::Number),
    (0x0002_000A, "SVN_CHAIN_STATUS", Kind::Number),
    (0x0002_000B, "MORBIT_API_STATUS", Kind::Number),
    (0x0004_0001, "BOOTDEBUGGING", Kind::Flag),
    (0x0004_0002, "BOOT_REVOCATION_LIST", Kind::RevocationList),
    (0x0005_0001, "OSKERNELDEBUG", Kind::Flag),
    (0x0005_0002, "CODEINTEGRITY", Kind::Flag),
    (0x0005_0003, "TESTSIGNING", Kind::Flag),
    (0x0005_0004, "DATAEXECUTIONPREVENTION", Kind::Choice(&["opt-in", "opt-out", "always off", "always on"])),
    (0x0005_0005, "SAFEMODE", Kind::Flag),
    (0x0005_0006, "WINPE", Kind::Flag),
    (0x0005_0007, "PHYSICALADDRESSEXTENSION", Kind::Choice(&["default", "enabled", "disabled"])),
    (0x0005_0008, "OSDEVICE", DEVICE),
    (0x0005_0009, "SYSTEMROOT", Kind::Text),
    (0x0005_000A, "HYPERVISOR_LAUNCH_TYPE", LAUNCH),
    (0x0005_000B, "HYPERVISOR_PATH", Kind::Text),
    (0x0005_000C, "HYPERVISOR_IOMMU_POLICY", Kind::Choice(&["default", "enabled", "disabled"])),
    (0x0005_000D, "HYPERVISOR_DEBUG", Kind::Flag),
    (0x0005_000E, "DRIVER_LOAD_POLICY", DRIVER_POLICY),
    (0x0005_000F, "SI_POLICY", Kind::Policy),
    (0x0005_0010, "HYPERVISOR_MMIO_NX_POLICY", Kind::Choice(&["default", "enabled", "disabled"])),
    (0x0005_0011, "HYPERVISOR_MSR_FILTER_POLICY", Kind::Choice(&["default", "enabled", "disabled"])),
    (0x0005_0012, "VSM_LAUNCH_TYPE", LAUNCH),
    (0x0005_0013, "OS_REVOCATION_LIST", Kind::RevocationList),
    (0x0005_0014, "SMT_STATUS", Kind::Choice(&["off in firmware", "on", "off in software"])),
    (0x0005_0020, "VSM_IDK_INFO", Kind::Bytes),
    (0x0005_0021, "FLIGHTSIGNING", Kind::Flag),
    (0x0005_0022, "PAGEFILE_ENCRYPTION_ENABLED", Kind::Flag),
    (0x0005_0023, "VSM_IDKS_INFO", Kind::Bytes),
    (0x0005_0024, "HIBERNATION_DISABLED", Kind::Flag),
    (0x0005_0025, "DUMPS_DISABLED", Kind::Flag),
    (0x0005_0026, "DUMP_ENCRYPTION_ENABLED", Kind::Flag),
    (0x0005_0027, "DUMP_ENCRYPTION_KEY_DIGEST", Kind::Bytes),
    (0x0005_0028, "LSAISO_CONFIG", Kind::Number),
    (0x0005_0029, "SBCP_INFO", Kind::Bytes),
    (0x0005_0030, "HYPERVISOR_BOOT_DMA_PROTECTION", Kind::Flag),
    (0x0005_0031, "SI_POLICY_SIGNER", Kind::Bytes),
    (0x0005_0032, "SI_POLICY_UPDATE_SIGNERS", Kind::Bytes),
    (0x0006_0001, "NOAUTHORITY", Kind::Bytes),
    (0x0006_0002, "AUTHORITYPUBKEY", Kind::Bytes),
    (0x0007_0001, "FILEPATH", Kind::Text),
    (0x0007_0002, "IMAGESIZE", Kind::Number),
    (0x0007_0003, "HASHALGORITHMID", Kind::Number),
    (0x0007_0004, "AUTHENTICODEHASH", Kind::Bytes),
    (0x0007_0005, "AUTHORITYISSUER", Kind::Text),
    (0x0007_0006, "AUTHORITYSERIAL", Kind::Bytes),
    (0x0007_0007, "IMAGEBASE", Kind::Number),
    (0x0007_0008, "AUTHORITYPUBLISHER", Kind::Text),
    (0x0007_0009, "AUTHORITYSHA1THUMBPRINT", Kind::Bytes),
    (0x0007_000A, "IMAGEVALIDATED", Kind::Flag),
    (0x0007_000B, "MODULE_SVN", Kind::Number),
    (0x0007_000C, "MODULE_PLUTON", Kind::Bytes),
    (0x0007_000D, "MODULE_ORIGINAL_FILENAME", Kind::Text),
    (0x0007_000E, "MODULE_VERSION", Kind::Bytes),
    (0x0007_000F, "MODULE_TIMESTAMP", Kind::Bytes),
    (0x0009_0001, "ELAM_KEYNAME", Kind::Text),
    (0x0009_0002, "ELAM_CONFIGURATION", Kind::Bytes),
    (0x0009_0003, "ELAM_POLICY", Kind::Bytes),
    (0x0009_0004, "ELAM_MEASURED", Kind::Bytes),
    (0x000A_0001, "VBS_VSM_REQUIRED", Kind::Flag),
    (0x000A_0002, "VBS_SECUREBOOT_REQUIRED", Kind::Flag),
    (0x000A_0003, "VBS_IOMMU_REQUIRED", Kind::Flag),
    (0x000A_0004, "VBS_MMIO_NX_REQUIRED", Kind::Flag),
    (0x000A_0005, "VBS_MSR_FILTERING_REQUIRED", Kind::Flag),
    (0x000A_0006, "VBS_MANDATORY_ENFORCEMENT", Kind::Flag),
    (0x000A_0007, "VBS_HVCI_POLICY", Kind::Number),
    (0x000A_0008, "VBS_MICROSOFT_BOOT_CHAIN_REQUIRED", Kind::Flag),
    (0x000A_0009, "VBS_DUMP_USES_AMEROOT", Kind::Flag),
    (0x000A_000A, "VBS_VSM_NOSECRETS_ENFORCED", Kind::Flag),
    (0x000B_0001, "KSR_SIGNATURE", Kind::Bytes),
    (0x000C_0001, "DRTM_STATE_AUTH", Kind::Bytes),
    (0x000C_0002, "DRTM_SMM_LEVEL", Kind::Number),
    (0x000C_0003, "DRTM_AMD_SMM_HASH", Kind::Bytes),
    (0x000C_0004, "DRTM_AMD_SMM_SIGNER_KEY", Kind::Bytes),
    (0x4001_0001, "TRUSTBOUNDARY", Kind::Container),
    (0x4001_0002, "ELAM_AGGREGATION", Kind::Container),
    (0x4001_0003, "LOADEDMODULE_AGGREGATION", Kind::Container),
    (0x4001_0005, "KSR_AGGREGATION", Kind::Container),
    (0x4001_0006, "KSR_SIGNED_MEASUREMENT_AGGREGATION", Kind::Container),
    (0x8008_0001, "QUOTE", Kind::Bytes),
    (0x8008_0002, "QUOTESIGNATURE", Kind::Bytes),
    (0x8008_0003, "AIKID", Kind::Text),
    (0x8008_0004, "AIKPUBDIGEST", Kind::Bytes),
    (0xC001_0004, "TRUSTPOINT_AGGREGATION", Kind::Container),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_sorted() {
        assert!(NAMES.is_sorted_by(|a, b| a.0 < b.0));
    }

    fn tagged(id: u32, data: &[u8]) -> Vec<u8> {
        [&id.to_le_bytes()[..], &u32::try_from(data.len()).unwrap().to_le_bytes(), data].concat()
    }

    #[test]
    fn nesting_is_bounded() {
        let mut bytes = tagged(0x0005_0002, &[1]);
        for _ in 0..100 {
            bytes = tagged(0x4001_0001, &bytes);
        }
        let events = TaggedEvents::parse(&bytes).unwrap();
        let mut seen = 0;
        events.walk(&mut |_| seen += 1);
        assert_eq!(seen, MAX_SIPA_DEPTH + 1);
    }

    #[test]
    fn only_whole_sequences_are_tagged_events() {
        let bytes = tagged(0x0005_0002, &[1]);
        assert!(TaggedEvents::parse(&bytes).is_some());
        assert!(TaggedEvents::parse(&bytes[..bytes.len() - 1]).is_none());
        assert!(TaggedEvents::parse(&[&bytes[..], &[0]].concat()).is_none());
        assert!(TaggedEvents::parse(&[]).is_none());
    }
}
