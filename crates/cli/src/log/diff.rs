//! `log diff`: what changed between two boots, in the words of findings.

use std::path::Path;

use serde::Serialize;
use veriboot_wire::Finding;

use crate::error::{CliError, EXIT_NEGATIVE};
use crate::output::Output;

/// `log diff --json`.
#[derive(Serialize)]
struct Difference {
    same: bool,
    changes: Vec<Finding>,
}

/// Prints the changes. Exit code 1 when there are some.
pub fn diff(from: &[u8], to: &[u8], files: (&Path, &Path), out: Output) -> Result<u8, CliError> {
    let logs = (super::parse_log(files.0, from)?, super::parse_log(files.1, to)?);
    let changes =
        veriboot_appraisal::compare(&veriboot_appraisal::examine(from), &veriboot_appraisal::examine(to));
    let exit = if changes.is_empty() { 0 } else { EXIT_NEGATIVE };
    if out.json {
        out.print_json(&Difference { same: changes.is_empty(), changes })?;
    } else if changes.is_empty() {
        out.line("Both logs measure the same components.")?;
    } else {
        out.findings(&changes)?;
    }
    super::warn_when_cut(files.0, &logs.0);
    super::warn_when_cut(files.1, &logs.1);
    Ok(exit)
}
