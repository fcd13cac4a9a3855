//! `veriboot baseline check`: a log held against a baseline, with no service.

use std::path::PathBuf;

use clap::Args;
use serde::Serialize;
use veriboot_appraisal::{Judgement, Learn, LogReport, judge};
use veriboot_eventlog::HashAlg;
use veriboot_wire::Finding;

use super::document::Signature;
use super::{document, logs, profile};
use crate::error::{CliError, EXIT_NEGATIVE};
use crate::output::{Output, Tone, safe};

/// Arguments of `baseline check`.
#[derive(Args, Debug)]
pub struct CheckArgs {
    /// Event log of the firmware (TCG 1.2, TCG 2.0, CCEL)
    #[arg(long, value_name = "FILE")]
    log: PathBuf,
    /// Baseline: JSON, TOML, what `baseline show --json` prints, or a signed envelope. Not needed when the profile
    /// judges by rules alone (`by-authority`)
    #[arg(long, value_name = "FILE")]
    baseline: Option<PathBuf>,
    /// What a boot must look like whatever its baseline says: the name of a profile, or a file
    #[arg(long, default_value = "secure-boot-required", value_name = "NAME|FILE")]
    profile: String,
    /// Public key in PEM that must have signed the baseline
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
}

/// `baseline check --json`.
#[derive(Serialize)]
struct Checked<'a> {
    accepted: bool,
    log_sha256: &'a str,
    bank: &'static str,
    /// `null` when the rules of the profile judged alone.
    baseline: Option<Held<'a>>,
    profile: &'a str,
    findings: &'a [Finding],
    #[serde(skip_serializing_if = "Option::is_none")]
    proposed: Option<Proposable<'a>>,
}

/// The baseline that judged.
#[derive(Serialize)]
struct Held<'a> {
    name: Option<&'a str>,
    boots: usize,
    rules: usize,
    signature: &'static str,
}

/// What may be proposed instead of failing.
#[derive(Serialize)]
struct Proposable<'a> {
    key: &'a str,
    pcrs: Vec<u32>,
}

/// Runs it. Exit code 1 when the log deviates.
pub fn run(args: &CheckArgs, out: Output) -> Result<u8, CliError> {
    let profile = profile::read(&args.profile)?;
    let document = match &args.baseline {
        Some(path) => Some(document::read(path, args.key.as_deref())?),
        None if profile.learn == Learn::Never => None,
        None => return Err(no_baseline(&profile.name)),
    };
    let report = logs::examined(&args.log)?;
    let (signature, baseline) = match document {
        Some(document) => (document.signature, Some(document.baseline.compile())),
        None => (Signature::None, None),
    };
    let bank = baseline.as_ref().map_or_else(|| strongest_bank(&report), |baseline| baseline.bank);
    let Judgement { findings: judged, proposed, .. } = judge(&report, bank, baseline.as_ref(), &profile);
    let mut findings = report.findings.clone();
    findings.extend(judged);
    let accepted = !findings.iter().any(Finding::fails);
    let exit = if accepted { 0 } else { EXIT_NEGATIVE };
    if out.json {
        let checked = Checked {
            accepted,
            log_sha256: &report.sha256,
            bank: bank.name(),
            baseline: baseline.as_ref().map(|baseline| Held {
                name: baseline.name.as_deref(),
                boots: baseline.boots.len(),
                rules: baseline.rules.len(),
                signature: signature.word(),
            }),
            profile: &profile.name,
            findings: &findings,
            proposed: proposed.as_ref().map(|proposed| Proposable {
                key: &proposed.key,
                pcrs: proposed.pcrs.iter().copied().collect(),
            }),
        };
        out.print_json(&checked)?;
        return Ok(exit);
    }
    let verdict = match (accepted, &proposed) {
        (true, None) => out.paint("accepted", Tone::Good),
        (true, Some(_)) => {
            out.paint("accepted, and differs in what a profile lets an operator approve", Tone::Warn)
        }
        (false, _) => out.paint("deviates", Tone::Bad),
    };
    let signed = match &signature {
        Signature::None => "not signed".to_owned(),
        Signature::NotChecked => "signed, signature not checked (--key)".to_owned(),
        Signature::By(key) => format!("signed by key {}", key.chars().take(16).collect::<String>()),
    };
    let held = match (&baseline, &args.baseline) {
        (Some(baseline), Some(path)) => {
            let name = baseline.name.as_deref().map_or_else(|| safe(&path.display().to_string()), safe);
            format!("{name} ({signed})")
        }
        _ => "none: the rules of the profile judge alone".to_owned(),
    };
    out.fields(&[
        ("verdict", verdict),
        ("log", safe(&args.log.display().to_string())),
        ("baseline", held),
        ("bank", bank.name().to_owned()),
        ("profile", safe(&profile.name)),
    ])?;
    if !findings.is_empty() {
        out.line("")?;
        out.findings(&findings)?;
    }
    out.line("")?;
    out.line("No quote was checked: this says what the log claims, not that the machine measured it.")?;
    Ok(exit)
}

fn no_baseline(profile: &str) -> CliError {
    CliError::usage("baseline-needed", format!("the profile {profile} holds boots against a baseline")).hint(
        "name one with --baseline, or take a profile that judges by rules alone: --profile by-authority",
    )
}

/// The bank to judge when no baseline says which: one that the log extends.
fn strongest_bank(report: &LogReport) -> HashAlg {
    let banks = [HashAlg::Sha384, HashAlg::Sha512, HashAlg::Sha256, HashAlg::Sm3_256, HashAlg::Sha1];
    banks.into_iter().find(|bank| report.bank(*bank).is_some()).unwrap_or(HashAlg::Sha256)
}
