//! Which keys are accepted as endorsement keys.

use aws_lc_rs::digest;

use crate::alg;
use crate::certificate::{Certificate, CertificateError};
use crate::public::{Attribute, Material, Part, Public, PublicError};

/// What an endorsement key must be (TCG EK Credential Profile, section 2.1.5): a storage key that the TPM
/// made and that cannot leave it. Only such a key opens credentials with TPM2_ActivateCredential.
const MUST_BE_SET: [Attribute; 5] = [
    Attribute::Restricted,
    Attribute::Decrypt,
    Attribute::FixedTpm,
    Attribute::FixedParent,
    Attribute::SensitiveDataOrigin,
];
const MUST_BE_CLEAR: [Attribute; 1] = [Attribute::Sign];

/// Why a key is not accepted as endorsement key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EkError {
    /// The public area cannot be used.
    #[error("endorsement key: {0}")]
    Public(#[from] PublicError),
    /// An attribute is not as it must be.
    #[error("endorsement key: {} must be {}", .attribute.as_str(), if *.expected { "set" } else { "clear" })]
    Attribute {
        /// Which.
        attribute: Attribute,
        /// What it must be.
        expected: bool,
    },
    /// The key does not protect its children with AES-128 or AES-256 in CFB mode.
    #[error("endorsement key: its symmetric algorithm is not AES-128 or AES-256 in CFB mode")]
    Symmetric,
}

impl EkError {
    /// Stable code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Public(fault) => match fault.part() {
                Part::Malformed => "ek-malformed",
                Part::Unsupported => "ek-unsupported",
                Part::Weak => "ek-weak-key",
            },
            Self::Attribute { .. } => "ek-attributes-unfit",
            Self::Symmetric => "ek-unsupported",
        }
    }
}

/// An endorsement key.
#[derive(Clone, Debug)]
pub struct EndorsementKey {
    pub(crate) public: Public,
    /// Bytes of its AES key.
    pub(crate) aes_key_bytes: u16,
}

impl EndorsementKey {
    /// From TPM2B_PUBLIC. Checks type, size, exponent, the attributes restricted, decrypt, fixedTPM,
    /// fixedParent and sensitiveDataOrigin set and sign clear, and AES-CFB as symmetric algorithm.
    ///
    /// Nothing here shows that the key is a TPM's: the credential shows that EK and AK live together, and
    /// the certificate that a manufacturer vouches for the EK.
    pub fn from_tpm2b(bytes: &[u8]) -> Result<Self, EkError> {
        let public = Public::from_tpm2b(bytes)?;
        if let Some(unfit) = public.attributes.unfit(&MUST_BE_SET, &MUST_BE_CLEAR) {
            return Err(EkError::Attribute { attribute: unfit.attribute, expected: unfit.expected });
        }
        let aes_key_bytes = match public.symmetric {
            Some(s) if s.alg == alg::AES && s.mode == alg::CFB && matches!(s.key_bits, 128 | 256) => {
                s.key_bits / 8
            }
            _ => return Err(EkError::Symmetric),
        };
        Ok(Self { public, aes_key_bytes })
    }

    /// SHA-256 of the TPMT_PUBLIC: identifies the TPM.
    pub fn sha256_of_public(&self) -> [u8; 32] {
        let mut out = [0; 32];
        out.copy_from_slice(digest::digest(&digest::SHA256, &self.public.tpmt).as_ref());
        out
    }

    /// TPM name: nameAlg and the digest of the public area.
    pub fn name(&self) -> &[u8] {
        &self.public.name
    }

    /// The key in words: `RSA-2048`, `ECC P-256`.
    pub fn kind(&self) -> String {
        match &self.public.material {
            Material::Rsa { modulus } => format!("RSA-{}", modulus.len() * 8),
            Material::Ecc { curve, .. } => format!("ECC P-{}", curve.size() * 8),
        }
    }

    /// Whether `der` is a certificate of this key. The certificate may be followed by the filler of the NV
    /// index that it was read from. Whether it can be believed is for [`crate::chain::verify_chain`].
    pub fn matches_certificate(&self, der: &[u8]) -> Result<bool, CertificateError> {
        Ok(Certificate::from_der(der)?.material()? == self.public.material)
    }
}
