//! Decompression with bounds: output, and memory of the decoder.

use std::io::{self, Read};

use flate2::read::MultiGzDecoder;
use lzma_rust2::XzReader;
use ruzstd::decoding::StreamingDecoder;

use super::ArchiveError;
use crate::limits::{MAX_UNPACKED_BYTES, MAX_WINDOW_BYTES};

/// A reader over the unpacked bytes. `suffix` is that of the member's name (`.xz`); the content must agree with it, and
/// decides alone where it is empty.
pub(super) fn open<'a>(packed: &'a [u8], suffix: &str) -> Result<Limited<'a>, ArchiveError> {
    let found = match packed {
        [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => ".xz",
        [0x28, 0xb5, 0x2f, 0xfd, ..] => ".zst",
        [0x1f, 0x8b, ..] => ".gz",
        [b'B', b'Z', b'h', ..] => return Err(ArchiveError::Compression("bzip2".to_owned())),
        _ if suffix.is_empty() => "",
        _ => return Err(ArchiveError::Compression(shown(suffix))),
    };
    if !suffix.is_empty() && suffix != found {
        return Err(ArchiveError::Malformed(format!("a member {} is compressed as {found}", shown(suffix))));
    }
    let inner: Box<dyn Read + 'a> = match found {
        ".xz" => Box::new(XzReader::new_mem_limit(packed, true, MAX_WINDOW_BYTES / 1024)),
        ".zst" => {
            let decoder = StreamingDecoder::new_with_max_window_size(packed, u64::from(MAX_WINDOW_BYTES));
            Box::new(decoder.map_err(|e| ArchiveError::Malformed(e.to_string()))?)
        }
        ".gz" => Box::new(MultiGzDecoder::new(packed)),
        _ => Box::new(packed),
    };
    Ok(Limited { inner, left: MAX_UNPACKED_BYTES })
}

/// A reader that ends with an error at [`MAX_UNPACKED_BYTES`].
pub(super) struct Limited<'a> {
    inner: Box<dyn Read + 'a>,
    left: u64,
}

impl Read for Limited<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        match self.left.checked_sub(count as u64) {
            Some(left) => {
                self.left = left;
                Ok(count)
            }
            None => Err(io::Error::other(Bomb)),
        }
    }
}

#[derive(Debug, thiserror::Error)]
#[error("too many bytes")]
struct Bomb;

/// The error of a read out of a [`Limited`].
pub(super) fn failed(error: &io::Error) -> ArchiveError {
    let bomb =
        error.get_ref().is_some_and(|inner| inner.is::<Bomb>()) || error.kind() == io::ErrorKind::OutOfMemory;
    if bomb { ArchiveError::Bomb } else { ArchiveError::Malformed(shown(&error.to_string())) }
}

/// Reads and drops `count` bytes.
pub(super) fn skip(from: &mut dyn Read, count: u64) -> Result<(), ArchiveError> {
    let skipped = io::copy(&mut from.take(count), &mut io::sink()).map_err(|e| failed(&e))?;
    if skipped == count { Ok(()) } else { Err(ArchiveError::Malformed("it is cut".to_owned())) }
}

fn shown(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(120).collect()
}
