//! Reading the kernel's log (`/dev/kmsg`) from where it was left, without waiting and within bounds.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use super::message::{Record, record};

/// `O_NONBLOCK` of Linux (asm-generic/fcntl.h) on the architectures of [`KNOWN_FLAGS`].
const O_NONBLOCK: i32 = 0o4000;
/// Elsewhere the flag has another value, and a read that waits would hold an attestation up: there the log stays unread.
const KNOWN_FLAGS: bool = cfg!(all(
    target_os = "linux",
    any(
        target_arch = "x86_64",
        target_arch = "x86",
        target_arch = "aarch64",
        target_arch = "arm",
        target_arch = "riscv64",
        target_arch = "powerpc64",
        target_arch = "s390x",
        target_arch = "loongarch64"
    )
));
/// The kernel gives one record for each read, of at most 8 KiB (CONSOLE_EXT_LOG_MAX).
const BUFFER_BYTES: usize = 16 * 1024;
/// Reads, bytes and time of one pass; the next pass goes on from there. A usual boot has 500 to 2000 records.
const MAX_READS: usize = 65_536;
const MAX_BYTES: usize = 16 * 1024 * 1024;
const MAX_TIME: Duration = Duration::from_millis(500);

/// The log, open at some place.
#[derive(Debug)]
pub(super) struct KernelLog {
    file: File,
    /// The part of a line whose end was not read yet.
    rest: Vec<u8>,
}

impl KernelLog {
    /// Opens it at its oldest record. `None` when there is none, or when this process may not read it
    /// (`kernel.dmesg_restrict` without CAP_SYSLOG, a container).
    pub(super) fn open(path: &Path) -> Option<Self> {
        if !KNOWN_FLAGS {
            return None;
        }
        match OpenOptions::new().read(true).custom_flags(O_NONBLOCK).open(path) {
            Ok(file) => Some(Self { file, rest: Vec::new() }),
            Err(error) => {
                tracing::debug!(path = %path.display(), %error, "cannot read the kernel's log");
                None
            }
        }
    }

    /// Gives every record that came since the last pass. `Ok(true)` when that was all, `Ok(false)` when there is more than
    /// one pass reads.
    pub(super) fn read(&mut self, each: &mut dyn FnMut(Record<'_>)) -> std::io::Result<bool> {
        let until = Instant::now() + MAX_TIME;
        let mut buffer = vec![0; BUFFER_BYTES];
        let mut bytes = 0_usize;
        for _ in 0..MAX_READS {
            let size = match self.file.read(&mut buffer) {
                Ok(0) => return Ok(true),
                Ok(size) => size,
                Err(error) => match error.kind() {
                    ErrorKind::WouldBlock => return Ok(true),
                    // Older records went while we read (the numbers of the next ones show it), a signal came, or one
                    // record is larger than any: the next read gives the next one.
                    ErrorKind::BrokenPipe | ErrorKind::Interrupted | ErrorKind::InvalidInput => 0,
                    _ => return Err(error),
                },
            };
            bytes = bytes.saturating_add(size);
            self.take(buffer.get(..size).unwrap_or_default(), each);
            if bytes >= MAX_BYTES || Instant::now() >= until {
                break;
            }
        }
        Ok(false)
    }

    /// Splits what was read into lines.
    fn take(&mut self, read: &[u8], each: &mut dyn FnMut(Record<'_>)) {
        self.rest.extend_from_slice(read);
        let whole = self.rest.iter().rposition(|&b| b == b'\n').map_or(0, |at| at + 1);
        let tail = self.rest.split_off(whole);
        for line in self.rest.split(|&b| b == b'\n') {
            if let Some(record) = std::str::from_utf8(line).ok().and_then(record) {
                each(record);
            }
        }
        // No record is as long: this is no log of a kernel.
        self.rest = if tail.len() > BUFFER_BYTES { Vec::new() } else { tail };
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn all(log: &mut KernelLog) -> (Vec<(u64, String)>, bool) {
        let mut seen = Vec::new();
        let drained = log.read(&mut |record| seen.push((record.sequence, record.text.to_owned()))).unwrap();
        (seen, drained)
    }

    #[test]
    fn it_goes_on_where_it_was_left() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(b"6,0,0,-;first\n SUBSYSTEM=x\n6,1,0,-;seco").unwrap();
        let mut log = KernelLog::open(file.path()).unwrap();
        assert_eq!(all(&mut log), (vec![(0, "first".into())], true));
        assert_eq!(all(&mut log), (vec![], true));
        file.write_all(b"nd\nnothing\n\n6,2,0,-;third\n").unwrap();
        assert_eq!(all(&mut log).0, [(1, "second".into()), (2, "third".into())]);
    }

    #[test]
    fn what_is_absent_or_no_log_gives_nothing() {
        let folder = tempfile::tempdir().unwrap();
        assert!(KernelLog::open(&folder.path().join("kmsg")).is_none());
        // A folder opens and cannot be read.
        assert!(KernelLog::open(folder.path()).unwrap().read(&mut |_| panic!("a record")).is_err());
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), vec![0xff; 1024 * 1024]).unwrap();
        let mut log = KernelLog::open(file.path()).unwrap();
        assert_eq!(all(&mut log), (vec![], true));
        assert!(log.rest.len() <= BUFFER_BYTES);
    }

    #[test]
    fn a_huge_log_is_read_in_passes() {
        let mut text = String::new();
        let mut count = 0_u64;
        while text.len() < 2 * MAX_BYTES {
            text.push_str(&format!("6,{count},0,-;{}\n", "x".repeat(900)));
            count += 1;
        }
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        let mut log = KernelLog::open(file.path()).unwrap();
        let (mut seen, mut passes) = (0, 0);
        loop {
            passes += 1;
            let (records, drained) = all(&mut log);
            assert!(records.len() < 40_000);
            seen += records.len() as u64;
            if drained {
                break;
            }
        }
        assert_eq!(seen, count);
        assert!(passes > 1);
    }
}
