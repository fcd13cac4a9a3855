//! Files of a `newc` cpio archive (Linux, `Documentation/driver-api/early-userspace/buffer-format.rst`), the payload of RPM.

use std::io::Read;

use super::unpack::{Limited, failed, skip};
use super::{ArchiveError, Kept, Member};
use crate::limits::MAX_PATH_BYTES;

const HEADER: usize = 110;
const TYPE_MASK: u64 = 0o170_000;
const TYPE_FILE: u64 = 0o100_000;

/// The wanted regular files.
pub(super) fn files(
    mut from: Limited<'_>,
    wanted: &dyn Fn(&str) -> bool,
) -> Result<Vec<Member>, ArchiveError> {
    let mut kept = Kept::new(wanted);
    loop {
        let mut header = [0_u8; HEADER];
        from.read_exact(&mut header).map_err(|e| failed(&e))?;
        if !header.starts_with(b"070701") && !header.starts_with(b"070702") {
            return Err(ArchiveError::Malformed("the payload is not a cpio archive".to_owned()));
        }
        let (Some(mode), Some(size), Some(name_size)) =
            (field(&header, 1), field(&header, 6), field(&header, 11))
        else {
            return Err(ArchiveError::Malformed("a header of the payload is not hex".to_owned()));
        };
        let mut name =
            vec![0_u8; usize::try_from(name_size).ok().filter(|n| *n <= MAX_PATH_BYTES).ok_or_else(long)?];
        from.read_exact(&mut name).map_err(|e| failed(&e))?;
        skip(&mut from, padding(HEADER as u64 + name_size))?;
        let path = String::from_utf8_lossy(&name).trim_end_matches('\0').to_owned();
        if path == "TRAILER!!!" {
            return Ok(kept.files);
        }
        kept.count()?;
        match kept.offer(&path) {
            Some(path) if mode & TYPE_MASK == TYPE_FILE => kept.take(path, size, &mut from)?,
            _ => skip(&mut from, size)?,
        }
        skip(&mut from, padding(size))?;
    }
}

fn long() -> ArchiveError {
    ArchiveError::Malformed("a file name is too long".to_owned())
}

/// The field of this index behind the magic: eight hex digits.
fn field(header: &[u8], index: usize) -> Option<u64> {
    let at = 6 + 8 * index;
    u64::from_str_radix(std::str::from_utf8(header.get(at..at + 8)?).ok()?, 16).ok()
}

const fn padding(bytes: u64) -> u64 {
    (4 - bytes % 4) % 4
}
