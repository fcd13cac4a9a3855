//! Which keys are accepted as attestation keys.

use crate::alg::Hash;
use crate::certificate::{Certificate, CertificateError, material_of_spki};
use crate::public::{Attribute, Attributes, Material, Part, Public, PublicError};
use crate::quote::QuoteError;
use crate::signature::{Scheme, Signature};
use crate::verify::{Unusable, VerifyKey};

/// What an attestation key must be (SPEC section 3): a key that the TPM made, that cannot leave it, and that
/// signs only what the TPM itself says.
const MUST_BE_SET: [Attribute; 5] = [
    Attribute::Restricted,
    Attribute::Sign,
    Attribute::FixedTpm,
    Attribute::FixedParent,
    Attribute::SensitiveDataOrigin,
];
/// A restricted key that also decrypts is a storage key.
const MUST_BE_CLEAR: [Attribute; 1] = [Attribute::Decrypt];

/// Why a key is not accepted as attestation key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AkError {
    /// The public area cannot be used.
    #[error("attestation key: {0}")]
    Public(#[from] PublicError),
    /// The certificate that holds the key cannot be used.
    #[error("attestation key: {0}")]
    Certificate(#[from] CertificateError),
    /// An attribute is not as it must be.
    #[error("attestation key: {} must be {}", .attribute.as_str(), if *.expected { "set" } else { "clear" })]
    Attribute {
        /// Which.
        attribute: Attribute,
        /// What it must be.
        expected: bool,
    },
    /// The scheme of the key is not RSASSA, RSAPSS or ECDSA with SHA-256, SHA-384 or SHA-512.
    #[error("attestation key: scheme 0x{scheme:04x} with hash 0x{hash:04x} is not accepted")]
    Scheme {
        /// TPM_ALG_ID of the scheme; 0x0010 when the key leaves it open.
        scheme: u16,
        /// TPM_ALG_ID of its hash.
        hash: u16,
    },
    /// The numbers are no key: not on the curve, or an even modulus.
    #[error("attestation key: the public key is invalid")]
    Invalid,
    /// Neither TPM2B_PUBLIC, TPMT_PUBLIC, PEM nor a certificate.
    #[error("attestation key: neither TPM2B_PUBLIC, TPMT_PUBLIC, PEM public key nor certificate")]
    UnknownForm,
}

impl AkError {
    /// Stable code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Public(fault) => match fault.part() {
                Part::Malformed => "ak-malformed",
                Part::Unsupported => "ak-unsupported",
                Part::Weak => "ak-weak-key",
            },
            Self::Certificate(_) => "ak-certificate-malformed",
            Self::Attribute { .. } => "ak-attributes-unfit",
            Self::Scheme { .. } => "ak-scheme-refused",
            Self::Invalid => "ak-key-invalid",
            Self::UnknownForm => "ak-form-unknown",
        }
    }
}

/// The scheme that a key is bound to.
#[derive(Clone)]
struct Bound {
    scheme: Scheme,
    hash: Hash,
    key: VerifyKey,
}

/// An attestation key, ready to verify. Cheap to clone; keep it to save parsing it again.
#[derive(Clone)]
pub struct AttestationKey {
    material: Material,
    bound: Option<Bound>,
    name: Vec<u8>,
    public: Vec<u8>,
}

impl std::fmt::Debug for AttestationKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "AttestationKey({})", hex::encode(&self.name))
    }
}

/// What is known about the attributes of a key that came from outside of an enrolment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyAttributes {
    /// They are those of an attestation key.
    Fit,
    /// They are not; the key could have signed anything.
    Unfit(AkError),
    /// The form that the key came in does not carry them.
    Unknown,
}

/// A key for offline verification.
#[derive(Clone, Debug)]
pub struct OfflineKey {
    /// The key.
    pub key: AttestationKey,
    /// Whether it is known to sign only what a TPM says.
    pub attributes: KeyAttributes,
}

impl AttestationKey {
    /// From TPM2B_PUBLIC as a TPM gives it. Checks type, size, exponent, scheme and the attributes
    /// restricted, sign, fixedTPM, fixedParent and sensitiveDataOrigin set and decrypt clear.
    ///
    /// That the key lives in a TPM at all is shown by activating a credential for [`Self::name`].
    pub fn from_tpm2b(bytes: &[u8]) -> Result<Self, AkError> {
        let public = Public::from_tpm2b(bytes)?;
        check_attributes(public.attributes)?;
        Self::from_public(public)
    }

    /// From any form of SPEC section 10: TPM2B_PUBLIC, TPMT_PUBLIC, a PEM public key, or a certificate in
    /// PEM or DER. For offline use only: read [`OfflineKey::attributes`].
    pub fn from_any(bytes: &[u8]) -> Result<OfflineKey, AkError> {
        match bytes {
            [0x30, ..] => Self::from_certificate(&Certificate::from_der(bytes)?),
            [first, ..] if first.is_ascii_whitespace() || *first == b'-' => Self::from_pem(bytes),
            [high, low, rest @ ..] => {
                let public = if usize::from(u16::from_be_bytes([*high, *low])) == rest.len() {
                    Public::from_tpm2b(bytes)?
                } else {
                    Public::from_tpmt(bytes)?
                };
                let attributes = match check_attributes(public.attributes) {
                    Ok(()) => KeyAttributes::Fit,
                    Err(unfit) => KeyAttributes::Unfit(unfit),
                };
                Ok(OfflineKey { key: Self::from_public(public)?, attributes })
            }
            _ => Err(AkError::UnknownForm),
        }
    }

    /// From the certificate of an attestation key. Whether the certificate can be believed is for
    /// [`crate::chain::verify_chain`] to say.
    pub fn from_certificate(certificate: &Certificate) -> Result<OfflineKey, AkError> {
        Ok(Self::of_material(certificate.material()?))
    }

    fn from_pem(text: &[u8]) -> Result<OfflineKey, AkError> {
        let block = pem::parse(text).map_err(|_| AkError::UnknownForm)?;
        match block.tag() {
            "PUBLIC KEY" => Ok(Self::of_material(material_of_spki(block.contents())?)),
            "CERTIFICATE" => Self::from_certificate(&Certificate::from_der(block.contents())?),
            _ => Err(AkError::UnknownForm),
        }
    }

    fn of_material(material: Material) -> OfflineKey {
        let key = Self { material, bound: None, name: Vec::new(), public: Vec::new() };
        OfflineKey { key, attributes: KeyAttributes::Unknown }
    }

    fn from_public(public: Public) -> Result<Self, AkError> {
        let (scheme_id, hash_id) = public.scheme.unwrap_or((crate::alg::NULL, crate::alg::NULL));
        let refused = AkError::Scheme { scheme: scheme_id, hash: hash_id };
        let (Some(scheme), Some(hash)) = (Scheme::from_id(scheme_id), Hash::from_id(hash_id)) else {
            return Err(refused);
        };
        let key = VerifyKey::new(&public.material, scheme, hash).map_err(|unusable| match unusable {
            Unusable::Scheme => refused,
            Unusable::Key => AkError::Invalid,
        })?;
        Ok(Self {
            material: public.material,
            bound: Some(Bound { scheme, hash, key }),
            name: public.name,
            public: public.tpmt,
        })
    }

    /// TPM name: nameAlg and the digest of the public area. Empty when the key came without public area.
    pub fn name(&self) -> &[u8] {
        &self.name
    }

    /// The TPMT_PUBLIC. Empty when the key came without it.
    pub fn public_area(&self) -> &[u8] {
        &self.public
    }

    /// Whether both are the same public key, whatever form they came in.
    pub fn is_same_key(&self, other: &Self) -> bool {
        self.material == other.material
    }

    /// Whether this is the key of `certificate`.
    pub fn matches_certificate(&self, certificate: &Certificate) -> Result<bool, CertificateError> {
        Ok(certificate.material()? == self.material)
    }

    /// Whether the signature is this key's over `message`, by the scheme and hash that the key is bound to.
    pub(crate) fn verify(&self, message: &[u8], signature: &Signature<'_>) -> Result<(), QuoteError> {
        let verifies = match &self.bound {
            Some(bound) if bound.scheme == signature.scheme && bound.hash == signature.hash => {
                bound.key.verifies(message, &signature.value)
            }
            Some(_) => return Err(QuoteError::SchemeMismatch),
            None => VerifyKey::new(&self.material, signature.scheme, signature.hash)
                .map_err(|unusable| match unusable {
                    Unusable::Scheme => QuoteError::SchemeMismatch,
                    Unusable::Key => QuoteError::SignatureInvalid,
                })?
                .verifies(message, &signature.value),
        };
        if verifies { Ok(()) } else { Err(QuoteError::SignatureInvalid) }
    }
}

fn check_attributes(attributes: Attributes) -> Result<(), AkError> {
    match attributes.unfit(&MUST_BE_SET, &MUST_BE_CLEAR) {
        None => Ok(()),
        Some(unfit) => Err(AkError::Attribute { attribute: unfit.attribute, expected: unfit.expected }),
    }
}
