//! Kernel command lines as parsed parameters.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use veriboot_eventlog::ComponentKind;

use super::{Pattern, RuleError};

/// What a kernel command line must, may and must not have. A pattern is a whole parameter (`ro`, `console=ttyS0`), and
/// `*` in it stands for any text (`console=*`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Parameters {
    /// Each of these must be met by a parameter.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub required: BTreeSet<Pattern>,
    /// Differences in these parameters are explained. Empty: no difference is.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub allowed: BTreeSet<Pattern>,
    /// None of these may be met by a parameter.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub forbidden: BTreeSet<Pattern>,
    /// Whether parameters that are known to weaken a machine (docs/profiles.md) are forbidden too.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub forbid_dangerous: bool,
}

impl Parameters {
    pub(super) fn len(&self) -> usize {
        self.required.len() + self.allowed.len() + self.forbidden.len() + usize::from(self.forbid_dangerous)
    }

    pub(super) fn check(&self, component: ComponentKind) -> Result<(), RuleError> {
        for (name, list) in [("required", &self.required), ("allowed", &self.allowed)] {
            if let Some(both) = list.intersection(&self.forbidden).next() {
                let what = format!("`{both}` is {name} and forbidden");
                return Err(RuleError::Contradiction { component, what });
            }
        }
        Ok(())
    }
}
