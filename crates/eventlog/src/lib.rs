//! Measured-boot event logs: structure, typed events, replay, boot story.
//!
//! Two layers. [`parse`] finds the events: it fails only at a byte offset, keeps everything before it, copies nothing
//! and allocates nothing that the log merely claims. [`Event::decode`] gives each event a meaning; what it does not know
//! is a value, never an error.
//!
//! ```
//! use veriboot_eventlog::{Format, HashAlg, parse, replay};
//!
//! // One event in the SHA-1 layout: PCR 0, EV_S_CRTM_VERSION, digest of "1.0", data "1.0".
//! let mut log = Vec::new();
//! log.extend(0_u32.to_le_bytes());
//! log.extend(8_u32.to_le_bytes());
//! log.extend(HashAlg::Sha1.hash(&[b"1.0"]).as_ref());
//! log.extend(3_u32.to_le_bytes());
//! log.extend(b"1.0");
//!
//! let log = parse(&log)?;
//! assert_eq!(log.format, Format::Tcg12);
//! let registers = replay(&log, HashAlg::Sha1);
//! assert_eq!(registers.extended.into_iter().collect::<Vec<_>>(), [0]);
//! # Ok::<(), veriboot_eventlog::StructureError>(())
//! ```
//!
//! A log alone proves nothing. It explains registers that a TPM signed: compare [`Replay::pcrs`] with a verified quote
//! before anything here is believed.

mod component;
mod consistency;
pub mod decode;
mod der;
mod digest;
mod document;
mod event_type;
mod hashes;
pub mod ima;
mod images;
mod label;
pub mod limits;
mod linux;
mod logs;
mod logs_document;
mod measurement;
pub mod quirks;
mod reader;
mod registers;
mod replay;
pub mod sbat;
mod sha256;
mod story;
mod structure;
mod structure_error;
mod text;
pub mod userspace;
mod warning;

pub use component::ComponentKind;
pub use consistency::{DigestMismatch, check_digests, check_digests_of};
pub use decode::Decoded;
pub use der::{Certificate, Name, ShortName, Time};
pub use digest::{Digest, HashAlg};
pub use document::Document;
pub use event_type::EventType;
pub use hashes::{Hashes, hashes, hashes_knowing};
pub use ima::ima_boot_aggregate;
pub use label::{Label, LoaderCommand};
pub use logs::{BootLogs, CombinedReplay, LogKind, recognise};
pub use logs_document::LogsDocument;
pub use measurement::{Known, Measurement, labelled, measurements};
pub use registers::Registers;
pub use replay::{PCR_COUNT, Replay, replay};
pub use story::{
    BootStory, CertificateStory, FileStory, FirmwareStory, ImageStory, KeyStory, WindowsModuleStory,
    WindowsStory, story,
};
pub use structure::{Digests, Event, EventLog, Format, PCR_NOT_EXTENDED, parse};
pub use structure_error::{StructureError, StructureReason};
pub use text::{Guid, Hex, Text, Utf16, guids};
pub use warning::Warning;
