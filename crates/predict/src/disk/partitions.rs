//! Where the partitions of a disk are: GPT (UEFI 2.10, section 5.3), MBR, or a file system without a table.

use super::DiskError;
use crate::limits::MAX_PARTITIONS;
use crate::source::{Fields, Source};

/// What a partition table says about a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PartitionKind {
    /// EFI system partition.
    EfiSystem,
    /// Extended boot loader partition (UAPI group, boot loader specification).
    Boot,
    /// Anything else.
    Other,
}

/// One partition, in bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub number: u32,
    pub kind: PartitionKind,
    pub start: u64,
    pub bytes: u64,
}

/// C12A7328-F81F-11D2-BA4B-00A0C93EC93B as stored.
const ESP: [u8; 16] =
    [0x28, 0x73, 0x2a, 0xc1, 0x1f, 0xf8, 0xd2, 0x11, 0xba, 0x4b, 0x00, 0xa0, 0xc9, 0x3e, 0xc9, 0x3b];
/// BC13C2FF-59E6-4262-A352-B275FD6F7172 as stored.
const BOOT: [u8; 16] =
    [0xff, 0xc2, 0x13, 0xbc, 0xe6, 0x59, 0x62, 0x42, 0xa3, 0x52, 0xb2, 0x75, 0xfd, 0x6f, 0x71, 0x72];
const ENTRY_BYTES: u32 = 128;

/// The partitions that lie inside the image.
pub(super) fn find(image: &dyn Source) -> Result<Vec<Place>, DiskError> {
    for block in [512_u64, 4096] {
        if let Some(found) = gpt(image, block) {
            return Ok(found);
        }
    }
    if let Some(found) = mbr(image) {
        return Ok(found);
    }
    Ok(vec![Place { number: 1, kind: PartitionKind::EfiSystem, start: 0, bytes: image.bytes() }])
}

fn gpt(image: &dyn Source, block: u64) -> Option<Vec<Place>> {
    let mut header = [0_u8; 92];
    image.read_at(block, &mut header).ok()?;
    if !header.starts_with(b"EFI PART") {
        return None;
    }
    let fields = Fields(&header);
    let table = fields.u64(72)?.checked_mul(block)?;
    let count = fields.u32(80)?.min(MAX_PARTITIONS);
    let size = fields.u32(84)?;
    if !(ENTRY_BYTES..=4096).contains(&size) {
        return None;
    }
    let mut found = Vec::new();
    for index in 0..count {
        let mut entry = [0_u8; ENTRY_BYTES as usize];
        image.read_at(table.checked_add(u64::from(index) * u64::from(size))?, &mut entry).ok()?;
        let fields = Fields(&entry);
        let kind: [u8; 16] = fields.array(0)?;
        if kind == [0; 16] {
            continue;
        }
        let kind = match kind {
            ESP => PartitionKind::EfiSystem,
            BOOT => PartitionKind::Boot,
            _ => PartitionKind::Other,
        };
        let (first, last) = (fields.u64(32)?, fields.u64(40)?);
        let blocks = last.checked_sub(first).and_then(|n| n.checked_add(1));
        let place = blocks.and_then(|blocks| {
            inside(image, index + 1, kind, first.checked_mul(block)?, blocks.checked_mul(block)?)
        });
        found.extend(place);
    }
    Some(found)
}

fn mbr(image: &dyn Source) -> Option<Vec<Place>> {
    let mut sector = [0_u8; 512];
    image.read_at(0, &mut sector).ok()?;
    let fields = Fields(&sector);
    // A FAT boot sector has the same mark; its partition entries are code.
    let is_file_system = [b"FAT".as_slice(), b"NTFS"].iter().any(|name| {
        [3_usize, 54, 82].iter().any(|at| sector.get(*at..).is_some_and(|rest| rest.starts_with(name)))
    });
    if fields.u16(510)? != 0xaa55 || is_file_system {
        return None;
    }
    let mut found = Vec::new();
    for index in 0_u32..4 {
        let at = 446 + 16 * usize::try_from(index).ok()?;
        let kind = match fields.u8(at + 4)? {
            0 => continue,
            0xef => PartitionKind::EfiSystem,
            0xea => PartitionKind::Boot,
            _ => PartitionKind::Other,
        };
        let (first, blocks) = (u64::from(fields.u32(at + 8)?), u64::from(fields.u32(at + 12)?));
        found.extend(inside(image, index + 1, kind, first * 512, blocks * 512));
    }
    (!found.is_empty()).then_some(found)
}

fn inside(image: &dyn Source, number: u32, kind: PartitionKind, start: u64, bytes: u64) -> Option<Place> {
    (start.checked_add(bytes)? <= image.bytes() && bytes > 0).then_some(Place { number, kind, start, bytes })
}
