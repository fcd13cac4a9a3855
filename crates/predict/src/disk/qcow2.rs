//! Reads qcow2 images (QEMU, docs/interop/qcow2.txt): one file, without backing file, encryption or external data.

use std::cell::RefCell;
use std::io::Read as _;
use std::rc::Rc;

use super::DiskError;
use crate::limits::{MAX_CLUSTER_BITS, MAX_CLUSTER_WINDOW_BYTES, MAX_QCOW2_L1_BYTES};
use crate::source::{Fields, Meter, ReadError, Source, past_end};

/// `QFI\xfb`.
pub(super) const MAGIC: [u8; 4] = *b"QFI\xfb";
const MIN_CLUSTER_BITS: u32 = 9;
const OFFSET_MASK: u64 = 0x00ff_ffff_ffff_fe00;
const COMPRESSED: u64 = 1 << 62;
const ALL_ZERO: u64 = 1;
/// Incompatible features: dirty (reference counts only), external data file, compression type.
const FEATURE_DIRTY: u64 = 1 << 0;
const FEATURE_COMPRESSION: u64 = 1 << 3;
const COMPRESSION_DEFLATE: u8 = 0;
const COMPRESSION_ZSTD: u8 = 1;

/// An image. L2 tables are read when they are needed; the last one and the last compressed cluster are kept.
pub(super) struct Qcow2 {
    file: Rc<dyn Source>,
    meter: Rc<Meter>,
    cluster_bits: u32,
    bytes: u64,
    l1: Vec<u64>,
    zstd: bool,
    table: RefCell<Option<(u64, Rc<Vec<u8>>)>>,
    unpacked: RefCell<Option<(u64, Rc<Vec<u8>>)>>,
}

impl Qcow2 {
    /// Reads header and L1 table.
    pub fn open(file: Rc<dyn Source>, meter: Rc<Meter>) -> Result<Self, DiskError> {
        let refuse = |why: &str| DiskError::Qcow2(why.to_owned());
        let mut header = [0_u8; 112];
        let size = usize::try_from(file.bytes().min(112)).unwrap_or_default();
        file.read_at(0, header.get_mut(..size).unwrap_or_default())?;
        let fields = Fields(&header);
        let cut = || refuse("its header is cut");
        let version = fields.u32_be(4).ok_or_else(cut)?;
        let (features, header_bytes) = match version {
            2 => (0, 72),
            3 => (fields.u64_be(72).ok_or_else(cut)?, fields.u32_be(100).ok_or_else(cut)?),
            _ => return Err(refuse("its version is neither 2 nor 3")),
        };
        if fields.u64_be(8) != Some(0) {
            return Err(refuse("it has a backing file: convert it to a single file with `qemu-img convert`"));
        }
        if fields.u32_be(32) != Some(0) {
            return Err(refuse("it is encrypted"));
        }
        if features & !(FEATURE_DIRTY | FEATURE_COMPRESSION) != 0 {
            return Err(refuse(
                "it uses features that are not supported (external data, extended L2, or corrupt)",
            ));
        }
        let zstd = match fields.u8(104) {
            Some(COMPRESSION_ZSTD) if features & FEATURE_COMPRESSION != 0 && header_bytes > 104 => true,
            Some(COMPRESSION_DEFLATE) | None => false,
            _ if features & FEATURE_COMPRESSION == 0 => false,
            _ => return Err(refuse("its compression is not known")),
        };
        let cluster_bits = fields.u32_be(20).ok_or_else(cut)?;
        let l1_entries = u64::from(fields.u32_be(36).ok_or_else(cut)?);
        let l1_bytes = l1_entries * 8;
        if !(MIN_CLUSTER_BITS..=MAX_CLUSTER_BITS).contains(&cluster_bits) || l1_bytes > MAX_QCOW2_L1_BYTES {
            return Err(DiskError::Qcow2Large);
        }
        let l1_at = fields.u64_be(40).ok_or_else(cut)?;
        if l1_at.checked_add(l1_bytes).is_none_or(|end| end > file.bytes()) {
            return Err(refuse("its first table is behind its end"));
        }
        let mut table = vec![0_u8; usize::try_from(l1_bytes).map_err(|_| DiskError::Qcow2Large)?];
        file.read_at(l1_at, &mut table)?;
        let l1 = table
            .chunks_exact(8)
            .filter_map(|entry| Some(u64::from_be_bytes(entry.try_into().ok()?)))
            .collect();
        Ok(Self {
            cluster_bits,
            bytes: fields.u64_be(24).ok_or_else(cut)?,
            l1,
            zstd,
            file,
            meter,
            table: RefCell::new(None),
            unpacked: RefCell::new(None),
        })
    }

    fn cluster_bytes(&self) -> u64 {
        1 << self.cluster_bits
    }

    /// The L2 entry of a guest cluster; 0 where nothing was ever written.
    fn entry(&self, cluster: u64) -> Result<u64, ReadError> {
        let per_table = self.cluster_bytes() / 8;
        let l1 = usize::try_from(cluster / per_table).ok().and_then(|index| self.l1.get(index));
        let at = l1.copied().unwrap_or_default() & OFFSET_MASK;
        if at == 0 {
            return Ok(0);
        }
        let cached =
            self.table.borrow().as_ref().filter(|(seen, _)| *seen == at).map(|(_, table)| table.clone());
        let table = match cached {
            Some(table) => table,
            None => {
                let table = Rc::new(self.read_cluster(at)?);
                *self.table.borrow_mut() = Some((at, table.clone()));
                table
            }
        };
        let index = usize::try_from(cluster % per_table * 8).unwrap_or(usize::MAX);
        Ok(Fields(&table).u64_be(index).unwrap_or_default())
    }

    fn read_cluster(&self, at: u64) -> Result<Vec<u8>, ReadError> {
        let mut bytes = vec![0_u8; usize::try_from(self.cluster_bytes()).unwrap_or_default()];
        self.file.read_at(at, &mut bytes)?;
        Ok(bytes)
    }

    /// One compressed cluster, unpacked to exactly a cluster.
    fn unpack(&self, entry: u64) -> Result<Rc<Vec<u8>>, ReadError> {
        if let Some((_, bytes)) = self.unpacked.borrow().as_ref().filter(|(seen, _)| *seen == entry) {
            return Ok(bytes.clone());
        }
        // Offset in the low bits, number of further 512-byte sectors above them.
        let offset_bits = 62 - (self.cluster_bits - 8);
        let at = entry & ((1 << offset_bits) - 1);
        let sectors = ((entry & (COMPRESSED - 1)) >> offset_bits) + 1;
        let wanted = sectors * 512 - at % 512;
        let available = self.file.bytes().saturating_sub(at).min(wanted).min(2 * self.cluster_bytes());
        let mut packed = vec![0_u8; usize::try_from(available).unwrap_or_default()];
        self.file.read_at(at, &mut packed)?;
        self.meter.charge(self.cluster_bytes())?;
        let size = usize::try_from(self.cluster_bytes()).unwrap_or_default();
        let mut bytes = vec![0_u8; size];
        let read = if self.zstd {
            ruzstd::decoding::StreamingDecoder::new_with_max_window_size(
                packed.as_slice(),
                MAX_CLUSTER_WINDOW_BYTES,
            )
            .map_err(|e| e.to_string())
            .and_then(|mut from| from.read_exact(&mut bytes).map_err(|e| e.to_string()))
        } else {
            flate2::read::DeflateDecoder::new(packed.as_slice())
                .read_exact(&mut bytes)
                .map_err(|e| e.to_string())
        };
        read.map_err(|reason| ReadError { offset: at, bytes: size, reason })?;
        let bytes = Rc::new(bytes);
        *self.unpacked.borrow_mut() = Some((entry, bytes.clone()));
        Ok(bytes)
    }
}

impl Source for Qcow2 {
    fn bytes(&self) -> u64 {
        self.bytes
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), ReadError> {
        if offset.checked_add(buffer.len() as u64).is_none_or(|end| end > self.bytes) {
            return Err(past_end(offset, buffer.len()));
        }
        let mut at = offset;
        let mut rest = buffer;
        while !rest.is_empty() {
            let inside = at % self.cluster_bytes();
            let count = usize::try_from(self.cluster_bytes() - inside).unwrap_or(usize::MAX).min(rest.len());
            let (part, later) = rest.split_at_mut(count);
            let entry = self.entry(at >> self.cluster_bits)?;
            if entry & COMPRESSED != 0 {
                let cluster = self.unpack(entry)?;
                let start = usize::try_from(inside).unwrap_or(usize::MAX);
                let from =
                    cluster.get(start..start.saturating_add(count)).ok_or_else(|| past_end(at, count))?;
                part.copy_from_slice(from);
            } else if entry & OFFSET_MASK == 0 || entry & ALL_ZERO != 0 {
                part.fill(0);
            } else {
                self.file.read_at((entry & OFFSET_MASK) + inside, part)?;
            }
            at += count as u64;
            rest = later;
        }
        Ok(())
    }
}
