//! What rules are held against: one log, and how it differs from what is accepted.

use veriboot_eventlog::{Format, HashAlg};

use super::Authority;
use crate::authority::{Doubt, admitted};
use crate::diff::Change;
use crate::image_chain::ImageChain;
use crate::report::LogReport;
use crate::weigher::{COMMAND_PCR, keys_unchanged};

/// A log with its differences.
#[derive(Clone, Debug)]
pub(crate) struct Evidence<'a> {
    pub report: &'a LogReport,
    pub bank: HashAlg,
    pub images: ImageChain,
    /// Who admitted what ran, whoever trusts them.
    pub admitted: Result<Vec<&'a Authority>, Doubt>,
    /// Differences in what the boot loader measures as text.
    pub commands: Vec<Change<'a>>,
    /// Whether the authorities of this boot are those that the baseline trusts.
    pub keys_unchanged: bool,
}

impl<'a> Evidence<'a> {
    /// `changes` are all differences of the log.
    pub fn new(report: &'a LogReport, bank: HashAlg, changes: &[Change<'a>]) -> Self {
        let commands = changes.iter().filter(|c| c.item().pcr == COMMAND_PCR).copied().collect();
        Self {
            report,
            bank,
            images: ImageChain::new(changes, report),
            admitted: admitted(report),
            commands,
            keys_unchanged: keys_unchanged(changes),
        }
    }

    /// Registers of a confidential VM hold several PCRs each: no kind of component has its own.
    pub fn mixes_registers(&self) -> bool {
        self.report.format == Some(Format::Ccel)
    }
}
