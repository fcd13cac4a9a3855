//! VMs as the REST API shows them.

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::{
    Assessment, Facts, Finding, KernelReport, MachineInfo, OddOneOut, ScopeKind, SecurityType, Time, Verdict,
    VmSort, VmStatus,
};

/// One VM in a list.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct VmSummary {
    /// UUIDv7.
    pub id: String,
    /// Unique within its group.
    pub name: String,
    /// Group, like a resource group.
    pub group: String,
    /// Uniform scale set that it is a member of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scale_set: Option<String>,
    /// Image that it was made from, in the words of its join token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// Health.
    pub status: VmStatus,
    /// The failing finding that explains the status best, in one sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status_detail: Option<String>,
    /// The separate facts.
    pub facts: Facts,
    /// What its evidence shows: `trusted-launch` for a quote of a TPM. A TEE would have to show itself by hardware evidence
    /// (the fact `tee`). What is configured stands in the items of the inventory.
    pub security_type: SecurityType,
    /// First enrolment.
    pub enrolled_at: Time,
    /// Last attestation, whatever its verdict.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_attested_at: Option<Time>,
    /// Last sign of life of the agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_seen_at: Option<Time>,
    /// When the current boot was first attested.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_boot_at: Option<Time>,
    /// Alerts that are active or in progress.
    pub open_alerts: u32,
    /// Open proposals that its last boot is part of: 0 or 1. A healthy VM with one booted a change of a trusted class
    /// that nobody approved yet.
    #[serde(default)]
    pub open_proposals: u32,
}

impl VmSummary {
    /// Header of the CSV form of a list.
    pub const CSV_HEADER: [&'static str; 13] = [
        "id",
        "name",
        "group",
        "scale_set",
        "image",
        "status",
        "status_detail",
        "security_type",
        "secure_boot",
        "last_attested_at",
        "last_boot_at",
        "enrolled_at",
        "open_alerts",
    ];

    /// One record of the CSV form of a list.
    pub fn csv(&self) -> String {
        let time = |at: Option<Time>| at.map(|at| at.to_string()).unwrap_or_default();
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        let cells = [
            self.id.clone(),
            self.name.clone(),
            self.group.clone(),
            text(&self.scale_set),
            text(&self.image),
            self.status.to_string(),
            text(&self.status_detail),
            self.security_type.to_string(),
            self.facts.secure_boot.as_switch().to_owned(),
            time(self.last_attested_at),
            time(self.last_boot_at),
            self.enrolled_at.to_string(),
            self.open_alerts.to_string(),
        ];
        crate::csv_record(cells.iter().map(String::as_str))
    }
}

/// One VM with everything about it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct VmDetail {
    /// What the list shows.
    #[serde(flatten)]
    pub summary: VmSummary,
    /// What the agent says about the machine (advisory).
    pub machine: MachineInfo,
    /// What the agent says about the running kernel and its modules, in this boot (advisory); absent where it says nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kernel: Option<KernelReport>,
    /// Names status and attestation key of the VM. Give it as `If-Match` to remove exactly what was looked at.
    #[serde(default)]
    pub etag: String,
    /// SHA-256 of the EK's public area, hex.
    pub ek_sha256: String,
    /// Whether the TPM gave an EK certificate.
    pub ek_certificate: bool,
    /// Why the endorsement of its TPM is what it is, in a sentence.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub endorsement_detail: Option<String>,
    /// TPM name of the AK, hex.
    pub ak_name: String,
    /// Version of the baseline that judged last, as `name@version`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub baseline: Option<String>,
    /// What that baseline applies to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub baseline_scope: Option<ScopeKind>,
    /// Profile that judged last, as `name@version`; `name@built-in` for one that comes with Veriboot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<String>,
    /// Verdict of the last attestation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_verdict: Option<Verdict>,
    /// Findings of the last attestation.
    pub findings: Vec<Finding>,
    /// The last platform fault that the agent reported, when it was later than the last attestation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fault: Option<String>,
    /// The proposal, open or rejected, that its last boot is part of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proposal_id: Option<String>,
    /// What tells its boot apart from most members of its scale set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub odd_one_out: Option<OddOneOut>,
    /// What sources of the inventory say about it.
    #[serde(default)]
    pub inventory: crate::VmInventory,
    /// Whether integrity monitoring is on, and which setting says so.
    pub monitoring: crate::Monitoring,
    /// What became of each check, most important first.
    #[serde(default)]
    pub assessments: Vec<Assessment>,
}

/// Filters of the VM list. Rows are ordered by group, then name.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct VmQuery {
    /// Only this group.
    pub group: Option<String>,
    /// Only members of this scale set.
    pub scale_set: Option<String>,
    /// Only VMs of this image.
    pub image: Option<String>,
    /// Only this status.
    pub status: Option<VmStatus>,
    /// Only names that start with this.
    pub name_prefix: Option<String>,
    /// Order of the rows: `name` (group, then name) when absent.
    pub sort: Option<VmSort>,
    /// Rows of the page, 1 to 1000; 100 when absent. In CSV up to 200,000, which is what it is when absent.
    pub limit: Option<u32>,
    /// Where the last page ended.
    pub cursor: Option<String>,
}
