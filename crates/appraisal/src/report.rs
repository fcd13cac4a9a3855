//! What one event log says, in an owned form that can be kept by the digest of the log.

mod entry;
mod examine;
mod flaws;

use veriboot_eventlog::{ComponentKind, Digest, Format, HashAlg, Replay};
use veriboot_wire::Finding;

use crate::code;
pub use entry::{Component, Entry};
pub(crate) use entry::{component_of, is_separator};
pub use examine::{Examined, examine, examine_known, examine_with};

/// Events of one boot that are judged. Real machines write some hundred; what is compared grows faster than the log.
pub const MAX_EVENTS: usize = 8192;

/// An examined event log. Depends on nothing but the bytes of the log, so it can be cached by their digest.
#[derive(Clone, Debug)]
pub struct LogReport {
    /// SHA-256 of the whole log, lower-case hex.
    pub sha256: String,
    /// Bytes of the log.
    pub bytes: usize,
    /// Events of the last session. Above [`MAX_EVENTS`] there are no entries, and a finding.
    pub events: usize,
    /// Layout; `None` when the log could not be read.
    pub format: Option<Format>,
    /// Whether the log shows Secure Boot on or off; `None` when it does not say, or says both.
    pub secure_boot: Option<bool>,
    /// Whether shim was told not to verify what it starts (MokSBState): Secure Boot is on in name only.
    pub shim_validation_off: bool,
    /// Findings about the log itself, without any baseline or profile.
    pub findings: Vec<Finding>,
    /// What was measured, in log order: every event of the last session that extends a register that exists.
    pub entries: Vec<Entry>,
    /// Banks that the log extends.
    pub banks: Vec<BankReport>,
}

/// One bank of a log.
#[derive(Clone, Debug)]
pub struct BankReport {
    /// Registers after replay.
    pub replay: Replay,
    /// Digest of each of [`LogReport::entries`], in their order.
    pub digests: Vec<Option<Digest>>,
    /// PCR 5 if the ExitBootServices events came after the log was saved.
    pub pcr5_after_exit: Option<Digest>,
}

impl LogReport {
    /// The bank, if the log extends it.
    pub fn bank(&self, bank: HashAlg) -> Option<&BankReport> {
        self.banks.iter().find(|b| b.replay.bank == bank)
    }

    /// Whether there is nothing to read: no bytes, or padding only.
    pub fn is_missing(&self) -> bool {
        self.findings.iter().any(|f| f.code == code::LOG_MISSING.code)
    }

    /// The first entry of a kind.
    pub(crate) fn first(&self, kind: ComponentKind) -> Option<&Entry> {
        self.entries.iter().find(|e| e.kind == kind)
    }
}
