//! Partition tables: UEFI_GPT_DATA (PC Client Platform Firmware Profile 1.06, section 10.2.5; UEFI 2.11, section 5.3).

use serde::ser::SerializeStruct as _;
use serde::{Serialize, Serializer};

use crate::limits::MAX_PARTITIONS;
use crate::reader::Reader;
use crate::text::{Guid, Utf16};

/// GPT of the disk that was booted from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartitionTable<'a> {
    /// Disk GUID.
    pub disk: Guid,
    entry_size: usize,
    entries: &'a [u8],
}

/// One partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Partition<'a> {
    /// Type GUID.
    pub kind: Guid,
    /// Partition GUID.
    pub guid: Guid,
    /// First block.
    pub first_lba: u64,
    /// Last block.
    pub last_lba: u64,
    /// Attribute bits.
    pub attributes: u64,
    /// Name.
    pub name: Utf16<'a>,
}

impl<'a> PartitionTable<'a> {
    /// `None` when it does not start with a GPT header or the lengths do not fit.
    pub fn parse(data: &'a [u8]) -> Option<Self> {
        let mut reader = Reader::new(data);
        let mut header = Reader::new(reader.take(92)?);
        if header.take(8)? != b"EFI PART" {
            return None;
        }
        // Revision, header size, CRC, reserved, own LBA, other LBA, first and last usable LBA.
        header.take(48)?;
        let disk = Guid(header.array()?);
        header.take(8 + 4)?;
        let entry_size = usize::try_from(header.u32()?).ok().filter(|size| *size >= 128)?;
        let count = reader.len64()?;
        let entries = reader.take(count.checked_mul(entry_size)?)?;
        Some(Self { disk, entry_size, entries })
    }

    /// Partitions; at most [`MAX_PARTITIONS`].
    pub fn partitions(&self) -> impl Iterator<Item = Partition<'a>> + use<'a> {
        self.entries.chunks_exact(self.entry_size).take(MAX_PARTITIONS).filter_map(|entry| {
            let mut r = Reader::new(entry);
            let (kind, guid) = (Guid(r.array()?), Guid(r.array()?));
            let (first_lba, last_lba, attributes) = (r.u64()?, r.u64()?, r.u64()?);
            Some(Partition {
                kind,
                guid,
                first_lba,
                last_lba,
                attributes,
                name: Utf16::c_string(r.take(72)?),
            })
        })
    }
}

impl Serialize for PartitionTable<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        struct Partitions<'a>(PartitionTable<'a>);
        impl Serialize for Partitions<'_> {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_seq(self.0.partitions())
            }
        }
        let mut out = serializer.serialize_struct("PartitionTable", 2)?;
        out.serialize_field("disk", &self.disk)?;
        out.serialize_field("partitions", &Partitions(*self))?;
        out.end()
    }
}
