//! `veriboot-baseline/1`: one boot and no rules. Stored documents of that shape are still read.

use std::collections::BTreeMap;

use serde::Deserialize;
use veriboot_eventlog::{ComponentKind, Digest, HashAlg};

use super::document::{Baseline, Reference, ReferenceBoot, Source};
use super::read::BaselineError;

/// What it says about its own shape.
pub(super) const SCHEMA: &str = "veriboot-baseline/1";

/// The document.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FirstVersion {
    #[serde(rename = "schema")]
    _schema: String,
    log_sha256: String,
    secure_boot: Option<bool>,
    measurements: Vec<Measurement>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Measurement {
    pcr: u32,
    #[serde(rename = "type")]
    event_type: u32,
    kind: ComponentKind,
    name: String,
    value: Option<String>,
    signer: Option<String>,
    #[serde(default)]
    items: Vec<String>,
    digests: BTreeMap<HashAlg, Digest>,
}

impl TryFrom<FirstVersion> for Baseline {
    type Error = BaselineError;

    /// Nobody knows which of several banks a quote proved, so a document with digests of more than one is refused.
    fn try_from(old: FirstVersion) -> Result<Self, BaselineError> {
        let first = old.measurements.first().and_then(|m| m.digests.keys().next().copied());
        let bank = first.ok_or(BaselineError::NoBank)?;
        let measurement = |m: Measurement| match m.digests.into_iter().collect::<Vec<_>>().as_slice() {
            [(of, digest)] if *of == bank => Ok(Reference {
                pcr: m.pcr,
                event_type: m.event_type,
                kind: m.kind,
                name: m.name,
                value: m.value,
                signer: m.signer,
                items: m.items,
                signatures: Vec::new(),
                digest: *digest,
                varies: None,
            }),
            _ => Err(BaselineError::NoBank),
        };
        let measurements = old.measurements.into_iter().map(measurement).collect::<Result<_, _>>()?;
        let mut baseline = Self::new(bank);
        baseline.boots.push(ReferenceBoot {
            source: Source::Learned { log_sha256: old.log_sha256 },
            secure_boot: old.secure_boot,
            pcrs: None,
            measurements,
        });
        Ok(baseline)
    }
}
