//! Endorsement key, attestation key, and the proof that both live in one TPM.
//!
//! The AK is a child of a storage primary in the endorsement hierarchy. Quotes by keys of that hierarchy carry the
//! true resetCount, restartCount and firmware version (part 1, 36.7); keys of the owner hierarchy get them
//! obfuscated, which would blind the checks against roll-back.

use tpm2_protocol::TpmUnmarshal as _;
use tpm2_protocol::basic::TpmInt32;
use tpm2_protocol::basic::TpmUint32;
use tpm2_protocol::data::{
    Tpm2bData, Tpm2bDigest, Tpm2bEncryptedSecret, Tpm2bNonce, Tpm2bPublic, Tpm2bSensitiveCreate, TpmAlgId,
    TpmCap, TpmRh, TpmSe, TpmaSession, TpmlPcrSelection, TpmtSymDefObject,
};
use tpm2_protocol::frame::{
    TpmActivateCredentialCommand, TpmCreateCommand, TpmCreatePrimaryCommand, TpmLoadCommand,
    TpmPolicySecretCommand, TpmStartAuthSessionCommand,
};

use super::answer::{Answer, Reader};
use super::template::{self, KeyType, bytes};
use super::{Tpm, TpmError, empty_password, session};
use crate::config::AkAlgorithm;

/// TPM_ECC_NIST_P256.
const CURVE_P256: u16 = 3;
/// Wrapped private parts and public areas stay far below this.
const MAX_BLOB: usize = 4096;

/// The endorsement key that the agent uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EndorsementKeyType {
    /// Template L-2 of the EK Credential Profile.
    EccP256,
    /// Template L-1.
    Rsa2048,
}

impl From<EndorsementKeyType> for KeyType {
    fn from(key: EndorsementKeyType) -> Self {
        match key {
            EndorsementKeyType::EccP256 => Self::EccP256,
            EndorsementKeyType::Rsa2048 => Self::Rsa2048,
        }
    }
}

/// An attestation key outside of the TPM: usable only by the TPM that made it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AkBlob {
    /// TPM2B_PUBLIC.
    pub public: Vec<u8>,
    /// TPM2B_PRIVATE, wrapped by the TPM.
    pub private: Vec<u8>,
    /// Whether the parent is the RSA storage key instead of the ECC one.
    pub rsa_parent: bool,
}

impl Tpm {
    /// Whether the TPM computes with NIST P-256.
    pub(super) fn has_p256(&mut self) -> Result<bool, TpmError> {
        let answer = self.capability(TpmCap::EccCurves, 0, 64)?;
        let mut data = answer.reader();
        data.skip(5)?;
        let count = data.u32()?;
        for _ in 0..count.min(64) {
            if data.u16()? == CURVE_P256 {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// TPM2B_PUBLIC of the endorsement key.
    ///
    /// # Errors
    /// Any [`TpmError`].
    pub fn endorsement_public(&mut self, key: EndorsementKeyType) -> Result<Vec<u8>, TpmError> {
        let (handle, public) = self.create_primary(&template::endorsement_key(key.into())?)?;
        self.flush(handle);
        Ok(public)
    }

    /// Makes a new attestation key.
    ///
    /// # Errors
    /// `tpm-algorithm-missing` when the TPM does not offer what was asked for; any other [`TpmError`].
    pub fn create_ak(&mut self, algorithm: AkAlgorithm) -> Result<AkBlob, TpmError> {
        let ecc = self.has_p256()?;
        let key = match (algorithm, ecc) {
            (AkAlgorithm::Ecc, false) => return Err(TpmError::AlgorithmMissing { wanted: "ECC P-256" }),
            (AkAlgorithm::Ecc | AkAlgorithm::Auto, true) => KeyType::EccP256,
            (AkAlgorithm::Rsa, _) | (AkAlgorithm::Auto, false) => KeyType::Rsa2048,
        };
        let parent = if ecc { KeyType::EccP256 } else { KeyType::Rsa2048 };
        let (parent_handle, _) = self.create_primary(&template::storage_key(parent))?;
        self.with_handle(parent_handle, |tpm, handle| {
            let answer = tpm.run(
                &TpmCreateCommand {
                    handles: [TpmUint32::new(handle)],
                    in_sensitive: Tpm2bSensitiveCreate::default(),
                    in_public: template::attestation_key(key),
                    outside_info: Tpm2bData::default(),
                    creation_pcr: TpmlPcrSelection::default(),
                },
                &[empty_password()],
                0,
            )?;
            let mut data = answer.reader();
            let private = data.sized_raw()?.to_vec();
            let public = data.sized_raw()?.to_vec();
            Ok(AkBlob { public, private, rsa_parent: parent == KeyType::Rsa2048 })
        })
    }

    /// Checks that this TPM can use the key.
    ///
    /// # Errors
    /// `tpm-key-foreign` when another TPM made it; any other [`TpmError`].
    pub fn check_ak(&mut self, ak: &AkBlob) -> Result<(), TpmError> {
        self.with_ak(ak, |_, _| Ok(()))
    }

    /// Runs `job` with the loaded attestation key.
    ///
    /// # Errors
    /// `tpm-key-foreign` when this TPM did not make the key; what `job` gives.
    pub(super) fn with_ak<T>(
        &mut self,
        ak: &AkBlob,
        job: impl FnOnce(&mut Self, u32) -> Result<T, TpmError>,
    ) -> Result<T, TpmError> {
        let (public, private) = ak.decode()?;
        let parent = if ak.rsa_parent { KeyType::Rsa2048 } else { KeyType::EccP256 };
        let (parent_handle, _) = self.create_primary(&template::storage_key(parent))?;
        let loaded = self.with_handle(parent_handle, |tpm, handle| {
            let command =
                TpmLoadCommand { handles: [TpmUint32::new(handle)], in_private: private, in_public: public };
            // Every refusal of TPM2_Load is about the blob: integrity, size, another parent.
            tpm.run(&command, &[empty_password()], 1).map_err(|error| match error {
                TpmError::Refused { code, .. } => TpmError::KeyForeign { code },
                other => other,
            })
        })?;
        self.with_handle(loaded.handle, job)
    }

    /// TPM2_ActivateCredential: gives the secret only when `ek` and `ak` both are in this TPM.
    ///
    /// `credential_blob` is a TPM2B_ID_OBJECT and `encrypted_secret` a TPM2B_ENCRYPTED_SECRET.
    ///
    /// # Errors
    /// `tpm-refused` when the credential was made for other keys; any other [`TpmError`].
    pub fn activate_credential(
        &mut self,
        ek: EndorsementKeyType,
        ak: &AkBlob,
        credential_blob: &[u8],
        encrypted_secret: &[u8],
    ) -> Result<Vec<u8>, TpmError> {
        let credential_blob = bytes(whole_sized(credential_blob)?)?;
        let secret: Tpm2bEncryptedSecret = bytes(whole_sized(encrypted_secret)?)?;
        self.with_ak(ak, |tpm, ak_handle| {
            let (ek_handle, _) = tpm.create_primary(&template::endorsement_key(ek.into())?)?;
            tpm.with_handle(ek_handle, |tpm, ek_handle| {
                let policy = tpm.endorsement_policy()?;
                let command = TpmActivateCredentialCommand {
                    handles: [TpmUint32::new(ak_handle), TpmUint32::new(ek_handle)],
                    credential_blob,
                    secret,
                };
                // The session ends with the command; when the command fails it is still there.
                let sessions = [empty_password(), session(policy, TpmaSession::empty())];
                let answer = match tpm.run(&command, &sessions, 0) {
                    Ok(answer) => answer,
                    Err(error) => {
                        tpm.flush(policy);
                        return Err(error);
                    }
                };
                Ok(answer.reader().sized()?.to_vec())
            })
        })
    }

    /// Policy session that satisfies the EK's policy: PolicySecret over the endorsement hierarchy.
    fn endorsement_policy(&mut self) -> Result<u32, TpmError> {
        let mut nonce = [0u8; 32];
        getrandom::fill(&mut nonce)
            .map_err(|e| TpmError::Io { source: std::io::Error::other(e.to_string()) })?;
        let started = self.run(
            &TpmStartAuthSessionCommand {
                handles: [TpmUint32::new(TpmRh::Null.value()), TpmUint32::new(TpmRh::Null.value())],
                nonce_caller: bytes(&nonce)?,
                encrypted_salt: Tpm2bEncryptedSecret::default(),
                session_type: TpmSe::Policy,
                symmetric: TpmtSymDefObject::default(),
                auth_hash: TpmAlgId::Sha256,
            },
            &[],
            1,
        )?;
        let policy = started.handle;
        let secret = TpmPolicySecretCommand {
            handles: [TpmUint32::new(TpmRh::Endorsement.value()), TpmUint32::new(policy)],
            nonce_tpm: Tpm2bNonce::default(),
            cp_hash_a: Tpm2bDigest::default(),
            policy_ref: Tpm2bNonce::default(),
            expiration: TpmInt32::new(0),
        };
        if let Err(error) = self.run(&secret, &[empty_password()], 0) {
            self.flush(policy);
            return Err(error);
        }
        Ok(policy)
    }

    /// Creates a primary key in the endorsement hierarchy: handle and TPM2B_PUBLIC.
    fn create_primary(&mut self, template: &Tpm2bPublic) -> Result<(u32, Vec<u8>), TpmError> {
        let command = TpmCreatePrimaryCommand {
            handles: [TpmUint32::new(TpmRh::Endorsement.value())],
            in_sensitive: Tpm2bSensitiveCreate::default(),
            in_public: template.clone(),
            outside_info: Tpm2bData::default(),
            creation_pcr: TpmlPcrSelection::default(),
        };
        let answer: Answer = self.run(&command, &[empty_password()], 1)?;
        let public = answer.reader().sized_raw()?.to_vec();
        Ok((answer.handle, public))
    }
}

impl AkBlob {
    fn decode(&self) -> Result<(Tpm2bPublic, tpm2_protocol::data::Tpm2bPrivate), TpmError> {
        let foreign = || TpmError::KeyForeign { code: "the stored blob cannot be read".to_owned() };
        if self.public.len() > MAX_BLOB || self.private.len() > MAX_BLOB {
            return Err(foreign());
        }
        let (public, rest) = Tpm2bPublic::unmarshal(&self.public).map_err(|_| foreign())?;
        let private = whole_sized(&self.private).and_then(bytes).map_err(|_| foreign())?;
        if rest.is_empty() { Ok((public, private)) } else { Err(foreign()) }
    }
}

/// Contents of a TPM2B that is the whole of `raw`.
fn whole_sized(raw: &[u8]) -> Result<&[u8], TpmError> {
    let mut reader = Reader(raw);
    let contents = reader.sized()?;
    if reader.0.is_empty() {
        Ok(contents)
    } else {
        Err(TpmError::Malformed { what: "bytes after a sized buffer" })
    }
}
