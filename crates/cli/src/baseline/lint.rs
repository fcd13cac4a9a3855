//! `veriboot baseline lint`: what is wrong with a baseline.

use std::path::PathBuf;

use clap::Args;
use serde::Serialize;
use veriboot_appraisal::Flaw;

use super::{document, sections};
use crate::error::{CliError, EXIT_NEGATIVE};
use crate::output::{Output, Tone, safe};

/// Arguments of `baseline lint`.
#[derive(Args, Debug)]
pub struct LintArgs {
    /// Baseline: JSON, TOML, what `baseline show --json` prints, or a signed envelope
    baseline: PathBuf,
    /// Exit code 1 for warnings too
    #[arg(long)]
    deny_warnings: bool,
}

/// `baseline lint --json`.
#[derive(Serialize)]
struct Linted {
    ok: bool,
    flaws: Vec<Flaw>,
}

/// Runs it. Exit code 1 when the baseline must not judge.
pub fn run(args: &LintArgs, out: Output) -> Result<u8, CliError> {
    let baseline = document::read(&args.baseline, None)?.baseline;
    let flaws = baseline.flaws();
    let ok = !flaws.iter().any(|flaw| flaw.refused || args.deny_warnings);
    let exit = if ok { 0 } else { EXIT_NEGATIVE };
    if out.json {
        out.print_json(&Linted { ok, flaws })?;
        return Ok(exit);
    }
    let (word, tone) = match (ok, flaws.is_empty()) {
        (true, true) => ("nothing is wrong", Tone::Good),
        (true, false) => ("warnings", Tone::Warn),
        (false, _) => ("must not judge", Tone::Bad),
    };
    out.fields(&[
        ("baseline", safe(&args.baseline.display().to_string())),
        ("bank", baseline.bank.name().to_owned()),
        ("accepted boots", baseline.boots.len().to_string()),
        ("rules", baseline.rules.len().to_string()),
        ("verdict", out.paint(word, tone)),
    ])?;
    sections::whole(&baseline, out)?;
    Ok(exit)
}
