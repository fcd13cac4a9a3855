//! Posture: checks, assessments, recommendations and the score.

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::{AssessmentStatus, Page, ResourceKind, Severity, Time};

/// One check, as its document describes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Check {
    /// Stable id in kebab case: `secure-boot-enabled`.
    pub id: String,
    /// What it wants, in a few words.
    pub title: String,
    /// How much it matters when it does not hold.
    pub severity: Severity,
    /// Its share of the score, 1 to 10.
    pub weight: u32,
    /// Which resources it is about, in words.
    pub applies_to: String,
    /// Why it matters.
    pub description: String,
    /// What an unhealthy resource can be told by, with stable ids.
    pub causes: Vec<CheckCause>,
    /// What to do.
    pub remediation: Remediation,
    /// Where to read on.
    pub references: Vec<Reference>,
    /// Words to group checks by.
    pub tags: Vec<String>,
}

/// Why a check does not hold, or does not apply.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CheckCause {
    /// Stable id in kebab case: `secure-boot-off`.
    pub id: String,
    /// The status that it stands beside: `unhealthy` or `not-applicable`.
    pub status: AssessmentStatus,
    /// Its meaning in one sentence.
    pub meaning: String,
}

/// How to make a check hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Remediation {
    /// In words.
    pub text: String,
    /// Commands, where there are some; upper-case words in them are to be replaced.
    pub commands: Vec<PlatformCommand>,
}

/// A command that helps on one platform.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PlatformCommand {
    /// `azure`, `gcp`, `aws`, `libvirt`, `proxmox`, `hyper-v`, `linux` (in the guest), `windows` (in the guest) or
    /// `veriboot` (at the service).
    pub platform: String,
    /// The command.
    pub command: String,
}

/// Where to read on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Reference {
    /// What it is.
    pub title: String,
    /// Where.
    pub url: String,
}

/// What the service holds evidence against that no log can say: newest revisions, with their date and source.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PostureReferences {
    /// Revision of Microsoft's dbx that dbx of an x86-64 VM is at least, by its date: `2026-04-09`.
    pub dbx_revision: String,
    /// Entries that dbx has at least on AArch64.
    pub dbx_entries_aarch64: u32,
    /// The SBAT level that shim applies at least: ten digits, `2024010900`.
    pub sbat_level: u64,
    /// The version that agents have at least.
    pub agent_version: String,
    /// Days before the end of a certificate from which on it counts as about to expire.
    pub ca_warning_days: u32,
}

/// All checks, and what they hold evidence against.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Checks {
    /// The checks, most important first.
    pub checks: Vec<Check>,
    /// Newest revisions, as configured.
    pub references: PostureReferences,
}

/// What became of one check on one resource.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Assessment {
    /// Id of the VM or of the inventory item.
    pub resource_id: String,
    /// Which of the two.
    pub resource_kind: ResourceKind,
    /// Its name.
    pub name: String,
    /// Its group.
    pub group: String,
    /// Its scale set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scale_set: Option<String>,
    /// Id of the check.
    pub check: String,
    /// Severity of the check.
    pub severity: Severity,
    /// Outcome.
    pub status: AssessmentStatus,
    /// Why it is not healthy: stable id in kebab case. Absent when it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<String>,
    /// One or two sentences with the values that were found.
    pub description: String,
    /// First time that the check was made on this resource.
    pub first_evaluated_at: Time,
    /// Last time that the status became another one.
    pub last_status_change_at: Time,
}

impl Assessment {
    /// Header of the CSV form of a list.
    pub const CSV_HEADER: [&'static str; 12] = [
        "resource_id",
        "resource_kind",
        "name",
        "group",
        "scale_set",
        "check",
        "severity",
        "status",
        "cause",
        "description",
        "first_evaluated_at",
        "last_status_change_at",
    ];

    /// One record of the CSV form of a list.
    pub fn csv(&self) -> String {
        let (first, last) = (self.first_evaluated_at.to_string(), self.last_status_change_at.to_string());
        crate::csv_record([
            self.resource_id.as_str(),
            self.resource_kind.as_str(),
            &self.name,
            &self.group,
            self.scale_set.as_deref().unwrap_or_default(),
            &self.check,
            self.severity.as_str(),
            self.status.as_str(),
            self.cause.as_deref().unwrap_or_default(),
            &self.description,
            &first,
            &last,
        ])
    }
}

/// Filters of the list of assessments.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct AssessmentQuery {
    /// Only this check.
    pub check: Option<String>,
    /// Only this status.
    pub status: Option<AssessmentStatus>,
    /// Only this group.
    pub group: Option<String>,
    /// Only members of this scale set.
    pub scale_set: Option<String>,
    /// Only this resource: id of a VM or of an inventory item, or the name of a VM.
    pub vm: Option<String>,
    /// Only checks of this severity.
    pub severity: Option<Severity>,
    /// Only those whose status became another one at this time or later (RFC 3339).
    pub changed_since: Option<Time>,
    /// `name` (group, name, check; what is used when absent) or `changed` (last status change, newest first).
    pub sort: Option<AssessmentSort>,
    /// Rows of the page, 1 to 1000; 100 when absent. In CSV up to 10,000, which is what it is when absent.
    pub limit: Option<u32>,
    /// Where the last page ended.
    pub cursor: Option<String>,
}

/// Order of the list of assessments.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum AssessmentSort {
    /// By group, name, check.
    #[default]
    Name,
    /// By last status change, newest first.
    Changed,
}

impl std::str::FromStr for AssessmentSort {
    type Err = crate::UnknownWord;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "name" => Ok(Self::Name),
            "changed" => Ok(Self::Changed),
            _ => Err(crate::UnknownWord {
                allowed: &["name", "changed"],
                word: text.chars().take(64).collect(),
            }),
        }
    }
}

/// How often a check came out which way.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CheckCounts {
    /// Id of the check.
    pub check: String,
    /// Resources on which it holds.
    pub healthy: u64,
    /// Resources on which it does not.
    pub unhealthy: u64,
    /// Resources that it is not about.
    pub not_applicable: u64,
}

/// A check that does not hold somewhere.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Recommendation {
    /// Id of the check.
    pub check: String,
    /// What it wants.
    pub title: String,
    /// How much it matters.
    pub severity: Severity,
    /// Its share of the score.
    pub weight: u32,
    /// How often it came out which way.
    #[serde(flatten)]
    pub counts: RecommendationCounts,
    /// Why it does not hold, most frequent first.
    pub causes: Vec<CauseCount>,
    /// What to do.
    pub remediation: Remediation,
}

/// Resources of a recommendation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RecommendationCounts {
    /// Resources on which the check does not hold.
    pub unhealthy: u64,
    /// Resources on which it holds.
    pub healthy: u64,
    /// Resources that it is not about.
    pub not_applicable: u64,
}

/// Resources with one cause.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CauseCount {
    /// Stable id in kebab case.
    pub cause: String,
    /// Resources with it.
    pub count: u64,
}

/// A check that does not hold somewhere, with where.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct RecommendationDetail {
    /// What the list shows.
    #[serde(flatten)]
    pub recommendation: Recommendation,
    /// The check's document.
    pub document: Check,
    /// A page of the resources on which it does not hold, by group and name.
    pub resources: Page<Assessment>,
}

/// Filters of recommendations.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct RecommendationQuery {
    /// Only resources of this group.
    pub group: Option<String>,
    /// Only members of this scale set; needs `group`.
    pub scale_set: Option<String>,
    /// Resources of the page, 1 to 1000; 100 when absent. Recommendations themselves are never more than the checks.
    pub limit: Option<u32>,
    /// Where the last page of resources ended.
    pub cursor: Option<String>,
}

/// The posture of the fleet, or of one group.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Posture {
    /// The time at the service.
    pub now: Time,
    /// The group; absent for the fleet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// 100 × weights of what is healthy, by weights of what applies, to one decimal. Absent while nothing applies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub score: Option<f64>,
    /// Sum of the weights of all healthy assessments.
    pub healthy_weight: u64,
    /// Sum of the weights of all assessments that apply.
    pub applicable_weight: u64,
    /// VMs and inventory items that were assessed.
    pub resources: u64,
    /// Each check, most important first.
    pub checks: Vec<PostureCheck>,
    /// Each group, lowest score first; empty when one was asked for. At most 1000.
    pub groups: Vec<GroupScore>,
    /// How the score was, oldest first, a point per hour.
    pub trend: Vec<ScorePoint>,
}

/// One check of a fleet or group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PostureCheck {
    /// What it wants.
    pub title: String,
    /// How much it matters.
    pub severity: Severity,
    /// Its share of the score.
    pub weight: u32,
    /// How often it came out which way.
    #[serde(flatten)]
    pub counts: CheckCounts,
}

/// Score of one group.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct GroupScore {
    /// The group.
    pub group: String,
    /// Its score.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub score: Option<f64>,
    /// Assessments that are unhealthy.
    pub unhealthy: u64,
    /// Resources in it.
    pub resources: u64,
}

/// The score at one time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ScorePoint {
    /// The hour.
    pub at: Time,
    /// The score then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub score: Option<f64>,
    /// Resources that were assessed.
    pub resources: u64,
}

/// Which posture.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct PostureQuery {
    /// Only this group.
    pub group: Option<String>,
    /// Days of the trend, 1 to 400; 30 when absent.
    pub days: Option<u32>,
}

/// The posture of one uniform scale set.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ScaleSetPosture {
    /// Group.
    pub group: String,
    /// Name.
    pub name: String,
    /// Score of its members.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub score: Option<f64>,
    /// Members that were assessed.
    pub members: u64,
    /// Each check: the set is unhealthy when one member is, and healthy when one is and none is not.
    pub checks: Vec<SetCheck>,
}

/// One check on a scale set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SetCheck {
    /// Result for the set.
    pub status: AssessmentStatus,
    /// The most frequent cause of members that have this result. Absent for a few seconds after members changed, as the times are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<String>,
    /// First time that the check was made on the set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_evaluated_at: Option<Time>,
    /// Last time that its result became another one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_status_change_at: Option<Time>,
    /// How often it came out which way on members.
    #[serde(flatten)]
    pub counts: CheckCounts,
}

/// Filters of the posture of scale sets. Rows are ordered by group, then name.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct SetPostureQuery {
    /// Only this group.
    pub group: Option<String>,
    /// Rows of the page, 1 to 1000; 100 when absent.
    pub limit: Option<u32>,
    /// Where the last page ended.
    pub cursor: Option<String>,
}
