//! Event logs that baselines are learned from and held against.

use std::path::{Path, PathBuf};

use veriboot_appraisal::{LogReport, examine};
use veriboot_eventlog::HashAlg;

use crate::error::CliError;

/// Banks in the order in which the service asks for quotes of them; then the others.
const PREFERENCE: [HashAlg; 5] =
    [HashAlg::Sha256, HashAlg::Sha384, HashAlg::Sha512, HashAlg::Sm3_256, HashAlg::Sha1];

/// Reads and examines a log. One that is no event log is an error.
pub fn examined(path: &Path) -> Result<LogReport, CliError> {
    let bytes = crate::log::read(path)?;
    let log = crate::log::parse_log(path, &bytes)?;
    crate::log::warn_when_cut(path, &log);
    Ok(examine(&bytes))
}

/// A bank by its name on the command line.
pub fn bank(name: &str) -> Result<HashAlg, String> {
    HashAlg::from_name(name).ok_or_else(|| {
        let known: Vec<&str> = PREFERENCE.iter().map(|bank| bank.name()).collect();
        format!("known banks: {}", known.join(", "))
    })
}

/// The bank that was asked for, or the first that all logs extend.
pub fn bank_of(asked: Option<HashAlg>, logs: &[(PathBuf, LogReport)]) -> Result<HashAlg, CliError> {
    let extended = |bank: HashAlg| logs.iter().all(|(_, report)| report.bank(bank).is_some());
    let Some(bank) = asked.or_else(|| PREFERENCE.into_iter().find(|bank| extended(*bank))) else {
        return Err(CliError::usage("no-common-bank", "the logs have no bank in common")
            .hint("`veriboot log replay FILE` shows the banks of a log"));
    };
    match logs.iter().find(|(_, report)| report.bank(bank).is_none()) {
        Some((path, _)) => {
            let message = format!("{} measures nothing in the {} bank", path.display(), bank.name());
            Err(CliError::usage("bank-not-measured", message)
                .hint("give a bank with --bank that the log extends; `veriboot log replay FILE` shows them"))
        }
        None => Ok(bank),
    }
}
