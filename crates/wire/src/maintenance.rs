//! Declared maintenance: silence inside a window is no alert.

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::{MaintenanceState, Scope, Time};

/// The longest maintenance window, days.
pub const MAX_MAINTENANCE_DAYS: u32 = 31;

/// A time in which VMs may be silent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Maintenance {
    /// UUIDv7.
    pub id: String,
    /// Which VMs: one, a scale set, or a group.
    pub scope: Scope,
    /// Name of the VM, for a window of one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vm_name: Option<String>,
    /// Whether it holds.
    pub state: MaintenanceState,
    /// When it begins.
    pub from: Time,
    /// When it ends, or was ended while it held; one that was ended before it began keeps its plan. A VM is not called silent until one silence limit of its own later.
    pub until: Time,
    /// Why.
    pub comment: String,
    /// Who declared it: the name of a token.
    pub created_by: String,
    /// When it was declared.
    pub created_at: Time,
    /// Who ended it before its time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_by: Option<String>,
    /// When.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Time>,
    /// 1, and 2 once somebody has ended it; the number in the `ETag`. 0 of a service that does not say it.
    #[serde(default)]
    pub revision: u64,
    /// VMs in the scope when it was declared; only in the answer to that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vms: Option<u64>,
}

/// Declares a maintenance window.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct MaintenanceDeclare {
    /// Which VMs: kind `vm` (id or name), `scale-set` or `group`.
    pub scope: Scope,
    /// When it begins; now when absent.
    #[serde(default)]
    pub from: Option<Time>,
    /// When it ends, at most 31 days after its beginning.
    pub until: Time,
    /// Why.
    pub comment: String,
}

/// Filters of the list of maintenance windows. Rows are ordered newest first.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct MaintenanceQuery {
    /// Only windows in this state.
    pub state: Option<MaintenanceState>,
    /// Only windows of this group, its scale sets and its VMs.
    pub group: Option<String>,
    /// Rows of the page, 1 to 1000; 100 when absent.
    pub limit: Option<u32>,
    /// Where the last page ended.
    pub cursor: Option<String>,
}
