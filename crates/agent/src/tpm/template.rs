//! Key templates.
//!
//! The endorsement keys are those of "TCG EK Credential Profile for TPM Family 2.0", templates L-1 (RSA-2048) and
//! L-2 (ECC P-256); the storage keys those of "TCG TPM v2.0 Provisioning Guidance" 7.5.1. Equal templates give equal
//! keys for as long as the seed of the hierarchy lives, so none of these keys is stored.

use tpm2_protocol::TpmError as WireError;
use tpm2_protocol::basic::{TpmBuffer, TpmUint16, TpmUint32};
use tpm2_protocol::data::{
    Tpm2bDigest, Tpm2bPublic, TpmAlgId, TpmEccCurve, TpmaObject, TpmsEccParms, TpmsEccPoint, TpmsRsaParms,
    TpmsSchemeHash, TpmtEccScheme, TpmtKdfScheme, TpmtPublic, TpmtRsaScheme, TpmtSymDefObject,
    TpmuAsymScheme, TpmuPublicId, TpmuPublicParms, TpmuSymKeyBits, TpmuSymMode,
};

use super::TpmError;

/// PolicySecret(TPM_RH_ENDORSEMENT) with an empty policyRef: SHA-256 policy "A" of the EK Credential Profile.
const EK_POLICY: [u8; 32] = [
    0x83, 0x71, 0x97, 0x67, 0x44, 0x84, 0xb3, 0xf8, 0x1a, 0x90, 0xcc, 0x8d, 0x46, 0xa5, 0xd7, 0x24, 0xfd,
    0x52, 0xd7, 0x6e, 0x06, 0x52, 0x0b, 0x64, 0xf2, 0xa1, 0xda, 0x1b, 0x33, 0x14, 0x69, 0xaa,
];

/// The asymmetric algorithm of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum KeyType {
    EccP256,
    Rsa2048,
}

/// EK template; `unique` is all zeros of the key's size.
pub(super) fn endorsement_key(key: KeyType) -> Result<Tpm2bPublic, TpmError> {
    let attributes = restricted_key() | TpmaObject::ADMIN_WITH_POLICY | TpmaObject::DECRYPT;
    let unique = match key {
        KeyType::EccP256 => TpmuPublicId::Ecc(TpmsEccPoint { x: bytes(&[0; 32])?, y: bytes(&[0; 32])? }),
        KeyType::Rsa2048 => TpmuPublicId::Rsa(bytes(&[0; 256])?),
    };
    Ok(public(key, attributes, bytes(&EK_POLICY)?, aes_128_cfb(), TpmAlgId::Null, unique))
}

/// Storage primary that is the parent of the AK.
pub(super) fn storage_key(key: KeyType) -> Tpm2bPublic {
    let attributes = restricted_key() | TpmaObject::USER_WITH_AUTH | TpmaObject::NO_DA | TpmaObject::DECRYPT;
    public(key, attributes, Tpm2bDigest::default(), aes_128_cfb(), TpmAlgId::Null, no_unique(key))
}

/// Attestation key: restricted signing key that never leaves this TPM; ECDSA or RSASSA with SHA-256.
pub(super) fn attestation_key(key: KeyType) -> Tpm2bPublic {
    let attributes =
        restricted_key() | TpmaObject::USER_WITH_AUTH | TpmaObject::NO_DA | TpmaObject::SIGN_ENCRYPT;
    let scheme = match key {
        KeyType::EccP256 => TpmAlgId::Ecdsa,
        KeyType::Rsa2048 => TpmAlgId::Rsassa,
    };
    public(key, attributes, Tpm2bDigest::default(), TpmtSymDefObject::default(), scheme, no_unique(key))
}

fn restricted_key() -> TpmaObject {
    TpmaObject::FIXED_TPM
        | TpmaObject::FIXED_PARENT
        | TpmaObject::SENSITIVE_DATA_ORIGIN
        | TpmaObject::RESTRICTED
}

fn aes_128_cfb() -> TpmtSymDefObject {
    TpmtSymDefObject {
        algorithm: TpmAlgId::Aes,
        key_bits: TpmuSymKeyBits::Aes(TpmUint16::new(128)),
        mode: TpmuSymMode::Aes(TpmAlgId::Cfb),
    }
}

fn no_unique(key: KeyType) -> TpmuPublicId {
    match key {
        KeyType::EccP256 => TpmuPublicId::Ecc(TpmsEccPoint { x: TpmBuffer::new(), y: TpmBuffer::new() }),
        KeyType::Rsa2048 => TpmuPublicId::Rsa(TpmBuffer::new()),
    }
}

fn public(
    key: KeyType,
    object_attributes: TpmaObject,
    auth_policy: Tpm2bDigest,
    symmetric: TpmtSymDefObject,
    scheme: TpmAlgId,
    unique: TpmuPublicId,
) -> Tpm2bPublic {
    let details = match scheme {
        TpmAlgId::Null => TpmuAsymScheme::Null,
        _ => TpmuAsymScheme::Hash(TpmsSchemeHash { hash_alg: TpmAlgId::Sha256 }),
    };
    let (object_type, parameters) = match key {
        KeyType::EccP256 => (
            TpmAlgId::Ecc,
            TpmuPublicParms::Ecc(TpmsEccParms {
                symmetric,
                scheme: TpmtEccScheme { scheme, details },
                curve_id: TpmEccCurve::NistP256,
                kdf: TpmtKdfScheme::default(),
            }),
        ),
        KeyType::Rsa2048 => (
            TpmAlgId::Rsa,
            TpmuPublicParms::Rsa(TpmsRsaParms {
                symmetric,
                scheme: TpmtRsaScheme { scheme, details },
                key_bits: TpmUint16::new(2048),
                exponent: TpmUint32::new(0),
            }),
        ),
    };
    Tpm2bPublic {
        inner: TpmtPublic {
            object_type,
            name_alg: TpmAlgId::Sha256,
            object_attributes,
            auth_policy,
            parameters,
            unique,
        },
    }
}

/// A sized buffer with these contents.
pub(super) fn bytes<const N: usize>(contents: &[u8]) -> Result<TpmBuffer<N>, TpmError> {
    TpmBuffer::try_from(contents).map_err(|e: WireError| TpmError::Command(e))
}
