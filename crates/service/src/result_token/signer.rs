//! The keys that sign attestation results: kept in the database, shared by replicas, rotated.

use std::sync::{Arc, PoisonError, RwLock};

use veriboot_store::signing_keys::{self, Purpose, SigningKeyRow};
use veriboot_store::{Store, StoreError, Tx};
use veriboot_wire::Time;

use super::{EarClaims, Jwk, JwkSet, MAX_LIFETIME_S, SigningKey, TokenError, generate_pkcs8};
use crate::{Clock, StartError};

/// Seconds after which the active key is looked up again; another replica may have rotated.
const REFRESH_S: i64 = 30;
/// Seconds that an old key stays published beyond the lifetime of its last token: other replicas go on signing
/// with it until they look again, and clocks differ.
const GRACE_S: i64 = 300;
/// JOSE name of the algorithm.
const ALGORITHM: &str = "ES256";

/// Signs with the active key. Clones share it.
#[derive(Clone, Debug)]
pub struct Signer {
    store: Store,
    clock: Clock,
    active: Arc<RwLock<Active>>,
}

#[derive(Debug)]
struct Active {
    key: Arc<SigningKey>,
    looked_up_at: Time,
}

impl Signer {
    /// Takes the active key, making one on the first start.
    ///
    /// # Errors
    /// [`StartError`] when the database does not answer or holds a key that cannot be used.
    pub async fn open(store: &Store, clock: &Clock) -> Result<Self, StartError> {
        let now = clock.now();
        let fresh = new_row(now).map_err(|e| StartError::Internal(e.to_string()))?;
        let row = store.write(move |tx| active_or_insert(tx, &fresh, now)).await?;
        let key =
            SigningKey::from_pkcs8(&row.private_pkcs8).map_err(|e| StartError::Internal(e.to_string()))?;
        let active = Arc::new(RwLock::new(Active { key: Arc::new(key), looked_up_at: now }));
        Ok(Self { store: store.clone(), clock: clock.clone(), active })
    }

    /// Signs the claims. Call it on a tokio runtime: every half minute it looks up the active key beside that.
    ///
    /// # Errors
    /// [`TokenError`] when signing fails.
    pub fn sign(&self, claims: &EarClaims) -> Result<String, TokenError> {
        let now = self.clock.now();
        let (key, old) = {
            let active = self.active.read().unwrap_or_else(PoisonError::into_inner);
            let age_ms = now.unix_ms().saturating_sub(active.looked_up_at.unix_ms());
            (Arc::clone(&active.key), age_ms.saturating_abs() > REFRESH_S * 1000)
        };
        if old {
            // The key in hand is good meanwhile: a retired one stays published for longer than this takes.
            self.active.write().unwrap_or_else(PoisonError::into_inner).looked_up_at = now;
            let signer = self.clone();
            tokio::spawn(async move {
                if let Err(error) = signer.refresh(now).await {
                    tracing::warn!(%error, "cannot look up the active signing key");
                }
            });
        }
        key.sign(claims)
    }

    async fn refresh(&self, now: Time) -> Result<(), RotateError> {
        match self.store.read(move |tx| signing_keys::active(tx, now)).await? {
            Some(row) => self.take(&row, now),
            None => Ok(()),
        }
    }

    fn take(&self, row: &SigningKeyRow, now: Time) -> Result<(), RotateError> {
        let key = Arc::new(SigningKey::from_pkcs8(&row.private_pkcs8)?);
        *self.active.write().unwrap_or_else(PoisonError::into_inner) = Active { key, looked_up_at: now };
        Ok(())
    }

    /// Makes a new key that signs from now on and gives its id. The old ones stay published until the last token
    /// that they may have signed has expired.
    ///
    /// # Errors
    /// [`RotateError`]; the old key goes on signing then.
    pub async fn rotate(&self) -> Result<String, RotateError> {
        let now = self.clock.now();
        let fresh = new_row(now)?;
        let row = self.store.write(move |tx| replace(tx, &fresh, now)).await?;
        self.take(&row, now)?;
        Ok(row.kid)
    }
}

/// Why the signing key could not be changed.
#[derive(Debug, thiserror::Error)]
pub enum RotateError {
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// No key could be made or read.
    #[error(transparent)]
    Key(#[from] TokenError),
}

/// The keys whose tokens may be valid now, newest first.
///
/// # Errors
/// [`StoreError`] when the database does not answer.
pub async fn published(store: &Store, now: Time) -> Result<JwkSet, StoreError> {
    let rows = store.read(move |tx| signing_keys::published(tx, now)).await?;
    let keys = rows.iter().filter_map(|row| match serde_json::from_str::<Jwk>(&row.public_jwk) {
        Ok(jwk) => Some(jwk),
        Err(error) => {
            tracing::error!(kid = row.kid, %error, "a published key cannot be read");
            None
        }
    });
    Ok(JwkSet { keys: keys.collect() })
}

fn new_row(now: Time) -> Result<SigningKeyRow, TokenError> {
    let private_pkcs8 = generate_pkcs8()?;
    let key = SigningKey::from_pkcs8(&private_pkcs8)?;
    Ok(SigningKeyRow {
        kid: key.kid().to_owned(),
        algorithm: ALGORITHM.to_owned(),
        public_jwk: serde_json::to_string(key.jwk()).map_err(|_| TokenError::Key)?,
        private_pkcs8,
        created_at: now,
        signs_from: now,
        published_until: None,
    })
}

fn active_or_insert(tx: &mut dyn Tx, fresh: &SigningKeyRow, now: Time) -> Result<SigningKeyRow, StoreError> {
    if let Some(row) = signing_keys::active(tx, now)? {
        return Ok(row);
    }
    // A clock that was set back: keys of the future are as good as any.
    if let Some(row) = signing_keys::published(tx, now)?.into_iter().next() {
        return Ok(row);
    }
    signing_keys::insert(tx, Purpose::Result, fresh)?;
    Ok(fresh.clone())
}

fn replace(tx: &mut dyn Tx, fresh: &SigningKeyRow, now: Time) -> Result<SigningKeyRow, StoreError> {
    let until = now.plus_s(i64::from(MAX_LIFETIME_S).saturating_add(GRACE_S));
    for row in signing_keys::published(tx, now)? {
        if row.published_until.is_none() {
            signing_keys::set_published_until(tx, &row.kid, until)?;
        }
    }
    signing_keys::insert(tx, Purpose::Result, fresh)?;
    Ok(fresh.clone())
}
