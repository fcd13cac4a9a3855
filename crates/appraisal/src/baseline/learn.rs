//! Baselines out of logs: learned from boots, and extended by boots.

use std::collections::BTreeSet;

use veriboot_eventlog::HashAlg;

use super::document::{Baseline, MAX_BASELINE_MEASUREMENTS, MAX_BOOTS, Reference, ReferenceBoot, Source};
use super::flaws::PCRS;
use super::merge::Merge;
use crate::judge::judge;
use crate::profile::Profile;
use crate::report::LogReport;

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
    /// The boots differ in more than is left to vary, too often.
    #[error("a baseline accepts at most {MAX_BOOTS} boots that differ in what counts")]
    TooManyBoots,
    /// No log was given.
    #[error("there is no log to learn from")]
    NoLog,
    /// A boot in digests of another bank.
    #[error("the boot is of another bank than the baseline, which is of {bank}")]
    OtherBank {
        /// The bank of the baseline.
        bank: HashAlg,
    },
}

impl LearnError {
    /// Stable identifier in kebab case.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::BankNotMeasured { .. } => "bank-not-measured",
            Self::DigestMissing { .. } => "digest-missing",
            Self::TooLarge { .. } => "baseline-too-large",
            Self::TooManyBoots => "too-many-boots",
            Self::NoLog => "no-log",
            Self::OtherBank { .. } => "other-bank",
        }
    }
}

impl ReferenceBoot {
    /// What a log measured in `bank`, as a whole boot: `bank` is the one that a quote proved, and what the log says of
    /// another bank is a claim of whoever wrote it.
    pub fn of_report(report: &LogReport, bank: HashAlg, source: Source) -> Result<Self, LearnError> {
        if report.events > MAX_BASELINE_MEASUREMENTS {
            return Err(LearnError::TooLarge { events: report.events });
        }
        let digests = match report.bank(bank) {
            Some(measured) if !report.entries.is_empty() => &measured.digests,
            _ => return Err(LearnError::BankNotMeasured { bank }),
        };
        let measured = report.entries.iter().zip(digests).map(|(entry, digest)| {
            let digest = digest.ok_or(LearnError::DigestMissing { bank, event: entry.event })?;
            Ok(Reference {
                pcr: entry.pcr,
                event_type: entry.event_type.0,
                kind: entry.kind,
                name: entry.name.to_string(),
                value: entry.value.clone(),
                signer: entry.signer.clone(),
                items: entry.items.clone(),
                signatures: entry.revoked(),
                digest,
                varies: None,
            })
        });
        let measurements = measured.collect::<Result<_, LearnError>>()?;
        Ok(Self { source, secure_boot: report.secure_boot, pcrs: None, measurements })
    }

    /// The same boot, which speaks of these PCRs only.
    pub fn only(mut self, pcrs: &BTreeSet<u32>) -> Self {
        self.measurements.retain(|reference| pcrs.contains(&reference.pcr));
        let spoken_of = match &self.pcrs {
            Some(before) => before.intersection(pcrs).copied().collect(),
            None => pcrs.clone(),
        };
        self.pcrs = Some(spoken_of);
        self
    }
}

impl Baseline {
    /// Takes what a log measured as the reference, in `bank` and no other.
    pub fn learn(report: &LogReport, bank: HashAlg) -> Result<Self, LearnError> {
        Self::learn_from(&[report], bank)
    }

    /// Takes what several logs measured as the reference. Every one of them is accepted: what differs harmlessly is left
    /// to vary, and said in [`Baseline::merged`]; the PCRs that differ in anything else become one more accepted boot.
    pub fn learn_from(reports: &[&LogReport], bank: HashAlg) -> Result<Self, LearnError> {
        let (first, more) = reports.split_first().ok_or(LearnError::NoLog)?;
        let source = |report: &LogReport| Source::Learned { log_sha256: report.sha256.clone() };
        let mut baseline = Self::new(bank);
        baseline.boots.push(ReferenceBoot::of_report(first, bank, source(first))?);
        for report in more {
            let boot = ReferenceBoot::of_report(report, bank, source(report))?;
            let merge = Merge::of(&baseline, report);
            let left = merge.left.clone();
            merge.into(&mut baseline);
            if !left.is_empty() {
                baseline = baseline.with_measurements(boot.only(&left))?;
            }
        }
        baseline.accept_all(reports)
    }

    /// What was merged for one log may be held against another boot now: whatever a log still differs in is accepted as
    /// it is. Ends, because what a log measured in a PCR is added once.
    fn accept_all(mut self, reports: &[&LogReport]) -> Result<Self, LearnError> {
        loop {
            let compiled = self.clone().compile();
            let profile = Profile::measured_only();
            let fails = |report: &&&LogReport| !judge(report, self.bank, Some(&compiled), &profile).accepts();
            let Some(report) = reports.iter().find(fails) else { return Ok(self) };
            let left: BTreeSet<u32> = compiled.unmatched(report, self.bank).into_iter().collect();
            if left.is_empty() {
                // It is accepted measurement by measurement, and fails for a reason that no baseline can take away.
                return Ok(self);
            }
            let source = Source::Learned { log_sha256: report.sha256.clone() };
            let boot = ReferenceBoot::of_report(report, self.bank, source)?;
            self = self.with_measurements(boot.only(&left))?;
        }
    }

    /// This baseline and one more accepted boot: all PCRs of the log, or some. `replace`: what was accepted in these
    /// PCRs no longer is.
    pub fn with_boot(
        &self,
        report: &LogReport,
        pcrs: Option<&BTreeSet<u32>>,
        source: Source,
        replace: bool,
    ) -> Result<Self, LearnError> {
        let whole = ReferenceBoot::of_report(report, self.bank, source)?;
        let boot = match pcrs {
            Some(pcrs) => whole.only(pcrs),
            None => whole,
        };
        let mut base = self.clone();
        if replace {
            base.boots = base.boots.into_iter().filter_map(|old| without(old, boot.pcrs.as_ref())).collect();
        }
        base.with_measurements(boot)
    }

    /// This baseline and one more accepted boot, whose digests are of its bank.
    pub fn with_measurements(&self, boot: ReferenceBoot) -> Result<Self, LearnError> {
        let size = self.bank.size();
        if boot.measurements.iter().any(|reference| reference.digest.as_ref().len() != size) {
            return Err(LearnError::OtherBank { bank: self.bank });
        }
        if boot.measurements.len() > MAX_BASELINE_MEASUREMENTS {
            return Err(LearnError::TooLarge { events: boot.measurements.len() });
        }
        let mut next = self.clone();
        let same = |old: &ReferenceBoot| old.pcrs == boot.pcrs && old.measurements == boot.measurements;
        // The newest one explains; a boot that is accepted already moves to the end.
        next.boots.retain(|old| !same(old));
        if next.boots.len() >= MAX_BOOTS {
            return Err(LearnError::TooManyBoots);
        }
        next.boots.push(boot);
        Ok(next)
    }
}

/// What a boot says beside these PCRs; `None` when that is nothing.
fn without(boot: ReferenceBoot, pcrs: Option<&BTreeSet<u32>>) -> Option<ReferenceBoot> {
    let pcrs = pcrs?;
    let spoken_of: BTreeSet<u32> = match &boot.pcrs {
        Some(spoken_of) => spoken_of.clone(),
        None => PCRS.chain(boot.measurements.iter().map(|reference| reference.pcr)).collect(),
    };
    let rest: BTreeSet<u32> = spoken_of.difference(pcrs).copied().collect();
    (!rest.is_empty()).then(|| boot.only(&rest))
}
