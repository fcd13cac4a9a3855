//! Enrolling a known TPM again: what changes, and how often that may be.

use veriboot_wire::{MachineInfo, Time};

use super::put_off;
use crate::StoreError;
use crate::tx::{Tx, json, params, query_one};

/// Enrolments of a known TPM that may follow each other at once.
pub const REENROLMENTS_AT_ONCE: i64 = 5;
/// After them, milliseconds from one to the next: five an hour.
pub const REENROLMENT_PACE_MS: i64 = 720_000;

/// Milliseconds that a VM must wait before it may enrol again; 0 when it may now.
pub fn reenrolment_wait_ms(tx: &mut dyn Tx, id: &str, now: Time) -> Result<i64, StoreError> {
    let room = (REENROLMENTS_AT_ONCE - 1) * REENROLMENT_PACE_MS;
    Ok((reenrolment_debt_ms(tx, id, now)? - room).max(0))
}

/// Milliseconds until the pace has made up for all enrolments so far. Bounded, so that a clock that was set back costs
/// no more than the pace.
fn reenrolment_debt_ms(tx: &mut dyn Tx, id: &str, now: Time) -> Result<i64, StoreError> {
    let sql = "SELECT reenrolments_paid_at FROM vms WHERE id = $1";
    let paid_at = match query_one(tx, sql, params![id])? {
        Some(row) => row.columns().opt_time()?,
        None => None,
    };
    let debt = paid_at.map_or(0, |at| at.unix_ms().saturating_sub(now.unix_ms()));
    Ok(debt.clamp(0, REENROLMENTS_AT_ONCE * REENROLMENT_PACE_MS))
}

/// What a TPM that is known already brings when it enrols again.
#[derive(Clone, Debug, PartialEq)]
pub struct Reenrolment<'a> {
    /// Attestation key, TPM2B_PUBLIC.
    pub ak_public: &'a [u8],
    /// TPM name of the attestation key.
    pub ak_name: &'a [u8],
    /// SHA-256 of the new bearer token of the agent; the old one stops working.
    pub agent_token_sha256: &'a [u8],
    /// Endorsement certificate, DER; `None` keeps the stored one. What came of the one before says nothing about another.
    pub ek_certificate: Option<&'a [u8]>,
    /// The machine.
    pub machine: &'a MachineInfo,
    /// When.
    pub now: Time,
}

/// Replaces attestation key and agent token of a VM. Its name, history and used challenges stay, and so does where
/// its TPM stood: a restored snapshot could enrol another key at will. Counts against the pace of
/// [`reenrolment_wait_ms`], which the caller asked.
pub fn reenrol(tx: &mut dyn Tx, id: &str, new: &Reenrolment<'_>) -> Result<bool, StoreError> {
    let machine = json(new.machine)?;
    let paid_at = new.now.unix_ms() + reenrolment_debt_ms(tx, id, new.now)? + REENROLMENT_PACE_MS;
    let sql = format!(
        "UPDATE vms SET agent_token_sha256 = $2, ek_certificate = COALESCE($3, ek_certificate), \
         endorsement = CASE WHEN $3 IS NULL OR $3 = ek_certificate THEN endorsement ELSE NULL END, machine = $4, \
         last_seen_at = $5, silent_after = {}, ak_public = $6, ak_name = $7, \
         reenrolments_paid_at = $8 WHERE id = $1",
        put_off("$5")
    );
    let changed = tx.execute(
        &sql,
        params![
            id,
            new.agent_token_sha256,
            new.ek_certificate,
            &machine,
            new.now,
            new.ak_public,
            new.ak_name,
            paid_at
        ],
    )?;
    Ok(changed == 1)
}
