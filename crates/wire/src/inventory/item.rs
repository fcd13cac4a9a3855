//! What sources say about one VM.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::code::{UnknownWord, words};
use crate::{
    InventoryChange, InventorySort, InventorySuggestion, MatchedBy, Severity, SuggestedBy, Time, VmStatus,
};

words! {
    /// Whether a VM runs, as its inventory says.
    PowerState {
        /// It runs.
        Running = "running",
        /// It is switched off, suspended or deallocated.
        Stopped = "stopped",
        /// The source does not say.
        Unknown = "unknown",
    }
}

words! {
    /// What is configured for Secure Boot or the vTPM of a VM.
    Configured {
        /// Switched on.
        On = "on",
        /// Switched off, and it could be on.
        Off = "off",
        /// This kind of VM does not have it.
        Unsupported = "unsupported",
        /// The source does not say.
        Unknown = "unknown",
    }
}

words! {
    /// Security type that is configured for a VM.
    ConfiguredSecurity {
        /// Neither of the others.
        Standard = "standard",
        /// vTPM and Secure Boot.
        TrustedLaunch = "trusted-launch",
        /// Hardware TEE.
        Confidential = "confidential",
        /// The source does not say.
        Unknown = "unknown",
    }
}

/// What a source says about one VM.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct InventoryFacts {
    /// Names the VM within its source and stays the same for its life: an id of the cloud, a UUID.
    pub key: String,
    /// Name.
    pub name: String,
    /// Group, like a resource group.
    pub group: String,
    /// Scale set that it is a member of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scale_set: Option<String>,
    /// `azure`, `gcp`, `aws`, `proxmox`, `libvirt`, or a word of the operator.
    pub platform: String,
    /// `linux`, `windows`, or absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub os: Option<String>,
    /// Region, zone or host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// Whether it runs.
    pub power: PowerState,
    /// Configured security type.
    pub security_type: ConfiguredSecurity,
    /// Technology of a confidential VM: `sev`, `sev-snp`, `tdx`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confidential_kind: Option<String>,
    /// Configured Secure Boot.
    pub secure_boot: Configured,
    /// Configured vTPM.
    pub vtpm: Configured,
    /// UUID of the machine, lower case.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub machine_uuid: Option<String>,
    /// Id of the cloud.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cloud_id: Option<String>,
    /// SHA-256 of the public area of its endorsement key, hex.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ek_sha256: Option<String>,
    /// Tags or labels.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<String, String>,
}

/// An item of the inventory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct InventoryItem {
    /// UUIDv7.
    pub id: String,
    /// Source that lists it.
    pub source: String,
    /// What the source says.
    #[serde(flatten)]
    pub facts: InventoryFacts,
    /// When it was first seen.
    pub first_seen_at: Time,
    /// When something about it was last different.
    pub changed_at: Time,
    /// Since when it is no longer listed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gone_at: Option<Time>,
    /// Since when it is stopped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stopped_at: Option<Time>,
    /// When the first document was made that did not list it any more; absent where none said when it was made. Nothing
    /// that happened later is excused by older documents.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gone_as_of: Option<Time>,
    /// When the first document was made that called it stopped; absent where none said when it was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stopped_as_of: Option<Time>,
    /// The enrolled VM that it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vm_id: Option<String>,
    /// How that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub matched_by: Option<MatchedBy>,
    /// Who linked it, where an operator did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub linked_by: Option<String>,
    /// What item and VM had in common when it was linked with others, as it was suggested.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub agreed_by: Vec<SuggestedBy>,
    /// Counts its changes: the `ETag` of writes.
    pub revision: u64,
}

/// An item in a list, with what contradicts it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct InventoryRow {
    /// The item.
    #[serde(flatten)]
    pub item: InventoryItem,
    /// Name of the enrolled VM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vm_name: Option<String>,
    /// Status of the enrolled VM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vm_status: Option<VmStatus>,
    /// Where sources, and sources and evidence, disagree.
    pub disagreements: Vec<InventoryDisagreement>,
}

/// Two that say different things about one VM.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct InventoryDisagreement {
    /// Stable identifier, see docs/inventory.md.
    pub code: String,
    /// How much it matters.
    pub severity: Severity,
    /// One sentence.
    pub message: String,
    /// What the source of this item says.
    pub configured: String,
    /// What the evidence, or the other source, says.
    pub other: String,
    /// The other source, where it is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub other_source: Option<String>,
    /// What to do.
    pub hint: String,
}

/// An item with everything about it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct InventoryItemDetail {
    /// What the list shows.
    #[serde(flatten)]
    pub row: InventoryRow,
    /// Enrolled VMs that it may be, when it is not known which.
    pub suggestions: Vec<InventorySuggestion>,
    /// Its last changes, newest first; at most 20.
    pub changes: Vec<InventoryChange>,
}

/// Filters of the list of items. Rows are ordered by group, name and id.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct InventoryQuery {
    /// Only this source.
    pub source: Option<String>,
    /// Only this group.
    pub group: Option<String>,
    /// Only members of this scale set.
    pub scale_set: Option<String>,
    /// Only this platform.
    pub platform: Option<String>,
    /// Only names that start with this.
    pub name_prefix: Option<String>,
    /// `true`: only those of enrolled VMs; `false`: only those without an agent.
    pub matched: Option<bool>,
    /// `true`: only those that are gone; `false` when absent.
    pub gone: Option<bool>,
    /// `true`: also those that are gone.
    pub all: Option<bool>,
    /// Only this power state.
    pub power: Option<PowerState>,
    /// Only this configured security type.
    pub security_type: Option<ConfiguredSecurity>,
    /// Only this configured Secure Boot.
    pub secure_boot: Option<Configured>,
    /// Only this configured vTPM.
    pub vtpm: Option<Configured>,
    /// `true`: only those that something contradicts.
    pub disagrees: Option<bool>,
    /// Order of the rows: `name` (group, then name) when absent.
    pub sort: Option<InventorySort>,
    /// Rows of the page, 1 to 1000; 100 when absent.
    pub limit: Option<u32>,
    /// Where the last page ended.
    pub cursor: Option<String>,
}
