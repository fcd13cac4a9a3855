//! A baseline that is still being learned meets another boot.

use veriboot_eventlog::HashAlg;

use super::document::Baseline;
use super::learn::LearnError;
use super::merge::Merge;
use crate::report::LogReport;

impl Baseline {
    /// This baseline, letting vary what differs harmlessly in a further boot, and saying so in [`Baseline::merged`].
    /// `None` when that boot differs in anything else: whether that is trusted is not for learning to decide.
    ///
    /// # Errors
    /// [`LearnError`] when nothing can be learned from the log in the bank of the baseline.
    pub fn let_vary(&self, report: &LogReport, bank: HashAlg) -> Result<Option<Self>, LearnError> {
        if bank != self.bank {
            return Err(LearnError::OtherBank { bank: self.bank });
        }
        if report.bank(bank).is_none() {
            return Err(LearnError::BankNotMeasured { bank });
        }
        let merge = Merge::of(self, report);
        if !merge.left.is_empty() {
            return Ok(None);
        }
        let mut next = self.clone();
        merge.into(&mut next);
        Ok(Some(next))
    }
}
