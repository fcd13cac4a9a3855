//! The audit log.

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::{Time, csv_record};

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

/// Filters of the audit log. Rows are ordered by their position, newest first; by time where only a time narrows them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct AuditQuery {
    /// Only what this one did: the name of a token, `vm:ID`, or `service`.
    pub actor: Option<String>,
    /// Only this action, or `alert.*` for all that begin so.
    pub action: Option<String>,
    /// Only on exactly this: an id, or a name where things have no ids.
    pub target: Option<String>,
    /// Only entries of this time or later (RFC 3339).
    pub from: Option<Time>,
    /// Only entries before this time (RFC 3339).
    pub until: Option<Time>,
    /// Rows of the page, 1 to 1000; 100 when absent.
    pub limit: Option<u32>,
    /// Where the last page ended.
    pub cursor: Option<String>,
}

impl AuditEntry {
    /// Columns of [`Self::csv`].
    pub const CSV_HEADER: [&'static str; 7] =
        ["sequence", "at", "actor", "action", "target", "detail", "hash"];

    /// One line of CSV; `detail` is JSON.
    pub fn csv(&self) -> String {
        let (sequence, at, detail) =
            (self.sequence.to_string(), self.at.to_string(), self.detail.to_string());
        csv_record(
            [&sequence, &at, &self.actor, &self.action, &self.target, &detail, &self.hash]
                .map(String::as_str),
        )
    }
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
