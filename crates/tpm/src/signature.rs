//! What TPMT_SIGNATURE holds (Part 2, section 11.3.4).

use crate::alg::{self, Hash};
use crate::quote::QuoteError;
use crate::read::Reader;

/// RSA-4096.
const MAX_RSA_BYTES: usize = 512;
/// P-521; larger than any curve that is accepted, so that the refusal can name the curve.
const MAX_ECC_BYTES: usize = 66;

/// A signature scheme without its hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scheme {
    RsaSsa,
    RsaPss,
    EcDsa,
}

impl Scheme {
    pub(crate) fn from_id(id: u16) -> Option<Self> {
        match id {
            alg::RSASSA => Some(Self::RsaSsa),
            alg::RSAPSS => Some(Self::RsaPss),
            alg::ECDSA => Some(Self::EcDsa),
            _ => None,
        }
    }
}

/// A signature as read.
pub(crate) struct Signature<'a> {
    pub(crate) scheme: Scheme,
    pub(crate) hash: Hash,
    pub(crate) value: Value<'a>,
}

/// The numbers of a signature, big-endian.
pub(crate) enum Value<'a> {
    Rsa(&'a [u8]),
    Ecc { r: &'a [u8], s: &'a [u8] },
}

impl<'a> Signature<'a> {
    /// Reads the whole of `bytes`. Schemes other than RSASSA, RSAPSS and ECDSA, and hashes other than
    /// SHA-256, SHA-384 and SHA-512 are refused here, so that nothing later can forget to.
    pub(crate) fn read(bytes: &'a [u8]) -> Result<Self, QuoteError> {
        let malformed = |fault: crate::Malformed| QuoteError::SignatureMalformed(fault);
        let mut reader = Reader::new(bytes);
        let id = reader.u16("sigAlg").map_err(malformed)?;
        let scheme = Scheme::from_id(id).ok_or(QuoteError::SchemeRefused { scheme: id })?;
        let hash_id = reader.u16("hash").map_err(malformed)?;
        let hash = Hash::from_id(hash_id).ok_or(QuoteError::HashRefused { hash: hash_id })?;
        let value = match scheme {
            Scheme::RsaSsa | Scheme::RsaPss => {
                Value::Rsa(reader.sized(MAX_RSA_BYTES, "sig").map_err(malformed)?)
            }
            Scheme::EcDsa => Value::Ecc {
                r: reader.sized(MAX_ECC_BYTES, "signatureR").map_err(malformed)?,
                s: reader.sized(MAX_ECC_BYTES, "signatureS").map_err(malformed)?,
            },
        };
        reader.finish("bytes after the signature").map_err(malformed)?;
        Ok(Self { scheme, hash, value })
    }
}
