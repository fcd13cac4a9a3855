//! Findings: what an appraisal saw, in a form that programs compare and people read.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{AlertReason, ChangeAction, ChangeClass, Severity};

/// One thing that an appraisal noticed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Finding {
    /// Stable identifier in kebab case; docs/findings.md lists all of them.
    pub code: String,
    /// How much it matters; `high` and `critical` fail the attestation.
    pub severity: Severity,
    /// The alert reason that this finding belongs to, when it fails the attestation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<AlertReason>,
    /// The PCR that shows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pcr: Option<u32>,
    /// Index of the event in the log, from 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event: Option<u32>,
    /// The component in plain words: `kernel command line`, `shim`, `db`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub component: Option<String>,
    /// What the baseline or the rule expects, in plain words or hex.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected: Option<String>,
    /// What was seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seen: Option<String>,
    /// Subject of the certificate that admitted the component, where known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signer: Option<String>,
    /// Class of the change, for deviations.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub change: Option<ChangeClass>,
    /// What the profile does with it, for deviations that it may not fail.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub action: Option<ChangeAction>,
    /// What somebody who attacks the machine gains by a change of this class, in one sentence; for deviations.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub risk: Option<String>,
    /// One sentence that a person understands: "kernel command line changed: added `init=/bin/sh`".
    pub message: String,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

impl Finding {
    /// A finding with only its code, severity and message set.
    pub fn new(code: &str, severity: Severity, message: impl Into<String>) -> Self {
        Self {
            code: code.to_owned(),
            severity,
            reason: None,
            pcr: None,
            event: None,
            component: None,
            expected: None,
            seen: None,
            signer: None,
            change: None,
            action: None,
            risk: None,
            message: message.into(),
            hint: None,
        }
    }

    /// Whether this finding alone makes the attestation fail.
    pub fn fails(&self) -> bool {
        self.severity >= Severity::High
    }
}
