//! Inventory: which VMs exist and what is configured for them, as sources say.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::code::{UnknownWord, words};
use crate::{Severity, Time, VmStatus};

words! {
    /// What an export of VMs is written in.
    InventoryFormat {
        /// The declarative file of Veriboot, TOML or JSON.
        Declarative = "veriboot",
        /// Domain XML of libvirt.
        Libvirt = "libvirt",
        /// `az vm list -d -o json`.
        AzVm = "az-vm",
        /// `az vmss list -o json`.
        AzVmss = "az-vmss",
        /// `az vmss list-instances -o json`.
        AzVmssInstances = "az-vmss-instances",
        /// `gcloud compute instances list --format=json`.
        Gcloud = "gcloud",
        /// `aws ec2 describe-instances`.
        AwsEc2 = "aws-ec2",
        /// Recorded answers of the API of Proxmox VE.
        Proxmox = "proxmox",
    }
}

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

words! {
    /// What a sync saw about an item.
    InventoryChangeKind {
        /// It was not there before.
        Added = "added",
        /// Something that is said about it is different.
        Changed = "changed",
        /// It is no longer there.
        Gone = "gone",
        /// It was gone, and is there again.
        Returned = "returned",
        /// An operator linked it to an enrolled VM, or it showed the TPM of one.
        Linked = "linked",
        /// It is no longer that of an enrolled VM.
        Unlinked = "unlinked",
    }
}

words! {
    /// How an item came to its enrolled VM.
    MatchedBy {
        /// It declares the endorsement key that the VM enrolled with.
        VerifiedIdentity = "verified-identity",
        /// An operator linked this item to this VM.
        Link = "link",
        /// An operator took what was suggested, together with others.
        Suggestion = "suggestion",
    }
}

words! {
    /// Why an item may be an enrolled VM.
    SuggestedBy {
        /// The guest names the same machine UUID. A guest can name any.
        MachineUuid = "machine-uuid",
        /// Name and group are the same.
        Name = "name",
        /// Group and scale set are the same.
        ScaleSet = "scale-set",
        /// What the guest says about its hardware is of the item's platform.
        Platform = "platform",
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
    /// The enrolled VM that it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vm_id: Option<String>,
    /// How that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub matched_by: Option<MatchedBy>,
    /// Who linked it, where an operator did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub linked_by: Option<String>,
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

/// An enrolled VM that an item may be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct InventorySuggestion {
    /// The item.
    pub item_id: String,
    /// Its name.
    pub item_name: String,
    /// Its source.
    pub source: String,
    /// The VM.
    pub vm_id: String,
    /// Its name.
    pub vm_name: String,
    /// Its group.
    pub vm_group: String,
    /// What they have in common.
    pub by: Vec<SuggestedBy>,
    /// Whether there is no other candidate for either.
    pub only_one: bool,
    /// Why it is left to be linked by hand; absent where all suggestions can be taken at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by_hand_because: Option<String>,
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

/// What an enrolled VM's page shows of the inventory.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct VmInventory {
    /// Its items: one of each source that lists it.
    pub items: Vec<InventoryRow>,
    /// Items that may be this VM, when it has none.
    pub suggestions: Vec<InventorySuggestion>,
}

/// A value that is different.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct InventoryDifference {
    /// Member of the item.
    pub field: String,
    /// What it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// What it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
}

/// One change of one item.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct InventoryChange {
    /// UUIDv7; absent in a dry run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// When.
    pub at: Time,
    /// Source.
    pub source: String,
    /// The item; absent in a dry run that would add it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub item_id: Option<String>,
    /// Its key within the source.
    pub key: String,
    /// Its name.
    pub name: String,
    /// Its group.
    pub group: String,
    /// What happened.
    pub kind: InventoryChangeKind,
    /// What is different, for `changed` and `returned`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub differences: Vec<InventoryDifference>,
    /// Who synced or linked.
    pub by: String,
}

/// Where items come from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct InventorySource {
    /// Name.
    pub name: String,
    /// Format of its documents; recognised each time when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub format: Option<InventoryFormat>,
    /// Group of all its items, in place of what the documents say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// File or folder that the service reads by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// What it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    /// When it was made.
    pub created_at: Time,
    /// Who made it.
    pub created_by: String,
    /// Since when it is no longer used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retired_at: Option<Time>,
    /// Last sync that was taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_sync_at: Option<Time>,
    /// Last sync that failed, when that is newer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed_at: Option<Time>,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_error: Option<String>,
    /// Items that are there.
    pub items: u64,
    /// Those of them that are an enrolled VM.
    pub matched: u64,
    /// Items that are gone.
    pub gone: u64,
    /// Counts its changes: the `ETag` of writes.
    pub revision: u64,
}

/// What an operator says about a source.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct InventorySourcePut {
    /// Format of its documents; recognised each time when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub format: Option<InventoryFormat>,
    /// Group of all its items, in place of what the documents say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// What it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
}

/// How a document is synced.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct InventorySyncQuery {
    /// Format of the document; that of the source, or recognised, when absent.
    pub format: Option<InventoryFormat>,
    /// `false`: the document lists some VMs only, and none is gone. `true` when absent.
    pub complete: Option<bool>,
    /// Only says what would change.
    pub dry_run: Option<bool>,
    /// Takes a document in which more than half of the known VMs are missing.
    pub allow_shrink: Option<bool>,
}

/// What a sync did, or would do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct InventorySynced {
    /// Source.
    pub source: String,
    /// Format that was read.
    pub format: InventoryFormat,
    /// When.
    pub at: Time,
    /// Whether nothing was written.
    pub dry_run: bool,
    /// Whether items that are missing are gone.
    pub complete: bool,
    /// VMs in the document.
    pub items: u64,
    /// New ones.
    pub added: u64,
    /// Different ones.
    pub changed: u64,
    /// Missing ones.
    pub gone: u64,
    /// Ones that were gone.
    pub returned: u64,
    /// Same as before.
    pub unchanged: u64,
    /// Items that are an enrolled VM now and were not before.
    pub matched: u64,
    /// What changed, by key; at most 1000.
    pub changes: Vec<InventoryChange>,
    /// Changes beyond those; `GET /v1/inventory/changes` has all of a sync that was written.
    pub more_changes: u64,
    /// What the reader left out, and why; at most 20.
    pub notes: Vec<String>,
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
    /// Rows of the page, 1 to 1000; 100 when absent.
    pub limit: Option<u32>,
    /// Where the last page ended.
    pub cursor: Option<String>,
}

/// Filters of the list of changes. Newest first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct InventoryChangeQuery {
    /// Only this source.
    pub source: Option<String>,
    /// Only this item.
    pub item: Option<String>,
    /// Only this kind.
    pub kind: Option<InventoryChangeKind>,
    /// Rows of the page, 1 to 1000; 100 when absent.
    pub limit: Option<u32>,
    /// Where the last page ended.
    pub cursor: Option<String>,
}

/// An enrolled VM that no source lists.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct UnlistedVm {
    /// The VM.
    pub vm_id: String,
    /// Its name.
    pub name: String,
    /// Its group.
    pub group: String,
    /// Its scale set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scale_set: Option<String>,
    /// Health.
    pub status: VmStatus,
    /// When it last attested.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_attested_at: Option<Time>,
    /// Since when no source lists it, when one did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gone_at: Option<Time>,
}

/// Links an item to an enrolled VM.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct InventoryLink {
    /// Id of the VM, or its name where only one VM has it.
    pub vm: String,
    /// Group of the VM, when several have its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
}

/// Links every item that has exactly one candidate, which has no other and agrees with it in enough.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct InventoryLinkSuggested {
    /// Only items of this source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// Only items of this group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// Only says what would be linked.
    #[serde(default)]
    pub dry_run: bool,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
}

/// What was linked, or would be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct InventoryLinked {
    /// Whether nothing was written.
    pub dry_run: bool,
    /// Linked pairs.
    pub linked: Vec<InventorySuggestion>,
    /// Items with candidates that are left to be linked by hand, of those that were looked at.
    #[serde(default)]
    pub left: u64,
    /// Whether there may be more: at most 1000 are linked by one call.
    pub more: bool,
}

/// The document of an inventory: `veriboot-inventory/1`.
pub const INVENTORY_SCHEMA: &str = "veriboot-inventory/1";

/// Why a VM is not expected to attest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Absence {
    /// No source lists it any more.
    Gone {
        /// Since when.
        since: Time,
    },
    /// It is stopped.
    Stopped {
        /// Since when.
        since: Time,
    },
}

impl Absence {
    /// Since when.
    pub const fn since(self) -> Time {
        match self {
            Self::Gone { since } | Self::Stopped { since } => since,
        }
    }
}
