//! What user space measured: systemd's log (`/run/log/systemd/tpm2-measure.log`) and the records of `systemd-pcrlock`.
//!
//! Both are records of the TCG Canonical Event Log in JSON (TCG CEL 1.0, section 5): a register, its digests, and
//! content that only explains. systemd writes a sequence of them (RFC 7464); a component file of pcrlock is an object
//! with `records`; `systemd-pcrlock cel` prints an array. All three are read, and records that merely follow each
//! other as well.
//!
//! ```
//! use veriboot_eventlog::{HashAlg, userspace};
//!
//! let digest = HashAlg::Sha256.hash(&[b"sysinit"]);
//! let log = format!(
//!     "\u{1e}{{\"pcr\":11,\"digests\":[{{\"hashAlg\":\"sha256\",\"digest\":\"{digest}\"}}],\
//!      \"content_type\":\"systemd\",\"content\":{{\"string\":\"sysinit\",\"eventType\":\"phase\"}}}}\n"
//! );
//! let log = userspace::parse(log.as_bytes())?;
//! assert_eq!(log.records[0].pcr, Some(11));
//! # Ok::<(), userspace::RecordError>(())
//! ```

mod content;
mod json;
mod record;

pub use content::{Content, SystemdContent};
pub use record::{Layout, Record, RecordError, RecordReason, UserSpaceLog, parse};

pub(crate) use record::looks_like;

use serde::Serialize;

use crate::{Digest, HashAlg};

/// A record whose digest is not that of the words which it says were measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct RecordMismatch {
    /// Record.
    pub record: u32,
    /// Register.
    pub pcr: Option<u32>,
    /// Bank.
    pub bank: HashAlg,
    /// The digest of the record.
    pub listed: Digest,
    /// The digest of its words.
    pub computed: Digest,
}

/// Checks the records of which systemd measures exactly the words that it logs: boot phases, machine and product
/// identity, file systems. Others (volume keys) measure a keyed digest and cannot be checked.
pub fn check_words(log: &UserSpaceLog<'_>) -> Vec<RecordMismatch> {
    let mut mismatches = Vec::new();
    for record in &log.records {
        let Content::Systemd(content) = record.content() else { continue };
        let Some(words) = content.measured_words() else { continue };
        for (bank, listed) in &record.digests {
            let computed = bank.hash(&[words.as_bytes()]);
            if computed != *listed {
                let (record, pcr) = (record.index, record.pcr);
                mismatches.push(RecordMismatch { record, pcr, bank: *bank, listed: *listed, computed });
            }
        }
    }
    mismatches
}
