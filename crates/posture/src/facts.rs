//! What checks are made on.

use veriboot_wire::{Configured, Facts, KernelReport, PowerState, SecurityType, VmStatus};

use crate::LogFacts;

/// One resource: an enrolled VM, with what the inventory says about it where it is known there, or an inventory item
/// alone.
#[derive(Clone, Debug, PartialEq)]
pub struct ResourceFacts<'a> {
    /// The enrolled VM.
    pub vm: Option<VmFacts<'a>>,
    /// What the inventory says.
    pub item: Option<ItemFacts<'a>>,
}

/// An enrolled VM.
#[derive(Clone, Debug, PartialEq)]
pub struct VmFacts<'a> {
    /// Health.
    pub status: VmStatus,
    /// One sentence that explains it.
    pub status_detail: Option<&'a str>,
    /// The separate facts of its last attestation.
    pub facts: Facts,
    /// Security type.
    pub security_type: SecurityType,
    /// `linux`, `windows`, or empty: what the agent says (advisory).
    pub os: &'a str,
    /// CPU architecture, as the agent says (advisory): `x86_64`, `aarch64`.
    pub arch: &'a str,
    /// Version of the agent, as it says.
    pub agent_version: &'a str,
    /// What the agent says about the running kernel. It can make an assessment worse, never better.
    pub kernel: Option<&'a KernelReport>,
    /// Whether the TPM gave an EK certificate.
    pub ek_certificate: bool,
    /// Why that is believed or not, in a sentence.
    pub endorsement_detail: Option<&'a str>,
    /// What its event log shows; `None` when there is none that a quote proves.
    pub log: Option<LogFacts>,
}

/// What the inventory says about a VM.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ItemFacts<'a> {
    /// Configured Secure Boot.
    pub secure_boot: Configured,
    /// Configured vTPM.
    pub vtpm: Configured,
    /// Whether it runs.
    pub power: PowerState,
    /// Name of the source that says so.
    pub source: &'a str,
}
