//! What a certificate of a TPM says, however its maker bent RFC 5280.
//!
//! Certificates of TPM makers carry critical certificatePolicies and directory names, serial numbers that are
//! too long or negative, keys marked id-RSAES-OAEP, validity to the year 9999, and sit in NV indices that are
//! larger than they are. All of that is read. What is not DER at all is refused.

use x509_cert::certificate::{CertificateInner, Raw};
use x509_cert::der::asn1::{ObjectIdentifier, UintRef};
use x509_cert::der::{Decode, Header, Reader as _, SliceReader};
use x509_cert::name::Name;
use x509_cert::spki::SubjectPublicKeyInfoRef;

use crate::public::{Curve, Material, PublicError};

/// The longest certificate that is read, in bytes.
const MAX_CERTIFICATE_BYTES: usize = 64 * 1024;
/// The longest name that is shown, in characters.
const MAX_NAME_CHARS: usize = 256;

const OID_RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
/// Infineon and ST mark endorsement keys so.
const OID_RSAES_OAEP: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.7");
const OID_EC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const OID_P256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
const OID_P384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.34");

/// Why a certificate or its key cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CertificateError {
    /// Not a certificate in DER.
    #[error("the certificate is not DER: {0}")]
    Malformed(String),
    /// More than 64 KiB, or something other than filler after the certificate.
    #[error("the certificate is followed by other data")]
    Trailing,
    /// The key is neither RSA nor on P-256 or P-384.
    #[error("the certificate's key has the unsupported algorithm {0}")]
    KeyAlgorithm(String),
    /// The key is too small, or its exponent is not 65537.
    #[error("the certificate's key is refused: {0}")]
    Key(PublicError),
}

impl CertificateError {
    /// Stable code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Malformed(_) => "certificate-malformed",
            Self::Trailing => "certificate-trailing-data",
            Self::KeyAlgorithm(_) => "certificate-key-unsupported",
            Self::Key(_) => "certificate-key-refused",
        }
    }
}

impl From<x509_cert::der::Error> for CertificateError {
    fn from(error: x509_cert::der::Error) -> Self {
        Self::Malformed(error.to_string())
    }
}

/// A certificate as read. Nothing about it is believed yet.
#[derive(Clone, Debug)]
pub struct Certificate {
    pub(crate) parsed: CertificateInner<Raw>,
    der: Vec<u8>,
    tbs: Vec<u8>,
}

impl PartialEq for Certificate {
    fn eq(&self, other: &Self) -> bool {
        self.der == other.der
    }
}

impl Certificate {
    /// From DER. Filler of 0x00 or 0xFF behind the certificate, as NV indices have it, is cut off.
    pub fn from_der(bytes: &[u8]) -> Result<Self, CertificateError> {
        let bytes = bytes.get(..MAX_CERTIFICATE_BYTES).unwrap_or(bytes);
        let der = SliceReader::new(bytes)?.tlv_bytes()?;
        let filler = bytes.get(der.len()..).unwrap_or_default();
        if !filler.iter().all(|b| *b == 0) && !filler.iter().all(|b| *b == 0xFF) {
            return Err(CertificateError::Trailing);
        }
        let mut reader = SliceReader::new(der)?;
        Header::decode(&mut reader)?;
        let tbs = reader.tlv_bytes()?;
        Ok(Self { parsed: CertificateInner::from_der(der)?, der: der.to_vec(), tbs: tbs.to_vec() })
    }

    /// Every certificate of a PEM text, or the one of a DER file.
    pub fn many_from_pem_or_der(bytes: &[u8]) -> Result<Vec<Self>, CertificateError> {
        if bytes.first() == Some(&0x30) {
            return Ok(vec![Self::from_der(bytes)?]);
        }
        let blocks = pem::parse_many(bytes).map_err(|e| CertificateError::Malformed(e.to_string()))?;
        blocks.iter().filter(|b| b.tag() == "CERTIFICATE").map(|b| Self::from_der(b.contents())).collect()
    }

    /// The DER, without filler.
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// The signed part, byte for byte as the issuer signed it.
    pub(crate) fn tbs(&self) -> &[u8] {
        &self.tbs
    }

    /// Subject as RFC 4514 text, printable and at most 256 characters. Endorsement certificates often have none:
    /// these are named by their serial number.
    pub fn subject(&self) -> String {
        let tbs = self.parsed.tbs_certificate();
        match printable(&tbs.subject().to_string()) {
            name if name.is_empty() => {
                printable(&format!("serial number {}", hex::encode(tbs.serial_number().as_bytes())))
            }
            name => name,
        }
    }

    /// Issuer, in the same form.
    pub fn issuer(&self) -> String {
        Self::name_text(self.parsed.tbs_certificate().issuer())
    }

    /// A name, in the same form.
    pub(crate) fn name_text(name: &Name) -> String {
        printable(&name.to_string())
    }

    /// The bits of the public key.
    pub(crate) fn key_bits(&self) -> &[u8] {
        self.parsed.tbs_certificate().subject_public_key_info().subject_public_key.raw_bytes()
    }

    /// First and last second of its validity, in seconds since 1970.
    pub fn validity_unix_s(&self) -> (u64, u64) {
        let validity = self.parsed.tbs_certificate().validity();
        (validity.not_before.to_unix_duration().as_secs(), validity.not_after.to_unix_duration().as_secs())
    }

    /// The public key.
    pub(crate) fn material(&self) -> Result<Material, CertificateError> {
        let spki = self.parsed.tbs_certificate().subject_public_key_info();
        let curve = spki.algorithm.parameters.as_ref().and_then(|p| p.decode_as().ok());
        let bits = spki.subject_public_key.as_bytes();
        material_of(&spki.algorithm.oid, curve, bits)
    }
}

/// The key of a SubjectPublicKeyInfo in DER.
pub(crate) fn material_of_spki(der: &[u8]) -> Result<Material, CertificateError> {
    let spki = SubjectPublicKeyInfoRef::from_der(der)?;
    let curve = spki.algorithm.parameters.and_then(|p| p.decode_as().ok());
    material_of(&spki.algorithm.oid, curve, spki.subject_public_key.as_bytes())
}

fn material_of(
    algorithm: &ObjectIdentifier,
    curve: Option<ObjectIdentifier>,
    key: Option<&[u8]>,
) -> Result<Material, CertificateError> {
    let key = key.ok_or(CertificateError::Malformed("the key is not a whole number of bytes".to_owned()))?;
    if *algorithm == OID_RSA || *algorithm == OID_RSAES_OAEP {
        return rsa_material(key);
    }
    if *algorithm != OID_EC {
        return Err(CertificateError::KeyAlgorithm(algorithm.to_string()));
    }
    let curve = match curve {
        Some(OID_P256) => Curve::P256,
        Some(OID_P384) => Curve::P384,
        Some(other) => return Err(CertificateError::KeyAlgorithm(other.to_string())),
        None => return Err(CertificateError::KeyAlgorithm("explicit curve".to_owned())),
    };
    if key.first() != Some(&0x04) || key.len() != 1 + 2 * curve.size() {
        return Err(CertificateError::Malformed("the point is not uncompressed".to_owned()));
    }
    Ok(Material::Ecc { curve, point: key.to_vec() })
}

/// RSAPublicKey of RFC 8017.
fn rsa_material(key: &[u8]) -> Result<Material, CertificateError> {
    let mut reader = SliceReader::new(key)?;
    let (modulus, exponent) =
        reader.sequence(|r| Ok::<_, x509_cert::der::Error>((UintRef::decode(r)?, UintRef::decode(r)?)))?;
    reader.finish()?;
    let exponent = match exponent.as_bytes() {
        bytes if bytes.len() <= 4 => bytes.iter().fold(0, |n, b| (n << 8) | u32::from(*b)),
        _ => u32::MAX,
    };
    Material::rsa(modulus.as_bytes(), exponent).map_err(CertificateError::Key)
}

/// Names come from outside: no control characters, no bidirectional overrides, bounded.
fn printable(text: &str) -> String {
    text.chars()
        .take(MAX_NAME_CHARS)
        .map(|c| {
            if c.is_control() || matches!(c, '\u{200E}'..='\u{202E}' | '\u{2066}'..='\u{2069}') {
                '\u{FFFD}'
            } else {
                c
            }
        })
        .collect()
}
