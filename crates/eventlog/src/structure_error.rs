//! Why a log cannot be read further, and from where.

use crate::HashAlg;
use crate::limits::{MAX_ALGORITHMS, MAX_EVENTS, MAX_LOG_BYTES};

/// Why reading stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StructureReason {
    /// Zero bytes: some clouds hand out empty logs.
    #[error("the log is empty")]
    Empty,
    /// Nothing but 0x00 or 0xFF.
    #[error("the log holds nothing but padding")]
    OnlyPadding,
    /// Larger than [`MAX_LOG_BYTES`].
    #[error("the log has {bytes} bytes, more than the {MAX_LOG_BYTES} that are read")]
    TooLarge {
        /// Bytes of the log.
        bytes: usize,
    },
    /// More than [`MAX_EVENTS`] events.
    #[error("the log has more than {MAX_EVENTS} events")]
    TooManyEvents,
    /// The log ends inside the fixed part of an event.
    #[error("the log ends inside the header of an event")]
    HeaderCut,
    /// The log ends inside the digests of an event.
    #[error("the log ends inside the digests of an event")]
    DigestsCut,
    /// An event claims more data than the log has.
    #[error("an event claims {claimed} bytes of data where {available} are left")]
    DataCut {
        /// Bytes claimed.
        claimed: u32,
        /// Bytes left.
        available: usize,
    },
    /// An event claims more digests than there are algorithms.
    #[error("an event claims {claimed} digests, more than {MAX_ALGORITHMS}")]
    TooManyDigests {
        /// Digests claimed.
        claimed: u32,
    },
    /// An algorithm that neither the header nor the registry gives a size for.
    #[error("an event has a digest of the algorithm 0x{algorithm:04x}, whose size is unknown")]
    UnknownAlgorithm {
        /// TPM_ALG_ID.
        algorithm: u16,
    },
    /// The Spec ID event is too short, or lists no or too many algorithms.
    #[error("the Spec ID event is malformed")]
    SpecIdMalformed,
    /// The Spec ID event gives a registered algorithm a size that it does not have.
    #[error("the Spec ID event says that {algorithm} has {claimed} bytes")]
    DigestSize {
        /// The algorithm.
        algorithm: HashAlg,
        /// Bytes claimed.
        claimed: u16,
    },
}

/// The place where reading stopped, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason} (at byte {offset})")]
pub struct StructureError {
    /// Offset in the log of the event that cannot be read.
    pub offset: usize,
    /// Why it cannot be read.
    pub reason: StructureReason,
}

impl StructureError {
    /// Stable identifier in kebab case.
    pub const fn code(&self) -> &'static str {
        match self.reason {
            StructureReason::Empty => "log-empty",
            StructureReason::OnlyPadding => "log-only-padding",
            StructureReason::TooLarge { .. } => "log-too-large",
            StructureReason::TooManyEvents => "log-too-many-events",
            StructureReason::HeaderCut => "log-header-cut",
            StructureReason::DigestsCut => "log-digests-cut",
            StructureReason::DataCut { .. } => "log-data-cut",
            StructureReason::TooManyDigests { .. } => "log-too-many-digests",
            StructureReason::UnknownAlgorithm { .. } => "log-unknown-algorithm",
            StructureReason::SpecIdMalformed => "log-spec-id-malformed",
            StructureReason::DigestSize { .. } => "log-digest-size",
        }
    }
}
