//! A boot with its quote, ready to be concluded about.

use veriboot_appraisal::{
    Conclude, Judgement, LogReport, Outcome, PcrValues, PreviousBoot, Profile, conclude, examine, judge,
};
use veriboot_tpm::Quote;

use super::{Log, Machine, SHA256, Tpm};

pub fn boot() -> (Log, Tpm) {
    let log = Machine::default().log();
    let tpm = Tpm::booted(&log);
    (log, tpm)
}

pub struct Case {
    pub quote: Quote,
    pub values: Option<PcrValues>,
    pub report: Option<LogReport>,
    pub judgement: Option<Judgement>,
    pub profile: Profile,
    pub previous: Option<PreviousBoot>,
}

impl Case {
    pub fn new(log: &Log, tpm: &Tpm) -> Self {
        let report = examine(&log.bytes());
        let profile = Profile::default();
        let judgement = judge(&report, SHA256, None, &profile);
        Self {
            quote: tpm.quote(),
            values: Some(tpm.values()),
            report: Some(report),
            judgement: Some(judgement),
            profile,
            previous: None,
        }
    }

    pub fn conclude(&self) -> Outcome {
        conclude(Conclude {
            quote: Ok(&self.quote),
            pcr_values: self.values.as_ref(),
            report: self.report.as_ref(),
            log_absent_because: Some("securityfs is not mounted"),
            judgement: self.judgement.as_ref(),
            profile: &self.profile,
            previous: self.previous.as_ref(),
        })
    }
}
