//! Signed documents: DSSE envelopes (Dead Simple Signing Envelope, protocol version 1).
//!
//! What is signed is PAE(payloadType, payload), so that a signature says what kind of document it stands under. Keys are
//! arguments: an envelope names a key only by its id, and the id is checked against the key that verifies. A key id is
//! SHA-256 of the key's SubjectPublicKeyInfo in DER, hex.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P384_SHA384_ASN1,
    ECDSA_P384_SHA384_ASN1_SIGNING, ED25519, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey,
    VerificationAlgorithm,
};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use serde::{Deserialize, Serialize};

use crate::MAX_BASELINE_BYTES;

/// Payload type of a baseline document.
pub const BASELINE_PAYLOAD_TYPE: &str = "application/vnd.veriboot.baseline+json";
/// Signatures that an envelope may have.
pub const MAX_SIGNATURES: usize = 16;
/// Bytes of JSON that [`Envelope::from_json`] reads: a payload of the largest size in base64, and room for the rest.
pub const MAX_ENVELOPE_BYTES: usize = MAX_BASELINE_BYTES / 3 * 4 + 64 * 1024;
/// Bytes of one signature; ECDSA P-384 in DER has 104.
const MAX_SIGNATURE_BYTES: usize = 256;

/// SubjectPublicKeyInfo of a point on P-256 up to and with the prefix of an uncompressed point (RFC 5480).
const P256_PREFIX: [u8; 27] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86,
    0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00, 0x04,
];
/// The same for P-384.
const P384_PREFIX: [u8; 24] = [
    0x30, 0x76, 0x30, 0x10, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x05, 0x2b, 0x81,
    0x04, 0x00, 0x22, 0x03, 0x62, 0x00, 0x04,
];
/// The same for Ed25519 (RFC 8410), whose key follows.
const ED25519_PREFIX: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

/// Algorithms of envelope keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KeyAlgorithm {
    /// ECDSA on P-256 with SHA-256, signatures in DER.
    Es256,
    /// ECDSA on P-384 with SHA-384, signatures in DER.
    Es384,
    /// Ed25519.
    Ed25519,
}

impl KeyAlgorithm {
    /// `ES256`, `ES384` or `Ed25519`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Es256 => "ES256",
            Self::Es384 => "ES384",
            Self::Ed25519 => "Ed25519",
        }
    }

    fn verification(self) -> &'static dyn VerificationAlgorithm {
        match self {
            Self::Es256 => &ECDSA_P256_SHA256_ASN1,
            Self::Es384 => &ECDSA_P384_SHA384_ASN1,
            Self::Ed25519 => &ED25519,
        }
    }

    /// Bytes before the key itself, and the size of what follows.
    const fn info(self) -> (&'static [u8], usize) {
        match self {
            Self::Es256 => (&P256_PREFIX, 64),
            Self::Es384 => (&P384_PREFIX, 96),
            Self::Ed25519 => (&ED25519_PREFIX, 32),
        }
    }
}

/// Why bytes are no key for envelopes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// Not a SubjectPublicKeyInfo of P-256, P-384 or Ed25519, or not a point of the curve.
    #[error("the key is not a public key of P-256, P-384 or Ed25519 (SubjectPublicKeyInfo, uncompressed)")]
    Public,
    /// Not a PKCS #8 private key of P-256, P-384 or Ed25519.
    #[error("the key is not a private key of P-256, P-384 or Ed25519 (PKCS #8)")]
    Private,
    /// The crypto library made no key.
    #[error("no key could be made")]
    Generate,
}

/// A key that verifies envelopes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifyingKey {
    id: String,
    algorithm: KeyAlgorithm,
    spki: Vec<u8>,
}

impl VerifyingKey {
    /// From SubjectPublicKeyInfo in DER.
    ///
    /// # Errors
    /// [`KeyError::Public`].
    pub fn from_spki(der: &[u8]) -> Result<Self, KeyError> {
        let algorithm = [KeyAlgorithm::Es256, KeyAlgorithm::Es384, KeyAlgorithm::Ed25519]
            .into_iter()
            .find(|algorithm| {
                let (prefix, size) = algorithm.info();
                der.strip_prefix(prefix).is_some_and(|key| key.len() == size)
            })
            .ok_or(KeyError::Public)?;
        let key = Self { id: key_id(der), algorithm, spki: der.to_vec() };
        UnparsedPublicKey::new(algorithm.verification(), key.raw()).parse().map_err(|_| KeyError::Public)?;
        Ok(key)
    }

    /// SHA-256 of the SubjectPublicKeyInfo, lower-case hex.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Its algorithm.
    pub fn algorithm(&self) -> KeyAlgorithm {
        self.algorithm
    }

    /// SubjectPublicKeyInfo, DER.
    pub fn spki(&self) -> &[u8] {
        &self.spki
    }

    /// The key without what says which one it is: for points, with the prefix of an uncompressed one.
    fn raw(&self) -> &[u8] {
        let (prefix, _) = self.algorithm.info();
        let skip = match self.algorithm {
            KeyAlgorithm::Es256 | KeyAlgorithm::Es384 => prefix.len().saturating_sub(1),
            KeyAlgorithm::Ed25519 => prefix.len(),
        };
        self.spki.get(skip..).unwrap_or_default()
    }

    /// Whether `signature` is of this key over a payload of this type.
    pub fn verifies(&self, payload_type: &str, payload: &[u8], signature: &[u8]) -> bool {
        UnparsedPublicKey::new(self.algorithm.verification(), self.raw())
            .verify(&pae(payload_type, payload), signature)
            .is_ok()
    }
}

/// SHA-256, lower-case hex.
fn key_id(spki: &[u8]) -> String {
    hex::encode(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, spki))
}

/// A key that signs envelopes.
pub struct EnvelopeKey {
    pair: Pair,
    public: VerifyingKey,
}

enum Pair {
    Ecdsa(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
}

impl std::fmt::Debug for EnvelopeKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "EnvelopeKey({})", self.public.id)
    }
}

impl EnvelopeKey {
    /// From PKCS #8 in DER.
    ///
    /// # Errors
    /// [`KeyError::Private`].
    pub fn from_pkcs8(der: &[u8]) -> Result<Self, KeyError> {
        let (pair, algorithm) =
            if let Ok(pair) = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, der) {
                (Pair::Ecdsa(pair), KeyAlgorithm::Es256)
            } else if let Ok(pair) = EcdsaKeyPair::from_pkcs8(&ECDSA_P384_SHA384_ASN1_SIGNING, der) {
                (Pair::Ecdsa(pair), KeyAlgorithm::Es384)
            } else if let Ok(pair) = Ed25519KeyPair::from_pkcs8(der) {
                (Pair::Ed25519(pair), KeyAlgorithm::Ed25519)
            } else {
                return Err(KeyError::Private);
            };
        let key = match &pair {
            // The prefix of an uncompressed point is part of ours.
            Pair::Ecdsa(pair) => pair.public_key().as_ref().get(1..).unwrap_or_default(),
            Pair::Ed25519(pair) => pair.public_key().as_ref(),
        };
        let spki = [algorithm.info().0, key].concat();
        Ok(Self { public: VerifyingKey::from_spki(&spki).map_err(|_| KeyError::Private)?, pair })
    }

    /// A new private key on P-256, PKCS #8 in DER.
    ///
    /// # Errors
    /// [`KeyError::Generate`].
    pub fn generate_pkcs8() -> Result<Vec<u8>, KeyError> {
        EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &SystemRandom::new())
            .map(|document| document.as_ref().to_vec())
            .map_err(|_| KeyError::Generate)
    }

    /// The public half.
    pub fn public(&self) -> &VerifyingKey {
        &self.public
    }

    /// Signs a payload of this type.
    ///
    /// # Errors
    /// [`SignError`] when the crypto library fails.
    pub fn sign(&self, payload_type: &str, payload: &[u8]) -> Result<Vec<u8>, SignError> {
        let message = pae(payload_type, payload);
        let signature = match &self.pair {
            Pair::Ecdsa(pair) => pair.sign(&SystemRandom::new(), &message).map_err(|_| SignError)?,
            Pair::Ed25519(pair) => pair.try_sign(&message).map_err(|_| SignError)?,
        };
        Ok(signature.as_ref().to_vec())
    }
}

/// The crypto library failed to sign.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the payload could not be signed")]
pub struct SignError;

/// Pre-authentication encoding: what a signature is over (DSSE protocol, section "Signature Definition").
pub fn pae(payload_type: &str, payload: &[u8]) -> Vec<u8> {
    let mut message = Vec::with_capacity(payload.len().saturating_add(payload_type.len()).saturating_add(64));
    message.extend_from_slice(b"DSSEv1 ");
    message.extend_from_slice(payload_type.len().to_string().as_bytes());
    message.push(b' ');
    message.extend_from_slice(payload_type.as_bytes());
    message.push(b' ');
    message.extend_from_slice(payload.len().to_string().as_bytes());
    message.push(b' ');
    message.extend_from_slice(payload);
    message
}

/// Why an envelope is not believed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EnvelopeError {
    /// Too many bytes or signatures.
    #[error(
        "the envelope is larger than {MAX_ENVELOPE_BYTES} bytes or has more than {MAX_SIGNATURES} signatures"
    )]
    TooLarge,
    /// Not JSON, or not of this shape.
    #[error("the document is not a DSSE envelope: {0}")]
    Shape(String),
    /// Payload of another type.
    #[error("the payload is of type {0:?}, not {BASELINE_PAYLOAD_TYPE:?}")]
    PayloadType(String),
    /// No signature at all.
    #[error("the envelope is not signed")]
    Unsigned,
    /// No signature is by a key that is trusted.
    #[error("the envelope is signed by {0}, which is not trusted here")]
    UnknownKey(String),
    /// A trusted key is named, and the signature is not of that key over this payload.
    #[error("the signature of key {0} does not hold: the document was changed after it was signed")]
    Invalid(String),
}

impl EnvelopeError {
    /// Stable identifier in kebab case.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::TooLarge => "envelope-too-large",
            Self::Shape(_) => "envelope-malformed",
            Self::PayloadType(_) => "envelope-payload-type",
            Self::Unsigned => "unsigned",
            Self::UnknownKey(_) => "signed-by-unknown-key",
            Self::Invalid(_) => "signature-invalid",
        }
    }
}

/// A DSSE envelope. Unknown and doubled members are refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Envelope {
    /// The signed bytes, base64.
    payload: String,
    /// What they are.
    #[serde(rename = "payloadType")]
    payload_type: String,
    /// Who signed them.
    signatures: Vec<EnvelopeSignature>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct EnvelopeSignature {
    /// Id of the key. DSSE makes it optional and unauthenticated; here it chooses among trusted keys and is required.
    keyid: String,
    /// Base64.
    sig: String,
}

/// A payload that a trusted key signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// The signed bytes.
    pub payload: Vec<u8>,
    /// Id of the trusted key.
    pub key_id: String,
}

impl Envelope {
    /// Signs a payload by one key.
    ///
    /// # Errors
    /// [`SignError`] when the crypto library fails.
    pub fn sign(payload_type: &str, payload: &[u8], key: &EnvelopeKey) -> Result<Self, SignError> {
        let signature = EnvelopeSignature {
            keyid: key.public().id().to_owned(),
            sig: STANDARD.encode(key.sign(payload_type, payload)?),
        };
        Ok(Self {
            payload: STANDARD.encode(payload),
            payload_type: payload_type.to_owned(),
            signatures: vec![signature],
        })
    }

    /// The envelope as JSON.
    ///
    /// # Errors
    /// Never for texts; those of the JSON library.
    pub fn to_json(&self) -> serde_json::Result<String> {
        serde_json::to_string(self)
    }

    /// Reads an envelope. Nothing of it is believed before [`Envelope::verify`].
    ///
    /// # Errors
    /// [`EnvelopeError::TooLarge`] and [`EnvelopeError::Shape`].
    pub fn from_json(json: &[u8]) -> Result<Self, EnvelopeError> {
        if json.len() > MAX_ENVELOPE_BYTES {
            return Err(EnvelopeError::TooLarge);
        }
        let envelope: Self = serde_json::from_slice(json)
            .map_err(|e| EnvelopeError::Shape(crate::text::shortened(&e.to_string(), 200)))?;
        if envelope.signatures.len() > MAX_SIGNATURES {
            return Err(EnvelopeError::TooLarge);
        }
        Ok(envelope)
    }

    /// The payload, when one of the trusted keys signed it as this type. Every signature that names a trusted key must
    /// hold; those of other keys say nothing.
    ///
    /// # Errors
    /// [`EnvelopeError`].
    pub fn verify(&self, payload_type: &str, trusted: &[&VerifyingKey]) -> Result<Verified, EnvelopeError> {
        if self.payload_type != payload_type {
            return Err(EnvelopeError::PayloadType(self.payload_type.chars().take(64).collect()));
        }
        let Some(first) = self.signatures.first() else { return Err(EnvelopeError::Unsigned) };
        let payload = decode(&self.payload, MAX_BASELINE_BYTES)?;
        let mut by = None;
        for signature in &self.signatures {
            let Some(key) = trusted.iter().find(|key| key.id() == signature.keyid) else { continue };
            let bytes = decode(&signature.sig, MAX_SIGNATURE_BYTES)?;
            if !key.verifies(payload_type, &payload, &bytes) {
                return Err(EnvelopeError::Invalid(key.id().to_owned()));
            }
            by.get_or_insert_with(|| key.id().to_owned());
        }
        match by {
            Some(key_id) => Ok(Verified { payload, key_id }),
            None => Err(EnvelopeError::UnknownKey(first.keyid.chars().take(64).collect())),
        }
    }
}

/// Base64 of either alphabet, as DSSE allows; exactly one spelling of each.
fn decode(text: &str, max: usize) -> Result<Vec<u8>, EnvelopeError> {
    if text.len() / 4 * 3 > max.saturating_add(3) {
        return Err(EnvelopeError::TooLarge);
    }
    STANDARD
        .decode(text)
        .or_else(|_| URL_SAFE.decode(text))
        .map_err(|e| EnvelopeError::Shape(format!("base64: {e}")))
}
