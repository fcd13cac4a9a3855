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
