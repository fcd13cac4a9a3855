//! Whole lines at the end of a file, whatever becomes of the disk.
//!
//! A full disk, a limit or a crash can leave a part of the last line. It was not counted as delivered and is written again,
//! so that its beginning goes: at once where the write failed, else before the next one. What somebody else left there
//! stays, on a line of its own.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;

/// How far back the end of the last whole line is looked for. A part of a line that is longer stays, ended.
const MAX_LOOK_BACK: u64 = 4 * 1024 * 1024;
const STEP: u64 = 64 * 1024;

/// How every line begins.
pub(super) const BEGINNING: &str = "{\"activity_id\":";

/// Appends lines, each begun as [`BEGINNING`] says and ended, to a file that is opened anew every time: whoever rotates it
/// may move or truncate it. They are on the disk when this returns.
///
/// # Errors
/// Of the file system. Nothing of the lines is in the file then, as far as the disk lets itself be asked.
pub(super) fn append(folder: &Path, name: &str, lines: &[u8]) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let path = folder.join(name);
    let mut file = OpenOptions::new().create(true).read(true).append(true).mode(0o600).open(path)?;
    // Two targets may have one file: whoever repairs its end is alone with it.
    file.lock()?;
    add(&mut file, lines)
}

/// What is needed of a file that is appended to.
trait Ended: Read + Write + Seek {
    fn cut(&mut self, length: u64) -> io::Result<()>;
    fn settle(&mut self) -> io::Result<()>;
}

impl Ended for File {
    fn cut(&mut self, length: u64) -> io::Result<()> {
        self.set_len(length)
    }

    fn settle(&mut self) -> io::Result<()> {
        self.sync_data()
    }
}

fn add(file: &mut impl Ended, lines: &[u8]) -> io::Result<()> {
    let end = file.seek(SeekFrom::End(0))?;
    let begin = match whole_lines(file, end)? {
        Some(whole) if whole == end => end,
        Some(whole) if is_ours(file, whole)? => {
            file.cut(whole)?;
            whole
        }
        _ => {
            file.write_all(b"\n")?;
            end + 1
        }
    };
    let written = file.write_all(lines).and_then(|()| file.settle());
    if written.is_err() {
        // What cannot be taken back now is, before the next line.
        let _ = file.cut(begin);
    }
    written
}

/// Whether what begins here is a part of a line of ours.
fn is_ours(file: &mut impl Ended, at: u64) -> io::Result<bool> {
    let mut begun = Vec::new();
    file.seek(SeekFrom::Start(at))?;
    Read::by_ref(file).take(u64::try_from(BEGINNING.len()).unwrap_or(0)).read_to_end(&mut begun)?;
    Ok(BEGINNING.as_bytes().starts_with(&begun))
}

/// Where the last line that is ended does so; `None` when that is too far back.
fn whole_lines(file: &mut impl Ended, end: u64) -> io::Result<Option<u64>> {
    let mut until = end;
    let mut bytes = Vec::new();
    while until > 0 {
        let from = until.saturating_sub(if until == end { 1 } else { STEP });
        file.seek(SeekFrom::Start(from))?;
        bytes.clear();
        Read::by_ref(file).take(until - from).read_to_end(&mut bytes)?;
        if let Some(at) = bytes.iter().rposition(|byte| *byte == b'\n') {
            return Ok(Some(from + u64::try_from(at).unwrap_or(0) + 1));
        }
        if end - from >= MAX_LOOK_BACK {
            return Ok(None);
        }
        until = from;
    }
    Ok(Some(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file on a disk with room for so many bytes, which may refuse to be cut as well.
    struct Disk {
        content: Vec<u8>,
        position: usize,
        room: usize,
        cuts: bool,
    }

    impl Read for Disk {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let rest = &self.content[self.position..];
            let count = rest.len().min(buffer.len());
            buffer[..count].copy_from_slice(&rest[..count]);
            self.position += count;
            Ok(count)
        }
    }

    impl Write for Disk {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let count = bytes.len().min(self.room.saturating_sub(self.content.len()));
            if count == 0 {
                return Err(io::ErrorKind::StorageFull.into());
            }
            self.content.extend_from_slice(&bytes[..count]);
            Ok(count)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Seek for Disk {
        fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
            self.position = match to {
                SeekFrom::Start(at) => usize::try_from(at).unwrap(),
                _ => self.content.len(),
            };
            Ok(self.position as u64)
        }
    }

    impl Ended for Disk {
        fn cut(&mut self, length: u64) -> io::Result<()> {
            if !self.cuts {
                return Err(io::ErrorKind::ReadOnlyFilesystem.into());
            }
            self.content.truncate(usize::try_from(length).unwrap());
            Ok(())
        }

        fn settle(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn line(word: &str) -> String {
        format!("{BEGINNING}1,\"message\":\"{word}\"}}\n")
    }

    #[test]
    fn a_full_disk_leaves_no_part_of_a_line() {
        let (first, second, third) = (line("first"), line("second"), line("third"));
        for part in 0..second.len() {
            let room = first.len() + part;
            let mut disk = Disk { content: first.clone().into_bytes(), position: 0, room, cuts: true };
            assert!(add(&mut disk, second.as_bytes()).is_err());
            assert_eq!(disk.content, first.as_bytes(), "room for {part}");
            // What could not even be taken back is taken back before the next line.
            disk.cuts = false;
            assert!(add(&mut disk, second.as_bytes()).is_err());
            (disk.cuts, disk.room) = (true, 1000);
            add(&mut disk, third.as_bytes()).unwrap();
            assert_eq!(disk.content, (first.clone() + &third).as_bytes(), "room for {part}");
        }
    }

    #[test]
    fn what_a_crash_left_goes_and_what_others_left_stays() {
        let (one, next) = (line("one"), line("next"));
        let long = line(&"x".repeat(usize::try_from(STEP).unwrap() * 2));
        for (left, kept) in [
            (String::new(), ""),
            ("{\"act".to_owned(), ""),
            (format!("{one}{{"), &*one),
            (one.clone(), &*one),
            ("\n".to_owned(), "\n"),
            (format!("{one}{}", long.trim_end()), &*one),
            ("{\"other\":".to_owned(), "{\"other\":\n"),
            (format!("{one}words"), &*format!("{one}words\n")),
        ] {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("f");
            std::fs::write(&path, left).unwrap();
            append(folder.path(), "f", next.as_bytes()).unwrap();
            assert_eq!(std::fs::read_to_string(&path).unwrap(), format!("{kept}{next}"));
        }
        // Too long to be a line of ours.
        let content = vec![b'x'; usize::try_from(MAX_LOOK_BACK).unwrap() + 10];
        let mut disk = Disk { content, position: 0, room: usize::MAX, cuts: true };
        add(&mut disk, next.as_bytes()).unwrap();
        assert!(disk.content.ends_with(format!("x\n{next}").as_bytes()));
    }
}
