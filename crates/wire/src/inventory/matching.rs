//! Which item is which enrolled VM.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::code::{UnknownWord, words};
use crate::{InventoryRow, ProblemDetail, Time, VmStatus};

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

/// What an enrolled VM's page shows of the inventory.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct VmInventory {
    /// Its items: one of each source that lists it.
    pub items: Vec<InventoryRow>,
    /// Items that may be this VM, when it has none.
    pub suggestions: Vec<InventorySuggestion>,
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
    /// What kept the rest from being linked; absent where all were.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed: Option<InventoryLinkFailed>,
}

/// Pairs that were not linked because of a failure. Those before them are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct InventoryLinkFailed {
    /// How many items were not linked.
    pub items: u64,
    /// Why; the same call goes on where it stopped.
    pub error: ProblemDetail,
}

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
