//! The document `veriboot-baseline/2`: accepted boots, rules, and what became of everything else.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use veriboot_eventlog::{ComponentKind, Digest, HashAlg};

use super::event_type;
use crate::content::SignatureId;
use crate::diff::same_kind;
use crate::report::MAX_EVENTS;
use crate::rule::{Pattern, Rule};

/// What the document says about its own shape.
pub const BASELINE_SCHEMA: &str = "veriboot-baseline/2";
/// Bytes of a document that [`Baseline::from_json`] and [`Baseline::from_toml`] read.
pub const MAX_BASELINE_BYTES: usize = 16 * 1024 * 1024;
/// Boots that a baseline may accept.
pub const MAX_BOOTS: usize = 64;
/// Measurements that one boot of a baseline may have.
pub const MAX_BASELINE_MEASUREMENTS: usize = MAX_EVENTS;
/// Things that a baseline may say it merged.
pub const MAX_MERGED: usize = 256;

/// A baseline. docs/baseline.md explains the document, docs/schema/baseline.schema.json is its JSON Schema.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Baseline {
    /// [`BASELINE_SCHEMA`].
    pub schema: String,
    /// Name, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What it is for, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The bank of every digest in it, and the only one that it can judge.
    pub bank: HashAlg,
    /// What becomes of measurements that no boot and no rule speaks of.
    #[serde(default, skip_serializing_if = "Unlisted::is_default")]
    pub unlisted: Unlisted,
    /// What was merged while learning, in words.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub merged: Vec<Merged>,
    /// Rules per component class.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<Rule>,
    /// Accepted boots, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub boots: Vec<ReferenceBoot>,
}

/// What becomes of measurements in PCRs of which no boot speaks, when no rule speaks of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Unlisted {
    /// They deviate.
    #[default]
    Fail,
    /// They are reported and accepted.
    Note,
}

impl Unlisted {
    #[allow(clippy::trivially_copy_pass_by_ref, reason = "serde asks for it")]
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// Something that differed between the boots a baseline was learned from, and is left to vary.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Merged {
    /// Kind of component.
    pub component: ComponentKind,
    /// What varied, in words.
    pub what: String,
    /// Why that is harmless.
    pub because: String,
}

/// What one accepted boot measured.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReferenceBoot {
    /// Where it comes from.
    pub source: Source,
    /// Secure Boot in it; absent when it does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secure_boot: Option<bool>,
    /// The PCRs that it speaks of, when it is not a whole boot. A PCR that is named here and has no measurement was
    /// extended by nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pcrs: Option<BTreeSet<u32>>,
    /// What was measured, in log order.
    pub measurements: Vec<Reference>,
}

impl ReferenceBoot {
    /// Whether it says what is to be measured in this PCR, be it nothing.
    pub fn speaks_of(&self, pcr: u32) -> bool {
        self.pcrs.as_ref().is_none_or(|pcrs| pcrs.contains(&pcr))
    }
}

/// Where reference values come from (RFC 9334, section 3).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Source {
    /// Learned from a log.
    Learned {
        /// SHA-256 of the log, lower-case hex.
        log_sha256: String,
    },
    /// Computed from files before they were rolled out.
    Predicted {
        /// The files.
        from: Vec<SourceFile>,
        /// The baseline or log that the prediction started from.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        base: Option<String>,
    },
    /// Approved by an operator as a proposal.
    Approved {
        /// SHA-256 of the log of the boot that stood for the proposal, lower-case hex.
        log_sha256: String,
        /// Id of the proposal.
        proposal: String,
    },
    /// Written by hand.
    Written,
}

/// A file that reference values were computed from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SourceFile {
    /// Name of the file, without folders of the machine that read it.
    pub name: String,
    /// SHA-256 of the file, lower-case hex.
    pub sha256: String,
}

/// The reference value of one measurement.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reference {
    /// PCR.
    pub pcr: u32,
    /// Event type. In the document its name in the specification, or its number.
    #[serde(rename = "type", with = "event_type")]
    pub event_type: u32,
    /// Kind of component.
    pub kind: ComponentKind,
    /// What tells several components of one kind apart.
    pub name: String,
    /// The content in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// Subject of the certificate that admitted it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signer: Option<String>,
    /// Members of a list in plain words.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub items: Vec<String>,
    /// Members of dbx, 32 hex digits each: the first half of a revoked hash, or of the SHA-256 of a certificate. Shows
    /// that a later dbx only has more.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub signatures: Vec<SignatureId>,
    /// Digest in the bank of the baseline.
    pub digest: Digest,
    /// What its name and value may be as well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub varies: Option<Varies>,
}

impl Reference {
    /// Whether it accepts what another reference is.
    pub(crate) fn measures_as(&self, other: &Self) -> bool {
        let named_alike = match &self.varies {
            None => self.name == other.name && self.value == other.value,
            Some(varies) => {
                let was = (self.name.as_str(), self.value.as_deref());
                varies.meets(was, &other.name, other.value.as_deref())
            }
        };
        self.digest == other.digest
            && self.pcr == other.pcr
            && self.event_type == other.event_type
            && same_kind(self.kind, other.kind)
            && named_alike
    }
}

/// Names and values that a measurement may have with the same digest, where it is not covered by it: identifiers of
/// disks and network cards in paths.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Varies {
    /// A pattern for the name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<Pattern>,
    /// A pattern for the value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<Pattern>,
}

impl Varies {
    /// Whether a measurement may be called this.
    pub(crate) fn meets(&self, reference: (&str, Option<&str>), name: &str, value: Option<&str>) -> bool {
        let met = |pattern: &Option<Pattern>, text: &str| pattern.as_ref().is_some_and(|p| p.meets(text));
        let value_met = match (reference.1, value) {
            (_, Some(value)) if met(&self.value, value) => true,
            (was, is) => was == is,
        };
        value_met && (reference.0 == name || met(&self.name, name))
    }
}

impl Baseline {
    /// A baseline of one bank that accepts nothing yet.
    pub fn new(bank: HashAlg) -> Self {
        Self {
            schema: BASELINE_SCHEMA.to_owned(),
            name: None,
            description: None,
            bank,
            unlisted: Unlisted::default(),
            merged: Vec::new(),
            rules: Vec::new(),
            boots: Vec::new(),
        }
    }

    /// The boot that was added last.
    pub fn newest(&self) -> Option<&ReferenceBoot> {
        self.boots.last()
    }

    /// Measurements of all boots.
    pub fn measurements(&self) -> impl Iterator<Item = &Reference> {
        self.boots.iter().flat_map(|boot| &boot.measurements)
    }

    /// How many components it speaks of: the measurements of its largest boot, and its rules.
    pub fn components(&self) -> usize {
        let largest = self.boots.iter().map(|boot| boot.measurements.len()).max().unwrap_or(0);
        largest.saturating_add(self.rules.len())
    }
}
