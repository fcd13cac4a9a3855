//! Which kind of log a file is, and reading it; what cannot be read ends with exit code 2.

use std::path::Path;

use veriboot_eventlog::ima::ImaList;
use veriboot_eventlog::userspace::UserSpaceLog;
use veriboot_eventlog::{BootLogs, EventLog, LogKind, ima, recognise, userspace};

use crate::error::CliError;

/// A log of any kind.
pub enum Loaded<'a> {
    /// Of the firmware.
    Firmware(EventLog<'a>),
    /// Of Linux IMA.
    Ima(ImaList<'a>),
    /// Of user space.
    UserSpace(UserSpaceLog<'a>),
}

impl<'a> Loaded<'a> {
    /// Reads a log of the kind that its content shows.
    pub fn new(file: &Path, bytes: &'a [u8]) -> Result<Self, CliError> {
        match recognise(bytes) {
            LogKind::Firmware => super::parse_log(file, bytes).map(Self::Firmware),
            LogKind::Ima => ima(file, bytes).map(Self::Ima),
            LogKind::UserSpace => user_space(file, bytes).map(Self::UserSpace),
        }
    }

    /// The logs of the boot, with only this one.
    pub fn alone(&self) -> BootLogs<'_, 'a> {
        let mut logs = BootLogs::default();
        match self {
            Self::Firmware(log) => logs.firmware = Some(log),
            Self::Ima(list) => logs.ima = Some(list),
            Self::UserSpace(log) => logs.user_space = Some(log),
        }
        logs
    }

    /// Says on standard error that the log could be read only in part.
    pub fn warn_when_cut(&self, file: &Path) {
        match self {
            Self::Firmware(log) => super::warn_when_cut(file, log),
            Self::Ima(list) => {
                if let Some(cut) = list.cut {
                    super::warn_cut(file, cut.offset, &cut.reason.to_string(), cut.code());
                }
            }
            Self::UserSpace(log) => {
                if let Some(cut) = log.cut {
                    super::warn_cut(file, cut.offset, &cut.reason.to_string(), cut.code());
                }
            }
        }
    }
}

/// Reads a list of IMA.
pub fn ima<'a>(file: &Path, bytes: &'a [u8]) -> Result<ImaList<'a>, CliError> {
    ima::parse(bytes).map_err(|e| {
        CliError::usage(
            e.code(),
            format!("{} is not a list of IMA: {}, at byte {}", file.display(), e.reason, e.offset),
        )
        .hint("expected /sys/kernel/security/ima/binary_runtime_measurements or ascii_runtime_measurements")
    })
}

/// Reads a log of user space.
pub fn user_space<'a>(file: &Path, bytes: &'a [u8]) -> Result<UserSpaceLog<'a>, CliError> {
    userspace::parse(bytes).map_err(|e| {
        CliError::usage(
            e.code(),
            format!("{} is not a log of user space: {}, at byte {}", file.display(), e.reason, e.offset),
        )
        .hint("expected /run/log/systemd/tpm2-measure.log, or records of systemd-pcrlock")
    })
}
