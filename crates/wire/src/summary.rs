//! The fleet at a glance, and which service this is.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::Time;

/// Counts over the whole fleet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FleetSummary {
    /// The time at the service.
    pub now: Time,
    /// All VMs.
    pub vms: u64,
    /// VMs by status; every status is present.
    pub by_status: BTreeMap<String, u64>,
    /// Alerts that are active or in progress.
    pub open_alerts: u64,
    /// The same by reason; every reason is present.
    pub open_alerts_by_reason: BTreeMap<String, u64>,
    /// Proposals that wait for a decision.
    #[serde(default)]
    pub open_proposals: u64,
}

/// Which service this is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ServiceVersion {
    /// Always `veriboot`.
    pub product: String,
    /// Version of the service.
    pub version: String,
    /// Versions of the agent protocol that it speaks.
    pub agent_protocols: Vec<u32>,
}
