//! What is synced: documents, and what a sync did.

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::code::{UnknownWord, words};
use crate::{InventoryChange, Time};

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
    /// When the document was made, RFC 3339. What it calls stopped, or does not list, excuses the silence of no VM that
    /// attested since; and of none at all when this is absent.
    pub exported_at: Option<Time>,
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
    /// When the document was made, where that is known and no newer one was synced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exported_at: Option<Time>,
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
    /// What the reader left out, and why, at most 20; and what the document is not taken for.
    pub notes: Vec<String>,
}

/// The document of an inventory: `veriboot-inventory/1`.
pub const INVENTORY_SCHEMA: &str = "veriboot-inventory/1";
