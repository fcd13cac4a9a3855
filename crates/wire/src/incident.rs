//! Incidents: alerts of members of one scale set with one cause.

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::{AlertReason, AlertState, ChangeClass, IncidentSort, IncidentState, Severity, Technique, Time};

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
    /// Names its alerts and their states, where one incident is shown. Give it as `If-Match` to act on exactly these.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub etag: Option<String>,
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

impl Incident {
    /// Header of the CSV form of a list.
    pub const CSV_HEADER: [&'static str; 15] = [
        "id",
        "state",
        "group",
        "scale_set",
        "kind",
        "reason",
        "severity",
        "component",
        "message",
        "classes",
        "open",
        "members",
        "first_at",
        "last_at",
        "closed_at",
    ];

    /// One record of the CSV form of a list.
    pub fn csv(&self) -> String {
        let classes: Vec<&str> = self.classes.iter().map(|class| class.as_str()).collect();
        let cells = [
            self.id.clone(),
            self.state.to_string(),
            self.group.clone(),
            self.scale_set.clone(),
            self.kind.clone(),
            self.reason.to_string(),
            self.severity.to_string(),
            self.component.clone().unwrap_or_default(),
            self.message.clone(),
            classes.join(", "),
            self.open.to_string(),
            self.members.to_string(),
            self.first_at.to_string(),
            self.last_at.to_string(),
            self.closed_at.map(|at| at.to_string()).unwrap_or_default(),
        ];
        crate::csv_record(cells.iter().map(String::as_str))
    }
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
    /// Order of the rows: `newest` (by when it began) when absent.
    pub sort: Option<IncidentSort>,
    /// Rows of the page, 1 to 1000; 100 when absent. In CSV up to 10,000, which is what it is when absent.
    pub limit: Option<u32>,
    /// Where the last page ended.
    pub cursor: Option<String>,
}
