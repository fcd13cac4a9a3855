//! Checking a TPM's signature with a public key.

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA384_ASN1, ECDSA_P256_SHA512_ASN1, ECDSA_P384_SHA256_ASN1,
    ECDSA_P384_SHA384_ASN1, ECDSA_P384_SHA512_ASN1, EcdsaVerificationAlgorithm, ParsedPublicKey,
    RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA384, RSA_PKCS1_2048_8192_SHA512,
    RSA_PSS_2048_8192_SHA256, RSA_PSS_2048_8192_SHA384, RSA_PSS_2048_8192_SHA512, RsaParameters,
    RsaPssSaltLength, RsaPublicKeyComponents,
};

use crate::alg::Hash;
use crate::public::{Curve, Material};
use crate::signature::{Scheme, Value};

/// 65537, big-endian without leading zeros.
const EXPONENT_BYTES: [u8; 3] = [1, 0, 1];

// TPMs of before FIPS 186-4 fill the whole block with salt; newer ones use the digest size (Part 1, annex
// B.7). Both are sound; the length of the salt is not a security parameter that an attacker gains from.
static PSS_SHA256_MAX: RsaParameters = RSA_PSS_2048_8192_SHA256.with_pss_salt_length(RsaPssSaltLength::Max);
static PSS_SHA384_MAX: RsaParameters = RSA_PSS_2048_8192_SHA384.with_pss_salt_length(RsaPssSaltLength::Max);
static PSS_SHA512_MAX: RsaParameters = RSA_PSS_2048_8192_SHA512.with_pss_salt_length(RsaPssSaltLength::Max);

/// A public key made ready for one scheme and hash.
#[derive(Clone)]
pub(crate) struct VerifyKey {
    parsed: ParsedPublicKey,
    /// The same key for the other salt length of RSAPSS.
    other_salt: Option<ParsedPublicKey>,
    /// Bytes of one coordinate; 0 for RSA.
    coordinate: usize,
}

/// Why a key cannot be made ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unusable {
    /// The scheme is for the other type of key.
    Scheme,
    /// The numbers are not a key: an even modulus, a point that is not on the curve.
    Key,
}

impl VerifyKey {
    pub(crate) fn new(material: &Material, scheme: Scheme, hash: Hash) -> Result<Self, Unusable> {
        match (material, scheme) {
            (Material::Rsa { modulus }, Scheme::RsaSsa) => {
                let parsed = rsa_key(modulus, pkcs1(hash))?;
                Ok(Self { parsed, other_salt: None, coordinate: 0 })
            }
            (Material::Rsa { modulus }, Scheme::RsaPss) => {
                let (digest_salt, max_salt) = pss(hash);
                let parsed = rsa_key(modulus, digest_salt)?;
                Ok(Self { parsed, other_salt: Some(rsa_key(modulus, max_salt)?), coordinate: 0 })
            }
            (Material::Ecc { curve, point }, Scheme::EcDsa) => {
                let parsed = ParsedPublicKey::new(ecdsa(*curve, hash), point).map_err(|_| Unusable::Key)?;
                Ok(Self { parsed, other_salt: None, coordinate: curve.size() })
            }
            _ => Err(Unusable::Scheme),
        }
    }

    /// Whether `value` signs `message`.
    pub(crate) fn verifies(&self, message: &[u8], value: &Value<'_>) -> bool {
        match value {
            Value::Rsa(signature) => {
                self.parsed.verify_sig(message, signature).is_ok()
                    || self.other_salt.as_ref().is_some_and(|key| key.verify_sig(message, signature).is_ok())
            }
            Value::Ecc { r, s } => ecdsa_der(r, s, self.coordinate)
                .is_some_and(|der| self.parsed.verify_sig(message, &der).is_ok()),
        }
    }
}

fn rsa_key(modulus: &[u8], parameters: &'static RsaParameters) -> Result<ParsedPublicKey, Unusable> {
    // An even modulus makes the library compute without Montgomery form: refuse it before it gets there.
    if modulus.last().is_none_or(|last| last & 1 == 0) {
        return Err(Unusable::Key);
    }
    RsaPublicKeyComponents { n: modulus, e: &EXPONENT_BYTES[..] }
        .to_parsed_public_key(parameters)
        .map_err(|_| Unusable::Key)
}

fn pkcs1(hash: Hash) -> &'static RsaParameters {
    match hash {
        Hash::Sha256 => &RSA_PKCS1_2048_8192_SHA256,
        Hash::Sha384 => &RSA_PKCS1_2048_8192_SHA384,
        Hash::Sha512 => &RSA_PKCS1_2048_8192_SHA512,
    }
}

fn pss(hash: Hash) -> (&'static RsaParameters, &'static RsaParameters) {
    match hash {
        Hash::Sha256 => (&RSA_PSS_2048_8192_SHA256, &PSS_SHA256_MAX),
        Hash::Sha384 => (&RSA_PSS_2048_8192_SHA384, &PSS_SHA384_MAX),
        Hash::Sha512 => (&RSA_PSS_2048_8192_SHA512, &PSS_SHA512_MAX),
    }
}

/// ECDSA with signatures in DER: the only form that the library has for every pair of curve and hash.
pub(crate) fn ecdsa(curve: Curve, hash: Hash) -> &'static EcdsaVerificationAlgorithm {
    match (curve, hash) {
        (Curve::P256, Hash::Sha256) => &ECDSA_P256_SHA256_ASN1,
        (Curve::P256, Hash::Sha384) => &ECDSA_P256_SHA384_ASN1,
        (Curve::P256, Hash::Sha512) => &ECDSA_P256_SHA512_ASN1,
        (Curve::P384, Hash::Sha256) => &ECDSA_P384_SHA256_ASN1,
        (Curve::P384, Hash::Sha384) => &ECDSA_P384_SHA384_ASN1,
        (Curve::P384, Hash::Sha512) => &ECDSA_P384_SHA512_ASN1,
    }
}

/// ECDSA-Sig-Value of RFC 3279. `None` when a number is longer than a coordinate.
fn ecdsa_der(r: &[u8], s: &[u8], coordinate: usize) -> Option<Vec<u8>> {
    let mut body = Vec::with_capacity(2 * coordinate + 6);
    for number in [r, s] {
        let zeros = number.iter().take_while(|byte| **byte == 0).count();
        let number = number.get(zeros..)?;
        if number.len() > coordinate {
            return None;
        }
        let pad = number.first().is_none_or(|top| *top >= 0x80);
        body.push(0x02);
        body.push(u8::try_from(number.len() + usize::from(pad)).ok()?);
        if pad {
            body.push(0);
        }
        body.extend_from_slice(number);
    }
    // At most 2 * (2 + 49) = 102 bytes: always the short form of a DER length.
    let mut der = vec![0x30, u8::try_from(body.len()).ok().filter(|n| *n < 0x80)?];
    der.extend_from_slice(&body);
    Some(der)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn der_integers_are_minimal_and_positive() {
        assert_eq!(ecdsa_der(&[0, 0x80], &[0, 0, 1], 32).unwrap(), [0x30, 7, 2, 2, 0, 0x80, 2, 1, 1]);
        assert_eq!(ecdsa_der(&[0], &[], 32).unwrap(), [0x30, 6, 2, 1, 0, 2, 1, 0]);
        assert_eq!(ecdsa_der(&[1; 33], &[1], 32), None);
    }
}
