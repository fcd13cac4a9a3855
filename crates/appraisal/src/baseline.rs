//! Baselines: what a trusted boot measured, as events and components and never as PCR totals.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use veriboot_eventlog::{ComponentKind, Digest, HashAlg};

use crate::report::{LogReport, MAX_EVENTS};

/// What the document says about its own shape.
const SCHEMA: &str = "veriboot-baseline/1";
/// Bytes of JSON that [`Baseline::from_json`] reads.
pub const MAX_BASELINE_BYTES: usize = 16 * 1024 * 1024;
/// Measurements that a baseline may have.
pub const MAX_BASELINE_MEASUREMENTS: usize = MAX_EVENTS;

/// A baseline. The JSON shape is docs/baseline.md.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Baseline {
    /// `veriboot-baseline/1`.
    schema: String,
    /// SHA-256 of the log it was learned from, hex.
    pub log_sha256: String,
    /// Secure Boot in that log.
    pub secure_boot: Option<bool>,
    /// What was measured, in log order.
    pub measurements: Vec<Reference>,
}

/// The reference value of one measurement.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reference {
    /// PCR.
    pub pcr: u32,
    /// Event type, as in the log.
    #[serde(rename = "type")]
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
    /// Digest by bank. A baseline has one bank; [`Baseline::bank`].
    pub digests: Digests,
}

/// Digests by bank: `{"sha256": "hex"}`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "BTreeMap<HashAlg, Digest>", into = "BTreeMap<HashAlg, Digest>")]
pub struct Digests(Vec<(HashAlg, Digest)>);

impl Digests {
    /// The digest for a bank.
    pub fn get(&self, bank: HashAlg) -> Option<&Digest> {
        self.0.iter().find(|(alg, _)| *alg == bank).map(|(_, digest)| digest)
    }

    /// The bank, if there is one and no other.
    fn only_bank(&self) -> Option<HashAlg> {
        match self.0.as_slice() {
            [(bank, _)] => Some(*bank),
            _ => None,
        }
    }
}

impl From<Digests> for BTreeMap<HashAlg, Digest> {
    fn from(digests: Digests) -> Self {
        digests.0.into_iter().collect()
    }
}

impl TryFrom<BTreeMap<HashAlg, Digest>> for Digests {
    type Error = String;
    fn try_from(map: BTreeMap<HashAlg, Digest>) -> Result<Self, String> {
        match map.iter().find(|(alg, digest)| digest.as_ref().len() != alg.size()) {
            Some((alg, _)) => Err(format!("a {} digest has {} bytes", alg.name(), alg.size())),
            None => Ok(Self(map.into_iter().collect())),
        }
    }
}

/// Why no baseline can be learned from a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LearnError {
    /// The log measures nothing in this bank.
    #[error("the log measures nothing in the {bank} bank")]
    BankNotMeasured {
        /// The bank.
        bank: HashAlg,
    },
    /// An event has no digest in this bank, so the log does not say what was measured.
    #[error("event {event} has no digest of the {bank} bank")]
    DigestMissing {
        /// The bank.
        bank: HashAlg,
        /// Index of the event in the log.
        event: u32,
    },
    /// Too many events.
    #[error("the log has {events} events, more than the {MAX_BASELINE_MEASUREMENTS} of a baseline")]
    TooLarge {
        /// Events in the log.
        events: usize,
    },
}

impl LearnError {
    /// Stable identifier in kebab case.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::BankNotMeasured { .. } => "bank-not-measured",
            Self::DigestMissing { .. } => "digest-missing",
            Self::TooLarge { .. } => "baseline-too-large",
        }
    }
}

/// Why a document is not a baseline.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BaselineError {
    /// Too many bytes or measurements.
    #[error("the document is larger than a baseline may be")]
    TooLarge,
    /// Not JSON, or not of this shape.
    #[error("the document is not a baseline: {0}")]
    Shape(#[from] serde_json::Error),
    /// Another version of the format.
    #[error("the document is {0:?}, not {SCHEMA:?}")]
    Schema(String),
}

impl BaselineError {
    /// Stable identifier in kebab case.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::TooLarge => "baseline-too-large",
            Self::Shape(_) => "baseline-malformed",
            Self::Schema(_) => "baseline-schema-unknown",
        }
    }
}

impl Baseline {
    /// Takes what a log measured as the reference, in `bank` and no other: `bank` is the one that a quote proved, and what
    /// the log says of another bank is a claim of whoever wrote it.
    pub fn learn(report: &LogReport, bank: HashAlg) -> Result<Self, LearnError> {
        if report.events > MAX_BASELINE_MEASUREMENTS {
            return Err(LearnError::TooLarge { events: report.events });
        }
        let digests = match report.bank(bank) {
            Some(measured) if !report.entries.is_empty() => &measured.digests,
            _ => return Err(LearnError::BankNotMeasured { bank }),
        };
        let measurements = report
            .entries
            .iter()
            .zip(digests)
            .map(|(entry, digest)| {
                let digest = digest.ok_or(LearnError::DigestMissing { bank, event: entry.event })?;
                Ok(Reference {
                    pcr: entry.pcr,
                    event_type: entry.event_type.0,
                    kind: entry.kind,
                    name: entry.name.clone(),
                    value: entry.value.clone(),
                    signer: entry.signer.clone(),
                    items: entry.items.clone(),
                    digests: Digests(vec![(bank, digest)]),
                })
            })
            .collect::<Result<_, LearnError>>()?;
        Ok(Self {
            schema: SCHEMA.to_owned(),
            log_sha256: report.sha256.clone(),
            secure_boot: report.secure_boot,
            measurements,
        })
    }

    /// The document.
    pub fn to_json(&self) -> serde_json::Result<String> {
        serde_json::to_string(self)
    }

    /// Reads a document; anything that is not exactly a baseline is refused.
    pub fn from_json(json: &[u8]) -> Result<Self, BaselineError> {
        if json.len() > MAX_BASELINE_BYTES {
            return Err(BaselineError::TooLarge);
        }
        let baseline: Self = serde_json::from_slice(json)?;
        if baseline.schema != SCHEMA {
            return Err(BaselineError::Schema(baseline.schema.chars().take(64).collect()));
        }
        if baseline.measurements.len() > MAX_BASELINE_MEASUREMENTS {
            return Err(BaselineError::TooLarge);
        }
        Ok(baseline)
    }

    /// The bank that it was learned in and can judge. `None` for a document with digests of several banks, or without
    /// some: nobody knows which of them a quote proved.
    pub fn bank(&self) -> Option<HashAlg> {
        let bank = self.measurements.first()?.digests.only_bank()?;
        self.measurements.iter().all(|m| m.digests.only_bank() == Some(bank)).then_some(bank)
    }
}
