//! Hash algorithms of PCR banks, and digests.

use std::fmt;

use aws_lc_rs::digest as aws;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::sha256;

/// A hash algorithm that a PCR bank can have (TCG Algorithm Registry, TPM_ALG_ID).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HashAlg {
    /// SHA-1, 0x0004.
    Sha1,
    /// SHA-256, 0x000B.
    Sha256,
    /// SHA-384, 0x000C.
    Sha384,
    /// SHA-512, 0x000D.
    Sha512,
    /// SM3, 0x0012.
    Sm3_256,
}

impl HashAlg {
    /// Every algorithm, in the order of the variants.
    pub const ALL: [Self; 5] = [Self::Sha1, Self::Sha256, Self::Sha384, Self::Sha512, Self::Sm3_256];

    /// The word for the bank: `sha256`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sha1 => "sha1",
            Self::Sha256 => "sha256",
            Self::Sha384 => "sha384",
            Self::Sha512 => "sha512",
            Self::Sm3_256 => "sm3_256",
        }
    }

    /// The bank of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|alg| alg.name() == name)
    }

    /// TPM_ALG_ID.
    pub const fn tpm_id(self) -> u16 {
        match self {
            Self::Sha1 => 0x0004,
            Self::Sha256 => 0x000B,
            Self::Sha384 => 0x000C,
            Self::Sha512 => 0x000D,
            Self::Sm3_256 => 0x0012,
        }
    }

    /// The algorithm of a TPM_ALG_ID.
    pub const fn from_tpm_id(id: u16) -> Option<Self> {
        match id {
            0x0004 => Some(Self::Sha1),
            0x000B => Some(Self::Sha256),
            0x000C => Some(Self::Sha384),
            0x000D => Some(Self::Sha512),
            0x0012 => Some(Self::Sm3_256),
            _ => None,
        }
    }

    /// Bytes of a digest.
    pub const fn size(self) -> usize {
        match self {
            Self::Sha1 => 20,
            Self::Sha256 | Self::Sm3_256 => 32,
            Self::Sha384 => 48,
            Self::Sha512 => 64,
        }
    }

    /// Position in [`HashAlg::ALL`].
    pub(crate) const fn slot(self) -> usize {
        match self {
            Self::Sha1 => 0,
            Self::Sha256 => 1,
            Self::Sha384 => 2,
            Self::Sha512 => 3,
            Self::Sm3_256 => 4,
        }
    }

    /// Digest of the concatenation of `parts`.
    pub fn hash(self, parts: &[&[u8]]) -> Digest {
        if let (Self::Sha256, [message]) = (self, parts)
            && message.len() <= sha256::SHORT
        {
            return Digest::from_short(&sha256::hash(message));
        }
        let algorithm = match self {
            Self::Sha1 => &aws::SHA1_FOR_LEGACY_USE_ONLY,
            Self::Sha256 => &aws::SHA256,
            Self::Sha384 => &aws::SHA384,
            Self::Sha512 => &aws::SHA512,
            Self::Sm3_256 => {
                use sm3::Digest as _;
                let mut context = sm3::Sm3::new();
                for part in parts {
                    context.update(part);
                }
                return Digest::from_short(&context.finalize());
            }
        };
        if let [one] = parts {
            return Digest::from_short(aws::digest(algorithm, one).as_ref());
        }
        let mut context = aws::Context::new(algorithm);
        for part in parts {
            context.update(part);
        }
        Digest::from_short(context.finish().as_ref())
    }

    /// TPM2_PCR_Extend: `hash(register ‖ digest)` (TPM 2.0 Part 1, section 17.2).
    pub fn extend(self, register: &Digest, digest: &[u8]) -> Digest {
        let old = register.as_ref();
        if let (Self::Sha256, Ok(old), Ok(digest)) = (self, old.try_into(), digest.try_into()) {
            return Digest::from_short(&sha256::extend(old, digest));
        }
        let mut buffer = [0_u8; 2 * Digest::MAX];
        let joined = buffer.iter_mut().zip(old.iter().chain(digest)).fold(0, |count, (to, from)| {
            *to = *from;
            count + 1
        });
        match buffer.get(..joined) {
            Some(joined) if joined.len() == old.len() + digest.len() => self.hash(&[joined]),
            _ => self.hash(&[old, digest]),
        }
    }
}

impl fmt::Display for HashAlg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl Serialize for HashAlg {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl<'de> Deserialize<'de> for HashAlg {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        Self::from_name(&name).ok_or_else(|| D::Error::custom("unknown hash algorithm"))
    }
}

/// A digest of at most 64 bytes, kept inline. Shown and serialised as lower-case hex.
#[derive(Clone, Copy)]
pub struct Digest {
    len: u8,
    bytes: [u8; Self::MAX],
}

impl Digest {
    /// Bytes of the longest digest.
    pub const MAX: usize = 64;

    /// The digest with these bytes; `None` when there are more than [`Digest::MAX`].
    pub fn new(bytes: &[u8]) -> Option<Self> {
        (bytes.len() <= Self::MAX).then(|| Self::from_short(bytes))
    }

    /// `len` times the same byte: the reset value of a PCR. `len` is cut at [`Digest::MAX`].
    pub fn repeat(byte: u8, len: usize) -> Self {
        let len = len.min(Self::MAX);
        let mut bytes = [0; Self::MAX];
        if let Some(head) = bytes.get_mut(..len) {
            head.fill(byte);
        }
        Self { len: len as u8, bytes }
    }

    /// All zero, as long as `alg` makes them.
    pub fn zero(alg: HashAlg) -> Self {
        Self::repeat(0, alg.size())
    }

    /// The digest that this hex spells; `None` when it is not hex or too long.
    pub fn from_hex(text: &str) -> Option<Self> {
        let mut bytes = [0; Self::MAX];
        let head = bytes.get_mut(..text.len() / 2)?;
        hex::decode_to_slice(text, head).ok()?;
        Some(Self { len: (text.len() / 2) as u8, bytes })
    }

    /// Cuts what does not fit; callers pass the output of a known algorithm.
    fn from_short(source: &[u8]) -> Self {
        let mut bytes = [0; Self::MAX];
        // Most are of 32 bytes: copied without a loop.
        if let (Ok(source), Some(head)) = (<&[u8; 32]>::try_from(source), bytes.first_chunk_mut()) {
            *head = *source;
            return Self { len: 32, bytes };
        }
        let len = source.len().min(Self::MAX);
        if let (Some(to), Some(from)) = (bytes.get_mut(..len), source.get(..len)) {
            to.copy_from_slice(from);
        }
        Self { len: len as u8, bytes }
    }

    /// The same digest with its last byte set: the start value of PCR 0 after a StartupLocality event.
    pub(crate) fn with_last(mut self, byte: u8) -> Self {
        if let Some(last) = usize::from(self.len).checked_sub(1).and_then(|i| self.bytes.get_mut(i)) {
            *last = byte;
        }
        self
    }
}

impl AsRef<[u8]> for Digest {
    fn as_ref(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.len)).unwrap_or_default()
    }
}

impl PartialEq for Digest {
    fn eq(&self, other: &Self) -> bool {
        self.as_ref() == other.as_ref()
    }
}

impl Eq for Digest {}

impl PartialOrd for Digest {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Digest {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.as_ref().cmp(other.as_ref())
    }
}

impl std::hash::Hash for Digest {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.as_ref().hash(state);
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = [0_u8; 2 * Self::MAX];
        let shown = text.get_mut(..2 * usize::from(self.len)).ok_or(fmt::Error)?;
        hex::encode_to_slice(self.as_ref(), shown).map_err(|_| fmt::Error)?;
        f.pad(std::str::from_utf8(shown).map_err(|_| fmt::Error)?)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest({self})")
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        Self::from_hex(&text).ok_or_else(|| D::Error::custom("not the hex of a digest of at most 64 bytes"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Expected values are from Python's hashlib and, for SM3, from the example in GB/T 32905.
    #[test]
    fn known_answers() {
        let of = |alg: HashAlg| alg.hash(&[b"a", b"bc"]).to_string();
        assert_eq!(of(HashAlg::Sha1), "a9993e364706816aba3e25717850c26c9cd0d89d");
        assert_eq!(of(HashAlg::Sha256), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        assert_eq!(of(HashAlg::Sm3_256), "66c7f0f462eeedd9d1f2d46bdc10e4e24167c4875cf2f7a2297da02b8f4ba8e0");
        assert_eq!(HashAlg::Sha384.hash(&[b"abc"]).to_string().len(), 96);
        let zero = Digest::zero(HashAlg::Sha256);
        let value = HashAlg::Sha256.hash(&[b"abc"]);
        assert_eq!(
            HashAlg::Sha256.extend(&zero, value.as_ref()),
            HashAlg::Sha256.hash(&[zero.as_ref(), value.as_ref()])
        );
    }

    #[test]
    fn hex_round_trip_and_refusals() {
        let digest = HashAlg::Sha512.hash(&[b""]);
        assert_eq!(Digest::from_hex(&digest.to_string()), Some(digest));
        assert_eq!(Digest::from_hex("0"), None);
        assert_eq!(Digest::from_hex("zz"), None);
        assert_eq!(Digest::from_hex(&"00".repeat(65)), None);
        assert_eq!(Digest::new(&[0; 65]), None);
    }
}
