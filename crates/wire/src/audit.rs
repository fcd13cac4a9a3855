//! The audit log.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::Time;

/// One entry of the append-only, hash-chained audit log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct AuditEntry {
    /// Position from 1, without gaps.
    pub sequence: u64,
    /// When.
    pub at: Time,
    /// Who: the name of a token, `vm:ID`, or `service`.
    pub actor: String,
    /// What: `baseline.accept`, `alert.dismiss`, `join-token.create`, `vm.enroll`.
    pub action: String,
    /// On what.
    pub target: String,
    /// Details; never secrets.
    pub detail: serde_json::Value,
    /// SHA-256 over the previous entry's hash and this entry, hex; docs/audit.md has the exact bytes.
    pub hash: String,
}

/// Outcome of walking the whole audit log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AuditVerification {
    /// Whether every hash follows from the entry before it.
    pub intact: bool,
    /// Entries looked at.
    pub entries: u64,
    /// Sequence number of the first entry that does not fit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub broken_at: Option<u64>,
    /// Hash of the last entry, hex; note it elsewhere to notice a log that was cut at its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub head: Option<String>,
}
