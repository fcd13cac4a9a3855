//! `veriboot baseline check`: a log held against a baseline, with no service.

use std::path::PathBuf;

use clap::Args;
use serde::Serialize;
use veriboot_appraisal::{Judgement, judge};
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
    /// Baseline: JSON, TOML, what `baseline show --json` prints, or a signed envelope
    #[arg(long, value_name = "FILE")]
    baseline: PathBuf,
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
    baseline: Held<'a>,
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
    let document = document::read(&args.baseline, args.key.as_deref())?;
    let report = logs::examined(&args.log)?;
    let (signature, bank) = (document.signature, document.baseline.bank);
    let baseline = document.baseline.compile();
    let Judgement { findings: judged, proposed, .. } = judge(&report, bank, Some(&baseline), &profile);
    let mut findings = report.findings.clone();
    findings.extend(judged);
    let accepted = !findings.iter().any(Finding::fails);
    let exit = if accepted { 0 } else { EXIT_NEGATIVE };
    if out.json {
        let checked = Checked {
            accepted,
            log_sha256: &report.sha256,
            bank: bank.name(),
            baseline: Held {
                name: baseline.name.as_deref(),
                boots: baseline.boots.len(),
                rules: baseline.rules.len(),
                signature: signature.word(),
            },
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
    let name = baseline.name.as_deref().map_or_else(|| safe(&args.baseline.display().to_string()), safe);
    let signed = match &signature {
        Signature::None => "not signed".to_owned(),
        Signature::NotChecked => "signed, signature not checked (--key)".to_owned(),
        Signature::By(key) => format!("signed by key {}", key.chars().take(16).collect::<String>()),
    };
    out.fields(&[
        ("verdict", verdict),
        ("log", safe(&args.log.display().to_string())),
        ("baseline", format!("{name} ({signed})")),
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
