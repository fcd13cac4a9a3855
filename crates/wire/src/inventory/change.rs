//! What changed in the inventory.

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::Time;
use crate::code::{UnknownWord, words};

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
