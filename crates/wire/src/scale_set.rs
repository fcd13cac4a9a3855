//! Scale sets: their members, and who of them booted something else.

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::{Finding, Majority, VmStatus};

/// A uniform scale set at a glance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ScaleSet {
    /// Group.
    pub group: String,
    /// Name.
    pub name: String,
    /// VMs in it.
    pub members: u64,
    /// Members that are healthy.
    pub healthy: u64,
    /// The worst status of a member: unhealthy, error, stale, pending, healthy, unmonitored, in this order.
    pub worst: VmStatus,
    /// Members whose present boot is known and believed. Only these are compared.
    pub compared: u64,
    /// Different boots among them.
    pub boots: u64,
    /// Whether more than half of them booted the same.
    pub majority: Majority,
    /// Compared members that booted something else than the majority.
    pub odd: u64,
}

/// A scale set with what its members booted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ScaleSetDetail {
    /// What the list shows.
    #[serde(flatten)]
    pub set: ScaleSet,
    /// One sentence: who is odd, or why nobody is named.
    pub summary: String,
    /// Members by what they booted, largest group first. At most 50.
    pub groups: Vec<BootGroup>,
    /// Groups beyond those.
    pub more_groups: u64,
}

/// Members that booted the same, as far as it is enforced.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct BootGroup {
    /// SHA-256 over everything that is enforced of the boot, hex.
    pub boot_key: String,
    /// Members in it.
    pub size: u64,
    /// Whether this is what most members booted.
    pub majority: bool,
    /// Some of its members, by name. At most 20.
    pub members: Vec<BootGroupMember>,
    /// The boot that stands for the group in the comparison.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub boot_id: Option<String>,
    /// What differs from the majority, most telling first. Empty for the majority, where there is none, and for groups
    /// beyond the first 20.
    pub differences: Vec<Finding>,
}

/// A member of a group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BootGroupMember {
    /// The VM.
    pub vm_id: String,
    /// Its name.
    pub vm_name: String,
    /// Health.
    pub status: VmStatus,
}

/// A VM that booted something else than most members of its scale set.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct OddOneOut {
    /// The scale set.
    pub scale_set: String,
    /// One sentence: "odd one out of web: kernel changed: …".
    pub message: String,
    /// Members that booted the same as this VM.
    pub like_it: u64,
    /// Members that were compared.
    pub compared: u64,
    /// What differs from the majority, most telling first.
    pub differences: Vec<Finding>,
}

/// Filters of the list of scale sets. Rows are ordered by group, then name.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ScaleSetQuery {
    /// Only this group.
    pub group: Option<String>,
    /// Rows of the page, 1 to 1000; 100 when absent.
    pub limit: Option<u32>,
    /// Where the last page ended.
    pub cursor: Option<String>,
}
