//! Things about a log that are unusual and not an error.

use serde::Serialize;

use crate::Event;

/// Something unusual. Never a reason to stop reading.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Warning {
    /// Stable identifier in kebab case.
    pub code: &'static str,
    /// Index of the event, where there is one.
    pub event: Option<u32>,
    /// Byte offset in the log.
    pub offset: usize,
    /// One sentence; holds no text from the log that is not escaped.
    pub message: String,
}

impl Warning {
    pub(crate) fn at(code: &'static str, event: Option<&Event<'_>>, message: impl Into<String>) -> Self {
        Self {
            code,
            event: event.map(|e| e.index),
            offset: event.map_or(0, |e| e.offset),
            message: message.into(),
        }
    }
}
