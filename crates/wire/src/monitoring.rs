//! Where integrity monitoring is on.

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::{Scope, ScopeKind, Time};

/// What is set for one scope.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct MonitoringSetting {
    /// VM, scale set or group. The most specific setting wins.
    pub scope: Scope,
    /// Name of the VM, for one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vm_name: Option<String>,
    /// Whether its VMs are monitored.
    pub enabled: bool,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    /// When it was set.
    pub set_at: Time,
    /// Who set it.
    pub set_by: String,
    /// Counts the changes, from 1; the number in the `ETag`.
    pub revision: u64,
}

/// Turns integrity monitoring on or off.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct MonitoringPut {
    /// A VM (by id or name), a scale set or a group.
    pub scope: Scope,
    /// Whether its VMs are monitored.
    pub enabled: bool,
    /// Why; kept with the setting and in the audit log.
    #[serde(default)]
    pub comment: Option<String>,
}

/// One scope. All of it in the query, since names of groups and sets are not unique over kinds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct MonitoringScope {
    /// `vm`, `scale-set` or `group`.
    pub kind: ScopeKind,
    /// The group. For a VM that is named by its id it may be empty.
    #[serde(default)]
    pub group: String,
    /// VM (id or name) or scale set; empty for a group.
    #[serde(default)]
    pub id: String,
    /// Why, when the setting is removed; kept in the audit log.
    #[serde(default)]
    pub comment: Option<String>,
}

/// Filters of the list of settings.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct MonitoringQuery {
    /// Only this group, its scale sets and VMs.
    pub group: Option<String>,
    /// Rows of the page, 1 to 1000; 100 when absent.
    pub limit: Option<u32>,
    /// Where the last page ended.
    pub cursor: Option<String>,
}

/// How far a change came on its way to the VMs of its scope.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct MonitoringSwitch {
    /// UUIDv7.
    pub id: String,
    /// Its VMs.
    pub scope: Scope,
    /// When it was asked for.
    pub asked_at: Time,
    /// By whom.
    pub asked_by: String,
    /// VMs of the scope.
    pub vms: u64,
    /// VMs that were looked at.
    pub done: u64,
    /// VMs whose monitoring changed; the others have a more specific setting, or had it already.
    pub switched: u64,
    /// When all were looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<Time>,
}

/// A change of a setting.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct MonitoringChanged {
    /// The scope as it is now.
    pub status: MonitoringStatus,
    /// How far it came to the VMs. What is left is done in the background.
    pub switch: MonitoringSwitch,
}

/// How it is with one scope.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct MonitoringStatus {
    /// The scope; a VM by its id.
    pub scope: Scope,
    /// Name of the VM, for one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vm_name: Option<String>,
    /// What holds for it.
    pub monitoring: Monitoring,
    /// Its own setting.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub setting: Option<MonitoringSetting>,
    /// VMs in it.
    pub vms: u64,
    /// VMs in it that are monitored.
    pub monitored: u64,
    /// A change that is still on its way to its VMs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub switch: Option<MonitoringSwitch>,
}

/// Whether integrity monitoring is on, and who says so.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Monitoring {
    /// Whether it is on.
    pub enabled: bool,
    /// Kind of the scope whose setting holds; absent where nobody has set anything, and it is on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<ScopeKind>,
    /// For people: `enabled (by group default)`.
    pub text: String,
}

impl Monitoring {
    /// What this setting, or none, comes to.
    pub fn of(setting: Option<&MonitoringSetting>) -> Self {
        let Some(setting) = setting else {
            return Self { enabled: true, by: None, text: "enabled (nothing is set)".to_owned() };
        };
        let word = if setting.enabled { "enabled" } else { "disabled" };
        let by = match setting.scope.kind {
            ScopeKind::Vm => "for this VM".to_owned(),
            ScopeKind::ScaleSet => format!("by scale set {}", setting.scope.id),
            ScopeKind::Image => format!("by image {}", setting.scope.id),
            ScopeKind::Group => format!("by group {}", setting.scope.group),
        };
        Self { enabled: setting.enabled, by: Some(setting.scope.kind), text: format!("{word} ({by})") }
    }
}
