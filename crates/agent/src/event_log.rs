//! Reads the measured-boot event log that firmware left.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use veriboot_wire::MAX_EVENT_LOG_BYTES;

/// Why there is no event log.
#[derive(Debug, thiserror::Error)]
pub enum EventLogError {
    /// The file does not exist: securityfs is not mounted, or firmware left no log.
    #[error("no event log at {path}")]
    Missing {
        /// Where it was looked for.
        path: String,
    },
    /// The file cannot be read.
    #[error("cannot read the event log {path}: {source}")]
    Unreadable {
        /// The file.
        path: String,
        /// What the operating system says.
        source: io::Error,
    },
    /// Zero bytes, as some clouds hand out.
    #[error("the event log {path} is empty")]
    Empty {
        /// The file.
        path: String,
    },
    /// Longer than any log; the service would refuse it.
    #[error("the event log {path} is longer than {MAX_EVENT_LOG_BYTES} bytes")]
    TooLong {
        /// The file.
        path: String,
    },
}

impl EventLogError {
    /// Stable identifier in kebab case.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Missing { .. } => "log-missing",
            Self::Unreadable { .. } => "log-unreadable",
            Self::Empty { .. } => "log-empty",
            Self::TooLong { .. } => "log-too-long",
        }
    }

    /// What to do next.
    pub fn hint(&self) -> String {
        match self {
            Self::Missing { .. } => {
                "mount securityfs (mount -t securityfs securityfs /sys/kernel/security), boot by UEFI with the TPM on, \
                 or name the file with --event-log"
            }
            Self::Unreadable { .. } => "run the agent as root, or give its user read access to the log",
            Self::Empty { .. } => "this platform hands out no log; the service can judge the quote only",
            Self::TooLong { .. } => "check that --event-log names the event log",
        }
        .to_owned()
    }
}

/// Reads the whole log, at most [`MAX_EVENT_LOG_BYTES`].
///
/// # Errors
/// Any [`EventLogError`].
pub fn read(path: &Path) -> Result<Vec<u8>, EventLogError> {
    let name = || path.display().to_string();
    let failed = |source: io::Error| match source.kind() {
        io::ErrorKind::NotFound => EventLogError::Missing { path: name() },
        _ => EventLogError::Unreadable { path: name(), source },
    };
    // securityfs reports a size of zero, so the length is known only after reading.
    let mut log = Vec::new();
    let limit = MAX_EVENT_LOG_BYTES as u64 + 1;
    File::open(path).map_err(failed)?.take(limit).read_to_end(&mut log).map_err(failed)?;
    match log.len() {
        0 => Err(EventLogError::Empty { path: name() }),
        size if size > MAX_EVENT_LOG_BYTES => Err(EventLogError::TooLong { path: name() }),
        _ => Ok(log),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_absent_from_empty_from_too_long() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        assert_eq!(read(&path).unwrap_err().code(), "log-missing");
        std::fs::write(&path, []).unwrap();
        assert_eq!(read(&path).unwrap_err().code(), "log-empty");
        std::fs::write(&path, vec![0xff; MAX_EVENT_LOG_BYTES]).unwrap();
        assert_eq!(read(&path).unwrap().len(), MAX_EVENT_LOG_BYTES);
        std::fs::write(&path, vec![0xff; MAX_EVENT_LOG_BYTES + 1]).unwrap();
        assert_eq!(read(&path).unwrap_err().code(), "log-too-long");
        assert_eq!(read(dir.path()).unwrap_err().code(), "log-unreadable");
    }
}
