//! What an attestation changes about its VM.

use veriboot_wire::{Facts, MachineInfo, ScopeKind, Time, VmStatus};

use super::KernelSaid;
use crate::StoreError;
use crate::tx::{Tx, json, params};

/// Marks the challenge that was issued at `issued_us` as used, and with it all older ones of this VM. `false` when
/// it or a newer one was used already: two requests with one challenge cannot both get `true`.
pub fn use_challenge(tx: &mut dyn Tx, id: &str, issued_us: i64) -> Result<bool, StoreError> {
    let sql = "UPDATE vms SET challenge_used_us = $2 WHERE id = $1 AND challenge_used_us < $2";
    Ok(tx.execute(sql, params![id, issued_us])? == 1)
}

/// What an attestation changes about its VM.
#[derive(Clone, Debug, PartialEq)]
pub struct AfterAttestation<'a> {
    /// The attestation.
    pub attestation_id: &'a str,
    /// When it was appraised.
    pub at: Time,
    /// Health from now on.
    pub status: VmStatus,
    /// One sentence that explains the status.
    pub status_detail: Option<&'a str>,
    /// The separate facts.
    pub facts: &'a Facts,
    /// What the agent says about the machine.
    pub machine: &'a MachineInfo,
    /// What the agent said about the running kernel, and in which boot.
    pub kernel: Option<&'a KernelSaid>,
    /// Baseline that judged, as `name@version`.
    pub baseline: Option<&'a str>,
    /// What that baseline applies to.
    pub baseline_scope: Option<ScopeKind>,
    /// Profile that judged, as `name@version`.
    pub profile: Option<&'a str>,
    /// Where the TPM stands; `None` keeps what is known, for quotes that cannot be trusted.
    pub boot: Option<BootPosition<'a>>,
}

/// Where the TPM stood in a trusted quote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BootPosition<'a> {
    /// The boot.
    pub boot_id: &'a str,
    /// TPM resetCount.
    pub reset_count: u32,
    /// TPM restartCount.
    pub restart_count: u32,
    /// TPM clock in milliseconds.
    pub clock_ms: u64,
    /// TPM firmware version.
    pub firmware_version: u64,
    /// SHA-256 of the event log, hex.
    pub log_sha256: Option<&'a str>,
}

/// Writes the outcome of an attestation to its VM and clears its fault. Evidence that is judged again moves no deadline.
/// `false` when there is no such VM.
pub fn update_after_attestation(
    tx: &mut dyn Tx,
    id: &str,
    after: &AfterAttestation<'_>,
) -> Result<bool, StoreError> {
    let (facts, machine) = (json(after.facts)?, json(after.machine)?);
    let kernel = after.kernel.map(json).transpose()?;
    let changed = tx.execute(
        "UPDATE vms SET status = $2, status_detail = $3, facts = $4, machine = $5, last_attested_at = $6, \
         last_seen_at = $6, silent_after = CASE WHEN last_attested_at = $6 THEN silent_after ELSE \
         $6 + silence_limit_s * 1000 END, last_attestation_id = $7, baseline = $8, \
         baseline_scope = $9, profile = $10, kernel = $11, fault = NULL WHERE id = $1",
        params![
            id,
            after.status.as_str(),
            after.status_detail,
            &facts,
            &machine,
            after.at,
            after.attestation_id,
            after.baseline,
            after.baseline_scope.map(ScopeKind::as_str),
            after.profile,
            kernel.as_deref(),
        ],
    )?;
    if let (1, Some(boot)) = (changed, after.boot) {
        tx.execute(
            "UPDATE vms SET current_boot_id = $2, reset_count = $3, restart_count = $4, clock_ms = $5, \
             firmware_version = $6, log_sha256 = $7, counted_ak_name = ak_name WHERE id = $1",
            params![
                id,
                boot.boot_id,
                boot.reset_count,
                boot.restart_count,
                boot.clock_ms,
                boot.firmware_version,
                boot.log_sha256,
            ],
        )?;
    }
    Ok(changed == 1)
}
