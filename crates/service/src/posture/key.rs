//! A key over everything about a VM's record that its assessments rest on.
//!
//! What the inventory says and what evidence is held against are not in it: when these change, VMs are assessed whatever
//! their key is.

use aws_lc_rs::digest::{Context, SHA256};
use veriboot_store::assessments::VmInputs;
use veriboot_store::vms::VmRow;
use veriboot_wire::{Facts, KernelReport, MachineInfo, SecurityType, VmStatus};

/// Changes with what goes into a key, so that a new release assesses all VMs.
const VERSION: &str = "3";

/// What an attestation has written about its VM.
#[derive(Clone, Copy, Debug)]
pub(crate) struct After<'a> {
    /// Health from now on.
    pub status: VmStatus,
    /// One sentence that explains it.
    pub status_detail: Option<&'a str>,
    /// The separate facts.
    pub facts: &'a Facts,
    /// Why the endorsement of its TPM is believed or not.
    pub endorsement_detail: Option<&'a str>,
    /// What the agent says about the machine.
    pub machine: &'a MachineInfo,
    /// What it says about the running kernel.
    pub kernel: Option<&'a KernelReport>,
    /// SHA-256 of the log of the last trusted quote, hex.
    pub log_sha256: Option<&'a str>,
}

impl After<'_> {
    /// The key of a VM with this record before.
    pub(crate) fn key(&self, before: &VmRow) -> String {
        key(&Parts {
            status: self.status,
            status_detail: self.status_detail,
            facts: self.facts,
            security_type: before.security_type,
            machine: self.machine,
            kernel: self.kernel,
            ek_certificate: before.ek_certificate.is_some(),
            endorsement_detail: self.endorsement_detail,
            log_sha256: self.log_sha256,
        })
    }
}

pub(super) fn of_inputs(vm: &VmInputs) -> String {
    key(&Parts {
        status: vm.status,
        status_detail: vm.status_detail.as_deref(),
        facts: &vm.facts,
        security_type: vm.security_type,
        machine: &vm.machine,
        kernel: vm.kernel.as_ref(),
        ek_certificate: vm.ek_certificate,
        endorsement_detail: vm.endorsement.as_ref().and_then(|e| e.why(vm.facts.endorsement)),
        log_sha256: vm.log_sha256.as_deref(),
    })
}

struct Parts<'a> {
    status: VmStatus,
    status_detail: Option<&'a str>,
    facts: &'a Facts,
    security_type: SecurityType,
    machine: &'a MachineInfo,
    kernel: Option<&'a KernelReport>,
    ek_certificate: bool,
    endorsement_detail: Option<&'a str>,
    log_sha256: Option<&'a str>,
}

fn key(parts: &Parts<'_>) -> String {
    let Parts { facts, machine, .. } = parts;
    let mut hash = Context::new(&SHA256);
    // Each part ends with a character that TEXT cannot hold, so that no two lists of parts read alike.
    let mut add = |part: &str| {
        hash.update(part.as_bytes());
        hash.update(&[0]);
    };
    add(VERSION);
    add(parts.status.as_str());
    add(parts.status_detail.unwrap_or_default());
    for fact in
        [facts.secure_boot, facts.vtpm, facts.quote, facts.log, facts.baseline, facts.endorsement, facts.tee]
    {
        add(fact.as_str());
    }
    add(parts.security_type.as_str());
    for said in [&machine.os, &machine.arch, &machine.agent_version] {
        add(said);
    }
    add(if parts.ek_certificate { "ek" } else { "" });
    add(parts.endorsement_detail.unwrap_or_default());
    add(parts.log_sha256.unwrap_or_default());
    if let Some(said) = parts.kernel.and_then(|kernel| serde_json::to_string(kernel).ok()) {
        add(&said);
    }
    let digest = hash.finish();
    hex::encode(digest.as_ref().first_chunk::<16>().copied().unwrap_or_default())
}
