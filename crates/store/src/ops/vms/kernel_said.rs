//! What the agent of a VM said about the running kernel, and in which boot.

use serde::{Deserialize, Serialize};
use veriboot_wire::{Blob, KernelReport};

/// What the agent of a VM said about the running kernel, with the boot in which it said so: the VM's own counters may be of a
/// later one, where a replica of an older release wrote them, which knows of no report.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KernelSaid {
    /// TPM name of the attestation key that signed the believed quote.
    #[serde(default = "nobody")]
    pub ak_name: Blob,
    /// TPM resetCount of that quote; keys may obfuscate it, each in its own way.
    #[serde(default)]
    pub reset_count: u32,
    /// The report.
    #[serde(flatten)]
    pub report: KernelReport,
}

/// No key has this name.
fn nobody() -> Blob {
    Blob(Vec::new())
}
