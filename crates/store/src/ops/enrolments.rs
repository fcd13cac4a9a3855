//! Enrolments that wait for TPM2_ActivateCredential.

use veriboot_wire::{MachineInfo, Time};

use crate::StoreError;
use crate::tx::{Param, Row, Tx, json, params, query_one};

/// Attempts to answer one enrolment.
pub const MAX_ATTEMPTS: u32 = 3;

/// How many enrolments may wait. One EK takes room from no other one: its oldest gives way, so that who merely knows an
/// EK (it is no secret) or holds one join token cannot keep others out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Of one EK; at least one.
    pub per_ek: u32,
    /// By one join token.
    pub per_join_token: u32,
    /// By all join tokens together. A TPM that is known needs none and is bounded by `per_ek`.
    pub by_join_tokens: u32,
}

/// An enrolment that waits for its activation.
#[derive(Clone, Debug, PartialEq)]
pub struct EnrolmentRow {
    /// UUIDv7.
    pub id: String,
    /// When it was made.
    pub created_at: Time,
    /// When it is forgotten.
    pub expires_at: Time,
    /// Attempts so far.
    pub attempts: u32,
    /// SHA-256 of the secret inside of the credential.
    pub secret_sha256: Vec<u8>,
    /// The join token that admits it; `None` for a TPM that is known.
    pub join_token_id: Option<String>,
    /// The VM of a TPM that is known.
    pub vm_id: Option<String>,
    /// Name that the VM asks for.
    pub name: String,
    /// The machine.
    pub machine: MachineInfo,
    /// SHA-256 of the EK's public area, hex.
    pub ek_sha256: String,
    /// Endorsement key, TPM2B_PUBLIC.
    pub ek_public: Vec<u8>,
    /// Endorsement certificate, DER.
    pub ek_certificate: Option<Vec<u8>>,
    /// Attestation key, TPM2B_PUBLIC.
    pub ak_public: Vec<u8>,
    /// TPM name of the attestation key.
    pub ak_name: Vec<u8>,
}

const COLUMNS: &str = "id, created_at, expires_at, attempts, secret_sha256, join_token_id, vm_id, name, machine, \
     ek_sha256, ek_public, ek_certificate, ak_public, ak_name";

fn read(row: Row) -> Result<EnrolmentRow, StoreError> {
    let mut c = row.columns();
    Ok(EnrolmentRow {
        id: c.text()?,
        created_at: c.time()?,
        expires_at: c.time()?,
        attempts: c.u32()?,
        secret_sha256: c.bytes()?,
        join_token_id: c.opt_text()?,
        vm_id: c.opt_text()?,
        name: c.text()?,
        machine: c.json()?,
        ek_sha256: c.text()?,
        ek_public: c.bytes()?,
        ek_certificate: c.opt_bytes()?,
        ak_public: c.bytes()?,
        ak_name: c.bytes()?,
    })
}

/// Adds an enrolment after forgetting the expired ones and the oldest ones of this EK. [`StoreError::Limit`] when as
/// many wait already as join tokens may let in.
pub fn insert(tx: &mut dyn Tx, enrolment: &EnrolmentRow, bounds: Bounds) -> Result<(), StoreError> {
    purge_expired(tx, enrolment.created_at)?;
    tx.execute(
        "DELETE FROM enrolments WHERE ek_sha256 = $1 AND id NOT IN \
         (SELECT id FROM enrolments WHERE ek_sha256 = $1 ORDER BY created_at DESC, id DESC LIMIT $2)",
        params![&enrolment.ek_sha256, bounds.per_ek.saturating_sub(1)],
    )?;
    if let Some(join_token_id) = &enrolment.join_token_id {
        let sql =
            "SELECT COUNT(*) FROM (SELECT id FROM enrolments WHERE join_token_id = $1 LIMIT $2) AS pending";
        if count(tx, sql, params![join_token_id, bounds.per_join_token])? >= i64::from(bounds.per_join_token)
        {
            return Err(StoreError::Limit { what: "enrolments by this join token" });
        }
        let sql = "SELECT COUNT(*) FROM (SELECT id FROM enrolments WHERE join_token_id IS NOT NULL LIMIT $1) AS pending";
        if count(tx, sql, params![bounds.by_join_tokens])? >= i64::from(bounds.by_join_tokens) {
            return Err(StoreError::Limit { what: "enrolments by join tokens" });
        }
    }
    let machine = json(&enrolment.machine)?;
    tx.execute(
        &format!(
            "INSERT INTO enrolments ({COLUMNS}) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)"
        ),
        params![
            &enrolment.id,
            enrolment.created_at,
            enrolment.expires_at,
            enrolment.attempts,
            &enrolment.secret_sha256,
            enrolment.join_token_id.as_deref(),
            enrolment.vm_id.as_deref(),
            &enrolment.name,
            &machine,
            &enrolment.ek_sha256,
            &enrolment.ek_public,
            enrolment.ek_certificate.as_ref(),
            &enrolment.ak_public,
            &enrolment.ak_name,
        ],
    )?;
    Ok(())
}

fn count(tx: &mut dyn Tx, sql: &str, params: &[Param<'_>]) -> Result<i64, StoreError> {
    query_one(tx, sql, params)?.map_or(Ok(0), |row| row.columns().int())
}

/// Counts an attempt and gives the enrolment, unless it is unknown, expired or was tried [`MAX_ATTEMPTS`] times.
/// The attempt counts when the transaction commits: answer a wrong secret with `Ok`.
pub fn attempt(tx: &mut dyn Tx, id: &str, now: Time) -> Result<Option<EnrolmentRow>, StoreError> {
    let sql = format!(
        "UPDATE enrolments SET attempts = attempts + 1 WHERE id = $1 AND expires_at > $2 AND attempts < $3 \
         RETURNING {COLUMNS}"
    );
    query_one(tx, &sql, params![id, now, MAX_ATTEMPTS])?.map(read).transpose()
}

/// Takes an enrolment away, after its secret was right. `false` when somebody else took it.
pub fn take(tx: &mut dyn Tx, id: &str) -> Result<bool, StoreError> {
    Ok(tx.execute("DELETE FROM enrolments WHERE id = $1", params![id])? == 1)
}

/// Forgets expired enrolments and says how many.
pub fn purge_expired(tx: &mut dyn Tx, now: Time) -> Result<u64, StoreError> {
    tx.execute("DELETE FROM enrolments WHERE expires_at <= $1", params![now])
}
