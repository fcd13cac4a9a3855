//! Proposals: a change that several VMs booted, approved or rejected as a whole.

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::{BaselineSummary, ChangeClass, Finding, ProposalState, Reappraisal, Scope, Time, VmStatus};

/// The most proposals that one request approves.
pub const MAX_APPROVED_AT_ONCE: usize = 100;

/// A change against one version of a baseline, with the VMs that booted it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Proposal {
    /// UUIDv7.
    pub id: String,
    /// Where it is in its life.
    pub state: ProposalState,
    /// What is asked, or what became of it, in one sentence: "12 of 40 VMs in `web` now boot kernel 6.1.0-56, signed by
    /// Debian Secure Boot Signer 2022: approve?".
    pub summary: String,
    /// What the VMs do differently, as the end of a sentence: "now boot kernel 6.1.0-56".
    pub title: String,
    /// Classes of its changes.
    pub classes: Vec<ChangeClass>,
    /// Who signed what changed, where known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signer: Option<String>,
    /// VMs whose last attestation shows the change. Once approved: VMs that showed it then.
    pub vms: u64,
    /// VMs that the baseline judges or may judge: all of its scope.
    pub of_vms: u64,
    /// What the baseline applies to.
    pub scope: Scope,
    /// The version of the baseline that it would change, as `name@version`.
    pub baseline: String,
    /// Id of that version.
    pub baseline_id: String,
    /// Profile that judged.
    pub profile: String,
    /// PCRs that show the change.
    pub pcrs: Vec<u32>,
    /// SHA-256 over the changes, hex: the same for every VM that booted them.
    pub change_key: String,
    /// Names what is shown here. Give it as `expected_etag` to approve or reject exactly this and nothing else.
    pub etag: String,
    /// When the first VM showed it.
    pub first_seen_at: Time,
    /// When the last VM came to show it.
    pub last_seen_at: Time,
    /// When it was approved, rejected, superseded or withdrawn.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decided_at: Option<Time>,
    /// Who decided: the name of a token, or `service`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decided_by: Option<String>,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    /// The version of the baseline that it became, as `name@version`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<String>,
}

/// A proposal with its content.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ProposalDetail {
    /// What the list shows.
    #[serde(flatten)]
    pub proposal: Proposal,
    /// The boot that stands for all: approving accepts what it measured in `pcrs`, and nothing else.
    pub representative: Representative,
    /// The difference to the baseline, in words.
    pub findings: Vec<Finding>,
}

/// The boot that stands for a proposal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Representative {
    /// The VM.
    pub vm_id: String,
    /// Its name.
    pub vm_name: String,
    /// Its boot.
    pub boot_id: String,
    /// The attestation whose evidence proves it.
    pub attestation_id: String,
    /// SHA-256 of its event log, hex.
    pub log_sha256: String,
}

/// A VM whose last attestation shows the change of a proposal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ProposalMember {
    /// The VM.
    pub vm_id: String,
    /// Its name.
    pub vm_name: String,
    /// Its group.
    pub group: String,
    /// Its scale set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scale_set: Option<String>,
    /// Health.
    pub status: VmStatus,
    /// The boot that shows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub boot_id: Option<String>,
    /// Since when it shows it.
    pub since: Time,
}

/// Filters of the proposal list. Rows are ordered newest first.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ProposalQuery {
    /// Only this state.
    pub state: Option<ProposalState>,
    /// Only baselines of this group.
    pub group: Option<String>,
    /// Only what this scale set's baseline or its members propose.
    pub scale_set: Option<String>,
    /// Only those with a change of this class.
    pub class: Option<ChangeClass>,
    /// Only this baseline, by name.
    pub baseline: Option<String>,
    /// Rows of the page, 1 to 1000; 100 when absent.
    pub limit: Option<u32>,
    /// Where the last page ended.
    pub cursor: Option<String>,
}

/// Approves a proposal: what it shows is trusted from now on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ProposalApprove {
    /// `etag` of what was looked at. Refused when it is another one by now.
    pub expected_etag: String,
    /// Why; kept in the baseline and in the audit log.
    #[serde(default)]
    pub comment: Option<String>,
    /// Stop accepting what the baseline had in these PCRs until now. VMs that still boot that turn unhealthy.
    #[serde(default)]
    pub replace: bool,
}

/// Approves several proposals: all of them, or none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ProposalsApprove {
    /// 1 to 100 of them. Those against one baseline become one version together.
    pub proposals: Vec<ExpectedProposal>,
    /// Why; kept in the baselines and in the audit log.
    #[serde(default)]
    pub comment: Option<String>,
    /// Stop accepting what the baselines had in these PCRs until now.
    #[serde(default)]
    pub replace: bool,
}

/// A proposal as it was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ExpectedProposal {
    /// Its id.
    pub id: String,
    /// Its `etag`.
    pub expected_etag: String,
}

/// Rejects a proposal: VMs that show it fail.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ProposalReject {
    /// `etag` of what was looked at. Refused when it is another one by now.
    pub expected_etag: String,
    /// Why; kept in the audit log and shown with the alerts that follow.
    pub comment: String,
}

/// Takes a rejection back.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ProposalReopen {
    /// Why; kept in the audit log.
    #[serde(default)]
    pub comment: Option<String>,
}

/// What an approval came to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ProposalsApproved {
    /// The proposals as they are now.
    pub proposals: Vec<Proposal>,
    /// The new versions, one for each baseline.
    pub baselines: Vec<BaselineSummary>,
    /// VMs that show the changes and are judged again at once.
    pub reappraised: u64,
    /// All VMs that the baselines judge, which are judged again in the background.
    pub reappraisals: Vec<Reappraisal>,
}
