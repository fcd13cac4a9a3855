//! Alerts.

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::{AlertAction, AlertReason, AlertSort, AlertState, ChangeClass, Finding, Severity, Time};

/// Type id of the alert that a failed attestation raises. Stable.
pub const ALERT_ATTESTATION_FAILED: &str = "vm-attestation-failed";
/// Type id of the alert that is raised when the service cannot appraise evidence. Stable.
pub const ALERT_APPRAISAL_FAILED: &str = "vm-appraisal-failed";

/// The most alerts that one bulk action changes.
pub const MAX_BULK_ALERTS: usize = 10_000;
/// The most rows that one export holds.
pub const MAX_EXPORT_ROWS: usize = 10_000;

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
    /// What to do, in one paragraph.
    pub remediation: String,
    /// What to do, step by step, with commands for this very VM.
    #[serde(default)]
    pub steps: Vec<String>,
    /// Techniques of MITRE ATT&CK that such a failure may show.
    #[serde(default)]
    pub techniques: Vec<Technique>,
    /// Classes of the changes behind it, for deviations.
    #[serde(default)]
    pub classes: Vec<ChangeClass>,
    /// What may be compromised.
    #[serde(default)]
    pub entity: AlertEntity,
    /// Where to look further: paths of the API.
    #[serde(default)]
    pub links: AlertLinks,
    /// The incident that it is a member of, in a scale set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub incident_id: Option<String>,
    /// The suppression rule that dismissed it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suppressed_by: Option<String>,
    /// How often it came back after it was resolved.
    #[serde(default)]
    pub reopened: u64,
    /// Counts the changes of its state and of its cause, not how often it was raised: the `ETag` of the alert.
    #[serde(default)]
    pub revision: u64,
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

impl Alert {
    /// Header of the CSV form of a list.
    pub const CSV_HEADER: [&'static str; 20] = [
        "id",
        "kind",
        "reason",
        "severity",
        "state",
        "vm",
        "vm_id",
        "group",
        "scale_set",
        "component",
        "message",
        "classes",
        "techniques",
        "count",
        "reopened",
        "first_at",
        "last_at",
        "closed_at",
        "incident_id",
        "suppressed_by",
    ];

    /// One record of the CSV form of a list.
    pub fn csv(&self) -> String {
        let joined = |words: Vec<&str>| words.join(" ");
        let time = |time: Option<Time>| time.map(|t| t.to_string()).unwrap_or_default();
        let optional = |text: &Option<String>| text.clone().unwrap_or_default();
        let cells = [
            self.id.clone(),
            self.kind.clone(),
            self.reason.to_string(),
            self.severity.to_string(),
            self.state.to_string(),
            self.vm_name.clone(),
            self.vm_id.clone(),
            self.group.clone(),
            optional(&self.scale_set),
            optional(&self.component),
            self.message.clone(),
            joined(self.classes.iter().map(|class| class.as_str()).collect()),
            joined(self.techniques.iter().map(|technique| technique.id.as_str()).collect()),
            self.count.to_string(),
            self.reopened.to_string(),
            self.first_at.to_string(),
            self.last_at.to_string(),
            time(self.closed_at),
            optional(&self.incident_id),
            optional(&self.suppressed_by),
        ];
        crate::csv_record(cells.iter().map(String::as_str))
    }
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

/// A technique of MITRE ATT&CK.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Technique {
    /// `T1542.003`.
    pub id: String,
    /// `Pre-OS Boot: Bootkit`.
    pub name: String,
}

/// What an alert is about.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AlertEntity {
    /// Kind of thing: `vm`.
    pub kind: String,
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Its group.
    pub group: String,
    /// Its scale set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scale_set: Option<String>,
    /// Hypervisor or cloud, as the guest says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<String>,
    /// Operating system, as the guest says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub os: Option<String>,
}

/// Paths of the API below the URL of the service.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AlertLinks {
    /// The alert.
    pub alert: String,
    /// The VM.
    pub vm: String,
    /// The latest attestation that fed the alert.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attestation: Option<String>,
    /// Its evidence, for `veriboot evidence verify`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evidence: Option<String>,
    /// The boot that it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub boot: Option<String>,
    /// How that boot differs from the VM's last healthy one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub diff: Option<String>,
    /// The incident.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub incident: Option<String>,
}

/// Filters and order of the alert list.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct AlertQuery {
    /// Only this state.
    pub state: Option<AlertState>,
    /// Only alerts that are active or in progress.
    pub open: Option<bool>,
    /// Only this type: `vm-attestation-failed`, `vm-appraisal-failed`.
    pub kind: Option<String>,
    /// Only this reason.
    pub reason: Option<AlertReason>,
    /// Only this severity and above.
    pub severity: Option<Severity>,
    /// Only alerts with a change of this class.
    pub class: Option<ChangeClass>,
    /// Only this VM (id).
    pub vm: Option<String>,
    /// Only this group.
    pub group: Option<String>,
    /// Only members of this scale set.
    pub scale_set: Option<String>,
    /// Only members of this incident (id).
    pub incident: Option<String>,
    /// Only alerts that suppression rules dismissed (true), or only others (false).
    pub suppressed: Option<bool>,
    /// Only alerts that this suppression rule dismissed (id).
    pub suppressed_by: Option<String>,
    /// Only alerts that were raised at this time or later (RFC 3339).
    pub since: Option<Time>,
    /// Order of the rows: `newest` (by the first time it was raised) when absent.
    pub sort: Option<AlertSort>,
    /// Rows of the page, 1 to 1000; 100 when absent.
    pub limit: Option<u32>,
    /// Where the last page ended.
    pub cursor: Option<String>,
}

/// Which alerts a bulk action is about: the filters of the list that name what people handle together.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AlertFilter {
    /// Only this state: active or in progress; both when absent.
    pub state: Option<AlertState>,
    /// Only this type.
    pub kind: Option<String>,
    /// Only this reason.
    pub reason: Option<AlertReason>,
    /// Only this severity and above.
    pub severity: Option<Severity>,
    /// Only alerts with a change of this class.
    pub class: Option<ChangeClass>,
    /// Only this VM (id).
    pub vm: Option<String>,
    /// Only this group.
    pub group: Option<String>,
    /// Only members of this scale set.
    pub scale_set: Option<String>,
    /// Only members of this incident (id).
    pub incident: Option<String>,
    /// Only alerts that were raised at this time or later (RFC 3339).
    pub since: Option<Time>,
}

impl From<AlertFilter> for AlertQuery {
    fn from(f: AlertFilter) -> Self {
        let AlertFilter { state, kind, reason, severity, class, vm, group, scale_set, incident, since } = f;
        Self {
            state,
            open: Some(true),
            kind,
            reason,
            severity,
            class,
            vm,
            group,
            scale_set,
            incident,
            since,
            ..Self::default()
        }
    }
}

/// Moves several alerts to another state: those that are named, or those that a filter finds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AlertBulk {
    /// What to do with them.
    pub action: AlertAction,
    /// Ids of the alerts, at most [`MAX_BULK_ALERTS`].
    #[serde(default)]
    pub ids: Option<Vec<String>>,
    /// Which alerts, instead of ids; only open ones are taken. At least one filter is needed.
    #[serde(default)]
    pub filter: Option<AlertFilter>,
    /// Why; kept in the timelines and in the audit log.
    #[serde(default)]
    pub comment: Option<String>,
    /// Change nothing, and say how many it would be.
    #[serde(default)]
    pub dry_run: bool,
    /// How many the dry run with this filter found: refused with `count-differs` when it is another number by now.
    /// Needed with a filter.
    #[serde(default)]
    pub expected: Option<u64>,
}

/// What a bulk action came to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AlertsChanged {
    /// Open alerts that were named or found.
    pub matched: u64,
    /// Alerts that were changed; none in a dry run.
    pub changed: u64,
    /// Ids that were named and are no alerts, or closed already; the first 100.
    pub skipped: Vec<String>,
    /// Some of what was matched: VM and reason, the first 10.
    pub sample: Vec<String>,
    /// Whether nothing was changed on purpose.
    pub dry_run: bool,
}

/// Moves an alert to another state.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AlertChange {
    /// Why; kept in the timeline and in the audit log.
    #[serde(default)]
    pub comment: Option<String>,
}
