//! `veriboot baseline learn`: what logs measure, as a baseline.

use std::path::PathBuf;

use clap::Args;
use serde::Serialize;
use veriboot_appraisal::{Baseline, Flaw, LogReport, Merged};
use veriboot_eventlog::HashAlg;
use veriboot_wire::counted;

use super::document::{self, Form};
use super::{logs, sections};
use crate::error::CliError;
use crate::output::{Output, safe};

/// Arguments of `baseline learn`.
#[derive(Args, Debug)]
pub struct LearnArgs {
    /// Event logs of the firmware (TCG 1.2, TCG 2.0, CCEL); what differs harmlessly between them is left to vary
    #[arg(long, required = true, num_args = 1.., value_name = "FILE")]
    log: Vec<PathBuf>,
    /// Where to write the baseline; standard output without it
    #[arg(long, short = 'o', value_name = "FILE")]
    output: Option<PathBuf>,
    /// PCR bank; the first of sha256, sha384, sha512, sm3_256 and sha1 that all logs extend
    #[arg(long, value_parser = logs::bank)]
    bank: Option<HashAlg>,
    /// Form of the document; by the name of the file without it, else JSON
    #[arg(long, value_enum)]
    format: Option<Form>,
    /// Name in the document
    #[arg(long)]
    name: Option<String>,
    /// Description in the document
    #[arg(long)]
    description: Option<String>,
}

/// `baseline learn --json`.
#[derive(Serialize)]
struct Learned<'a> {
    output: String,
    bank: &'static str,
    logs: usize,
    boots: usize,
    measurements: usize,
    rules: usize,
    merged: &'a [Merged],
    flaws: Vec<Flaw>,
}

/// Runs it.
pub fn run(args: LearnArgs, out: Output) -> Result<(), CliError> {
    if out.json && document::is_stdout(args.output.as_deref()) {
        return Err(CliError::usage("output-missing", "with --json the baseline needs a file of its own")
            .hint("give it with --output; the baseline itself is JSON without --json"));
    }
    let form = Form::of(args.format, args.output.as_deref())?;
    let read = |path: PathBuf| logs::examined(&path).map(|report| (path, report));
    let reports: Vec<(PathBuf, LogReport)> = args.log.into_iter().map(read).collect::<Result<_, _>>()?;
    let bank = logs::bank_of(args.bank, &reports)?;
    let all: Vec<&LogReport> = reports.iter().map(|(_, report)| report).collect();
    let mut baseline = Baseline::learn_from(&all, bank).map_err(|error| {
        CliError::usage(error.code(), error.to_string())
            .hint("logs of other machines need baselines of their own")
    })?;
    baseline.name = args.name;
    baseline.description = args.description;
    document::write(&baseline, form, args.output.as_deref())?;
    for (path, report) in &reports {
        warn_about(path, report);
    }
    let Some(path) = args.output.filter(|path| !document::is_stdout(Some(path))) else { return Ok(()) };
    let learned = Learned {
        output: path.display().to_string(),
        bank: bank.name(),
        logs: reports.len(),
        boots: baseline.boots.len(),
        measurements: baseline.measurements().count(),
        rules: baseline.rules.len(),
        merged: &baseline.merged,
        flaws: baseline.flaws(),
    };
    if out.json { out.print_json(&learned) } else { tell(&learned, &baseline, out) }
}

/// What is wrong with a log is learned with it: somebody should know.
fn warn_about(path: &std::path::Path, report: &LogReport) {
    for finding in report.findings.iter().filter(|finding| finding.fails()) {
        eprintln!(
            "warning: {}: {} [{}]",
            safe(&path.display().to_string()),
            safe(&finding.message),
            finding.code
        );
    }
}

fn tell(learned: &Learned<'_>, baseline: &Baseline, out: Output) -> Result<(), CliError> {
    out.fields(&[
        ("baseline", safe(&learned.output)),
        ("bank", learned.bank.to_owned()),
        ("learned from", counted(learned.logs, "log")),
        ("accepted boots", learned.boots.to_string()),
        ("measurements", learned.measurements.to_string()),
        ("rules", learned.rules.to_string()),
    ])?;
    sections::whole(baseline, out)
}
