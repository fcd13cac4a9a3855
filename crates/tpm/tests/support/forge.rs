//! Makes TPM structures byte by byte and signs them with keys made on the spot: what a TPM could say, and what
//! an attacker could.
#![allow(dead_code, missing_docs)]

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _, RSA_PKCS1_SHA256, RsaKeyPair,
};
use veriboot_tpm::{PcrSelection, alg};

/// sign, restricted, fixedTPM, fixedParent, sensitiveDataOrigin, userWithAuth.
pub const AK_ATTRIBUTES: u32 = 0x0005_0072;

pub fn sized(bytes: &[u8]) -> Vec<u8> {
    let mut out = u16::try_from(bytes.len()).unwrap().to_be_bytes().to_vec();
    out.extend_from_slice(bytes);
    out
}

/// TPMT_PUBLIC of an RSA key.
pub fn rsa_public(attributes: u32, scheme: &[u16], key_bits: u16, exponent: u32, modulus: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    out.extend(alg::RSA.to_be_bytes());
    out.extend(alg::SHA256.to_be_bytes());
    out.extend(attributes.to_be_bytes());
    out.extend(sized(&[]));
    out.extend(alg::NULL.to_be_bytes());
    out.extend(scheme.iter().flat_map(|id| id.to_be_bytes()));
    out.extend(key_bits.to_be_bytes());
    out.extend(exponent.to_be_bytes());
    out.extend(sized(modulus));
    out
}

/// TPMT_PUBLIC of an ECC key.
pub fn ecc_public(attributes: u32, scheme: &[u16], curve: u16, x: &[u8], y: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    out.extend(alg::ECC.to_be_bytes());
    out.extend(alg::SHA256.to_be_bytes());
    out.extend(attributes.to_be_bytes());
    out.extend(sized(&[]));
    out.extend(alg::NULL.to_be_bytes());
    out.extend(scheme.iter().flat_map(|id| id.to_be_bytes()));
    out.extend(curve.to_be_bytes());
    out.extend(alg::NULL.to_be_bytes());
    out.extend(sized(x));
    out.extend(sized(y));
    out
}

/// TPMS_ATTEST with every field open to change.
#[derive(Clone)]
pub struct Attest {
    pub magic: u32,
    pub kind: u16,
    pub signer: Vec<u8>,
    pub nonce: Vec<u8>,
    pub clock: u64,
    pub reset_count: u32,
    pub restart_count: u32,
    pub safe: u8,
    pub firmware: u64,
    /// Bank and bitmap.
    pub selections: Vec<(u16, Vec<u8>)>,
    pub digest: Vec<u8>,
}

pub const NONCE: [u8; 32] = [0xA5; 32];

/// The value that PCR `pcr` has in [`Attest::sound`].
pub fn pcr_value(pcr: u8) -> Vec<u8> {
    vec![pcr + 1; 32]
}

impl Attest {
    /// A quote of sha256:0-15 with the values of [`pcr_value`] over [`NONCE`].
    pub fn sound() -> Self {
        let values: Vec<u8> = (0..16).flat_map(pcr_value).collect();
        Self {
            magic: 0xFF54_4347,
            kind: 0x8018,
            signer: [&[0, 0x0B][..], &[7; 32]].concat(),
            nonce: NONCE.to_vec(),
            clock: 1234,
            reset_count: 5,
            restart_count: 6,
            safe: 1,
            firmware: 0x2019_1023_0016_3636,
            selections: vec![(alg::SHA256, vec![0xFF, 0xFF, 0])],
            digest: digest(&SHA256, &values).as_ref().to_vec(),
        }
    }

    pub fn bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        out.extend(self.magic.to_be_bytes());
        out.extend(self.kind.to_be_bytes());
        out.extend(sized(&self.signer));
        out.extend(sized(&self.nonce));
        out.extend(self.clock.to_be_bytes());
        out.extend(self.reset_count.to_be_bytes());
        out.extend(self.restart_count.to_be_bytes());
        out.push(self.safe);
        out.extend(self.firmware.to_be_bytes());
        out.extend(u32::try_from(self.selections.len()).unwrap().to_be_bytes());
        for (bank, bitmap) in &self.selections {
            out.extend(bank.to_be_bytes());
            out.push(u8::try_from(bitmap.len()).unwrap());
            out.extend(bitmap);
        }
        out.extend(sized(&self.digest));
        out
    }
}

/// sha256:0-15, what every verifier here asks for.
pub fn asked() -> Vec<PcrSelection> {
    vec![PcrSelection::new(alg::SHA256, 0..16).unwrap()]
}

/// A software key that pretends to be a TPM's.
pub enum Signer {
    Rsa(RsaKeyPair),
    Ecc(EcdsaKeyPair),
}

impl Signer {
    pub fn rsa() -> Self {
        Self::Rsa(RsaKeyPair::generate(KeySize::Rsa2048).unwrap())
    }

    pub fn ecc() -> Self {
        Self::Ecc(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap())
    }

    pub fn modulus(&self) -> Vec<u8> {
        match self {
            // RSAPublicKey of a 2048-bit key: 9 bytes of headers and sign, the modulus, 5 bytes of exponent.
            Self::Rsa(key) => key.public_key().as_ref()[9..265].to_vec(),
            Self::Ecc(_) => panic!("not an RSA key"),
        }
    }

    /// TPM2B_PUBLIC with these attributes and the scheme of [`Self::sign`].
    pub fn public(&self, attributes: u32) -> Vec<u8> {
        sized(&match self {
            Self::Rsa(_) => rsa_public(attributes, &[alg::RSASSA, alg::SHA256], 2048, 0, &self.modulus()),
            Self::Ecc(key) => {
                let point = key.public_key().as_ref();
                ecc_public(attributes, &[alg::ECDSA, alg::SHA256], 3, &point[1..33], &point[33..])
            }
        })
    }

    /// TPMT_SIGNATURE with SHA-256.
    pub fn sign(&self, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        let mut out = Vec::new();
        match self {
            Self::Rsa(key) => {
                let mut signature = vec![0; 256];
                key.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature).unwrap();
                out.extend(alg::RSASSA.to_be_bytes());
                out.extend(alg::SHA256.to_be_bytes());
                out.extend(sized(&signature));
            }
            Self::Ecc(key) => {
                let signature = key.sign(&random, message).unwrap();
                let (r, s) = signature.as_ref().split_at(32);
                out.extend(alg::ECDSA.to_be_bytes());
                out.extend(alg::SHA256.to_be_bytes());
                out.extend(sized(r));
                out.extend(sized(s));
            }
        }
        out
    }
}
