//! Whether the rejection of one change refuses another boot as well.
//!
//! A change is the difference to one version of a baseline, and has another key as soon as the baseline has another
//! version or the boot one difference more. What was refused is what was booted: so a rejection stands for measurements
//! ([`Proposed::marks`]), and refuses every boot that has all of them, at least one of them new, until a boot of the
//! baseline has them as well.

use std::cell::OnceCell;
use std::collections::{BTreeSet, HashMap, HashSet};

use veriboot_eventlog::{Digest, HashAlg};

use crate::LogReport;
use crate::baseline::Baseline;
use crate::proposal::Proposed;

/// A change that was rejected.
#[derive(Clone, Copy, Debug)]
pub struct Rejected<'a> {
    /// [`Proposed::key`]: what is proposed under this key is refused, whatever else holds.
    pub key: &'a str,
    /// [`Proposed::marks`]; none for a change that adds nothing, which stands for its key alone.
    pub marks: &'a [String],
}

/// A boot that proposes something.
#[derive(Debug)]
pub struct Booted<'a> {
    proposed: &'a Proposed,
    report: &'a LogReport,
    bank: HashAlg,
    baseline: Option<&'a Baseline>,
    measured: OnceCell<HashSet<String>>,
}

impl<'a> Booted<'a> {
    /// What `proposed` was made of.
    pub fn new(
        proposed: &'a Proposed,
        report: &'a LogReport,
        bank: HashAlg,
        baseline: Option<&'a Baseline>,
    ) -> Self {
        Self { proposed, report, bank, baseline, measured: OnceCell::new() }
    }

    /// Whether a rejection refuses it. Linear in the marks, but for the first one that has something new of this boot in
    /// common with it: then the log is gone through once.
    pub fn is_refused_by(&self, rejected: Rejected<'_>) -> bool {
        if rejected.key == self.proposed.key {
            return true;
        }
        let new = |mark: &String| self.proposed.added.binary_search(mark).is_ok();
        rejected.marks.iter().any(new)
            && rejected.marks.iter().all(|mark| self.measured().contains(mark))
            && !self.is_accepted(rejected.marks)
    }

    fn measured(&self) -> &HashSet<String> {
        self.measured.get_or_init(|| {
            let digests = self.report.bank(self.bank).map(|b| b.digests.as_slice()).unwrap_or_default();
            let entries = self.report.entries.iter().zip(digests);
            entries.filter_map(|(entry, digest)| Some(line(entry.pcr, digest.as_ref()?))).collect()
        })
    }

    /// Whether the baseline has all of it, each PCR in one of its boots: a PCR is accepted beside any boot.
    fn is_accepted(&self, marks: &[String]) -> bool {
        let boots = self.baseline.map(|baseline| baseline.boots.as_slice()).unwrap_or_default();
        let pcrs: BTreeSet<Option<u32>> = marks.iter().map(|mark| pcr_of(mark)).collect();
        pcrs.into_iter().all(|pcr| {
            let wanted = counted(marks.iter().map(String::as_str).filter(|mark| pcr_of(mark) == pcr));
            boots.iter().any(|boot| {
                let of_pcr = boot.measurements.iter().filter(|m| Some(m.pcr) == pcr);
                let lines: Vec<String> = of_pcr.map(|m| line(m.pcr, &m.digest)).collect();
                let there = counted(lines.iter().map(String::as_str));
                wanted.iter().all(|(mark, count)| there.get(mark).is_some_and(|there| there >= count))
            })
        })
    }
}

/// One measurement, `PCR digest`.
pub(crate) fn line(pcr: u32, digest: &Digest) -> String {
    format!("{pcr} {digest}")
}

fn pcr_of(mark: &str) -> Option<u32> {
    mark.split_once(' ').and_then(|(pcr, _)| pcr.parse().ok())
}

fn counted<'l>(lines: impl Iterator<Item = &'l str>) -> HashMap<&'l str, usize> {
    let mut counted = HashMap::new();
    for line in lines {
        *counted.entry(line).or_default() += 1;
    }
    counted
}
