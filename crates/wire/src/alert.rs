//! Alerts.

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::{AlertReason, AlertState, Finding, Severity, Time};

/// Type id of the alert that a failed attestation raises. Stable.
pub const ALERT_ATTESTATION_FAILED: &str = "vm-attestation-failed";

/// One alert: at most one is open per VM and reason.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Alert {
    /// UUIDv7.
    pub id: String,
    /// Stable type id.
    pub kind: String,
    /// Headline for people.
    pub title: String,
    /// Why it was raised.
    pub reason: AlertReason,
    /// How much it matters.
    pub severity: Severity,
    /// Where it is in its life.
    pub state: AlertState,
    /// The VM.
    pub vm_id: String,
    /// Its name.
    pub vm_name: String,
    /// Its group.
    pub group: String,
    /// Its scale set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scale_set: Option<String>,
    /// The component that changed, in plain words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub component: Option<String>,
    /// One sentence: what happened.
    pub message: String,
    /// What to do.
    pub remediation: String,
    /// Findings of the latest attestation that fed this alert.
    pub findings: Vec<Finding>,
    /// The latest attestation that fed this alert.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attestation_id: Option<String>,
    /// How often it was raised.
    pub count: u64,
    /// First time.
    pub first_at: Time,
    /// Last time.
    pub last_at: Time,
    /// When it was resolved or dismissed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub closed_at: Option<Time>,
    /// What happened to it, oldest first.
    pub timeline: Vec<AlertEvent>,
}

/// One step in the life of an alert.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AlertEvent {
    /// When.
    pub at: Time,
    /// The state it went to.
    pub state: AlertState,
    /// Who did it: the name of a token, or `service`.
    pub by: String,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
}

/// Filters of the alert list. Rows are ordered newest first.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct AlertQuery {
    /// Only this state.
    pub state: Option<AlertState>,
    /// Only alerts that are active or in progress.
    pub open: Option<bool>,
    /// Only this reason.
    pub reason: Option<AlertReason>,
    /// Only this VM (id).
    pub vm: Option<String>,
    /// Only this group.
    pub group: Option<String>,
    /// Rows of the page, 1 to 1000; 100 when absent.
    pub limit: Option<u32>,
    /// Where the last page ended.
    pub cursor: Option<String>,
}

/// Moves an alert to another state.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AlertChange {
    /// Why; kept in the timeline and in the audit log.
    #[serde(default)]
    pub comment: Option<String>,
}
