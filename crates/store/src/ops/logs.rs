//! Event logs by content.

use veriboot_wire::Time;

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

/// Whether the log with this SHA-256 (hex) is known.
pub fn has(tx: &mut dyn Tx, sha256: &str) -> Result<bool, StoreError> {
    Ok(query_one(tx, "SELECT 1 FROM logs WHERE sha256 = $1", params![sha256])?.is_some())
}
