//! The story of a boot: a summary value computed from the log alone.

use serde::Serialize;

use crate::{EventLog, Format};

/// What a log says about a boot, for people.
#[derive(Clone, Debug, Serialize)]
pub struct BootStory {
    /// Layout of the log.
    pub format: Format,
    /// Whether Secure Boot was on; `None` when the log does not say.
    pub secure_boot: Option<bool>,
    /// Kernel command line, printable.
    pub command_line: Option<String>,
}

/// Tells the story of the last session.
pub fn story(log: &EventLog<'_>) -> BootStory {
    BootStory { format: log.format, secure_boot: None, command_line: None }
}
