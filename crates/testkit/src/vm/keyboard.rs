//! Presses keys in a machine, through QEMU's monitor.

use std::io::Write as _;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::Result;

/// Time between two keys. Firmware that has not started its boot option takes a key for a wish to see its setup.
const PAUSE: Duration = Duration::from_secs(8);

/// The keyboard of one machine.
#[derive(Debug)]
pub(super) struct Keyboard {
    // A socket path is short (sun_path), wherever the machine's folder is.
    folder: tempfile::TempDir,
    last: Instant,
}

impl Keyboard {
    pub(super) fn new() -> Result<Self> {
        Ok(Self { folder: tempfile::tempdir()?, last: Instant::now() })
    }

    /// Where QEMU listens with its monitor.
    pub(super) fn socket(&self) -> PathBuf {
        self.folder.path().join("monitor")
    }

    /// Presses Enter if the last time was long ago. A machine that has gone needs no key.
    pub(super) fn press_enter(&mut self) {
        if self.last.elapsed() < PAUSE {
            return;
        }
        self.last = Instant::now();
        if let Ok(mut monitor) = UnixStream::connect(self.socket()) {
            // The machine may end at any time.
            let _ = monitor.write_all(b"sendkey ret\n");
            std::thread::sleep(Duration::from_millis(200));
        }
    }
}
