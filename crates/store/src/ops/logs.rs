//! Event logs by content.

use std::collections::HashSet;

use veriboot_wire::{Time, Verdict};

use crate::StoreError;
use crate::tx::{Tx, params, query_one};

/// Keeps a log under its SHA-256 (hex), which the caller has computed from `content`. `false` when it was there.
pub fn put_if_absent(tx: &mut dyn Tx, sha256: &str, content: &[u8], now: Time) -> Result<bool, StoreError> {
    let sql = "INSERT INTO logs (sha256, content, first_seen_at) VALUES ($1, $2, $3) ON CONFLICT (sha256) DO NOTHING";
    Ok(tx.execute(sql, params![sha256, content, now])? == 1)
}

/// The log with this SHA-256 (hex).
pub fn content(tx: &mut dyn Tx, sha256: &str) -> Result<Option<Vec<u8>>, StoreError> {
    query_one(tx, "SELECT content FROM logs WHERE sha256 = $1", params![sha256])?
        .map(|row| row.columns().bytes())
        .transpose()
}

/// The log with this SHA-256 (hex), when it has at most so many bytes.
pub fn content_up_to(tx: &mut dyn Tx, sha256: &str, bytes: u32) -> Result<Option<Vec<u8>>, StoreError> {
    let sql = "SELECT content FROM logs WHERE sha256 = $1 AND length(content) <= $2";
    query_one(tx, sql, params![sha256, bytes])?.map(|row| row.columns().bytes()).transpose()
}

/// SHA-256 (hex) of the logs of accepted boots, those of the newest boots first, each once. Looks at so many boots.
pub fn of_newest_boots(tx: &mut dyn Tx, boots: u32) -> Result<Vec<String>, StoreError> {
    let sql = "SELECT log_sha256, verdict FROM boots ORDER BY id DESC LIMIT $1";
    let mut all = Vec::new();
    let mut seen = HashSet::new();
    for row in tx.query(sql, params![boots])? {
        let mut columns = row.columns();
        let (sha256, verdict) = (columns.text()?, columns.word::<Verdict>()?);
        if verdict == Verdict::Healthy && !sha256.is_empty() && seen.insert(sha256.clone()) {
            all.push(sha256);
        }
    }
    Ok(all)
}

/// Whether the log with this SHA-256 (hex) is known.
pub fn has(tx: &mut dyn Tx, sha256: &str) -> Result<bool, StoreError> {
    Ok(query_one(tx, "SELECT 1 FROM logs WHERE sha256 = $1", params![sha256])?.is_some())
}

/// Notes that a log was first shown by this VM in an attestation that failed, and forgets what the VM showed so
/// earlier, except for the last `keep`. Attestations stay and no longer name a log that is forgotten.
///
/// The note ends with [`accepted`]. A log that was there before it was shown is not for the VM to have forgotten: the
/// caller notes only what [`put_if_absent`] added.
pub fn suspect(tx: &mut dyn Tx, vm_id: &str, sha256: &str, keep: usize, now: Time) -> Result<(), StoreError> {
    let sql = "INSERT INTO suspect_logs (sha256, vm_id, shown_at) VALUES ($1, $2, $3) ON CONFLICT (sha256) DO NOTHING";
    tx.execute(sql, params![sha256, vm_id, now])?;
    let sql = "SELECT sha256 FROM suspect_logs WHERE vm_id = $1 AND sha256 <> $2 ORDER BY shown_at DESC, sha256 DESC";
    let others = tx.query(sql, params![vm_id, sha256])?;
    for row in others.into_iter().skip(keep.saturating_sub(1)) {
        let old = row.columns().text()?;
        tx.execute("UPDATE attestations SET log_sha256 = NULL WHERE log_sha256 = $1", params![&old])?;
        tx.execute("DELETE FROM suspect_logs WHERE sha256 = $1", params![&old])?;
        tx.execute("DELETE FROM logs WHERE sha256 = $1", params![&old])?;
    }
    Ok(())
}

/// Keeps a log for good: an attestation with it was accepted.
pub fn accepted(tx: &mut dyn Tx, sha256: &str) -> Result<(), StoreError> {
    tx.execute("DELETE FROM suspect_logs WHERE sha256 = $1", params![sha256])?;
    Ok(())
}
