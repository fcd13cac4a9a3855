//! Second layer: what event data means. Unknown is a value, never an error.

use serde::Serialize;

use crate::Event;

/// Meaning of one event.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Decoded<'a> {
    /// Not known; the raw bytes.
    Unknown {
        /// Event data.
        #[serde(skip)]
        raw: &'a [u8],
    },
}

impl<'a> Event<'a> {
    /// Gives the event data its meaning.
    pub fn decode(&self) -> Decoded<'a> {
        Decoded::Unknown { raw: self.data }
    }
}
