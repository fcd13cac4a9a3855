//! What TPM2B_PUBLIC and TPMT_PUBLIC hold (Part 2, sections 12.2.4 and 12.2.5).

use crate::Malformed;
use crate::alg::{self, Hash};
use crate::read::Reader;

/// The largest TPM2B_DIGEST.
const MAX_DIGEST_BYTES: usize = 64;
/// RSA-4096.
const MAX_RSA_BYTES: usize = 512;
/// P-521.
const MAX_ECC_BYTES: usize = 66;
/// RSA keys of fewer bits are refused.
pub(crate) const MIN_RSA_BITS: usize = 2048;
/// RSA keys of more bits are refused.
pub(crate) const MAX_RSA_BITS: usize = 4096;
/// The only public exponent that is accepted; a TPM writes it as 0 (section 12.2.3.5). Every TPM of the PC
/// Client profile uses it, and small exponents have a history of forgeries.
pub(crate) const RSA_EXPONENT: u32 = 65537;

/// One bit of TPMA_OBJECT (Part 2, section 8.3) that a verifier looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attribute {
    /// The hierarchy of the object cannot change.
    FixedTpm,
    /// The parent of the object cannot change.
    FixedParent,
    /// The TPM made the sensitive data itself.
    SensitiveDataOrigin,
    /// The key only works on structures that the TPM made.
    Restricted,
    /// The private part may decrypt.
    Decrypt,
    /// The private part may sign.
    Sign,
}

impl Attribute {
    const fn mask(self) -> u32 {
        match self {
            Self::FixedTpm => 1 << 1,
            Self::FixedParent => 1 << 4,
            Self::SensitiveDataOrigin => 1 << 5,
            Self::Restricted => 1 << 16,
            Self::Decrypt => 1 << 17,
            Self::Sign => 1 << 18,
        }
    }

    /// Its name in the specification.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::FixedTpm => "fixedTPM",
            Self::FixedParent => "fixedParent",
            Self::SensitiveDataOrigin => "sensitiveDataOrigin",
            Self::Restricted => "restricted",
            Self::Decrypt => "decrypt",
            Self::Sign => "sign",
        }
    }
}

/// TPMA_OBJECT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attributes(pub u32);

impl Attributes {
    /// Whether this bit is set.
    pub const fn has(self, attribute: Attribute) -> bool {
        self.0 & attribute.mask() != 0
    }

    /// The first attribute that is not as it must be, in words; `None` when all are.
    pub(crate) fn unfit(self, set: &[Attribute], clear: &[Attribute]) -> Option<Unfit> {
        let missing = set.iter().find(|a| !self.has(**a)).map(|a| Unfit { attribute: *a, expected: true });
        let extra = clear.iter().find(|a| self.has(**a)).map(|a| Unfit { attribute: *a, expected: false });
        missing.or(extra)
    }
}

/// An attribute that is not as it must be.
pub(crate) struct Unfit {
    pub(crate) attribute: Attribute,
    pub(crate) expected: bool,
}

/// Why a public area cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PublicError {
    /// Not a TPM2B_PUBLIC or TPMT_PUBLIC.
    #[error("the public area is malformed: {0}")]
    Malformed(#[from] Malformed),
    /// Neither RSA nor ECC.
    #[error("key type 0x{0:04x} is not supported: RSA and ECC are")]
    Type(u16),
    /// A curve other than P-256 and P-384.
    #[error("curve 0x{0:04x} is not supported: NIST P-256 and P-384 are")]
    Curve(u16),
    /// RSA outside of 2048 to 4096 bits, or a modulus of another size than it says.
    #[error("an RSA key of {0} bits is not accepted: 2048 to 4096 are")]
    KeySize(usize),
    /// An RSA exponent other than 65537.
    #[error("RSA exponent {0} is not accepted: 65537 is")]
    Exponent(u32),
    /// A name algorithm other than SHA-256, SHA-384 and SHA-512.
    #[error("name algorithm 0x{0:04x} is not accepted: SHA-256, SHA-384 and SHA-512 are")]
    NameAlg(u16),
}

impl PublicError {
    /// What is wrong, as the last part of a stable code.
    pub(crate) fn part(&self) -> Part {
        match self {
            Self::Malformed(_) => Part::Malformed,
            Self::Type(_) | Self::Curve(_) | Self::NameAlg(_) => Part::Unsupported,
            Self::KeySize(_) | Self::Exponent(_) => Part::Weak,
        }
    }
}

/// The three ways in which a public area can be bad.
pub(crate) enum Part {
    Malformed,
    Unsupported,
    Weak,
}

/// A curve that is accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Curve {
    P256,
    P384,
}

impl Curve {
    pub(crate) fn from_id(id: u16) -> Option<Self> {
        match id {
            0x0003 => Some(Self::P256),
            0x0004 => Some(Self::P384),
            _ => None,
        }
    }

    /// Bytes of one coordinate.
    pub(crate) fn size(self) -> usize {
        match self {
            Self::P256 => 32,
            Self::P384 => 48,
        }
    }
}

/// The numbers of a public key. Whether a point is on its curve is for the crypto library to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Material {
    /// Modulus without leading zeros; the exponent is always 65537.
    Rsa { modulus: Vec<u8> },
    /// Uncompressed point: 0x04, x, y.
    Ecc { curve: Curve, point: Vec<u8> },
}

impl Material {
    /// An RSA key of 2048 to 4096 bits with exponent 65537. `modulus` may have leading zeros.
    pub(crate) fn rsa(modulus: &[u8], exponent: u32) -> Result<Self, PublicError> {
        let zeros = modulus.iter().take_while(|byte| **byte == 0).count();
        let modulus = modulus.get(zeros..).unwrap_or_default();
        let bits = modulus.first().map_or(0, |top| modulus.len() * 8 - top.leading_zeros() as usize);
        if !(MIN_RSA_BITS..=MAX_RSA_BITS).contains(&bits) {
            return Err(PublicError::KeySize(bits));
        }
        if exponent != RSA_EXPONENT {
            return Err(PublicError::Exponent(exponent));
        }
        Ok(Self::Rsa { modulus: modulus.to_vec() })
    }

    /// A point from its coordinates, which may lack leading zeros.
    fn ecc(curve: Curve, x: &[u8], y: &[u8]) -> Option<Self> {
        let mut point = vec![0x04];
        for coordinate in [x, y] {
            let zeros = curve.size().checked_sub(coordinate.len())?;
            point.resize(point.len() + zeros, 0);
            point.extend_from_slice(coordinate);
        }
        Some(Self::Ecc { curve, point })
    }
}

/// The symmetric algorithm of a storage key (TPMT_SYM_DEF_OBJECT).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Symmetric {
    pub(crate) alg: u16,
    pub(crate) key_bits: u16,
    pub(crate) mode: u16,
}

/// TPMT_PUBLIC as read: shape and key sizes are checked, the attributes are not.
#[derive(Clone, Debug)]
pub(crate) struct Public {
    pub(crate) name_alg: Hash,
    pub(crate) attributes: Attributes,
    pub(crate) symmetric: Option<Symmetric>,
    /// Scheme and its hash; `None` where the key leaves both open.
    pub(crate) scheme: Option<(u16, u16)>,
    pub(crate) material: Material,
    /// nameAlg and the digest of the TPMT_PUBLIC (Part 1, section 16).
    pub(crate) name: Vec<u8>,
    /// The TPMT_PUBLIC itself.
    pub(crate) tpmt: Vec<u8>,
}

impl Public {
    /// From TPM2B_PUBLIC; the whole of `bytes`.
    pub(crate) fn from_tpm2b(bytes: &[u8]) -> Result<Self, PublicError> {
        let mut reader = Reader::new(bytes);
        let tpmt = reader.sized(bytes.len(), "size of TPM2B_PUBLIC")?;
        reader.finish("bytes after TPM2B_PUBLIC")?;
        Self::from_tpmt(tpmt)
    }

    /// From TPMT_PUBLIC; the whole of `bytes`.
    pub(crate) fn from_tpmt(tpmt: &[u8]) -> Result<Self, PublicError> {
        let mut reader = Reader::new(tpmt);
        let kind = reader.u16("type")?;
        if kind != alg::RSA && kind != alg::ECC {
            return Err(PublicError::Type(kind));
        }
        let name_alg_id = reader.u16("nameAlg")?;
        let name_alg = Hash::from_id(name_alg_id).ok_or(PublicError::NameAlg(name_alg_id))?;
        let attributes = Attributes(reader.u32("objectAttributes")?);
        reader.sized(MAX_DIGEST_BYTES, "authPolicy")?;
        let symmetric = read_symmetric(&mut reader)?;
        let scheme = read_scheme(&mut reader)?;
        let material = if kind == alg::RSA { read_rsa(&mut reader)? } else { read_ecc(&mut reader)? };
        reader.finish("bytes after TPMT_PUBLIC")?;

        let mut name = name_alg.id().to_be_bytes().to_vec();
        name.extend_from_slice(name_alg.digest(&[tpmt]).as_ref());
        Ok(Self { name_alg, attributes, symmetric, scheme, material, name, tpmt: tpmt.to_vec() })
    }
}

/// TPMT_SYM_DEF_OBJECT (section 11.1.7).
fn read_symmetric(reader: &mut Reader<'_>) -> Result<Option<Symmetric>, Malformed> {
    match reader.u16("symmetric.algorithm")? {
        alg::NULL => Ok(None),
        id @ (alg::AES | alg::SM4 | alg::CAMELLIA) => {
            let key_bits = reader.u16("symmetric.keyBits")?;
            let mode = reader.u16("symmetric.mode")?;
            Ok(Some(Symmetric { alg: id, key_bits, mode }))
        }
        _ => Err(reader.fault("symmetric.algorithm is not a block cipher")),
    }
}

/// TPMT_RSA_SCHEME and TPMT_ECC_SCHEME (sections 11.2.4.2 and 11.2.5.6).
fn read_scheme(reader: &mut Reader<'_>) -> Result<Option<(u16, u16)>, Malformed> {
    match reader.u16("scheme.scheme")? {
        alg::NULL => Ok(None),
        alg::RSAES => Ok(Some((alg::RSAES, alg::NULL))),
        alg::ECDAA => {
            let hash = reader.u16("scheme.hashAlg")?;
            reader.u16("scheme.count")?;
            Ok(Some((alg::ECDAA, hash)))
        }
        id => Ok(Some((id, reader.u16("scheme.hashAlg")?))),
    }
}

/// The rest of TPMS_RSA_PARMS, and TPM2B_PUBLIC_KEY_RSA.
fn read_rsa(reader: &mut Reader<'_>) -> Result<Material, PublicError> {
    let key_bits = usize::from(reader.u16("keyBits")?);
    let exponent = match reader.u32("exponent")? {
        0 => RSA_EXPONENT,
        other => other,
    };
    let modulus = reader.sized(MAX_RSA_BYTES, "unique.rsa")?;
    let material = Material::rsa(modulus, exponent)?;
    match modulus.first() {
        Some(top) if *top >= 0x80 && modulus.len() * 8 == key_bits => Ok(material),
        _ => Err(PublicError::KeySize(key_bits)),
    }
}

/// The rest of TPMS_ECC_PARMS, and TPMS_ECC_POINT.
fn read_ecc(reader: &mut Reader<'_>) -> Result<Material, PublicError> {
    let curve_id = reader.u16("curveID")?;
    if reader.u16("kdf.scheme")? != alg::NULL {
        reader.u16("kdf.hashAlg")?;
    }
    let x = reader.sized(MAX_ECC_BYTES, "unique.ecc.x")?;
    let y = reader.sized(MAX_ECC_BYTES, "unique.ecc.y")?;
    let curve = Curve::from_id(curve_id).ok_or(PublicError::Curve(curve_id))?;
    Material::ecc(curve, x, y).ok_or(PublicError::Malformed(reader.fault("unique.ecc longer than the curve")))
}
