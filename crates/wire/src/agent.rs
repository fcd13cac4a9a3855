//! The agent protocol, version 1.
//!
//! ```text
//! POST /v1/agent/enroll                          EnrollRequest   -> 200 EnrollChallenge
//! POST /v1/agent/enroll/{enrolment_id}/activate  ActivateRequest -> 200 Enrolled
//! POST /v1/agent/vms/{vm_id}/challenge           (empty)         -> 200 Directions
//! POST /v1/agent/vms/{vm_id}/evidence            EvidenceRequest -> 200 Receipt
//! POST /v1/agent/vms/{vm_id}/fault               FaultReport     -> 200 Directions
//! ```
//! The last three carry `Authorization: Bearer` with the agent token of [`Enrolled`].

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{Blob, FactState, Finding, KernelReport, Time, Verdict, VmStatus};

/// Event logs above this many bytes are refused by agent and service (a CCEL area is 1 MiB).
pub const MAX_EVENT_LOG_BYTES: usize = 4 * 1024 * 1024;

/// What the agent knows about its machine. Advisory: nothing here is believed for a verdict.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct MachineInfo {
    /// Host name as the guest sees it.
    pub hostname: String,
    /// `linux` or `windows`.
    pub os: String,
    /// Name and version of the distribution, for people.
    pub os_version: String,
    /// Kernel release.
    pub kernel: String,
    /// CPU architecture: `x86_64`, `aarch64`.
    pub arch: String,
    /// Hypervisor or cloud as DMI names it.
    pub platform: String,
    /// Changes with every boot (Linux `boot_id`).
    pub boot_id: String,
    /// Version of the agent.
    pub agent_version: String,
    /// UUID of the machine as its hypervisor names it (SMBIOS); empty where the guest cannot read it.
    pub machine_uuid: String,
}

/// Starts an enrolment: names the keys and asks for a credential that only this TPM can open.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct EnrollRequest {
    /// Admission. May be absent when this EK is enrolled already.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub join_token: Option<String>,
    /// Name that the VM asks for; the service answers with the name it got.
    pub name: String,
    /// The machine.
    pub machine: MachineInfo,
    /// Endorsement key, TPM2B_PUBLIC.
    pub ek_public: Blob,
    /// Endorsement certificate, DER, where the TPM has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ek_certificate: Option<Blob>,
    /// Attestation key, TPM2B_PUBLIC.
    pub ak_public: Blob,
}

/// A credential for TPM2_ActivateCredential.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct EnrollChallenge {
    /// Names this enrolment in the next call.
    pub enrolment_id: String,
    /// TPM2B_ID_OBJECT.
    pub credential_blob: Blob,
    /// TPM2B_ENCRYPTED_SECRET.
    pub encrypted_secret: Blob,
    /// Seconds until this enrolment is forgotten.
    pub expires_in_s: u32,
}

/// Proves that EK and AK live in one TPM.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ActivateRequest {
    /// What TPM2_ActivateCredential gave.
    pub secret: Blob,
}

/// The VM is enrolled.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Enrolled {
    /// Identity of the VM from now on.
    pub vm_id: String,
    /// The name it got.
    pub name: String,
    /// Bearer token of this agent; keeps strangers from reporting in this VM's name. Proves nothing about
    /// the boot: that is the quote's job.
    pub agent_token: String,
    /// What to do next.
    pub directions: Directions,
}

/// What the service wants from the agent next.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Directions {
    /// The challenge for the next quote.
    pub challenge: Challenge,
    /// Seconds until the next attestation is due.
    pub interval_s: u32,
    /// The time at the service.
    pub now: Time,
    /// Optional members of evidence that this service takes: `kernel`. A service refuses members that it does not know,
    /// so an agent sends none of them unasked.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub accepts: Vec<String>,
}

/// A single-use challenge, bound to one VM.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Challenge {
    /// 32 bytes for qualifyingData.
    pub nonce: Blob,
    /// Seconds until the service refuses it.
    pub expires_in_s: u32,
    /// PCR banks in order of preference; the agent quotes the first that is active.
    pub banks: Vec<String>,
    /// PCR indices to quote.
    pub pcrs: Vec<u32>,
}

/// A quote and the log that explains it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct EvidenceRequest {
    /// The challenge that the quote answers.
    pub nonce: Blob,
    /// TPMS_ATTEST exactly as the TPM gave it.
    pub quote: Blob,
    /// TPMT_SIGNATURE.
    pub signature: Blob,
    /// PCR values by bank and index, hex. Advisory.
    #[serde(default)]
    pub pcrs: BTreeMap<String, BTreeMap<u32, String>>,
    /// The measured-boot event log, or absent with `log_absent_because`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log: Option<LogEvidence>,
    /// Why there is no log, in the agent's words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log_absent_because: Option<String>,
    /// The machine as it is now.
    #[serde(default)]
    pub machine: MachineInfo,
    /// What the running kernel says about modules (Linux), for a service whose directions accept `kernel`. Not proven, and
    /// nothing that a verdict rests on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kernel: Option<KernelReport>,
}

/// An event log by content or by digest.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct LogEvidence {
    /// SHA-256 of the whole log, hex.
    pub sha256: String,
    /// The log itself: on the first evidence of a boot, and when the service answered `log-needed`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<Blob>,
}

/// Answer to evidence that was appraised, whatever the verdict.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Receipt {
    /// Names the stored attestation.
    pub attestation_id: String,
    /// The verdict.
    pub verdict: Verdict,
    /// Status of the VM now.
    pub status: VmStatus,
    /// The findings.
    pub findings: Vec<Finding>,
    /// Signed attestation result (EAR in a JWT).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
    /// What to do next.
    pub directions: Directions,
}

/// A platform fault that keeps the agent from attesting. Never a failed attestation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct FaultReport {
    /// Stable code of the agent: `tpm-missing`, `tpm-busy`, `tpm-lockout`, `log-unreadable`.
    pub code: String,
    /// One sentence.
    pub message: String,
    /// The machine as it is now. The service does not keep it: nothing proves who reports a fault but the agent token.
    #[serde(default)]
    pub machine: MachineInfo,
}

/// The separate facts about a VM.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Facts {
    /// Secure Boot is on, as the log shows.
    pub secure_boot: FactState,
    /// There is a (v)TPM that quotes.
    pub vtpm: FactState,
    /// The quote is from the enrolled key, fresh, over the asked PCRs.
    pub quote: FactState,
    /// The log replays to the quoted PCRs.
    pub log: FactState,
    /// The baseline and the profile accept the log.
    pub baseline: FactState,
    /// The TPM's endorsement.
    pub endorsement: FactState,
    /// The hardware TEE.
    pub tee: FactState,
}

impl Facts {
    /// Nothing is known yet.
    pub const UNKNOWN: Self = Self {
        secure_boot: FactState::Unknown,
        vtpm: FactState::Unknown,
        quote: FactState::Unknown,
        log: FactState::Unknown,
        baseline: FactState::Unknown,
        endorsement: FactState::Unknown,
        tee: FactState::NotApplicable,
    };
}
