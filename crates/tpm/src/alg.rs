//! TPM_ALG_ID values (Part 2, section 6.3) and the hashes that a verifier still believes.

use aws_lc_rs::digest;

/// RSA.
pub const RSA: u16 = 0x0001;
/// SHA-1: known so that it can be refused, and as the name of a PCR bank.
pub const SHA1: u16 = 0x0004;
/// AES.
pub const AES: u16 = 0x0006;
/// SHA-256.
pub const SHA256: u16 = 0x000B;
/// SHA-384.
pub const SHA384: u16 = 0x000C;
/// SHA-512.
pub const SHA512: u16 = 0x000D;
/// No algorithm.
pub const NULL: u16 = 0x0010;
/// SM3-256.
pub const SM3_256: u16 = 0x0012;
/// RSASSA-PKCS1-v1_5.
pub const RSASSA: u16 = 0x0014;
/// RSAES-PKCS1-v1_5.
pub const RSAES: u16 = 0x0015;
/// RSASSA-PSS.
pub const RSAPSS: u16 = 0x0016;
/// RSAES-OAEP.
pub const OAEP: u16 = 0x0017;
/// ECDSA.
pub const ECDSA: u16 = 0x0018;
/// ECDH.
pub const ECDH: u16 = 0x0019;
/// ECDAA.
pub const ECDAA: u16 = 0x001A;
/// Elliptic curve keys.
pub const ECC: u16 = 0x0023;
/// Camellia.
pub const CAMELLIA: u16 = 0x0026;
/// SM4.
pub const SM4: u16 = 0x0013;
/// Cipher feedback mode.
pub const CFB: u16 = 0x0043;

/// Size in bytes of the digests of a PCR bank, or `None` for a bank that is not known.
pub fn bank_digest_size(alg: u16) -> Option<usize> {
    match alg {
        SHA1 => Some(20),
        SHA256 | SM3_256 | 0x0027 => Some(32),
        SHA384 | 0x0028 => Some(48),
        SHA512 | 0x0029 => Some(64),
        _ => None,
    }
}

/// Name of a PCR bank as tpm2-tools and event logs spell it (`sha256`), or `None`.
pub fn bank_name(alg: u16) -> Option<&'static str> {
    match alg {
        SHA1 => Some("sha1"),
        SHA256 => Some("sha256"),
        SHA384 => Some("sha384"),
        SHA512 => Some("sha512"),
        SM3_256 => Some("sm3_256"),
        0x0027 => Some("sha3_256"),
        0x0028 => Some("sha3_384"),
        0x0029 => Some("sha3_512"),
        _ => None,
    }
}

/// A hash that signatures and names may rest on. SHA-1 is not among them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hash {
    Sha256,
    Sha384,
    Sha512,
}

impl Hash {
    pub(crate) fn from_id(alg: u16) -> Option<Self> {
        match alg {
            SHA256 => Some(Self::Sha256),
            SHA384 => Some(Self::Sha384),
            SHA512 => Some(Self::Sha512),
            _ => None,
        }
    }

    pub(crate) fn id(self) -> u16 {
        match self {
            Self::Sha256 => SHA256,
            Self::Sha384 => SHA384,
            Self::Sha512 => SHA512,
        }
    }

    pub(crate) fn size(self) -> usize {
        match self {
            Self::Sha256 => 32,
            Self::Sha384 => 48,
            Self::Sha512 => 64,
        }
    }

    pub(crate) fn algorithm(self) -> &'static digest::Algorithm {
        match self {
            Self::Sha256 => &digest::SHA256,
            Self::Sha384 => &digest::SHA384,
            Self::Sha512 => &digest::SHA512,
        }
    }

    pub(crate) fn digest(self, parts: &[&[u8]]) -> digest::Digest {
        let mut context = digest::Context::new(self.algorithm());
        for part in parts {
            context.update(part);
        }
        context.finish()
    }
}
