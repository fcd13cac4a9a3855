//! `veriboot profile lint`: what is wrong with a profile, its conditions included.

use clap::Args;
use serde::Serialize;
use veriboot_appraisal::Flaw;
use veriboot_policy::{Level, Problem, lint};

use crate::baseline::{profile, sections};
use crate::error::{CliError, EXIT_NEGATIVE};
use crate::output::{Output, Tone, safe};
use crate::policy::problems;

/// Arguments of `profile lint`.
#[derive(Args, Debug)]
pub struct LintArgs {
    /// File in JSON or TOML, or a profile that comes with Veriboot
    profile: String,
    /// Exit code 1 for warnings too
    #[arg(long)]
    deny_warnings: bool,
}

/// `profile lint --json`.
#[derive(Serialize)]
struct Linted {
    ok: bool,
    flaws: Vec<Flaw>,
    problems: Vec<Problem>,
}

/// Runs it. Exit code 1 when the service would not take the profile.
pub fn run(args: &LintArgs, out: Output) -> Result<u8, CliError> {
    let profile = profile::read(&args.profile)?;
    let flaws = profile.flaws();
    let problems = lint(&profile.conditions).problems;
    let refused =
        flaws.iter().any(|flaw| flaw.refused) || problems.iter().any(|problem| problem.level == Level::Error);
    let warned = !flaws.is_empty() || problems.iter().any(|problem| problem.level == Level::Warning);
    let ok = !(refused || warned && args.deny_warnings);
    let exit = if ok { 0 } else { EXIT_NEGATIVE };
    if out.json {
        out.print_json(&Linted { ok, flaws, problems })?;
        return Ok(exit);
    }
    let (word, tone) = match (refused, warned) {
        (true, _) => ("cannot be used", Tone::Bad),
        (false, true) => ("warnings", Tone::Warn),
        (false, false) => ("nothing is wrong", Tone::Good),
    };
    out.fields(&[
        ("profile", safe(&profile.name)),
        ("rules", profile.rules.len().to_string()),
        ("conditions", profile.conditions.len().to_string()),
        ("verdict", out.paint(word, tone)),
    ])?;
    sections::flaws(&flaws, "profile", out)?;
    if !problems.is_empty() {
        out.line("")?;
        out.line("What is wrong with the conditions")?;
        problems::show(&problems, out)?;
    }
    Ok(exit)
}
