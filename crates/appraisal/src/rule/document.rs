//! The shape of a rule in JSON and TOML, and what makes one invalid.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use veriboot_eventlog::{ComponentKind, Digest, HashAlg};

use super::{
    Authority, MAX_RULE_DIGESTS, MAX_RULE_MEMBERS, Minimum, Parameters, Pattern, Rule, Says, StateFlag,
    Switch,
};
use crate::enforcement::belongs;

/// Characters of a description.
const MAX_DESCRIPTION_CHARS: usize = 512;

/// A rule as it is written.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RuleDocument {
    component: ComponentKind,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    description: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    digests: Option<BTreeSet<Digest>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    any: Option<BTreeSet<Pattern>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    authorities: Option<Vec<Authority>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    minimum: Option<Minimum>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    parameters: Option<Parameters>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    state: Option<BTreeMap<StateFlag, Switch>>,
}

/// Why something is not a rule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RuleError {
    /// It says nothing, or several things.
    #[error(
        "a rule about `{component}` must have exactly one of digests, authorities, minimum, parameters, state and any; it has {count}"
    )]
    NotOne {
        /// The component.
        component: ComponentKind,
        /// How many it has.
        count: usize,
    },
    /// What it says does not fit the component.
    #[error("`{word}` cannot be said of `{component}`; it can be said of {}", .allowed.join(", "))]
    WrongComponent {
        /// The member.
        word: &'static str,
        /// The component.
        component: ComponentKind,
        /// Components of which it can be said.
        allowed: Vec<&'static str>,
    },
    /// A list is empty, so the rule says nothing.
    #[error("`{word}` of a rule about `{component}` is empty")]
    Empty {
        /// The member.
        word: &'static str,
        /// The component.
        component: ComponentKind,
    },
    /// A list is longer than a rule may have.
    #[error("`{word}` of a rule about `{component}` has {count} members; {max} is the limit")]
    TooLong {
        /// The member.
        word: &'static str,
        /// The component.
        component: ComponentKind,
        /// Members that it has.
        count: usize,
        /// Members that it may have.
        max: usize,
    },
    /// A certificate or a revoked hash that is not given by its SHA-256.
    #[error("`{word}` of a rule about `{component}` are by SHA-256: 64 hex digits, this one has {}", .bytes * 2)]
    NotSha256 {
        /// The member.
        word: &'static str,
        /// The component.
        component: ComponentKind,
        /// Bytes that it has.
        bytes: usize,
    },
    /// It contradicts itself.
    #[error("a rule about `{component}` contradicts itself: {what}")]
    Contradiction {
        /// The component.
        component: ComponentKind,
        /// How.
        what: String,
    },
}

impl TryFrom<RuleDocument> for Rule {
    type Error = RuleError;

    fn try_from(document: RuleDocument) -> Result<Self, RuleError> {
        let component = document.component;
        let mut said: Vec<Says> = Vec::new();
        said.extend(document.digests.map(Says::Digests));
        said.extend(document.authorities.map(Says::Authorities));
        said.extend(document.minimum.map(Says::Minimum));
        said.extend(document.parameters.map(Says::Parameters));
        said.extend(document.state.map(Says::State));
        said.extend(document.any.map(Says::Any));
        let count = said.len();
        let (Some(says), 1) = (said.pop(), count) else {
            return Err(RuleError::NotOne { component, count });
        };
        let description =
            document.description.map(|text| crate::text::shortened(text.trim(), MAX_DESCRIPTION_CHARS));
        let rule = Self { component, description: description.filter(|text| !text.is_empty()), says };
        rule.check()?;
        Ok(rule)
    }
}

impl From<Rule> for RuleDocument {
    fn from(rule: Rule) -> Self {
        let mut document = Self {
            component: rule.component,
            description: rule.description,
            digests: None,
            any: None,
            authorities: None,
            minimum: None,
            parameters: None,
            state: None,
        };
        match rule.says {
            Says::Digests(digests) => document.digests = Some(digests),
            Says::Authorities(authorities) => document.authorities = Some(authorities),
            Says::Minimum(minimum) => document.minimum = Some(minimum),
            Says::Parameters(parameters) => document.parameters = Some(parameters),
            Says::State(state) => document.state = Some(state),
            Says::Any(any) => document.any = Some(any),
        }
        document
    }
}

/// Components of which something can be said.
fn allowed(says: &Says) -> Vec<ComponentKind> {
    use ComponentKind as K;
    let all = || ComponentKind::ALL.iter().copied();
    match says {
        Says::Digests(_) | Says::Any(_) => {
            all().filter(|kind| (0..24).any(|pcr| belongs(*kind, pcr))).collect()
        }
        Says::Authorities(_) => vec![
            K::Shim,
            K::BootLoader,
            K::Kernel,
            K::OptionRom,
            K::Authority,
            K::PlatformKey,
            K::KeyExchangeKey,
            K::SignatureDb,
        ],
        Says::Minimum(_) => vec![K::SbatLevel, K::RevocationDb],
        Says::Parameters(_) => vec![K::KernelCommandLine],
        Says::State(_) => vec![K::SecureBootState, K::SignatureDb, K::MokState, K::WindowsPolicy],
    }
}

impl Rule {
    /// Whether it can be held against a log.
    pub fn check(&self) -> Result<(), RuleError> {
        let (component, word) = (self.component, self.says.word());
        let allowed = allowed(&self.says);
        if !allowed.contains(&component) {
            let allowed = allowed.into_iter().map(ComponentKind::as_str).collect();
            return Err(RuleError::WrongComponent { word, component, allowed });
        }
        let (count, max) = match &self.says {
            Says::Digests(digests) => (digests.len(), MAX_RULE_DIGESTS),
            Says::Authorities(authorities) => (authorities.len(), MAX_RULE_MEMBERS),
            Says::Minimum(minimum) => (minimum.len(), MAX_RULE_MEMBERS),
            Says::Parameters(parameters) => (parameters.len(), MAX_RULE_MEMBERS),
            Says::State(state) => (state.len(), MAX_RULE_MEMBERS),
            Says::Any(patterns) => (patterns.len(), MAX_RULE_MEMBERS),
        };
        if count == 0 {
            return Err(RuleError::Empty { word, component });
        }
        if count > max {
            return Err(RuleError::TooLong { word, component, count, max });
        }
        let by_sha256: Vec<&Digest> = match &self.says {
            Says::Authorities(authorities) => authorities.iter().map(|authority| &authority.sha256).collect(),
            Says::Minimum(minimum) => minimum.hashes.iter().collect(),
            _ => Vec::new(),
        };
        let sizes = by_sha256.into_iter().map(|digest| digest.as_ref().len());
        if let Some(bytes) = sizes.into_iter().find(|bytes| *bytes != HashAlg::Sha256.size()) {
            return Err(RuleError::NotSha256 { word, component, bytes });
        }
        match &self.says {
            Says::Minimum(minimum) => minimum.check(component),
            Says::Parameters(parameters) => parameters.check(component),
            Says::State(state) => super::state::check(component, state),
            Says::Digests(_) | Says::Authorities(_) | Says::Any(_) => Ok(()),
        }
    }
}
