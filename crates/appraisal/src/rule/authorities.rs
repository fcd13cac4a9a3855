//! Certificates by which a rule knows who may admit images.

use serde::{Deserialize, Serialize};
use veriboot_eventlog::Digest;

/// A certificate. Only its digest decides; the subject is for people.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Authority {
    /// SHA-256 over the certificate (DER), 64 hex digits.
    pub sha256: Digest,
    /// Subject or common name.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub subject: String,
}
