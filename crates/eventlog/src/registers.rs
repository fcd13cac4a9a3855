//! Values of registers by their index.

use std::fmt;

use crate::Digest;

/// Values of registers, by rising index. There are two dozen of them, so they lie side by side.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Registers(Vec<(u32, Digest)>);

impl Registers {
    /// From indices and values by rising index, each index once.
    pub(crate) fn rising(values: impl Iterator<Item = (u32, Digest)>, count: usize) -> Self {
        let mut all = Vec::with_capacity(count);
        all.extend(values);
        Self(all)
    }

    /// The value of a register that is there.
    pub fn get(&self, pcr: &u32) -> Option<&Digest> {
        // Register 0 is the first of a TPM: most are where their index says.
        let there =
            usize::try_from(*pcr).ok().and_then(|at| self.0.get(at)).filter(|(index, _)| index == pcr);
        let found = there.or_else(|| self.0.get(self.0.binary_search_by_key(pcr, |(index, _)| *index).ok()?));
        found.map(|(_, value)| value)
    }

    /// Whether a register is there.
    pub fn contains_key(&self, pcr: &u32) -> bool {
        self.get(pcr).is_some()
    }

    /// Registers with their values.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&u32, &Digest)> {
        self.0.iter().map(|(pcr, value)| (pcr, value))
    }

    /// Indices of the registers.
    pub fn keys(&self) -> impl ExactSizeIterator<Item = &u32> {
        self.0.iter().map(|(pcr, _)| pcr)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for Registers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self).finish()
    }
}

impl IntoIterator for Registers {
    type Item = (u32, Digest);
    type IntoIter = std::vec::IntoIter<(u32, Digest)>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl<'r> IntoIterator for &'r Registers {
    type Item = (&'r u32, &'r Digest);
    type IntoIter =
        std::iter::Map<std::slice::Iter<'r, (u32, Digest)>, fn(&'r (u32, Digest)) -> (&'r u32, &'r Digest)>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter().map(|(pcr, value)| (pcr, value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_what_is_there_wherever_it_stands() {
        let value = |n: u32| Digest::new(&[n as u8; 32]).unwrap();
        for from in [0, 1, 5] {
            let all = Registers::rising((from..from + 4).map(|pcr| (pcr, value(pcr))), 4);
            for pcr in 0..12 {
                let wanted = (from..from + 4).contains(&pcr).then(|| value(pcr));
                assert_eq!(all.get(&pcr).copied(), wanted);
                assert_eq!(all.contains_key(&pcr), wanted.is_some());
            }
            assert!(all.keys().copied().eq(from..from + 4));
            assert_eq!((all.len(), all.is_empty()), (4, false));
            assert!(all.iter().eq(&all));
            assert_eq!(all.get(&from).copied().unwrap(), value(from));
        }
        assert_eq!(Registers::default().get(&0), None);
    }
}
