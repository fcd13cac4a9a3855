//! Incidents: alerts of members of one scale set with one cause.

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::{AlertReason, AlertState, ChangeClass, IncidentState, Severity, Technique, Time};

/// Alerts of members of one scale set that have reason and cause in common.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Incident {
    /// UUIDv7.
    pub id: String,
    /// Type id of its alerts.
    pub kind: String,
    /// Headline for people.
    pub title: String,
    /// Reason of its alerts.
    pub reason: AlertReason,
    /// How much it matters.
    pub severity: Severity,
    /// Open while one of its alerts is.
    pub state: IncidentState,
    /// Group of the scale set.
    pub group: String,
    /// The scale set.
    pub scale_set: String,
    /// What happened, in the words of the first alert.
    pub message: String,
    /// The component that changed, in plain words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub component: Option<String>,
    /// Codes of the findings that its alerts have in common.
    pub codes: Vec<String>,
    /// Classes of the changes.
    pub classes: Vec<ChangeClass>,
    /// Techniques of MITRE ATT&CK that such a failure may show.
    pub techniques: Vec<Technique>,
    /// Alerts that ever became members; the alerts of VMs that were deleted since count too.
    pub members: u64,
    /// Members that are active or in progress.
    pub open: u64,
    /// When the first alert came.
    pub first_at: Time,
    /// When the last member came.
    pub last_at: Time,
    /// When the last of its alerts was closed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub closed_at: Option<Time>,
    /// Path of its alerts in the API.
    pub alerts: String,
}

/// One alert of an incident.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct IncidentMember {
    /// The alert.
    pub alert_id: String,
    /// Its VM.
    pub vm_id: String,
    /// Name of the VM.
    pub vm_name: String,
    /// Where the alert is in its life.
    pub state: AlertState,
    /// How often it was raised.
    pub count: u64,
    /// First time.
    pub first_at: Time,
    /// Last time.
    pub last_at: Time,
}

/// Filters of the list of incidents. Rows are ordered newest first.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct IncidentQuery {
    /// Only this state.
    pub state: Option<IncidentState>,
    /// Only this reason.
    pub reason: Option<AlertReason>,
    /// Only changes of this class.
    pub class: Option<ChangeClass>,
    /// Only this group.
    pub group: Option<String>,
    /// Only this scale set.
    pub scale_set: Option<String>,
    /// Only incidents that began at this time or later (RFC 3339).
    pub since: Option<Time>,
    /// Rows of the page, 1 to 1000; 100 when absent.
    pub limit: Option<u32>,
    /// Where the last page ended.
    pub cursor: Option<String>,
}
