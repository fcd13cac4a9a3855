//! Attestations, boots and their differences.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::{Facts, Finding, ScopeKind, Time, Verdict};

/// One appraisal of one piece of evidence.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Attestation {
    /// UUIDv7.
    pub id: String,
    /// The VM.
    pub vm_id: String,
    /// The boot it belongs to; absent when the quote could not be trusted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub boot_id: Option<String>,
    /// When the service appraised it.
    pub at: Time,
    /// The verdict.
    pub verdict: Verdict,
    /// The separate facts.
    pub facts: Facts,
    /// Everything that was noticed.
    pub findings: Vec<Finding>,
    /// Baseline that judged, as `name@version`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub baseline: Option<String>,
    /// What that baseline applies to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub baseline_scope: Option<ScopeKind>,
    /// Profile that judged, as `name@version`; `name@built-in` for one that comes with Veriboot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<String>,
    /// SHA-256 of the event log, hex.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log_sha256: Option<String>,
}

/// One start of a VM.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Boot {
    /// UUIDv7.
    pub id: String,
    /// The VM.
    pub vm_id: String,
    /// First attestation of this boot.
    pub first_attested_at: Time,
    /// Last attestation of this boot.
    pub last_attested_at: Time,
    /// TPM resetCount, with the obfuscation that the AK's hierarchy brings.
    pub reset_count: u32,
    /// TPM restartCount.
    pub restart_count: u32,
    /// SHA-256 of the event log, hex.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log_sha256: Option<String>,
    /// Verdict of its last attestation.
    pub verdict: Verdict,
    /// Attestations of this boot.
    pub attestations: u64,
    /// What was booted, by component in plain words: `kernel`, `kernel command line`, `shim`.
    pub components: BTreeMap<String, String>,
}

/// Difference of two boots, in the words of findings.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct BootDiff {
    /// The earlier boot.
    pub from: String,
    /// The later boot.
    pub to: String,
    /// What differs; empty when both booted the same.
    pub changes: Vec<Finding>,
}

/// Paging of a history, newest first.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct HistoryQuery {
    /// Rows of the page, 1 to 1000; 100 when absent.
    pub limit: Option<u32>,
    /// Where the last page ended.
    pub cursor: Option<String>,
}
