//! Files of a disk image, raw or qcow2, without mounting it: partition table, FAT and ext4.

mod fat;
mod partitions;
mod qcow2;

use std::rc::Rc;

use ext4_view::{Ext4, Ext4Read};

use crate::limits::{
    MAX_CLUSTER_BITS, MAX_DISK_BYTES, MAX_FILE_BYTES, MAX_FILE_SYSTEMS, MAX_PATH_BYTES, MAX_QCOW2_L1_BYTES,
};
use crate::source::{Fields, Meter, Metered, ReadError, Source, Window};
use fat::Fat;
pub use partitions::PartitionKind;
use qcow2::Qcow2;

/// Why a disk image, or a file in it, cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DiskError {
    /// The image is shorter than it says.
    #[error("the image cannot be read: {0}")]
    Read(#[from] ReadError),
    /// A qcow2 image that needs more than the file itself, or more than is supported.
    #[error("the qcow2 image cannot be read: {0}")]
    Qcow2(String),
    /// More than the bounds allow.
    #[error(
        "the qcow2 image has clusters above {MAX_CLUSTER_BITS} bits or a table above {MAX_QCOW2_L1_BYTES} bytes"
    )]
    Qcow2Large,
    /// No partition with a file system that is read.
    #[error("the image has no partition with FAT or ext4")]
    NoFileSystem,
    /// A broken file system.
    #[error("the file system of partition {partition} is damaged: {why}")]
    FileSystem {
        /// Number of the partition.
        partition: u32,
        /// What is wrong.
        why: String,
    },
    /// A file above [`MAX_FILE_BYTES`].
    #[error(
        "{path} in partition {partition} has {bytes} bytes, more than the {MAX_FILE_BYTES} that are read"
    )]
    FileTooLarge {
        /// Number of the partition.
        partition: u32,
        /// Path.
        path: String,
        /// Bytes that the file system claims.
        bytes: u64,
    },
}

impl DiskError {
    /// Stable identifier in kebab case.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Read(_) => "disk-image-cut",
            Self::Qcow2(_) | Self::Qcow2Large => "qcow2-unsupported",
            Self::NoFileSystem => "disk-without-file-system",
            Self::FileSystem { .. } => "file-system-damaged",
            Self::FileTooLarge { .. } => "file-too-large",
        }
    }
}

/// Block groups of an ext4 file system; usual ones have 128 MiB.
const MAX_EXT4_GROUPS: u64 = 1 << 18;

/// A disk whose files can be read.
#[derive(Debug)]
pub struct Disk {
    partitions: Vec<Partition>,
}

/// One partition with a file system.
#[derive(Debug)]
struct Partition {
    number: u32,
    kind: PartitionKind,
    files: Files,
}

enum Files {
    Fat(Fat<Window<Rc<dyn Source>>>),
    Ext4(Box<Ext4>),
}

impl std::fmt::Debug for Files {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Fat(_) => "a FAT file system",
            Self::Ext4(_) => "an ext4 file system",
        })
    }
}

/// A file that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiskFile {
    /// Number of the partition, as firmware and GRUB count them.
    pub partition: u32,
    /// Path with `/` between parts, from the root of the file system.
    pub path: String,
    /// Content.
    pub bytes: Vec<u8>,
}

impl Disk {
    /// Opens an image: qcow2 where it says so, raw otherwise. Partitions without FAT or ext4 are passed over.
    pub fn open(image: Rc<dyn Source>) -> Result<Self, DiskError> {
        let meter = Rc::new(Meter::new(MAX_DISK_BYTES));
        let image: Rc<dyn Source> = Rc::new(Metered { source: image, meter: meter.clone() });
        let mut magic = [0_u8; 4];
        let image: Rc<dyn Source> = match image.read_at(0, &mut magic) {
            // What it shows counts as well: clusters of nothing are not read.
            Ok(()) if magic == qcow2::MAGIC => {
                Rc::new(Metered { source: Rc::new(Qcow2::open(image, meter.clone())?), meter: meter.clone() })
            }
            _ => image,
        };
        let mut partitions = Vec::new();
        for place in partitions::find(&image)? {
            if partitions.len() >= MAX_FILE_SYSTEMS {
                break;
            }
            let window = Window { source: image.clone(), start: place.start, bytes: place.bytes };
            let files = match Fat::open(window.clone(), meter.clone()) {
                Ok(fat) => Files::Fat(fat),
                Err(_) if !ext4_fits(&window) => continue,
                Err(_) => match Ext4::load(Box::new(Ext4Source(window))) {
                    Ok(ext4) => Files::Ext4(Box::new(ext4)),
                    Err(_) => continue,
                },
            };
            partitions.push(Partition { number: place.number, kind: place.kind, files });
        }
        if partitions.is_empty() { Err(DiskError::NoFileSystem) } else { Ok(Self { partitions }) }
    }

    /// Numbers of the partitions of a kind, in table order.
    pub fn partitions(&self, kind: PartitionKind) -> Vec<u32> {
        self.partitions.iter().filter(|p| p.kind == kind).map(|p| p.number).collect()
    }

    /// Numbers of all partitions with a file system.
    pub fn all_partitions(&self) -> Vec<u32> {
        self.partitions.iter().map(|p| p.number).collect()
    }

    /// Reads a file; `None` where the partition or the file is not there. `path` may use `/` or `\`.
    pub fn read(&self, partition: u32, path: &str) -> Result<Option<DiskFile>, DiskError> {
        let Some(at) = self.partitions.iter().find(|p| p.number == partition) else { return Ok(None) };
        let path = path.replace('\\', "/");
        let path = path.trim_start_matches('/');
        if path.is_empty() || path.len() > MAX_PATH_BYTES {
            return Ok(None);
        }
        let too_large = |bytes: u64| DiskError::FileTooLarge { partition, path: path.to_owned(), bytes };
        let bytes = match &at.files {
            Files::Fat(fat) => match fat.find(path).map_err(|why| damaged(partition, why))? {
                Some(entry) if !entry.is_directory => {
                    if u64::from(entry.bytes) > MAX_FILE_BYTES as u64 {
                        return Err(too_large(u64::from(entry.bytes)));
                    }
                    fat.content(&entry).map_err(|why| damaged(partition, why))?
                }
                _ => return Ok(None),
            },
            Files::Ext4(ext4) => {
                let full = format!("/{path}");
                let metadata = match ext4.metadata(full.as_str()) {
                    Ok(metadata) => metadata,
                    Err(error) => return absent(partition, &error),
                };
                if metadata.len() > MAX_FILE_BYTES as u64 {
                    return Err(too_large(metadata.len()));
                }
                if !metadata.file_type().is_regular_file() {
                    return Ok(None);
                }
                match ext4.read(full.as_str()) {
                    Ok(bytes) => bytes,
                    Err(error) => return absent(partition, &error),
                }
            }
        };
        Ok(Some(DiskFile { partition, path: path.to_owned(), bytes }))
    }

    /// Names of the files of a folder, sorted; empty where it is not there.
    pub fn list(&self, partition: u32, folder: &str) -> Result<Vec<String>, DiskError> {
        let Some(at) = self.partitions.iter().find(|p| p.number == partition) else { return Ok(Vec::new()) };
        let mut names = match &at.files {
            Files::Fat(fat) => fat.list(folder).map_err(|why| damaged(partition, why))?,
            Files::Ext4(ext4) => {
                let Ok(entries) = ext4.read_dir(format!("/{folder}").as_str()) else { return Ok(Vec::new()) };
                entries
                    .take(crate::limits::MAX_DIRECTORY_ENTRIES)
                    .filter_map(|entry| entry.ok()?.file_name().as_str().ok().map(str::to_owned))
                    .filter(|name| name != "." && name != "..")
                    .collect()
            }
        };
        names.sort();
        Ok(names)
    }
}

fn damaged(partition: u32, why: impl std::fmt::Display) -> DiskError {
    DiskError::FileSystem {
        partition,
        why: why.to_string().chars().filter(|c| !c.is_control()).take(200).collect(),
    }
}

/// What is not there is no fault of the file system.
fn absent(partition: u32, error: &ext4_view::Ext4Error) -> Result<Option<DiskFile>, DiskError> {
    use ext4_view::Ext4Error as E;
    match error {
        E::NotFound
        | E::NotADirectory
        | E::IsADirectory
        | E::IsASpecialFile
        | E::MalformedPath
        | E::NotAbsolute => Ok(None),
        other => Err(damaged(partition, other)),
    }
}

/// Whether the superblock claims no more than the partition holds: the reader allocates by what it claims.
fn ext4_fits(partition: &dyn Source) -> bool {
    let mut superblock = [0_u8; 1024];
    let mut fits = || {
        partition.read_at(1024, &mut superblock).ok()?;
        let fields = Fields(&superblock);
        // The reader takes the upper half whether or not the file system says that it counts.
        let high = u64::from(fields.u32(0x150)?);
        let blocks = (high << 32) | u64::from(fields.u32(0x4)?);
        let bits = fields.u32(0x18)?.checked_add(10).filter(|bits| *bits <= 16)?;
        let per_group = u64::from(fields.u32(0x20)?);
        let groups = blocks.checked_div(per_group)?;
        (blocks.checked_shl(bits)? <= partition.bytes() && blocks >> 40 == 0 && groups <= MAX_EXT4_GROUPS)
            .then_some(())
    };
    fits().is_some()
}

struct Ext4Source(Window<Rc<dyn Source>>);

impl Ext4Read for Ext4Source {
    fn read(
        &mut self,
        start_byte: u64,
        dst: &mut [u8],
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync + 'static>> {
        self.0.read_at(start_byte, dst).map_err(Into::into)
    }
}
