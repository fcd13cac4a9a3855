//! Profiles as the REST API shows them.

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::{BaselineFlaw, DocumentFormat, Reappraisal, Scope, ScopeKind, Time};

/// One version of a profile.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ProfileSummary {
    /// Name.
    pub name: String,
    /// Version from 1; absent for profiles that come with Veriboot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<u32>,
    /// Whether it comes with Veriboot and cannot be changed.
    pub built_in: bool,
    /// Whether this version judges now where the profile is assigned.
    pub current: bool,
    /// What it is for, in the words of its document.
    pub description: String,
    /// SHA-256 of the document, hex.
    pub sha256: String,
    /// When it was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_at: Option<Time>,
    /// Who made it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_by: Option<String>,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
}

/// One version of a profile with its content.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ProfileDetail {
    /// What the list shows.
    #[serde(flatten)]
    pub summary: ProfileSummary,
    /// The document.
    pub document: serde_json::Value,
    /// Where it is assigned, at most 100.
    pub assigned: Vec<Scope>,
}

/// Makes a document the next version of a profile.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ProfilePut {
    /// The document as text; its shape is docs/profiles.md.
    pub document: String,
    /// How the text is written.
    pub format: DocumentFormat,
    /// Why; kept in the profile and in the audit log.
    #[serde(default)]
    pub comment: Option<String>,
    /// Version that this one replaces; absent when there shall be none yet. Refused with `version-conflict` when it is
    /// another one. `If-Match` may take its place.
    #[serde(default)]
    pub expected_version: Option<u32>,
    /// Codes of weaknesses of the document that are accepted on purpose.
    #[serde(default)]
    pub allow_flaws: Vec<String>,
}

/// What a change of a profile came to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ProfileChanged {
    /// Whether anything is different now. A document that is the present one already makes no version.
    #[serde(default = "crate::baseline::yes")]
    pub changed: bool,
    /// The version that judges now.
    pub profile: ProfileSummary,
    /// Weaknesses of the document that were accepted.
    #[serde(default)]
    pub flaws: Vec<BaselineFlaw>,
    /// The VMs that are judged again because of it, by scope.
    pub reappraisals: Vec<Reappraisal>,
}

/// Which version.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ProfileVersionQuery {
    /// The version; the current one when absent.
    pub version: Option<u32>,
}

/// The profile of a scope.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ProfileAssignment {
    /// Whose VMs it judges, unless a more specific scope has a profile.
    pub scope: Scope,
    /// Name of the VM, for one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vm_name: Option<String>,
    /// Name of the profile.
    pub profile: String,
    /// When it was assigned; absent for those of the configuration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub assigned_at: Option<Time>,
    /// Who assigned it: the name of a token, or `configuration`.
    pub assigned_by: String,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    /// Names what is shown here: give it as `If-Match` to change exactly this. `0` for those of the configuration.
    #[serde(default)]
    pub etag: String,
}

/// One scope. All of it in the query, since names of groups, sets and images are not unique over kinds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ProfileScopeQuery {
    /// `vm`, `scale-set`, `image` or `group`.
    pub kind: ScopeKind,
    /// The group. For a VM that is named by its id it may be empty.
    #[serde(default)]
    pub group: String,
    /// VM (id or name), scale set or image; empty for a group.
    #[serde(default)]
    pub id: String,
}

/// The profile of exactly one scope, and of what is less specific.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ProfileAssignmentStatus {
    /// The scope; a VM by its id.
    pub scope: Scope,
    /// Name of the VM, for one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vm_name: Option<String>,
    /// What is assigned to exactly this scope.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub assignment: Option<ProfileAssignment>,
    /// Name of the profile that judges it: its own, else that of what is less specific, else that of the configuration. What
    /// is more specific may have another one.
    pub profile: String,
    /// `etag` of the assignment, `0` without one.
    pub etag: String,
}

/// Assigns a profile to a scope.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ProfileAssign {
    /// Whose VMs it shall judge. For a VM `id` is its id or its name.
    pub scope: Scope,
    /// Name of the profile; absent to take the assignment away, so that a less specific one holds.
    #[serde(default)]
    pub profile: Option<String>,
    /// Name of the profile that is assigned to exactly this scope now; absent when there shall be none. Refused with
    /// `version-conflict` when it is another one. `If-Match` may take its place.
    #[serde(default)]
    pub expected_profile: Option<String>,
    /// Why; kept with the assignment and in the audit log.
    #[serde(default)]
    pub comment: Option<String>,
}

/// What a change of an assignment came to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ProfileAssigned {
    /// The assignment; absent when it was taken away.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub assignment: Option<ProfileAssignment>,
    /// The VMs that are judged again because of it. Where nothing was changed, it is of no VM and has no id.
    pub reappraisal: Reappraisal,
    /// Whether something was changed: nothing is when a profile is taken away where none is assigned.
    #[serde(default = "changed")]
    pub changed: bool,
}

/// Services that do not say it change something each time.
fn changed() -> bool {
    true
}
