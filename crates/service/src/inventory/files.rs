//! What a file, or the files of a folder, list.

use std::path::{Path, PathBuf};

use veriboot_inventory::{InventoryFormat, Listing, MAX_DOCUMENT_BYTES, Options, ReadError, merge, read};
use veriboot_wire::Time;

/// Files of a folder that are read.
pub const MAX_FILES: usize = 20_000;
/// Endings of files that a folder is read for.
const ENDINGS: [&str; 3] = ["xml", "json", "toml"];

/// What was read of one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    /// The file.
    pub path: PathBuf,
    /// What is in it.
    pub bytes: Vec<u8>,
    /// As of when: when it was written. The definition of one machine (libvirt domain XML) says nothing about whether it
    /// runs; one of a folder says that it was there when a file came into the folder or left it last.
    pub as_of: Option<Time>,
}

/// Why a file or folder cannot be read as an inventory.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It cannot be read at all.
    #[error("cannot read {path}: {source}", path = .path.display())]
    Unreadable {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A folder without a document.
    #[error("{path} holds no file that ends in .xml, .json or .toml", path = .path.display())]
    Empty {
        /// The folder.
        path: PathBuf,
    },
    /// A folder with more files than are read.
    #[error("{path} holds more than {MAX_FILES} files", path = .path.display())]
    TooMany {
        /// The folder.
        path: PathBuf,
    },
    /// What is in a file is no inventory.
    #[error("{path}: {error}", path = .path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        error: ReadError,
    },
    /// The files contradict each other.
    #[error("{0}")]
    Merge(ReadError),
}

impl FileError {
    /// Stable identifier.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Unreadable { .. } => "cannot-read-file",
            Self::Empty { .. } => "inventory-folder-empty",
            Self::TooMany { .. } => "inventory-too-many",
            Self::Content { error, .. } | Self::Merge(error) => error.code(),
        }
    }

    /// What to do.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Unreadable { .. } => "check the path and its permissions",
            Self::Empty { .. } => "an empty inventory is a file that says so: a document with an empty list",
            Self::TooMany { .. } => "give several folders, each as a source of its own",
            Self::Content { error, .. } | Self::Merge(error) => error.hint(),
        }
    }
}

/// Reads a file, or the files of a folder (not of those below it) in the order of their names, as one list. Blocks.
///
/// # Errors
/// [`FileError`], which names the file.
pub fn listing(
    path: &Path,
    format: Option<InventoryFormat>,
    group: Option<&str>,
) -> Result<Listing, FileError> {
    let documents = documents(path)?;
    of_documents(&documents, format, group)
}

/// When documents were made, as far as their files say: the oldest counts. `None` when one does not say.
pub fn exported_at(documents: &[Document]) -> Option<Time> {
    documents.iter().map(|document| document.as_of).min().flatten()
}

/// When something was written.
fn written_at(about: &std::fs::Metadata) -> Option<Time> {
    let since = about.modified().ok()?.duration_since(std::time::UNIX_EPOCH).ok()?;
    Some(Time::from_unix_ms(i64::try_from(since.as_millis()).ok()?))
}

/// Whether this can be domain XML of one machine, as it is defined.
fn is_definition(bytes: &[u8]) -> bool {
    let says = |word: &[u8]| bytes.windows(word.len()).any(|part| part == word);
    says(b"<domain") && !says(b"<domains") && !says(b"domstatus")
}

/// The bytes of a file, or of the files of a folder, each with its path. Blocks.
///
/// # Errors
/// [`FileError`], which names the file.
pub fn documents(path: &Path) -> Result<Vec<Document>, FileError> {
    let unreadable = |path: &Path, source| FileError::Unreadable { path: path.to_owned(), source };
    let kind = std::fs::metadata(path).map_err(|e| unreadable(path, e))?;
    let mut files = Vec::new();
    if kind.is_dir() {
        for entry in std::fs::read_dir(path).map_err(|e| unreadable(path, e))? {
            let file = entry.map_err(|e| unreadable(path, e))?.path();
            let hidden = file.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
            let wanted =
                file.extension().is_some_and(|end| ENDINGS.iter().any(|e| end.eq_ignore_ascii_case(e)));
            if wanted && !hidden && file.is_file() {
                files.push(file);
            }
            if files.len() > MAX_FILES {
                return Err(FileError::TooMany { path: path.to_owned() });
            }
        }
        files.sort();
        if files.is_empty() {
            return Err(FileError::Empty { path: path.to_owned() });
        }
    } else {
        files.push(path.to_owned());
    }
    let mut left = MAX_DOCUMENT_BYTES;
    let mut all = Vec::with_capacity(files.len());
    for file in files {
        let (bytes, written) = bounded(&file, left).map_err(|e| unreadable(&file, e))?;
        left = match left.checked_sub(bytes.len()) {
            Some(left) => left,
            None => {
                let error = ReadError::TooLarge { bytes: bytes.len(), max: MAX_DOCUMENT_BYTES };
                return Err(FileError::Content { path: file, error });
            }
        };
        let as_of = if kind.is_dir() && is_definition(&bytes) { written_at(&kind) } else { written };
        all.push(Document { path: file, bytes, as_of });
    }
    Ok(all)
}

/// At most `most` bytes of a file and one more, and when it was written last before that.
fn bounded(path: &Path, most: usize) -> std::io::Result<(Vec<u8>, Option<Time>)> {
    use std::io::Read as _;
    let mut bytes = Vec::new();
    let most = u64::try_from(most).unwrap_or(u64::MAX).saturating_add(1);
    let file = std::fs::File::open(path)?;
    let written = written_at(&file.metadata()?);
    file.take(most).read_to_end(&mut bytes)?;
    Ok((bytes, written))
}

/// What documents list together.
///
/// # Errors
/// [`FileError`], which names the file.
pub fn of_documents(
    documents: &[Document],
    format: Option<InventoryFormat>,
    group: Option<&str>,
) -> Result<Listing, FileError> {
    let mut listings = Vec::with_capacity(documents.len());
    for Document { path, bytes, .. } in documents {
        let listing = read(bytes, &Options { format, group })
            .map_err(|error| FileError::Content { path: path.clone(), error })?;
        listings.push(listing);
    }
    merge(listings).map_err(FileError::Merge)
}

#[cfg(test)]
mod tests {
    use std::fs::{File, write};
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    fn touch(path: &Path, ms: u64) {
        File::open(path).unwrap().set_modified(UNIX_EPOCH + Duration::from_millis(ms)).unwrap();
    }

    fn made(path: &Path) -> Option<i64> {
        exported_at(&documents(path).unwrap()).map(Time::unix_ms)
    }

    /// A stale file among fresh ones makes all of it stale.
    #[test]
    fn the_oldest_file_says_when_an_export_was_made() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        for (name, ms) in [("a.json", 5_000), ("b.json", 3_000), ("c.toml", 4_000)] {
            write(path(name), "[]").unwrap();
            touch(&path(name), ms);
        }
        assert_eq!((made(folder.path()), made(&path("a.json"))), (Some(3_000), Some(5_000)));
        assert_eq!(exported_at(&[]), None);
        let unknown = Document { path: path("-"), bytes: Vec::new(), as_of: None };
        let known = Document { as_of: Some(Time::from_unix_ms(1)), ..unknown.clone() };
        assert_eq!(exported_at(&[known, unknown]), None);
    }

    /// Definitions are written once in the life of a machine: that it is gone is known since its file was removed.
    #[test]
    fn definitions_of_a_folder_are_as_old_as_the_folder() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        write(path("a.xml"), "<domain type='kvm'><name>a</name></domain>").unwrap();
        touch(&path("a.xml"), 1_000);
        touch(folder.path(), 9_000);
        assert_eq!((made(folder.path()), made(&path("a.xml"))), (Some(9_000), Some(1_000)));
        // What says whether it runs, or lists several, is as old as it is.
        for says in ["<domstatus state='shutoff'><domain/></domstatus>", "<domains><domain/></domains>"] {
            write(path("b.xml"), says).unwrap();
            touch(&path("b.xml"), 2_000);
            touch(folder.path(), 9_000);
            assert_eq!(made(folder.path()), Some(2_000), "{says}");
        }
    }
}
