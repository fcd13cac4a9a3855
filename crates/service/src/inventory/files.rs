//! What a file, or the files of a folder, list.

use std::path::{Path, PathBuf};

use veriboot_inventory::{InventoryFormat, Listing, MAX_DOCUMENT_BYTES, Options, ReadError, merge, read};

/// Files of a folder that are read.
pub const MAX_FILES: usize = 20_000;
/// Endings of files that a folder is read for.
const ENDINGS: [&str; 3] = ["xml", "json", "toml"];

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

/// The bytes of a file, or of the files of a folder, each with its path. Blocks.
///
/// # Errors
/// [`FileError`], which names the file.
pub fn documents(path: &Path) -> Result<Vec<(PathBuf, Vec<u8>)>, FileError> {
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
        let bytes = bounded(&file, left).map_err(|e| unreadable(&file, e))?;
        left = match left.checked_sub(bytes.len()) {
            Some(left) => left,
            None => {
                let error = ReadError::TooLarge { bytes: bytes.len(), max: MAX_DOCUMENT_BYTES };
                return Err(FileError::Content { path: file, error });
            }
        };
        all.push((file, bytes));
    }
    Ok(all)
}

/// At most `most` bytes of a file and one more.
fn bounded(path: &Path, most: usize) -> std::io::Result<Vec<u8>> {
    use std::io::Read as _;
    let mut bytes = Vec::new();
    let most = u64::try_from(most).unwrap_or(u64::MAX).saturating_add(1);
    std::fs::File::open(path)?.take(most).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// What documents list together.
///
/// # Errors
/// [`FileError`], which names the file.
pub fn of_documents(
    documents: &[(PathBuf, Vec<u8>)],
    format: Option<InventoryFormat>,
    group: Option<&str>,
) -> Result<Listing, FileError> {
    let mut listings = Vec::with_capacity(documents.len());
    for (path, bytes) in documents {
        let listing = read(bytes, &Options { format, group })
            .map_err(|error| FileError::Content { path: path.clone(), error })?;
        listings.push(listing);
    }
    merge(listings).map_err(FileError::Merge)
}
