//! Builds boot disks: a GPT with one FAT file system, filled by mtools.

use std::fs;
use std::io::{Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use super::{gpt, process};

/// Smallest disk; the partition stays large enough for FAT with room for a second kernel.
const MIN_BYTES: u64 = 48 << 20;

/// One file of the EFI system partition.
#[derive(Clone, Debug)]
pub struct BootFile {
    /// Path in the partition with `/` between parts: `EFI/BOOT/BOOTX64.EFI`.
    pub path: String,
    /// The content.
    pub source: BootSource,
}

/// Where the content of a [`BootFile`] comes from.
#[derive(Clone, Debug)]
pub enum BootSource {
    /// A file of the host.
    File(PathBuf),
    /// Text, such as a boot loader configuration.
    Text(String),
}

/// What a boot disk holds.
#[derive(Clone, Debug, Default)]
pub struct DiskPlan {
    files: Vec<BootFile>,
    number: u8,
}

impl DiskPlan {
    /// The number goes into the GUIDs of disk and partition.
    #[must_use]
    pub fn numbered(mut self, number: u8) -> Self {
        self.number = number;
        self
    }

    /// Adds a file of the host.
    #[must_use]
    pub fn file(mut self, path: &str, source: &Path) -> Self {
        self.files.push(BootFile { path: path.to_owned(), source: BootSource::File(source.to_owned()) });
        self
    }

    /// Adds a text.
    #[must_use]
    pub fn text(mut self, path: &str, text: impl Into<String>) -> Self {
        self.files.push(BootFile { path: path.to_owned(), source: BootSource::Text(text.into()) });
        self
    }

    /// The device path node of its partition, which the short form of a path starts with.
    pub fn device_path_node(&self) -> Result<Vec<u8>> {
        Ok(gpt::device_path_node(self.bytes()? / gpt::BLOCK, self.number))
    }

    /// Size of the disk.
    fn bytes(&self) -> Result<u64> {
        let mut content = 0;
        for file in &self.files {
            content += match &file.source {
                BootSource::File(path) => {
                    fs::metadata(path).with_context(|| format!("cannot read {}", path.display()))?.len()
                }
                BootSource::Text(text) => text.len() as u64,
            };
        }
        Ok((content + (12 << 20)).max(MIN_BYTES).next_multiple_of(1 << 20))
    }

    /// Writes the disk image.
    pub(super) fn write(&self, image: &Path) -> Result<()> {
        let bytes = self.bytes()?;
        let table = gpt::table(bytes / gpt::BLOCK, self.number);
        let mut file =
            fs::File::create(image).with_context(|| format!("cannot write {}", image.display()))?;
        file.set_len(bytes)?;
        for (at, chunk) in &table.chunks {
            file.seek(SeekFrom::Start(*at))?;
            file.write_all(chunk)?;
        }
        drop(file);
        // A fixed serial number: two disks with the same content are the same.
        process::output(
            mtools("mformat", image)
                .args(["-N", "56425442", "-T", &table.partition_blocks.to_string(), "-h", "16", "-s", "63"])
                .arg("::"),
        )?;
        let mut made: Vec<String> = Vec::new();
        for file in &self.files {
            let mut parent = String::new();
            let mut parts: Vec<&str> = file.path.split('/').collect();
            parts.pop();
            for part in parts {
                parent = format!("{parent}/{part}");
                if !made.contains(&parent) {
                    process::output(mtools("mmd", image).arg(format!("::{parent}")))?;
                    made.push(parent.clone());
                }
            }
            put(image, file)?;
        }
        Ok(())
    }
}

/// Writes or replaces one file on a disk image.
pub(super) fn put(image: &Path, file: &BootFile) -> Result<()> {
    let target = format!("::/{}", file.path);
    match &file.source {
        BootSource::File(source) => {
            process::output(mtools("mcopy", image).arg("-o").arg(source).arg(target))?;
        }
        BootSource::Text(text) => {
            let mut source = tempfile::NamedTempFile::new()?;
            source.write_all(text.as_bytes())?;
            process::output(mtools("mcopy", image).arg("-o").arg(source.path()).arg(target))?;
        }
    }
    Ok(())
}

/// An mtools command on the partition of the image.
fn mtools(program: &str, image: &Path) -> Command {
    let mut command = Command::new(program);
    // mtools takes the byte offset of the file system after `@@`.
    let mut place = image.as_os_str().to_owned();
    place.push(format!("@@{}", gpt::FIRST_BLOCK * gpt::BLOCK));
    command.env("MTOOLS_SKIP_CHECK", "1").env("MTOOLSRC", "/dev/null").arg("-i").arg(place);
    command
}
