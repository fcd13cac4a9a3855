//! Rules: what a baseline or a profile says about components beside the boots that it has seen (SPEC section 5).
//!
//! A rule speaks of one kind of component. **Permitting** rules (`digests`, `authorities`, `parameters.allowed`, `any`)
//! explain a difference from the accepted boots; what none of them explains stays a difference. **Demanding** rules
//! (`minimum`, `state`, `parameters.required` and `forbidden`, and `authorities` of key lists and of what admitted images)
//! are held against every log, whether it differs or not; what meets them is explained by them.
//!
//! The kind in a log is a claim, so a permitting rule counts only in the PCRs where its kind is measured, and a rule of
//! digests only for those very digests.

mod authorities;
mod demands;
mod document;
mod evidence;
mod explains;
mod keys;
mod minimum;
mod parameters;
mod pattern;
mod set;
mod state;

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use veriboot_eventlog::{ComponentKind, Digest};

pub use authorities::Authority;
pub use document::RuleError;
pub(crate) use evidence::Evidence;
pub(crate) use explains::Explains;
pub use minimum::Minimum;
pub use parameters::Parameters;
pub use pattern::Pattern;
pub(crate) use set::RuleSet;
pub use state::{StateFlag, Switch};

/// Digests that one rule may list.
pub const MAX_RULE_DIGESTS: usize = 65_536;
/// Certificates, patterns, parameters or revoked hashes that one rule may list.
pub const MAX_RULE_MEMBERS: usize = 4096;

/// Rules that a baseline or a profile may have.
pub const MAX_RULES: usize = 1024;

/// One rule. In JSON and TOML: `component`, `description`, and exactly one of `digests`, `authorities`, `minimum`,
/// `parameters`, `state` and `any`. A word that is not known is an error.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "document::RuleDocument", into = "document::RuleDocument")]
pub struct Rule {
    /// The kind of component that it speaks of.
    pub component: ComponentKind,
    /// Why it is there, for people.
    pub description: Option<String>,
    /// What it says.
    pub says: Says,
}

/// What a rule says.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Says {
    /// Permits measurements with one of these digests.
    Digests(BTreeSet<Digest>),
    /// Permits images, as long as nothing but these certificates admitted any image of the boot.
    Authorities(Vec<Authority>),
    /// Demands a revision: SBAT generations, revoked hashes.
    Minimum(Minimum),
    /// Demands, permits and forbids parameters of the kernel command line.
    Parameters(Parameters),
    /// Demands settings.
    State(std::collections::BTreeMap<StateFlag, Switch>),
    /// Permits whatever is measured under one of these names.
    Any(BTreeSet<Pattern>),
}

impl Says {
    /// The member of the document that holds it.
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Digests(_) => "digests",
            Self::Authorities(_) => "authorities",
            Self::Minimum(_) => "minimum",
            Self::Parameters(_) => "parameters",
            Self::State(_) => "state",
            Self::Any(_) => "any",
        }
    }
}

impl Rule {
    /// A rule without a description.
    pub fn new(component: ComponentKind, says: Says) -> Self {
        Self { component, description: None, says }
    }

    /// How people call it: its description, or what it speaks of.
    pub fn title(&self) -> String {
        self.description
            .clone()
            .unwrap_or_else(|| format!("{} by {}", self.component.title(), self.says.word()))
    }
}
