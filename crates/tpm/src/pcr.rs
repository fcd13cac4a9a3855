//! Which PCRs a quote covers.

use crate::Malformed;
use crate::alg::{bank_digest_size, bank_name};
use crate::read::Reader;

/// Banks in one selection list: more than there are hash algorithms in the TCG registry.
const MAX_BANKS: u32 = 16;
/// The most bytes of a selection bitmap; every TPM of the PC Client profile has 3.
const MAX_SELECT_BYTES: u8 = 4;

/// A set of PCR indices, 0 to 31.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct PcrSet(u32);

impl PcrSet {
    /// PCR 0 to 15: those that software cannot reset.
    pub const STATIC: Self = Self(0xFFFF);

    /// From indices; those above 31 do not exist and make this `None`.
    pub fn from_indices(indices: impl IntoIterator<Item = u32>) -> Option<Self> {
        indices.into_iter().try_fold(0_u32, |bits, index| Some(bits | 1_u32.checked_shl(index)?)).map(Self)
    }

    /// Whether it holds this index.
    pub fn contains(self, index: u8) -> bool {
        1_u32.checked_shl(u32::from(index)).is_some_and(|bit| self.0 & bit != 0)
    }

    /// Whether it holds nothing.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// How many indices it holds.
    pub fn len(self) -> usize {
        self.0.count_ones() as usize
    }

    /// The indices in ascending order: the order in which the TPM hashes them.
    pub fn iter(self) -> impl Iterator<Item = u8> {
        (0..32_u8).filter(move |index| self.contains(*index))
    }

    /// The indices of this set that `other` does not hold.
    pub fn minus(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }
}

impl std::fmt::Display for PcrSet {
    /// `0,1,2,7`
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (n, index) in self.iter().enumerate() {
            if n > 0 {
                f.write_str(",")?;
            }
            write!(f, "{index}")?;
        }
        Ok(())
    }
}

/// PCRs of one bank (TPMS_PCR_SELECTION, Part 2, section 10.6.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PcrSelection {
    /// The bank, a TPM_ALG_ID.
    pub alg: u16,
    /// Its PCRs.
    pub pcrs: PcrSet,
}

impl PcrSelection {
    /// PCRs of one bank; `None` when an index is above 31.
    pub fn new(alg: u16, indices: impl IntoIterator<Item = u32>) -> Option<Self> {
        Some(Self { alg, pcrs: PcrSet::from_indices(indices)? })
    }

    /// Whether a verifier may ask for exactly this: a bank that is known, at least one PCR, and none that
    /// software can reset (16 and above; PC Client Platform TPM Profile, table 5).
    pub fn is_askable(&self) -> bool {
        bank_digest_size(self.alg).is_some()
            && !self.pcrs.is_empty()
            && self.pcrs.minus(PcrSet::STATIC).is_empty()
    }
}

impl std::fmt::Display for PcrSelection {
    /// `sha256:0,1,7` as tpm2-tools spell it.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match bank_name(self.alg) {
            Some(name) => write!(f, "{name}:{}", self.pcrs),
            None => write!(f, "0x{:04x}:{}", self.alg, self.pcrs),
        }
    }
}

/// TPML_PCR_SELECTION (Part 2, section 10.9.7). Order is kept: the PCR digest depends on it.
pub(crate) fn read_selections(reader: &mut Reader<'_>) -> Result<Vec<PcrSelection>, Malformed> {
    let count = reader.u32("pcrSelect.count")?;
    if count > MAX_BANKS {
        return Err(reader.fault("pcrSelect.count above 16"));
    }
    let mut selections = Vec::new();
    for _ in 0..count {
        let alg = reader.u16("pcrSelect.hash")?;
        let size = reader.u8("pcrSelect.sizeofSelect")?;
        if size > MAX_SELECT_BYTES {
            return Err(reader.fault("pcrSelect.sizeofSelect above 4"));
        }
        let bitmap = reader.take(usize::from(size), "pcrSelect.pcrSelect")?;
        let bits = bitmap.iter().rev().fold(0_u32, |bits, byte| (bits << 8) | u32::from(*byte));
        selections.push(PcrSelection { alg, pcrs: PcrSet(bits) });
    }
    Ok(selections)
}

/// Writes selections the way people read them: `sha1:0,1 sha256:0,1,7`.
pub(crate) struct Shown<'a>(pub(crate) &'a [PcrSelection]);

impl std::fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (n, selection) in self.0.iter().enumerate() {
            if n > 0 {
                f.write_str(" ")?;
            }
            write!(f, "{selection}")?;
        }
        if self.0.is_empty() { f.write_str("nothing") } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bitmap_is_little_endian_by_byte() {
        let bytes = [0, 0, 0, 1, 0, 0x0B, 3, 0x81, 0x00, 0x80];
        let selections = read_selections(&mut Reader::new(&bytes)).unwrap();
        assert_eq!(selections, [PcrSelection::new(crate::alg::SHA256, [0, 7, 23]).unwrap()]);
        assert_eq!(selections[0].to_string(), "sha256:0,7,23");
    }

    #[test]
    fn counts_are_bounded() {
        let bytes = [0xFF; 64];
        assert!(read_selections(&mut Reader::new(&bytes)).is_err());
        assert_eq!(PcrSet::from_indices([32]), None);
    }

    #[test]
    fn askable_needs_a_known_bank_and_static_pcrs() {
        let sha256 = crate::alg::SHA256;
        assert!(PcrSelection::new(sha256, 0..16).unwrap().is_askable());
        assert!(!PcrSelection::new(sha256, [16]).unwrap().is_askable());
        assert!(!PcrSelection::new(sha256, [0, 23]).unwrap().is_askable());
        assert!(!PcrSelection::new(sha256, []).unwrap().is_askable());
        assert!(!PcrSelection::new(crate::alg::NULL, [0]).unwrap().is_askable());
    }
}
