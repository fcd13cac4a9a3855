//! Baselines as the REST API shows them.

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::{BaselineOrigin, DocumentFormat, Finding, ScopeKind, Time, Verdict};

/// What a baseline or a profile applies to.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
pub struct Scope {
    /// Kind of thing.
    pub kind: ScopeKind,
    /// Group of the thing (the group itself for `group`).
    pub group: String,
    /// VM id, scale set or image; empty for `group`.
    #[serde(default)]
    pub id: String,
}

/// One version of a baseline.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct BaselineSummary {
    /// UUIDv7 of this version.
    pub id: String,
    /// Name, the same for all versions: `vm/default/db-0`, `scale-set/default/web`, `image/default/debian-12`,
    /// `group/default`.
    pub name: String,
    /// Version from 1.
    pub version: u32,
    /// Whether this version judges now.
    pub current: bool,
    /// What it applies to.
    pub scope: Scope,
    /// How it came about.
    pub origin: BaselineOrigin,
    /// SHA-256 of the document, hex.
    pub sha256: String,
    /// Id of the service's key that signed this version: SHA-256 of its SubjectPublicKeyInfo, hex.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signed_by: Option<String>,
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

/// Makes a document the next version of the baseline of a scope.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BaselineApply {
    /// What it shall judge. For a VM `id` is its id or its name.
    pub scope: Scope,
    /// The document as text, at most 16 MiB; its shape is docs/baseline.md.
    pub document: String,
    /// How the text is written.
    pub format: DocumentFormat,
    /// Why; kept in the baseline and in the audit log.
    #[serde(default)]
    pub comment: Option<String>,
    /// Version of the scope's current baseline that this one replaces; absent when the scope shall have none yet.
    /// Refused with `version-conflict` when it is another one. `If-Match` may take its place.
    #[serde(default)]
    pub expected_version: Option<u32>,
    /// Codes of weaknesses of the document that are accepted on purpose.
    #[serde(default)]
    pub allow_flaws: Vec<String>,
}

/// Makes a signed document the next version of the baseline of a scope.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BaselineImport {
    /// What it shall judge. For a VM `id` is its id or its name.
    pub scope: Scope,
    /// DSSE envelope as text, signed by this service or by a key of `baseline_trusted_keys`.
    pub envelope: String,
    /// Why; kept in the baseline and in the audit log.
    #[serde(default)]
    pub comment: Option<String>,
    /// As for applying a document.
    #[serde(default)]
    pub expected_version: Option<u32>,
    /// Codes of weaknesses of the document that are accepted on purpose.
    #[serde(default)]
    pub allow_flaws: Vec<String>,
}

/// A weakness of a baseline document.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BaselineFlaw {
    /// Stable identifier in kebab case.
    pub code: String,
    /// What is wrong, in one sentence.
    pub message: String,
}

/// What a change of a baseline or a profile came to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct BaselineChanged {
    /// Whether anything is different now. A document that is the present one already makes no version.
    #[serde(default = "yes")]
    pub changed: bool,
    /// The version that judges now; absent after a baseline was retired.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub baseline: Option<BaselineSummary>,
    /// Weaknesses of the document that were accepted.
    #[serde(default)]
    pub flaws: Vec<BaselineFlaw>,
    /// The VMs that are judged again because of it; absent when nothing changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reappraisal: Option<Reappraisal>,
}

/// What an answer means that does not say whether anything changed.
pub(crate) fn yes() -> bool {
    true
}

/// Ends the current baseline of a scope.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct BaselineRetire {
    /// Why; kept in the audit log.
    pub comment: Option<String>,
}

/// VMs that are judged again after what they are held against changed. Bounded work in the background; a VM that attests
/// meanwhile is judged by the new state anyway.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Reappraisal {
    /// UUIDv7.
    pub id: String,
    /// Whose VMs are judged again.
    pub scope: Scope,
    /// What changed: `baseline scale-set/default/web@3 applied`.
    pub because: String,
    /// When it was asked for.
    pub created_at: Time,
    /// Who changed it: the name of a token, or `service`.
    pub created_by: String,
    /// VMs in the scope when it was asked for.
    pub vms: u64,
    /// VMs looked at so far.
    pub done: u64,
    /// VMs whose verdict is another one now.
    pub turned: u64,
    /// VMs whose stored evidence could not be judged again; their next attestation does it.
    pub failed: u64,
    /// When the last VM was looked at; absent while it goes on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<Time>,
}

/// What a signed document is checked against.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BaselineKey {
    /// SHA-256 of the SubjectPublicKeyInfo, hex.
    pub id: String,
    /// `ES256`, `ES384` or `Ed25519`.
    pub algorithm: String,
    /// Whether this service signs by it; others are of `baseline_trusted_keys`.
    pub own: bool,
    /// The public key, PEM.
    pub pem: String,
}

/// How a baseline is exported.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ExportFormat {
    /// A signed DSSE envelope.
    #[default]
    Dsse,
    /// The bare document as JSON.
    Json,
    /// The bare document as TOML.
    Toml,
}

/// What to export.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct BaselineExport {
    /// `dsse` (signed, the default), `json` or `toml`.
    pub format: Option<ExportFormat>,
}

/// What to compare with.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct BaselineAgainst {
    /// The version that came before it: id, name or `name@version`; the one before of the same name when absent.
    pub against: Option<String>,
}

/// Difference of two versions of baselines, in the words of findings.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct BaselineDiff {
    /// The earlier one, `name@version`.
    pub from: String,
    /// The later one, `name@version`.
    pub to: String,
    /// What differs; empty when both accept the same.
    pub changes: Vec<Finding>,
}

/// Asks what verdicts would be under another baseline or profile. Nothing is written.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ReappraiseRequest {
    /// A stored version: its id, or `name@version`. Either this or `document`.
    #[serde(default)]
    pub baseline: Option<String>,
    /// A document that is not applied yet.
    #[serde(default)]
    pub document: Option<String>,
    /// How the document is written; JSON when absent.
    #[serde(default)]
    pub format: Option<DocumentFormat>,
    /// A profile, `name` or `name@version`; each VM's own when absent.
    #[serde(default)]
    pub profile: Option<String>,
    /// One VM, by id or name.
    #[serde(default)]
    pub vm: Option<String>,
    /// Group of the VMs; `default` when absent, for a VM any.
    #[serde(default)]
    pub group: Option<String>,
    /// The members of this scale set.
    #[serde(default)]
    pub scale_set: Option<String>,
    /// The VMs of this image.
    #[serde(default)]
    pub image: Option<String>,
    /// VMs of the page, 1 to 200; 50 when absent.
    #[serde(default)]
    pub limit: Option<u32>,
    /// Where the last page ended.
    #[serde(default)]
    pub cursor: Option<String>,
}

/// What verdicts would be.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ReappraisePreview {
    /// What was held against the stored evidence: `name@version`, or `document`.
    pub baseline: String,
    /// Counts of this page.
    pub counts: PreviewCounts,
    /// The VMs of this page, ordered by name.
    pub vms: Vec<PreviewVm>,
    /// Where this page ended; absent on the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<String>,
}

/// VMs by what would become of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PreviewCounts {
    /// Healthy now and then.
    pub stay_healthy: u64,
    /// Unhealthy now and then.
    pub stay_unhealthy: u64,
    /// Unhealthy now, healthy then.
    pub turn_healthy: u64,
    /// Healthy now, unhealthy then.
    pub turn_unhealthy: u64,
    /// Nothing can be said: no evidence that could be believed is stored.
    pub without_evidence: u64,
}

/// What would become of one VM.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct PreviewVm {
    /// Id of the VM.
    pub vm_id: String,
    /// Name of the VM.
    pub name: String,
    /// Group of the VM.
    pub group: String,
    /// Verdict of its last attestation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<Verdict>,
    /// Verdict that the same evidence would have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Verdict>,
    /// Baseline that judged it, `name@version`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub judged_by: Option<String>,
    /// Profile that would judge it, `name@version`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<String>,
    /// Findings that would be new, at most 32.
    #[serde(default)]
    pub appear: Vec<Finding>,
    /// Findings that would be gone, at most 32.
    #[serde(default)]
    pub disappear: Vec<Finding>,
    /// Why nothing can be said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub without_evidence: Option<String>,
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

/// Asks what accepting a VM's last boot would come to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BaselineAcceptAsk {
    /// Id or name of the VM.
    pub vm: String,
    /// Group of the VM, needed when the name alone is not unique.
    #[serde(default)]
    pub group: Option<String>,
    /// The boot that would be trusted; the last one when absent.
    #[serde(default)]
    pub boot_id: Option<String>,
}

/// What accepting a VM's last boot would come to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct BaselineAcceptPreview {
    /// The VM, by its id.
    pub vm: String,
    /// Its name.
    pub vm_name: String,
    /// The boot that would be trusted.
    pub boot_id: Option<String>,
    /// What the next version would apply to.
    pub scope: Scope,
    /// The version that it would follow, `NAME@VERSION`: give it as `If-Match`. Absent where it would be the first one.
    pub etag: Option<String>,
    /// VMs in the scope, those with a more specific baseline of their own too; absent for images, which nobody counts.
    pub vms: Option<u64>,
    /// Why it would be refused.
    pub refused: Option<String>,
    /// The code of the refusal.
    pub refused_code: Option<String>,
    /// Components that it would list.
    pub components: Option<u32>,
    /// What the VM's boot differs in from what judges it now, and would be trusted.
    pub differences: Vec<Finding>,
}

/// Filters of the baseline list. Rows are ordered by name, then version descending.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct BaselineQuery {
    /// Only this name.
    pub name: Option<String>,
    /// Only scopes of this kind.
    pub scope_kind: Option<ScopeKind>,
    /// Only scopes of this group.
    pub scope_group: Option<String>,
    /// Only this VM id, scale set or image; empty for groups themselves.
    pub scope_id: Option<String>,
    /// Also versions that no longer judge.
    pub all_versions: Option<bool>,
    /// Rows of the page, 1 to 1000; 100 when absent.
    pub limit: Option<u32>,
    /// Where the last page ended.
    pub cursor: Option<String>,
}
