//! Policy conditions: checking them, and trying them on stored attestations.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{Finding, Severity, Time, Verdict};

/// A condition in CEL; docs/policies.md.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PolicyCondition {
    /// Names it in findings, kebab case.
    pub id: String,
    /// CEL expression; the condition holds when it is true.
    pub expression: String,
    /// Severity of the finding when it does not hold; `high` and `critical` fail the attestation.
    pub severity: Severity,
    /// What the finding says.
    pub message: String,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

/// Tries conditions on stored attestations. Nothing is changed by it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PolicyTest {
    /// The conditions, 1 to 64.
    pub conditions: Vec<PolicyCondition>,
    /// Only VMs of this group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// Only members of this scale set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scale_set: Option<String>,
    /// Attestations per VM, newest first, 1 to 20; 1 when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last: Option<u32>,
    /// VMs of the page, 1 to 100; 50 when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
    /// Where the last page ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
}

/// What a page of VMs came to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct PolicyTested {
    /// What the lint says about the conditions. With an error among them nothing is tried.
    pub problems: Vec<PolicyProblem>,
    /// VMs of this page.
    pub vms: u32,
    /// Attestations that were tried.
    pub attestations: u32,
    /// VMs of this page with an attestation that would fail.
    pub failing_vms: u32,
    /// Attestations for which a condition does not hold, by VM in the order of the VM list.
    pub items: Vec<PolicyTestedAttestation>,
    /// Give this as `cursor` to get the next page; absent on the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<String>,
}

/// An attestation for which a condition does not hold.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct PolicyTestedAttestation {
    /// The VM.
    pub vm_id: String,
    /// Its name.
    pub vm_name: String,
    /// Its group.
    pub group: String,
    /// The attestation.
    pub attestation_id: String,
    /// When the service appraised it.
    pub at: Time,
    /// Its verdict at that time.
    pub verdict: Verdict,
    /// Whether it would fail because of the conditions.
    pub would_fail: bool,
    /// The findings that the conditions would make.
    pub findings: Vec<Finding>,
    /// Why the conditions could not be tried, where they could not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_tried: Option<String>,
}

/// Something that is wrong with a condition; docs/policies.md lists the codes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PolicyProblem {
    /// Stable identifier in kebab case.
    pub code: String,
    /// `note`, `warning` or `error`; a condition with an error cannot be used.
    pub level: String,
    /// Id of the condition; absent when it is about all of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub condition: Option<String>,
    /// Line in the expression, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<u32>,
    /// Column in the line, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub column: Option<u32>,
    /// One sentence.
    pub message: String,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

/// A variable that conditions may use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PolicyVariable {
    /// Path: `images[].path`.
    pub name: String,
    /// Type: `bool`, `int`, `string`, `list(image)`.
    #[serde(rename = "type")]
    pub kind: String,
    /// What it means.
    pub meaning: String,
    /// When it is absent; absent itself when it never is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub absent: Option<String>,
    /// What it rests on: `proven`, `claim` or `service`.
    pub basis: String,
    /// The words that it can be, where they are a closed set.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub words: Vec<String>,
}

/// Asks what is wrong with conditions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PolicyCheck {
    /// The conditions, 1 to 64.
    pub conditions: Vec<PolicyCondition>,
}

/// What is wrong with conditions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PolicyChecked {
    /// In the order of the conditions, worst first for each; empty when nothing is wrong.
    pub problems: Vec<PolicyProblem>,
}
