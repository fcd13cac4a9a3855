//! The key that signs stored versions of baselines and profiles, and the keys whose signatures are believed.
//!
//! The service makes its key at its first start; replicas share it through the database. In the same transaction it signs
//! what was stored before there were signatures. From then on a version without a signature, or with one that does not
//! hold, was written by somebody else: it judges nothing, and is never taken for one that is missing.
//!
//! What is signed is the version's [`Statement`]: a document that was moved to another scope, name or number does not
//! verify. Envelopes for export are over the document alone.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls_pki_types::SubjectPublicKeyInfoDer;
use rustls_pki_types::pem::PemObject as _;
use serde_json::json;
use veriboot_appraisal::{
    BASELINE_PAYLOAD_TYPE, Envelope, EnvelopeError, EnvelopeKey, Verified, VerifyingKey,
};
use veriboot_store::baselines::BaselineRow;
use veriboot_store::profiles::ProfileRow;
use veriboot_store::signing_keys::{self, Purpose, SigningKeyRow};
use veriboot_store::{Signature, Signs, Statement, Store, StoreError, Tx, audit, baselines};
use veriboot_wire::{BaselineKey, Time};

use crate::{Clock, StartError};

/// Payload type of what a stored version says about itself.
const STATEMENT_TYPE: &str = "application/vnd.veriboot.stored-version+json";
/// Versions that are read at once when old ones are signed.
const BATCH: u32 = 100;
/// Bytes of a file with trusted keys.
const MAX_KEY_FILE_BYTES: u64 = 1024 * 1024;
/// Keys that may be trusted.
const MAX_TRUSTED_KEYS: usize = 256;

/// Signs and verifies. Clones share the keys.
#[derive(Clone, Debug)]
pub struct BaselineSigner(Arc<Keys>);

#[derive(Debug)]
struct Keys {
    signing: EnvelopeKey,
    /// All keys that this service ever signed by.
    own: Vec<VerifyingKey>,
    /// Keys of others whose documents may be imported.
    trusted: Vec<VerifyingKey>,
}

/// Why a stored version is not believed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotBelieved {
    /// There is no signature.
    #[error("{0} is not signed: it was not stored by this service")]
    Unsigned(String),
    /// The key is not one of this service.
    #[error("{version} is signed by {key_id}, which is no key of this service")]
    UnknownKey {
        /// `name@version`.
        version: String,
        /// Id of the key.
        key_id: String,
    },
    /// The signature is over something else.
    #[error("the signature of {0} does not hold: it was changed after it was stored")]
    Invalid(String),
}

impl BaselineSigner {
    /// Takes the key out of the database, making it at the first start, and reads the trusted keys.
    ///
    /// # Errors
    /// [`StartError`] when the database does not answer, its key cannot be used, or a file holds no keys.
    pub async fn open(store: &Store, clock: &Clock, trusted: &[PathBuf]) -> Result<Self, StartError> {
        let files = trusted.to_vec();
        let trusted = tokio::task::spawn_blocking(move || read_trusted(&files))
            .await
            .map_err(|e| StartError::Internal(format!("reading trusted keys failed: {e}")))??;
        let now = clock.now();
        let fresh = new_row(now)?;
        let rows = store.write(move |tx| keys_or_insert(tx, &fresh, now)).await?;
        let mut keys = Vec::new();
        for row in &rows {
            let key = EnvelopeKey::from_pkcs8(&row.private_pkcs8).map_err(|e| {
                StartError::Internal(format!("the key {} that signs baselines cannot be used: {e}", row.kid))
            })?;
            keys.push(key);
        }
        let own = keys.iter().map(|key| key.public().clone()).collect();
        let signing = keys
            .into_iter()
            .next()
            .ok_or_else(|| StartError::Internal("there is no key that signs baselines".to_owned()))?;
        Ok(Self(Arc::new(Keys { signing, own, trusted })))
    }

    /// Whether this service stored this version as it is now.
    ///
    /// # Errors
    /// [`NotBelieved`].
    pub fn verify_baseline(&self, row: &BaselineRow) -> Result<(), NotBelieved> {
        self.verify(&row.statement(), row.signature.as_ref(), row.reference())
    }

    /// [`BaselineSigner::verify_baseline`] for a profile.
    ///
    /// # Errors
    /// [`NotBelieved`].
    pub fn verify_profile(&self, row: &ProfileRow) -> Result<(), NotBelieved> {
        self.verify(&row.statement(), Some(&row.signature), row.reference())
    }

    fn verify(
        &self,
        statement: &Statement<'_>,
        signature: Option<&Signature>,
        version: String,
    ) -> Result<(), NotBelieved> {
        let Some(signature) = signature else { return Err(NotBelieved::Unsigned(version)) };
        let Some(key) = self.0.own.iter().find(|key| key.id() == signature.key_id) else {
            let key_id = signature.key_id.chars().take(64).collect();
            return Err(NotBelieved::UnknownKey { version, key_id });
        };
        let Ok(bytes) = statement.bytes() else { return Err(NotBelieved::Invalid(version)) };
        match key.verifies(STATEMENT_TYPE, &bytes, &signature.bytes) {
            true => Ok(()),
            false => Err(NotBelieved::Invalid(version)),
        }
    }

    /// A document in an envelope for others.
    ///
    /// # Errors
    /// The words of the library that failed.
    pub fn export(&self, document: &str) -> Result<String, String> {
        Envelope::sign(BASELINE_PAYLOAD_TYPE, document.as_bytes(), &self.0.signing)
            .map_err(|e| e.to_string())?
            .to_json()
            .map_err(|e| e.to_string())
    }

    /// The document of an envelope that this service or a trusted key signed.
    ///
    /// # Errors
    /// [`EnvelopeError`].
    pub fn import(&self, envelope: &[u8]) -> Result<Verified, EnvelopeError> {
        let keys: Vec<_> = self.0.own.iter().chain(&self.0.trusted).collect();
        Envelope::from_json(envelope)?.verify(BASELINE_PAYLOAD_TYPE, &keys)
    }

    /// The keys whose envelopes are imported, the one that signs first.
    pub fn keys(&self) -> Vec<BaselineKey> {
        let describe = |own: bool| {
            move |key: &VerifyingKey| BaselineKey {
                id: key.id().to_owned(),
                algorithm: key.algorithm().name().to_owned(),
                own,
                pem: public_pem(key.spki()),
            }
        };
        let trusted = self.0.trusted.iter().filter(|key| !self.0.own.contains(key));
        self.0.own.iter().map(describe(true)).chain(trusted.map(describe(false))).collect()
    }
}

impl Signs for BaselineSigner {
    fn sign(&self, statement: &Statement<'_>) -> Result<Signature, StoreError> {
        let key = &self.0.signing;
        let bytes = key
            .sign(STATEMENT_TYPE, &statement.bytes()?)
            .map_err(|e| StoreError::Failed { cause: e.to_string() })?;
        Ok(Signature { key_id: key.public().id().to_owned(), bytes })
    }
}

fn public_pem(spki: &[u8]) -> String {
    pem::encode(&pem::Pem::new("PUBLIC KEY", spki))
}

fn new_row(now: Time) -> Result<SigningKeyRow, StartError> {
    let failed = |e: veriboot_appraisal::KeyError| StartError::Internal(format!("no key for baselines: {e}"));
    let private_pkcs8 = EnvelopeKey::generate_pkcs8().map_err(failed)?;
    let key = EnvelopeKey::from_pkcs8(&private_pkcs8).map_err(failed)?;
    Ok(SigningKeyRow {
        kid: key.public().id().to_owned(),
        algorithm: key.public().algorithm().name().to_owned(),
        public_jwk: public_pem(key.public().spki()),
        private_pkcs8,
        created_at: now,
        signs_from: now,
        published_until: None,
    })
}

/// The keys of the service. Who makes the first one signs what was stored before: nobody does so a second time, so that a
/// version that somebody writes without a signature later stays without.
fn keys_or_insert(
    tx: &mut dyn Tx,
    fresh: &SigningKeyRow,
    now: Time,
) -> Result<Vec<SigningKeyRow>, StoreError> {
    let rows = signing_keys::of_purpose(tx, Purpose::Baseline)?;
    if !rows.is_empty() {
        return Ok(rows);
    }
    let key = EnvelopeKey::from_pkcs8(&fresh.private_pkcs8)
        .map_err(|e| StoreError::Failed { cause: e.to_string() })?;
    let public = key.public().clone();
    let signer = BaselineSigner(Arc::new(Keys { signing: key, own: vec![public], trusted: Vec::new() }));
    signing_keys::insert(tx, Purpose::Baseline, fresh)?;
    let (mut signed, mut last) = (0_u64, String::new());
    loop {
        let old = baselines::unsigned(tx, &last, BATCH)?;
        let Some(end) = old.last() else { break };
        last.clone_from(&end.id);
        for version in &old {
            signed += u64::from(baselines::sign(tx, version, &signer)?);
        }
    }
    let detail = json!({ "key": fresh.kid, "algorithm": fresh.algorithm, "versions_signed": signed });
    let target = format!("baseline-key:{}", fresh.kid);
    let entry = audit::NewEntry {
        at: now,
        actor: "service",
        action: "baseline-key.create",
        target: &target,
        detail: &detail,
    };
    audit::append(tx, &entry)?;
    Ok(vec![fresh.clone()])
}

/// The public keys of PEM files.
fn read_trusted(files: &[PathBuf]) -> Result<Vec<VerifyingKey>, StartError> {
    let mut keys: Vec<VerifyingKey> = Vec::new();
    for path in files {
        let of_file =
            keys_of(path).map_err(|reason| StartError::TrustedKeys { path: path.clone(), reason })?;
        for key in of_file {
            if !keys.contains(&key) {
                keys.push(key);
            }
        }
        if keys.len() > MAX_TRUSTED_KEYS {
            let reason = format!("more than {MAX_TRUSTED_KEYS} keys are trusted");
            return Err(StartError::TrustedKeys { path: path.clone(), reason });
        }
    }
    Ok(keys)
}

fn keys_of(path: &Path) -> Result<Vec<VerifyingKey>, String> {
    let size = std::fs::metadata(path).map_err(|e| e.to_string())?.len();
    if size > MAX_KEY_FILE_BYTES {
        return Err(format!("it has more than {MAX_KEY_FILE_BYTES} bytes"));
    }
    let text = std::fs::read(path).map_err(|e| e.to_string())?;
    let mut keys = Vec::new();
    for item in SubjectPublicKeyInfoDer::pem_slice_iter(&text) {
        let der = item.map_err(|e| format!("it is not PEM: {e}"))?;
        keys.push(VerifyingKey::from_spki(&der).map_err(|e| e.to_string())?);
    }
    if keys.is_empty() {
        return Err("it holds no PUBLIC KEY".to_owned());
    }
    Ok(keys)
}
