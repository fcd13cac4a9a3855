//! How old revocations may be: SBAT level and dbx.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};
use veriboot_eventlog::{ComponentKind, Digest};

use super::RuleError;

/// Least revision. `level` and `generations` are for `sbat-level`, the others for `revocation-db`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Minimum {
    /// Date stamp that the SBAT level must have at least, `YYYYMMDDnn`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub level: Option<u64>,
    /// Generation that the SBAT level must demand at least, by component.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub generations: BTreeMap<String, u32>,
    /// Entries that dbx must have at least.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entries: Option<usize>,
    /// SHA-256 digests (of images or certificates) that dbx must revoke.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub hashes: BTreeSet<Digest>,
}

impl Minimum {
    pub(super) fn len(&self) -> usize {
        usize::from(self.level.is_some())
            + self.generations.len()
            + usize::from(self.entries.is_some())
            + self.hashes.len()
    }

    pub(super) fn check(&self, component: ComponentKind) -> Result<(), RuleError> {
        let of_sbat = self.level.is_some() || !self.generations.is_empty();
        let of_dbx = self.entries.is_some() || !self.hashes.is_empty();
        let wrong = if component == ComponentKind::SbatLevel { of_dbx } else { of_sbat };
        if wrong {
            let what =
                "level and generations are for sbat-level, entries and hashes for revocation-db".to_owned();
            return Err(RuleError::Contradiction { component, what });
        }
        Ok(())
    }
}

impl fmt::Display for Minimum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts: Vec<String> = Vec::new();
        parts.extend(self.level.map(|level| format!("level {level}")));
        parts
            .extend(self.generations.iter().take(8).map(|(name, generation)| format!("{name} {generation}")));
        parts.extend(self.entries.map(super::demands::entries));
        if !self.hashes.is_empty() {
            parts.push(format!("{} given hashes", self.hashes.len()));
        }
        write!(f, "at least {}", parts.join(", "))
    }
}
