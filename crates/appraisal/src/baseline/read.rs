//! From JSON or TOML to a baseline, and back.

use serde::Deserialize;
use serde::de::DeserializeOwned;
use veriboot_eventlog::Digest;

use super::document::{
    BASELINE_SCHEMA, Baseline, MAX_BASELINE_BYTES, MAX_BASELINE_MEASUREMENTS, MAX_BOOTS, MAX_MERGED,
};
use super::first_version::{self, FirstVersion};
use crate::rule::{MAX_RULES, Says};

/// Characters of an unknown schema that a message repeats.
const SHOWN_CHARS: usize = 64;

/// Why a document is not a baseline.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BaselineError {
    /// Too many bytes, boots, measurements or rules.
    #[error("the document is larger than a baseline may be: {0}")]
    TooLarge(String),
    /// Not JSON or TOML, or not of this shape. Says where.
    #[error("the document is not a baseline: {0}")]
    Shape(String),
    /// Another version of the format.
    #[error("the document is {0:?}, and this version of Veriboot reads {BASELINE_SCHEMA:?}")]
    Schema(String),
    /// Digests of several banks, or none.
    #[error(
        "the document has digests of several banks or of none, so nothing says which of them a quote proved"
    )]
    NoBank,
    /// A digest does not have the size of the bank's.
    #[error("{place}: a digest of the {bank} bank has {expected} bytes, this one has {found}")]
    DigestSize {
        /// Path in the document.
        place: String,
        /// The bank.
        bank: &'static str,
        /// Bytes that it must have.
        expected: usize,
        /// Bytes that it has.
        found: usize,
    },
}

impl BaselineError {
    /// Stable identifier in kebab case.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::TooLarge(_) => "baseline-too-large",
            Self::Shape(_) => "baseline-malformed",
            Self::Schema(_) => "baseline-schema-unknown",
            Self::NoBank => "baseline-bank-unknown",
            Self::DigestSize { .. } => "baseline-digest-size",
        }
    }

    /// What to do.
    pub const fn hint(&self) -> &'static str {
        match self {
            Self::TooLarge(_) => "split it: one baseline per image or scale set",
            Self::Shape(_) => {
                "docs/baseline.md describes the document; docs/schema/baseline.schema.json is its JSON Schema"
            }
            Self::Schema(_) => {
                "a newer Veriboot wrote it: update this one, or write the document for this version"
            }
            Self::NoBank => "learn it again from the boot",
            Self::DigestSize { .. } => "give the digest in the bank that `bank` names",
        }
    }
}

/// The member that says how to read the rest.
#[derive(Deserialize)]
struct Probe {
    #[serde(default)]
    schema: Option<String>,
}

/// Reads `T` and says where in the document it is wrong.
fn json<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, BaselineError> {
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let value: T = serde_path_to_error::deserialize(&mut reader).map_err(|error| {
        let path = error.path().to_string();
        let place = if path == "." { String::new() } else { format!("{path}: ") };
        BaselineError::Shape(format!("{place}{}", error.into_inner()))
    })?;
    reader.end().map_err(|error| BaselineError::Shape(error.to_string()))?;
    Ok(value)
}

/// `None` for a document of this version, an error for one of an unknown version.
fn is_first_version(schema: Option<String>) -> Result<bool, BaselineError> {
    match schema.as_deref() {
        Some(BASELINE_SCHEMA) => Ok(false),
        Some(first_version::SCHEMA) => Ok(true),
        Some(other) => Err(BaselineError::Schema(other.chars().take(SHOWN_CHARS).collect())),
        None => Err(BaselineError::Shape(format!("schema: missing, write {BASELINE_SCHEMA:?}"))),
    }
}

impl Baseline {
    /// Reads a JSON document; anything that is not exactly a baseline is refused. What it means is not asked here:
    /// [`Baseline::flaws`].
    pub fn from_json(bytes: &[u8]) -> Result<Self, BaselineError> {
        bounded(bytes.len())?;
        let probe: Probe = json(bytes)?;
        let baseline = if is_first_version(probe.schema)? {
            Self::try_from(json::<FirstVersion>(bytes)?)?
        } else {
            json(bytes)?
        };
        baseline.checked()
    }

    /// Reads a TOML document, which has the same members.
    pub fn from_toml(text: &str) -> Result<Self, BaselineError> {
        bounded(text.len())?;
        let shape = |error: toml::de::Error| BaselineError::Shape(crate::text::toml_error(text, &error));
        let probe: Probe = toml::from_str(text).map_err(shape)?;
        if is_first_version(probe.schema)? {
            return Err(BaselineError::Schema(first_version::SCHEMA.to_owned()));
        }
        toml::from_str::<Self>(text).map_err(shape)?.checked()
    }

    /// The document in one line of JSON.
    pub fn to_json(&self) -> serde_json::Result<String> {
        serde_json::to_string(self)
    }

    /// The document as TOML.
    pub fn to_toml(&self) -> Result<String, toml::ser::Error> {
        toml::to_string_pretty(self)
    }

    fn checked(self) -> Result<Self, BaselineError> {
        let limit = |what: &str, has: usize, most: usize| match has > most {
            true => Err(BaselineError::TooLarge(format!("{has} {what}, {most} are read"))),
            false => Ok(()),
        };
        limit("boots", self.boots.len(), MAX_BOOTS)?;
        limit("rules", self.rules.len(), MAX_RULES)?;
        limit("merged", self.merged.len(), MAX_MERGED)?;
        for (b, boot) in self.boots.iter().enumerate() {
            limit("measurements in one boot", boot.measurements.len(), MAX_BASELINE_MEASUREMENTS)?;
            for (m, reference) in boot.measurements.iter().enumerate() {
                self.fits(&reference.digest, || format!("boots[{b}].measurements[{m}].digest"))?;
            }
        }
        for (r, rule) in self.rules.iter().enumerate() {
            if let Says::Digests(digests) = &rule.says {
                for (d, digest) in digests.iter().enumerate() {
                    self.fits(digest, || format!("rules[{r}].digests[{d}]"))?;
                }
            }
        }
        Ok(self)
    }

    fn fits(&self, digest: &Digest, place: impl Fn() -> String) -> Result<(), BaselineError> {
        let (expected, found) = (self.bank.size(), digest.as_ref().len());
        match expected == found {
            true => Ok(()),
            false => {
                let bank = self.bank.name();
                Err(BaselineError::DigestSize { place: place(), bank, expected, found })
            }
        }
    }
}

fn bounded(bytes: usize) -> Result<(), BaselineError> {
    match bytes > MAX_BASELINE_BYTES {
        true => Err(BaselineError::TooLarge(format!("{bytes} bytes, {MAX_BASELINE_BYTES} are read"))),
        false => Ok(()),
    }
}
