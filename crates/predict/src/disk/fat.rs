//! FAT12, FAT16 and FAT32 with long names, for reading (Microsoft, FAT: General Overview of On-Disk Format).

use std::collections::HashSet;
use std::rc::Rc;

use crate::limits::{DIRECTORY_COST, MAX_DEPTH, MAX_DIRECTORY_ENTRIES};
use crate::source::{Fields, Meter, ReadError, Source};

const ENTRY: usize = 32;
const ATTRIBUTE_VOLUME: u8 = 0x08;
const ATTRIBUTE_DIRECTORY: u8 = 0x10;
const ATTRIBUTE_LONG_NAME: u8 = 0x0f;
/// UTF-16 units of a long name.
const MAX_NAME_UNITS: usize = 255;

/// What is wrong with a file system.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum FatError {
    #[error("it is not FAT")]
    NotFat,
    #[error("{0}")]
    Read(#[from] ReadError),
    #[error("a chain of clusters is broken")]
    Chain,
    #[error("a folder has too many entries")]
    TooMany,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Width {
    Twelve,
    Sixteen,
    ThirtyTwo,
}

/// A file system.
pub(super) struct Fat<S> {
    source: S,
    meter: Rc<Meter>,
    width: Width,
    /// Bytes of a cluster.
    cluster: u64,
    clusters: u32,
    fat_at: u64,
    root_at: u64,
    root_bytes: u64,
    root_cluster: u32,
    data_at: u64,
}

/// An entry of a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    names: [String; 2],
    pub is_directory: bool,
    pub bytes: u32,
    first: u32,
}

impl<S: Source> Fat<S> {
    /// Reads the boot sector.
    pub fn open(source: S, meter: Rc<Meter>) -> Result<Self, FatError> {
        let mut sector = [0_u8; 512];
        source.read_at(0, &mut sector).map_err(|_| FatError::NotFat)?;
        Self::from_sector(source, meter, &Fields(&sector)).ok_or(FatError::NotFat)
    }

    fn from_sector(source: S, meter: Rc<Meter>, fields: &Fields<'_>) -> Option<Self> {
        let sector = u64::from(fields.u16(11)?);
        let per_cluster = u64::from(fields.u8(13)?);
        if fields.u16(510)? != 0xaa55
            || ![512, 1024, 2048, 4096].contains(&sector)
            || !per_cluster.is_power_of_two()
            || fields.u8(16)? == 0
        {
            return None;
        }
        let reserved = u64::from(fields.u16(14)?);
        let fats = u64::from(fields.u8(16)?);
        let root_entries = u64::from(fields.u16(17)?);
        let total = match fields.u16(19)? {
            0 => u64::from(fields.u32(32)?),
            small => u64::from(small),
        };
        let fat_sectors = match fields.u16(22)? {
            0 => u64::from(fields.u32(36)?),
            small => u64::from(small),
        };
        let root_bytes = root_entries * ENTRY as u64;
        let root_at = (reserved + fats * fat_sectors).checked_mul(sector)?;
        let data_at = root_at.checked_add(root_bytes.div_ceil(sector) * sector)?;
        let cluster = sector * per_cluster;
        let data = total.checked_mul(sector)?.checked_sub(data_at)?;
        let clusters = u32::try_from(data / cluster).ok()?;
        let width = match clusters {
            0..4085 => Width::Twelve,
            4085..65525 => Width::Sixteen,
            _ => Width::ThirtyTwo,
        };
        // FAT32 has its root in the data area, the others before it.
        if (width == Width::ThirtyTwo) != (root_entries == 0) || data_at > source.bytes() {
            return None;
        }
        Some(Self {
            source,
            meter,
            width,
            cluster,
            clusters,
            fat_at: reserved * sector,
            root_at,
            root_bytes,
            root_cluster: if width == Width::ThirtyTwo { fields.u32(44)? } else { 0 },
            data_at,
        })
    }

    /// The entry at a path with `/` between parts; names compare without case.
    pub fn find(&self, path: &str) -> Result<Option<Entry>, FatError> {
        let mut current: Option<Entry> = None;
        for part in path.split('/').filter(|part| !part.is_empty()).take(MAX_DEPTH) {
            let folder = match &current {
                Some(entry) if !entry.is_directory => return Ok(None),
                other => other.as_ref(),
            };
            let wanted = part.to_lowercase();
            let entries = self.entries(folder)?;
            match entries.into_iter().find(|e| e.names.iter().any(|name| name.to_lowercase() == wanted)) {
                Some(entry) => current = Some(entry),
                None => return Ok(None),
            }
        }
        Ok(current)
    }

    /// Names of the files of a folder; empty where it is not there.
    pub fn list(&self, path: &str) -> Result<Vec<String>, FatError> {
        match self.find(path)? {
            Some(folder) if folder.is_directory => {
                let files = self.entries(Some(&folder))?.into_iter().filter(|e| !e.is_directory);
                Ok(files.map(|e| e.names.into_iter().next().unwrap_or_default()).collect())
            }
            _ => Ok(Vec::new()),
        }
    }

    /// The content of a file. The caller has checked its size.
    pub fn content(&self, entry: &Entry) -> Result<Vec<u8>, FatError> {
        self.chain(entry.first, u64::from(entry.bytes), true)
    }

    fn entries(&self, folder: Option<&Entry>) -> Result<Vec<Entry>, FatError> {
        let limit = (MAX_DIRECTORY_ENTRIES * ENTRY) as u64;
        let bytes = match folder {
            // The parent of a first-level folder is written as cluster 0, the root.
            Some(folder) if folder.first != 0 => self.chain(folder.first, limit, false)?,
            _ if self.width == Width::ThirtyTwo => self.chain(self.root_cluster, limit, false)?,
            _ => {
                let size = usize::try_from(self.root_bytes.min(limit)).map_err(|_| FatError::TooMany)?;
                let mut bytes = vec![0_u8; size];
                self.source.read_at(self.root_at, &mut bytes)?;
                bytes
            }
        };
        self.meter.charge(DIRECTORY_COST * bytes.len() as u64)?;
        Ok(parse_entries(&bytes))
    }

    /// Reads a chain of clusters: `limit` bytes of a file (`exact`), or at most so many of a folder.
    fn chain(&self, first: u32, limit: u64, exact: bool) -> Result<Vec<u8>, FatError> {
        let mut bytes = Vec::new();
        let mut next = Some(first);
        let mut seen = HashSet::new();
        while (bytes.len() as u64) < limit {
            let Some(cluster) = next else {
                return if exact { Err(FatError::Chain) } else { Ok(bytes) };
            };
            let index =
                cluster.checked_sub(2).filter(|index| *index < self.clusters).ok_or(FatError::Chain)?;
            if !seen.insert(cluster) {
                return Err(FatError::Chain);
            }
            let take = (limit - bytes.len() as u64).min(self.cluster);
            let start = bytes.len();
            bytes.resize(start + usize::try_from(take).map_err(|_| FatError::Chain)?, 0);
            if let Some(part) = bytes.get_mut(start..) {
                self.source.read_at(self.data_at + u64::from(index) * self.cluster, part)?;
            }
            next = self.next(cluster)?;
        }
        if !exact && next.is_some() {
            return Err(FatError::TooMany);
        }
        Ok(bytes)
    }

    /// The cluster after this one; `None` at the end of the chain.
    fn next(&self, cluster: u32) -> Result<Option<u32>, FatError> {
        let at = u64::from(cluster);
        let (value, end) = match self.width {
            Width::Twelve => {
                let mut pair = [0_u8; 2];
                self.source.read_at(self.fat_at + at + at / 2, &mut pair)?;
                let value = u32::from(u16::from_le_bytes(pair));
                (if cluster % 2 == 1 { value >> 4 } else { value & 0xfff }, 0xff8)
            }
            Width::Sixteen => {
                let mut value = [0_u8; 2];
                self.source.read_at(self.fat_at + 2 * at, &mut value)?;
                (u32::from(u16::from_le_bytes(value)), 0xfff8)
            }
            Width::ThirtyTwo => {
                let mut value = [0_u8; 4];
                self.source.read_at(self.fat_at + 4 * at, &mut value)?;
                (u32::from_le_bytes(value) & 0x0fff_ffff, 0x0fff_fff8)
            }
        };
        Ok((value < end).then_some(value))
    }
}

fn parse_entries(bytes: &[u8]) -> Vec<Entry> {
    let mut found = Vec::new();
    let mut long: Vec<u16> = Vec::new();
    for raw in bytes.chunks_exact(ENTRY) {
        let fields = Fields(raw);
        let (Some(first), Some(attributes)) = (fields.u8(0), fields.u8(11)) else { break };
        match (first, attributes) {
            (0, _) => break,
            (0xe5, _) => long.clear(),
            (_, ATTRIBUTE_LONG_NAME) => {
                // Parts come last first; each has thirteen units.
                let mut part: Vec<u16> = (1..11)
                    .step_by(2)
                    .chain((14..26).step_by(2))
                    .chain([28, 30])
                    .filter_map(|at| fields.u16(at))
                    .collect();
                part.append(&mut long);
                long = part;
                long.truncate(MAX_NAME_UNITS + 13);
            }
            (_, attributes) if attributes & ATTRIBUTE_VOLUME != 0 => long.clear(),
            _ => {
                let units: Vec<u16> = long.drain(..).take_while(|unit| *unit != 0).collect();
                let short = short_name(raw);
                let name = if units.is_empty() { short.clone() } else { String::from_utf16_lossy(&units) };
                let high = u32::from(fields.u16(20).unwrap_or_default());
                let low = u32::from(fields.u16(26).unwrap_or_default());
                if name != "." && name != ".." {
                    found.push(Entry {
                        names: [name, short],
                        is_directory: attributes & ATTRIBUTE_DIRECTORY != 0,
                        bytes: fields.u32(28).unwrap_or_default(),
                        first: (high << 16) | low,
                    });
                }
            }
        }
    }
    found
}

fn short_name(raw: &[u8]) -> String {
    let part = |range: std::ops::Range<usize>| {
        String::from_utf8_lossy(raw.get(range).unwrap_or_default()).trim_end().to_owned()
    };
    match (part(0..8), part(8..11)) {
        (base, extension) if extension.is_empty() => base,
        (base, extension) => format!("{base}.{extension}"),
    }
}
