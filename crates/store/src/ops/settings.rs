//! Small values of the service: challenge key, certificate authority.

use crate::StoreError;
use crate::tx::{Tx, params, query_one};

/// The value of a key.
pub fn value(tx: &mut dyn Tx, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
    query_one(tx, "SELECT value FROM settings WHERE name = $1", params![key])?
        .map(|row| row.columns().bytes())
        .transpose()
}

/// Sets the value of a key.
pub fn set(tx: &mut dyn Tx, key: &str, value: &[u8]) -> Result<(), StoreError> {
    let sql = "INSERT INTO settings (name, value) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET value = excluded.value";
    tx.execute(sql, params![key, value])?;
    Ok(())
}

/// Sets the value unless there is one, and gives the one that is there now: all replicas that start at once agree.
pub fn value_or_insert(tx: &mut dyn Tx, key: &str, value: &[u8]) -> Result<Vec<u8>, StoreError> {
    let sql = "INSERT INTO settings (name, value) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET \
               value = settings.value RETURNING value";
    query_one(tx, sql, params![key, value])?.map_or_else(
        || Err(StoreError::failed("upsert of a setting gave no row")),
        |row| row.columns().bytes(),
    )
}

/// Forgets a key.
pub fn delete(tx: &mut dyn Tx, key: &str) -> Result<bool, StoreError> {
    Ok(tx.execute("DELETE FROM settings WHERE name = $1", params![key])? == 1)
}
