//! Evidence bundles (docs/evidence.md): what one attestation rests on, and what judged it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{Blob, Time, Verdict};

/// Evidence that can be verified again without the service.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct EvidenceBundle {
    /// Attestation key: TPM2B_PUBLIC, TPMT_PUBLIC in base64, or PEM.
    pub ak_public: Option<String>,
    /// Certificate of the attestation key, DER.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ak_certificate: Option<Blob>,
    /// TPMS_ATTEST.
    pub quote: Blob,
    /// TPMT_SIGNATURE.
    pub signature: Blob,
    /// Challenge, hex.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nonce: Option<String>,
    /// PCR values by bank and index, hex.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub pcrs: BTreeMap<String, BTreeMap<u32, String>>,
    /// The measured-boot event log.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub event_log: Option<Blob>,
    /// Why there is no event log, in the agent's words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log_absent_because: Option<String>,
    /// Hardware TEE evidence; its shape depends on the TEE.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tee: Option<serde_json::Value>,
    /// What the service judged it with. A claim of whoever made the bundle.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub judged_with: Option<JudgedWith>,
}

/// An attestation of a service, and everything beside the evidence that its verdict rests on: with it the offline verdict
/// is the stored one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct JudgedWith {
    /// Id of the attestation.
    pub attestation: String,
    /// When the service judged.
    pub at: Time,
    /// The stored verdict.
    pub verdict: Verdict,
    /// Codes of the stored findings that fail it, sorted, each once.
    pub failing: Vec<String>,
    /// The VM, as conditions see it.
    #[serde(default)]
    pub vm: JudgedVm,
    /// PCRs that the agent was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asked: Option<AskedPcrs>,
    /// What the last believed quote of the same TPM said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<PreviousQuote>,
    /// The rejection that stood for what the boot proposes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rejection: Option<RejectedProposal>,
    /// Why the endorsement of the TPM was no longer valid; absent when it was not invalid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endorsement_invalid: Option<String>,
    /// The profile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<JudgingDocument>,
    /// The baseline; absent when there was none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub baseline: Option<JudgingDocument>,
    /// What the service no longer has, in words.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub missing: Vec<MissingPart>,
}

/// The VM of a bundle.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct JudgedVm {
    /// Name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Group.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// Scale set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scale_set: Option<String>,
    /// Operating system, as the agent names it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub os: Option<String>,
}

/// PCRs of one bank.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AskedPcrs {
    /// The bank: `sha256`.
    pub bank: String,
    /// The PCRs.
    pub pcrs: Vec<u32>,
}

/// What the last believed quote of a TPM said, before the attestation that it is kept with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PreviousQuote {
    /// resetCount.
    pub reset_count: u32,
    /// restartCount.
    pub restart_count: u32,
    /// Clock in milliseconds.
    pub clock_ms: u64,
    /// Firmware version of the TPM, 16 hex digits.
    pub firmware_version: String,
    /// SHA-256 of the log that replayed to it, hex.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log_sha256: Option<String>,
    /// Whether the VM enrolled with another attestation key since.
    #[serde(default)]
    pub ak_replaced: bool,
}

/// The decision of an operator against a proposal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RejectedProposal {
    /// The proposal.
    pub id: String,
    /// Who rejected it.
    pub by: String,
    /// Why.
    pub comment: String,
    /// When.
    pub at: Time,
}

/// A profile or baseline that judged.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct JudgingDocument {
    /// `name@version`, or `name@built-in`.
    pub reference: String,
    /// The document.
    pub document: serde_json::Value,
    /// The DSSE envelope that the service signed over it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub envelope: Option<serde_json::Value>,
}

/// A part that was there when the attestation was judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum MissingPart {
    /// The event log: logs beside quotes that are not believed are not kept, and old suspect ones make room.
    EventLog,
    /// The profile.
    Profile,
    /// The baseline.
    Baseline,
    /// What the last quote before said, for attestations of older versions of the service.
    Previous,
}
