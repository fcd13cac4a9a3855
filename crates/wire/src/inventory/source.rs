//! Where items come from.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{InventoryFormat, Time};

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
    /// When the newest document was made that said so, complete or not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exported_at: Option<Time>,
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
