//! Second layer: what the content of a record says. It is not measured; it only explains.

use serde::{Deserialize, Serialize, Serializer};

use super::Record;
use crate::text::{Text, write_printable};

/// Words longer than this are cut by systemd in its log (src/pcrextend, escape_and_truncate_data).
const LOGGED_WORD_BYTES: usize = 1_024;

/// Content of a record, by its content type.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Content<'a> {
    /// `systemd`.
    Systemd(SystemdContent),
    /// Any other type, or content that does not have the shape of its type. Raw JSON.
    Unknown {
        /// `content_type`, without its quotes.
        content_type: Option<Text<'a>>,
        /// The bytes of `content`.
        raw: Text<'a>,
    },
}

/// Content of a record that systemd wrote (systemd, src/shared/tpm2-util.c).
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SystemdContent {
    /// What was measured, in words: `sysinit`, `machine-id:…`, a volume.
    pub string: String,
    /// Identifier of the boot.
    #[serde(default)]
    pub boot_id: Option<String>,
    /// Microseconds since the system started (CLOCK_BOOTTIME).
    #[serde(default)]
    pub timestamp: Option<u64>,
    /// `phase`, `filesystem`, `volume-key`, `machine-id`, and what later versions add.
    #[serde(default)]
    pub event_type: Option<String>,
}

impl SystemdContent {
    /// Plain words for the type of event.
    pub fn title(&self) -> &'static str {
        match self.event_type.as_deref() {
            Some("phase") => "boot phase",
            Some("filesystem") => "file system identity",
            Some("volume-key") => "key of an encrypted volume",
            Some("machine-id") => "machine identity",
            Some("product-id") => "product identity",
            Some("keyslot") => "key slot of an encrypted volume",
            _ => "measured by systemd",
        }
    }

    /// The words whose digest was extended, where the log has them whole and unescaped.
    pub(super) fn measured_words(&self) -> Option<&str> {
        let exact =
            matches!(self.event_type.as_deref(), Some("phase" | "machine-id" | "product-id" | "filesystem"));
        let whole = self.string.len() < LOGGED_WORD_BYTES && !self.string.contains(['\\', '…']);
        (exact && whole).then_some(self.string.as_str())
    }
}

impl<'a> Record<'a> {
    /// What the content says. Never fails.
    pub fn content(&self) -> Content<'a> {
        if self.content_type == Some(Text(b"systemd"))
            && let Ok(content) = serde_json::from_slice(self.raw_content)
        {
            return Content::Systemd(content);
        }
        Content::Unknown { content_type: self.content_type, raw: Text(self.raw_content) }
    }
}

struct Printable<'t>(&'t str);

impl Serialize for Printable<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl std::fmt::Display for Printable<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write_printable(f, self.0)
    }
}

impl Serialize for Content<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeStruct as _;
        match self {
            Self::Systemd(content) => {
                let mut out = serializer.serialize_struct("Systemd", 5)?;
                out.serialize_field("type", content.title())?;
                out.serialize_field("string", &Printable(&content.string))?;
                out.serialize_field("event_type", &content.event_type.as_deref().map(Printable))?;
                out.serialize_field("boot_id", &content.boot_id.as_deref().map(Printable))?;
                out.serialize_field("timestamp_us", &content.timestamp)?;
                out.end()
            }
            Self::Unknown { content_type, raw } => {
                let mut out = serializer.serialize_struct("Unknown", 3)?;
                out.serialize_field("type", "unknown")?;
                out.serialize_field("content_type", content_type)?;
                out.serialize_field("raw", raw)?;
                out.end()
            }
        }
    }
}
