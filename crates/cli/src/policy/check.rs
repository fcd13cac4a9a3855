//! `veriboot policy check`.

use std::path::PathBuf;

use clap::Args;
use serde::Serialize;
use veriboot_policy::{Level, Problem, lint};

use super::problems;
use crate::error::{CliError, EXIT_NEGATIVE};
use crate::output::{Output, Tone};

/// Arguments of `policy check`.
#[derive(Args, Debug)]
pub struct CheckArgs {
    /// File with conditions: a profile, or `conditions` alone, TOML or JSON
    file: PathBuf,
}

/// `policy check --json`.
#[derive(Serialize)]
struct Checked {
    ok: bool,
    conditions: usize,
    problems: Vec<Problem>,
}

/// Runs it. Exit code 1 for errors and warnings.
pub fn run(args: &CheckArgs, out: Output) -> Result<u8, CliError> {
    let linted = lint(&super::conditions(&args.file)?);
    let ok = linted.is_clean();
    let exit = if ok { 0 } else { EXIT_NEGATIVE };
    if out.json {
        out.print_json(&Checked { ok, conditions: linted.conditions, problems: linted.problems })?;
        return Ok(exit);
    }
    problems::show(&linted.problems, out)?;
    let count = |level: Level| linted.problems.iter().filter(|problem| problem.level == level).count();
    let (word, tone) = match linted.worst() {
        Some(Level::Error) => ("cannot be used", Tone::Bad),
        Some(Level::Warning) => ("probably not what was meant", Tone::Warn),
        _ => ("nothing is wrong", Tone::Good),
    };
    out.line(&format!(
        "conditions {}, errors {}, warnings {}: {}",
        linted.conditions,
        count(Level::Error),
        count(Level::Warning),
        out.paint(word, tone)
    ))?;
    Ok(exit)
}
