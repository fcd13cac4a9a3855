//! What a capture boot gives: event log and PCR values as the guest's kernel reads them.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};

use super::report::Report;

/// Evidence of one boot.
#[derive(Clone, Debug)]
pub struct Capture {
    /// The event log as securityfs gives it.
    pub event_log: Vec<u8>,
    /// PCR values by bank and index, lower hex, read from the TPM.
    pub pcrs: BTreeMap<String, BTreeMap<u32, String>>,
}

impl Capture {
    /// Takes the capture out of the report of a job with `Job::capture`.
    pub fn of(report: &Report) -> Result<Self> {
        Self::of_step(report, "")
    }

    /// Takes the capture of `Job::capture_as` with this suffix out of the report.
    pub fn of_step(report: &Report, suffix: &str) -> Result<Self> {
        let mut pcrs: BTreeMap<String, BTreeMap<u32, String>> = BTreeMap::new();
        for line in String::from_utf8_lossy(report.file(&format!("pcrs{suffix}.txt"))?).lines() {
            let mut words = line.split(' ');
            let (Some(bank), Some(index), Some(value)) = (words.next(), words.next(), words.next()) else {
                continue;
            };
            let index = index.parse().with_context(|| format!("PCR index {index:?}"))?;
            pcrs.entry(bank.to_owned()).or_default().insert(index, value.to_owned());
        }
        Ok(Self { event_log: report.file(&format!("eventlog{suffix}.bin"))?.to_vec(), pcrs })
    }
}
