//! Attestations: the history of appraisals, with the evidence that each one judged.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use veriboot_wire::{Attestation, Page, PreviousQuote, RejectedProposal, ScopeKind};

use crate::StoreError;
use crate::page::{decode_time_cursor, encode_cursor, page, page_rows};
use crate::query::Select;
use crate::rows::{insert_rows, query_in};
use crate::tx::{Columns, Row, Tx, json, params, query_one};

/// What was judged, except for the event log, which is kept by content in `logs`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Evidence {
    /// Attestation key, TPM2B_PUBLIC.
    pub ak_public: Vec<u8>,
    /// TPMS_ATTEST exactly as it came.
    pub quote: Vec<u8>,
    /// TPMT_SIGNATURE exactly as it came.
    pub signature: Vec<u8>,
    /// The challenge.
    pub nonce: Vec<u8>,
    /// Bank that was judged, by name; `None` when the quote names none that is known.
    pub bank: Option<String>,
    /// PCR values as the agent gave them, by bank and index, hex. Advisory.
    pub pcrs: BTreeMap<String, BTreeMap<u32, String>>,
    /// Why there is no log, in the agent's words.
    pub log_absent_because: Option<String>,
    /// What else the verdict rests on; `None` for attestations of versions that did not keep it.
    pub context: Option<Context>,
}

/// What a verdict rests on beside the evidence, the baseline and the profile.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Context {
    /// What the last believed quote of the same TPM said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<PreviousQuote>,
    /// The rejection that stood for what the boot proposes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rejection: Option<RejectedProposal>,
    /// Why the TPM's endorsement was no longer valid; absent when it was not invalid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endorsement_invalid: Option<String>,
}

const COLUMNS: &str = "id, vm_id, boot_id, at, verdict, facts, findings, baseline, baseline_scope, profile, \
     log_sha256";
const EVIDENCE: &str = "ak_public, quote, signature, nonce, bank, pcrs, log_absent_because, context";

fn read(row: Row) -> Result<Attestation, StoreError> {
    read_columns(&mut row.columns())
}

fn read_columns(c: &mut Columns) -> Result<Attestation, StoreError> {
    Ok(Attestation {
        id: c.text()?,
        vm_id: c.text()?,
        boot_id: c.opt_text()?,
        at: c.time()?,
        verdict: c.word()?,
        facts: c.json()?,
        findings: c.json()?,
        baseline: c.opt_text()?,
        baseline_scope: c.opt_word()?,
        profile: c.opt_text()?,
        log_sha256: c.opt_text()?,
    })
}

/// Adds an attestation. Its VM, boot and log must be there ([`crate::Constraint::Reference`]).
pub fn insert(tx: &mut dyn Tx, attestation: &Attestation, evidence: &Evidence) -> Result<(), StoreError> {
    insert_all(tx, &[(attestation, evidence)])
}

/// [`insert`] for many.
pub fn insert_all(tx: &mut dyn Tx, attestations: &[(&Attestation, &Evidence)]) -> Result<(), StoreError> {
    let written = |(attestation, evidence): &(&Attestation, &Evidence)| {
        let context = evidence.context.as_ref().map(json).transpose()?;
        Ok([
            Some(json(&attestation.facts)?),
            Some(json(&attestation.findings)?),
            Some(json(&evidence.pcrs)?),
            context,
        ])
    };
    let written = attestations.iter().map(written).collect::<Result<Vec<_>, StoreError>>()?;
    let rows: Vec<_> = attestations.iter().zip(written).collect();
    let head = format!("INSERT INTO attestations ({COLUMNS}, {EVIDENCE}) ");
    insert_rows(tx, &head, "", &rows, |((attestation, evidence), [facts, findings, pcrs, context])| {
        *params![
            &attestation.id,
            &attestation.vm_id,
            attestation.boot_id.as_deref(),
            attestation.at,
            attestation.verdict.as_str(),
            facts.as_deref(),
            findings.as_deref(),
            attestation.baseline.as_deref(),
            attestation.baseline_scope.map(ScopeKind::as_str),
            attestation.profile.as_deref(),
            attestation.log_sha256.as_deref(),
            &evidence.ak_public,
            &evidence.quote,
            &evidence.signature,
            &evidence.nonce,
            evidence.bank.as_deref(),
            pcrs.as_deref(),
            evidence.log_absent_because.as_deref(),
            context.as_deref(),
        ]
    })?;
    Ok(())
}

/// The attestations with these ids with their evidence, as far as there are any, in no order.
pub fn with_evidence(tx: &mut dyn Tx, ids: &[&str]) -> Result<Vec<(Attestation, Evidence)>, StoreError> {
    let head = format!("SELECT {COLUMNS}, {EVIDENCE} FROM attestations WHERE id");
    query_in(tx, &head, "", &[], ids)?
        .into_iter()
        .map(|row| {
            let mut c = row.columns();
            Ok((read_columns(&mut c)?, read_evidence(&mut c)?))
        })
        .collect()
}

/// The attestation with this id.
pub fn by_id(tx: &mut dyn Tx, id: &str) -> Result<Option<Attestation>, StoreError> {
    query_one(tx, &format!("SELECT {COLUMNS} FROM attestations WHERE id = $1"), params![id])?
        .map(read)
        .transpose()
}

/// The evidence of the attestation with this id.
pub fn evidence(tx: &mut dyn Tx, id: &str) -> Result<Option<Evidence>, StoreError> {
    query_one(tx, &format!("SELECT {EVIDENCE} FROM attestations WHERE id = $1"), params![id])?
        .map(|row| read_evidence(&mut row.columns()))
        .transpose()
}

fn read_evidence(c: &mut Columns) -> Result<Evidence, StoreError> {
    Ok(Evidence {
        ak_public: c.bytes()?,
        quote: c.bytes()?,
        signature: c.bytes()?,
        nonce: c.bytes()?,
        bank: c.opt_text()?,
        pcrs: c.json()?,
        log_absent_because: c.opt_text()?,
        context: c.opt_json()?,
    })
}

/// The newest attestation of a VM.
pub fn latest(tx: &mut dyn Tx, vm_id: &str) -> Result<Option<Attestation>, StoreError> {
    let sql =
        format!("SELECT {COLUMNS} FROM attestations WHERE vm_id = $1 ORDER BY at DESC, id DESC LIMIT 1");
    query_one(tx, &sql, params![vm_id])?.map(read).transpose()
}

/// A page of the attestations of a VM, newest first.
pub fn list(
    tx: &mut dyn Tx,
    vm_id: &str,
    limit: Option<u32>,
    cursor: Option<&str>,
) -> Result<Page<Attestation>, StoreError> {
    let key = decode_time_cursor("attestations", cursor)?;
    let limit = page_rows(limit);
    let head = format!("SELECT {COLUMNS} FROM attestations");
    let mut select = Select::new(&head);
    select.and("vm_id = ?", params![vm_id]);
    if let Some((time, id)) = &key {
        select.and("(at, id) < (?, ?)", params![*time, id]);
    }
    let rows = select.page(tx, " ORDER BY at DESC, id DESC", limit)?;
    page(rows, limit, read, |a| encode_cursor("attestations", &[&a.at.unix_ms().to_string(), &a.id]))
}
