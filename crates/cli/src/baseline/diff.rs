//! `veriboot baseline diff`: what one baseline accepts and another does not.

use std::path::PathBuf;

use clap::Args;
use serde::Serialize;
use veriboot_appraisal::diff_baselines;
use veriboot_wire::Finding;

use super::document;
use crate::error::{CliError, EXIT_NEGATIVE};
use crate::output::Output;

/// Codes under which the changes of one boot follow.
const HEADINGS: [&str; 2] = ["boot-accepted", "boot-dropped"];

/// Arguments of `baseline diff`.
#[derive(Args, Debug)]
pub struct DiffArgs {
    /// The earlier baseline
    from: PathBuf,
    /// The later baseline
    to: PathBuf,
}

/// `baseline diff --json`.
#[derive(Serialize)]
struct Difference {
    same: bool,
    changes: Vec<Finding>,
}

/// Runs it. Exit code 1 when they differ.
pub fn run(args: &DiffArgs, out: Output) -> Result<u8, CliError> {
    let (from, to) = (document::read(&args.from, None)?, document::read(&args.to, None)?);
    let changes = diff_baselines(&from.baseline, &to.baseline);
    let same = changes.is_empty();
    if out.json {
        out.print_json(&Difference { same, changes })?;
    } else if same {
        out.line("Both baselines accept the same.")?;
    } else {
        // Each boot with its changes below it.
        for part in changes.chunk_by(|_, next| !HEADINGS.contains(&next.code.as_str())) {
            out.findings_in_order(part)?;
        }
    }
    Ok(if same { 0 } else { EXIT_NEGATIVE })
}
