//! Baselines as the REST API shows them.

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::{ScopeKind, Time};

/// What a baseline applies to.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
pub struct Scope {
    /// Kind of thing.
    pub kind: ScopeKind,
    /// Group of the thing (the group itself for `group`).
    pub group: String,
    /// VM id or scale set name; empty for `group`.
    #[serde(default)]
    pub id: String,
}

/// One version of a baseline.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct BaselineSummary {
    /// UUIDv7 of this version.
    pub id: String,
    /// Name, the same for all versions: `vm/default/db-0`, `scale-set/default/web`.
    pub name: String,
    /// Version from 1.
    pub version: u32,
    /// Whether this version judges now.
    pub current: bool,
    /// What it applies to.
    pub scope: Scope,
    /// When it was made.
    pub created_at: Time,
    /// Who made it: the name of a token, or `service`.
    pub created_by: String,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    /// The boot it was learned from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub boot_id: Option<String>,
    /// Components in it.
    pub components: u32,
}

/// One version of a baseline with its content.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct BaselineDetail {
    /// What the list shows.
    #[serde(flatten)]
    pub summary: BaselineSummary,
    /// The document; its shape is docs/baseline.md.
    pub document: serde_json::Value,
}

/// Takes what a VM booted last as the next version of its baseline.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BaselineAccept {
    /// Id or name of the VM whose last boot is trusted from now on.
    pub vm: String,
    /// Group of the VM, needed when the name alone is not unique.
    #[serde(default)]
    pub group: Option<String>,
    /// The boot that is to be trusted, which somebody looked at. Refused when the VM's last boot is another one.
    pub boot_id: String,
    /// Why; kept in the baseline and in the audit log.
    #[serde(default)]
    pub comment: Option<String>,
}

/// Filters of the baseline list. Rows are ordered by name, then version descending.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct BaselineQuery {
    /// Only this name.
    pub name: Option<String>,
    /// Also versions that no longer judge.
    pub all_versions: Option<bool>,
    /// Rows of the page, 1 to 1000; 100 when absent.
    pub limit: Option<u32>,
    /// Where the last page ended.
    pub cursor: Option<String>,
}
