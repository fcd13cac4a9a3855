//! Writes a GUID partition table (UEFI 2.10, section 5.3) with one EFI system partition.
//!
//! The GUIDs are fixed: firmware measures the table into PCR 5, and members of a scale set measure the same.

/// Bytes of a block.
pub(super) const BLOCK: u64 = 512;
/// First block of the partition.
pub(super) const FIRST_BLOCK: u64 = 2048;
/// Blocks behind the partition: backup entries and backup header.
const TAIL_BLOCKS: u64 = 33;
const ENTRIES: u32 = 128;
const ENTRY_BYTES: u32 = 128;

/// C12A7328-F81F-11D2-BA4B-00A0C93EC93B, EFI system partition, as stored.
const TYPE_ESP: [u8; 16] =
    [0x28, 0x73, 0x2a, 0xc1, 0x1f, 0xf8, 0xd2, 0x11, 0xba, 0x4b, 0x00, 0xa0, 0xc9, 0x3e, 0xc9, 0x3b];
const DISK_GUID: &[u8; 14] = b"veriboot-disk-";
const PARTITION_GUID: &[u8; 14] = b"veriboot-part-";

/// Parts of a disk image: offset in bytes and content. Everything else is zero, less the file system.
pub(super) struct Table {
    /// What to write where.
    pub(super) chunks: Vec<(u64, Vec<u8>)>,
    /// Blocks of the partition.
    pub(super) partition_blocks: u64,
}

/// A GUID that ends with the number of the disk, two digits.
fn guid(stem: &[u8; 14], number: u8) -> [u8; 16] {
    let mut guid = [0; 16];
    let digits = format!("{:02}", number % 100);
    for (to, from) in guid.iter_mut().zip(stem.iter().chain(digits.as_bytes())) {
        *to = *from;
    }
    guid
}

/// The table of a disk of `blocks` blocks.
pub(super) fn table(blocks: u64, number: u8) -> Table {
    let last_usable = blocks.saturating_sub(TAIL_BLOCKS + 1);
    let mut entries = Vec::new();
    entries.extend_from_slice(&TYPE_ESP);
    entries.extend_from_slice(&guid(PARTITION_GUID, number));
    entries.extend_from_slice(&FIRST_BLOCK.to_le_bytes());
    entries.extend_from_slice(&last_usable.to_le_bytes());
    entries.extend_from_slice(&0_u64.to_le_bytes());
    entries.extend("esp".encode_utf16().flat_map(u16::to_le_bytes));
    entries.resize((ENTRIES * ENTRY_BYTES) as usize, 0);

    let last = blocks.saturating_sub(1);
    let backup_entries = last.saturating_sub(TAIL_BLOCKS - 1);
    let disk = guid(DISK_GUID, number);
    let primary = header(&disk, 1, last, 2, last_usable, &entries);
    let backup = header(&disk, last, 1, backup_entries, last_usable, &entries);
    Table {
        chunks: vec![
            (0, protective_mbr(blocks)),
            (BLOCK, primary),
            (2 * BLOCK, entries.clone()),
            (backup_entries * BLOCK, entries),
            (last * BLOCK, backup),
        ],
        partition_blocks: (last_usable + 1).saturating_sub(FIRST_BLOCK),
    }
}

/// The device path node of the partition, a hard drive media device path (UEFI 2.10, section 10.3.5.1).
pub(super) fn device_path_node(blocks: u64, number: u8) -> Vec<u8> {
    let mut node = vec![4, 1, 42, 0];
    node.extend_from_slice(&1_u32.to_le_bytes());
    node.extend_from_slice(&FIRST_BLOCK.to_le_bytes());
    node.extend_from_slice(&table(blocks, number).partition_blocks.to_le_bytes());
    node.extend_from_slice(&guid(PARTITION_GUID, number));
    // A GUID partition table, and a GUID for signature.
    node.extend_from_slice(&[2, 2]);
    node
}

fn header(
    disk: &[u8; 16],
    own: u64,
    other: u64,
    entries_at: u64,
    last_usable: u64,
    entries: &[u8],
) -> Vec<u8> {
    let build = |header_crc: u32| {
        let mut header = Vec::with_capacity(92);
        header.extend_from_slice(b"EFI PART");
        header.extend_from_slice(&0x0001_0000_u32.to_le_bytes());
        header.extend_from_slice(&92_u32.to_le_bytes());
        header.extend_from_slice(&header_crc.to_le_bytes());
        header.extend_from_slice(&0_u32.to_le_bytes());
        for block in [own, other, 34, last_usable] {
            header.extend_from_slice(&block.to_le_bytes());
        }
        header.extend_from_slice(disk);
        header.extend_from_slice(&entries_at.to_le_bytes());
        header.extend_from_slice(&ENTRIES.to_le_bytes());
        header.extend_from_slice(&ENTRY_BYTES.to_le_bytes());
        header.extend_from_slice(&crc32(entries).to_le_bytes());
        header
    };
    build(crc32(&build(0)))
}

fn protective_mbr(blocks: u64) -> Vec<u8> {
    let mut mbr = vec![0_u8; 446];
    let size = u32::try_from(blocks.saturating_sub(1)).unwrap_or(u32::MAX);
    mbr.extend_from_slice(&[0x00, 0x00, 0x02, 0x00, 0xee, 0xff, 0xff, 0xff]);
    mbr.extend_from_slice(&1_u32.to_le_bytes());
    mbr.extend_from_slice(&size.to_le_bytes());
    mbr.resize(510, 0);
    mbr.extend_from_slice(&[0x55, 0xaa]);
    mbr
}

/// CRC-32 (IEEE 802.3), as GPT uses it.
pub(super) fn crc32(bytes: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 { (crc >> 1) ^ 0xedb8_8320 } else { crc >> 1 };
        }
    }
    !crc
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crc_of_the_standard_check_string() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
    }

    #[test]
    fn chunks_stay_inside_and_outside_of_the_partition() {
        let blocks = 131_072;
        let table = table(blocks, 1);
        let partition = FIRST_BLOCK * BLOCK..(FIRST_BLOCK + table.partition_blocks) * BLOCK;
        for (at, content) in &table.chunks {
            let end = at + content.len() as u64;
            assert!(end <= blocks * BLOCK);
            assert!(end <= partition.start || *at >= partition.end, "chunk at {at} is in the partition");
        }
    }
}
