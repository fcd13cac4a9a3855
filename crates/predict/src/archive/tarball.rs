//! Files of a tar archive. Entries are taken raw, because the reader of long names would believe their sizes.

use std::io::Read;

use tar::EntryType;

use super::unpack::{Limited, failed};
use super::{ArchiveError, Kept, Member};
use crate::limits::MAX_PATH_BYTES;

/// The wanted regular files.
pub(super) fn files(from: Limited<'_>, wanted: &dyn Fn(&str) -> bool) -> Result<Vec<Member>, ArchiveError> {
    let mut kept = Kept::new(wanted);
    let mut archive = tar::Archive::new(from);
    let mut long_name: Option<String> = None;
    for entry in archive.entries().map_err(|e| failed(&e))?.raw(true) {
        let mut entry = entry.map_err(|e| failed(&e))?;
        let kind = entry.header().entry_type();
        let size = entry.header().entry_size().map_err(|e| failed(&e))?;
        kept.count()?;
        let short = String::from_utf8_lossy(&entry.header().path_bytes()).into_owned();
        match kind {
            EntryType::GNULongName => {
                long_name = Some(text(&mut entry, size)?.trim_end_matches('\0').to_owned())
            }
            EntryType::XHeader => long_name = pax_path(&text(&mut entry, size)?).or(long_name),
            _ => {
                let path = long_name.take().unwrap_or(short);
                if let Some(path) = kept.offer(&path)
                    && kind.is_file()
                {
                    kept.take(path, size, &mut entry)?;
                }
            }
        }
    }
    Ok(kept.files)
}

fn text(entry: &mut dyn Read, size: u64) -> Result<String, ArchiveError> {
    // PAX headers hold times and owners beside the path.
    if size > 4 * MAX_PATH_BYTES as u64 {
        return Err(ArchiveError::Malformed("a file name is too long".to_owned()));
    }
    let mut bytes = Vec::new();
    entry.take(size).read_to_end(&mut bytes).map_err(|e| failed(&e))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// The record `path` of a PAX header: `LENGTH path=VALUE`.
fn pax_path(records: &str) -> Option<String> {
    records.lines().find_map(|record| record.split_once(' ')?.1.strip_prefix("path=")).map(str::to_owned)
}
