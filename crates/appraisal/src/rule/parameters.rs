//! Kernel command lines as parsed parameters.

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};
use veriboot_eventlog::ComponentKind;

use super::{Pattern, RuleError};
use crate::text::quoted;

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

impl fmt::Display for Parameters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |patterns: &BTreeSet<Pattern>| {
            patterns.iter().take(8).map(|p| quoted(p.as_str())).collect::<Vec<_>>().join(", ")
        };
        let mut parts: Vec<String> = Vec::new();
        if !self.required.is_empty() {
            parts.push(format!("with {}", list(&self.required)));
        }
        if !self.forbidden.is_empty() {
            parts.push(format!("without {}", list(&self.forbidden)));
        }
        if self.forbid_dangerous {
            parts.push("without parameters that weaken the machine".to_owned());
        }
        f.write_str(&parts.join("; "))
    }
}
