//! How a secret is sealed so that only one TPM can open it (Part 1, section 24; Part 3, TPM2_MakeCredential).

use aws_lc_rs::agreement::{self, ECDH_P256, ECDH_P384, PrivateKey, UnparsedPublicKey};
use aws_lc_rs::cipher::{AES_128, AES_256, EncryptingKey, EncryptionContext, UnboundCipherKey};
use aws_lc_rs::hmac;
use aws_lc_rs::iv::FixedLength;
use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use aws_lc_rs::rsa::{
    OAEP_SHA256_MGF1SHA256, OAEP_SHA384_MGF1SHA384, OAEP_SHA512_MGF1SHA512, OaepPublicEncryptingKey,
    PublicEncryptingKey,
};
use aws_lc_rs::signature::RsaPublicKeyComponents;

use crate::alg::Hash;
use crate::ek::EndorsementKey;
use crate::kdf::{hmac_algorithm, kdf_a, kdf_e};
use crate::public::{Curve, Material};

/// Label of the seed; OAEP takes it with its terminating zero, KDFe adds the zero.
const IDENTITY: &[u8] = b"IDENTITY";
const IDENTITY_Z: &[u8] = b"IDENTITY\0";

/// What TPM2_ActivateCredential takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credential {
    /// TPM2B_ID_OBJECT.
    pub blob: Vec<u8>,
    /// TPM2B_ENCRYPTED_SECRET.
    pub encrypted_secret: Vec<u8>,
}

/// Why no credential was made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CredentialError {
    /// The secret is empty or longer than a digest of the EK's name algorithm: no TPM would take it.
    #[error("a credential's secret must have 1 to {limit} bytes, not {size}")]
    SecretSize {
        /// Bytes given.
        size: usize,
        /// The most that this EK can take.
        limit: usize,
    },
    /// The name of the attestation key is not a TPM name.
    #[error("the name of the attestation key is not a TPM name")]
    Name,
    /// The EK's numbers are no key: not on the curve, or an even modulus.
    #[error("the endorsement key is invalid")]
    Key,
    /// The random number generator or the cipher of the crypto library failed.
    #[error("the crypto library failed")]
    Crypto,
}

impl CredentialError {
    /// Stable code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::SecretSize { .. } => "credential-secret-size",
            Self::Name => "credential-name",
            Self::Key => "ek-key-invalid",
            Self::Crypto => "credential-crypto",
        }
    }
}

/// Seals `secret` for the TPM that holds `ek` and, beside it, a key of the name `ak_name`.
///
/// The seed and, for ECC, the ephemeral key come from the system's random number generator.
pub fn make_credential(
    ek: &EndorsementKey,
    ak_name: &[u8],
    secret: &[u8],
) -> Result<Credential, CredentialError> {
    let hash = ek.public.name_alg;
    if secret.is_empty() || secret.len() > hash.size() {
        return Err(CredentialError::SecretSize { size: secret.len(), limit: hash.size() });
    }
    let name_alg = ak_name.first_chunk::<2>().map(|id| u16::from_be_bytes(*id)).and_then(Hash::from_id);
    if name_alg.is_none_or(|alg| ak_name.len() != 2 + alg.size()) {
        return Err(CredentialError::Name);
    }
    let (seed, encrypted_seed) = match &ek.public.material {
        Material::Rsa { modulus } => rsa_seed(hash, modulus)?,
        Material::Ecc { curve, point } => ecc_seed(hash, *curve, point)?,
    };

    let mut identity = sized(secret)?;
    let aes_key = kdf_a(hash, &seed, b"STORAGE", ak_name, &[], ek.aes_key_bytes);
    encrypt_cfb(&aes_key, &mut identity)?;

    let digest_bytes = u16::try_from(hash.size()).map_err(|_| CredentialError::Crypto)?;
    let mac_key = kdf_a(hash, &seed, b"INTEGRITY", &[], &[], digest_bytes);
    let mut mac = hmac::Context::with_key(&hmac::Key::new(hmac_algorithm(hash), &mac_key));
    mac.update(&identity);
    mac.update(ak_name);

    let mut object = sized(mac.sign().as_ref())?;
    object.extend_from_slice(&identity);
    Ok(Credential { blob: sized(&object)?, encrypted_secret: sized(&encrypted_seed)? })
}

/// A random seed, and the seed encrypted with OAEP (Part 1, annex B.10.3).
fn rsa_seed(hash: Hash, modulus: &[u8]) -> Result<(Vec<u8>, Vec<u8>), CredentialError> {
    let mut seed = vec![0; hash.size()];
    SystemRandom::new().fill(&mut seed).map_err(|_| CredentialError::Crypto)?;
    let components = RsaPublicKeyComponents { n: modulus, e: &[1_u8, 0, 1][..] };
    let key: PublicEncryptingKey = components.try_into().map_err(|_| CredentialError::Key)?;
    let key = OaepPublicEncryptingKey::new(key).map_err(|_| CredentialError::Key)?;
    let algorithm = match hash {
        Hash::Sha256 => &OAEP_SHA256_MGF1SHA256,
        Hash::Sha384 => &OAEP_SHA384_MGF1SHA384,
        Hash::Sha512 => &OAEP_SHA512_MGF1SHA512,
    };
    let mut encrypted = vec![0; key.ciphertext_size()];
    let written = key
        .encrypt(algorithm, &seed, &mut encrypted, Some(IDENTITY_Z))
        .map_err(|_| CredentialError::Key)?
        .len();
    encrypted.truncate(written);
    Ok((seed, encrypted))
}

/// A seed by ECDH with an ephemeral key, and the ephemeral point (Part 1, annex C.6.3).
fn ecc_seed(hash: Hash, curve: Curve, point: &[u8]) -> Result<(Vec<u8>, Vec<u8>), CredentialError> {
    let algorithm = match curve {
        Curve::P256 => &ECDH_P256,
        Curve::P384 => &ECDH_P384,
    };
    let ephemeral = PrivateKey::generate(algorithm).map_err(|_| CredentialError::Crypto)?;
    let ephemeral_point = ephemeral.compute_public_key().map_err(|_| CredentialError::Crypto)?;
    let (x, y) = coordinates(curve, ephemeral_point.as_ref()).ok_or(CredentialError::Crypto)?;
    let (ek_x, _) = coordinates(curve, point).ok_or(CredentialError::Key)?;
    let size = u16::try_from(hash.size()).map_err(|_| CredentialError::Crypto)?;
    let peer = UnparsedPublicKey::new(algorithm, point);
    let seed = agreement::agree(&ephemeral, peer, CredentialError::Key, |z| {
        Ok(kdf_e(hash, z, IDENTITY, x, ek_x, size))
    })?;
    let mut encoded = sized(x)?;
    encoded.extend_from_slice(&sized(y)?);
    Ok((seed, encoded))
}

fn coordinates(curve: Curve, point: &[u8]) -> Option<(&[u8], &[u8])> {
    let (_, xy) = point.split_first()?;
    let (x, y) = xy.split_at_checked(curve.size())?;
    (y.len() == curve.size()).then_some((x, y))
}

/// AES in CFB mode with an initialisation vector of zeros, as Part 1, section 24.4 has it; the key is used
/// once.
fn encrypt_cfb(key: &[u8], in_out: &mut [u8]) -> Result<(), CredentialError> {
    let algorithm = if key.len() == 16 { &AES_128 } else { &AES_256 };
    let key = UnboundCipherKey::new(algorithm, key).map_err(|_| CredentialError::Crypto)?;
    let iv = EncryptionContext::Iv128(FixedLength::from([0_u8; 16]));
    EncryptingKey::cfb128(key)
        .and_then(|key| key.less_safe_encrypt(in_out, iv))
        .map_err(|_| CredentialError::Crypto)?;
    Ok(())
}

/// A TPM2B of these bytes.
fn sized(bytes: &[u8]) -> Result<Vec<u8>, CredentialError> {
    let size = u16::try_from(bytes.len()).map_err(|_| CredentialError::Crypto)?;
    let mut out = size.to_be_bytes().to_vec();
    out.extend_from_slice(bytes);
    Ok(out)
}
