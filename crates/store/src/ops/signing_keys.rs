//! Keys that sign: attestation results, and stored versions of baselines and profiles.

use veriboot_wire::Time;

use crate::StoreError;
use crate::tx::{Row, Tx, params, query_one};

/// What a key signs. A key of one purpose never signs for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Attestation results.
    Result,
    /// Baselines and profiles.
    Baseline,
}

impl Purpose {
    fn as_str(self) -> &'static str {
        match self {
            Self::Result => "result",
            Self::Baseline => "baseline",
        }
    }
}

/// A key pair. The row is as secret as the database file.
#[derive(Clone, PartialEq, Eq)]
pub struct SigningKeyRow {
    /// Key id in tokens and in the JWKS, or in envelopes.
    pub kid: String,
    /// JOSE algorithm: `ES256`.
    pub algorithm: String,
    /// Private key, PKCS #8 DER.
    pub private_pkcs8: Vec<u8>,
    /// Public key: JWK as JSON of a key for results, SubjectPublicKeyInfo as PEM of one for baselines.
    pub public_jwk: String,
    /// When it was made.
    pub created_at: Time,
    /// When it starts to sign; it is published before.
    pub signs_from: Time,
    /// When it stops to be published; `None` is not decided.
    pub published_until: Option<Time>,
}

impl std::fmt::Debug for SigningKeyRow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SigningKeyRow")
            .field("kid", &self.kid)
            .field("algorithm", &self.algorithm)
            .finish_non_exhaustive()
    }
}

const COLUMNS: &str = "kid, algorithm, private_pkcs8, public_jwk, created_at, signs_from, published_until";

fn read(row: Row) -> Result<SigningKeyRow, StoreError> {
    let mut c = row.columns();
    Ok(SigningKeyRow {
        kid: c.text()?,
        algorithm: c.text()?,
        private_pkcs8: c.bytes()?,
        public_jwk: c.text()?,
        created_at: c.time()?,
        signs_from: c.time()?,
        published_until: c.opt_time()?,
    })
}

/// Adds a key.
pub fn insert(tx: &mut dyn Tx, purpose: Purpose, key: &SigningKeyRow) -> Result<(), StoreError> {
    tx.execute(
        &format!("INSERT INTO signing_keys ({COLUMNS}, purpose) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)"),
        params![
            &key.kid,
            &key.algorithm,
            &key.private_pkcs8,
            &key.public_jwk,
            key.created_at,
            key.signs_from,
            key.published_until,
            purpose.as_str(),
        ],
    )?;
    Ok(())
}

/// The key that signs results now: the newest one that has started.
pub fn active(tx: &mut dyn Tx, now: Time) -> Result<Option<SigningKeyRow>, StoreError> {
    let sql = format!(
        "SELECT {COLUMNS} FROM signing_keys WHERE purpose = 'result' AND signs_from <= $1 AND (published_until IS NULL OR published_until > $1) \
         ORDER BY signs_from DESC, kid DESC LIMIT 1"
    );
    query_one(tx, &sql, params![now])?.map(read).transpose()
}

/// The keys of the JWKS now, newest first, at most 100.
pub fn published(tx: &mut dyn Tx, now: Time) -> Result<Vec<SigningKeyRow>, StoreError> {
    let sql = format!(
        "SELECT {COLUMNS} FROM signing_keys WHERE purpose = 'result' AND (published_until IS NULL OR published_until > $1) \
         ORDER BY signs_from DESC, kid DESC LIMIT 100"
    );
    tx.query(&sql, params![now])?.into_iter().map(read).collect()
}

/// All keys of a purpose, newest first, at most 100.
pub fn of_purpose(tx: &mut dyn Tx, purpose: Purpose) -> Result<Vec<SigningKeyRow>, StoreError> {
    let sql = format!(
        "SELECT {COLUMNS} FROM signing_keys WHERE purpose = $1 ORDER BY signs_from DESC, kid DESC LIMIT 100"
    );
    tx.query(&sql, params![purpose.as_str()])?.into_iter().map(read).collect()
}

/// Decides when a key stops to be published: when its last token has expired.
pub fn set_published_until(tx: &mut dyn Tx, kid: &str, until: Time) -> Result<bool, StoreError> {
    Ok(tx.execute("UPDATE signing_keys SET published_until = $2 WHERE kid = $1", params![kid, until])? == 1)
}
