//! `veriboot policy`: conditions in CEL. One file per subcommand.

mod check;
mod offline;
pub(crate) mod problems;
mod test;
mod variables;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Subcommand;
use veriboot_appraisal::Condition;

use crate::client::Client;
use crate::error::CliError;
use crate::output::{Output, safe};

/// Policy conditions.
#[derive(Subcommand, Debug)]
pub enum PolicyCommand {
    /// Say what is wrong with conditions (no service); exit code 1 when something is
    Check(check::CheckArgs),
    /// Try conditions on event logs (no service), or on what VMs attested; exit code 1 when one does not hold
    Test(test::TestArgs),
    /// List the variables that conditions may use (no service), or show those of an event log
    Variables(variables::VariablesArgs),
}

/// Runs `veriboot policy`. `connect` finds the service; what works offline never calls it.
pub fn run(
    command: PolicyCommand,
    connect: impl FnOnce() -> Result<Client, CliError>,
    out: Output,
) -> Result<ExitCode, CliError> {
    match command {
        PolicyCommand::Check(args) => check::run(&args, out).map(ExitCode::from),
        PolicyCommand::Test(args) => test::run(&args, connect, out).map(ExitCode::from),
        PolicyCommand::Variables(args) => variables::run(&args, out).map(|()| ExitCode::SUCCESS),
    }
}

/// Reads the conditions of a file.
fn conditions(path: &Path) -> Result<Vec<Condition>, CliError> {
    let shown = safe(&path.display().to_string());
    let bytes = std::fs::read(path).map_err(|e| CliError::unreadable("policy-unreadable", path, &e))?;
    veriboot_policy::read_conditions(&bytes).map_err(|e| {
        CliError::usage(e.code(), format!("{shown} is no policy: {e}")).hint(
            "a policy is TOML or JSON with a list `conditions`, each with id, expression, severity and message: \
             docs/policies.md",
        )
    })
}

/// Every file of a folder, by name.
fn files_of(folder: &Path) -> Result<Vec<PathBuf>, CliError> {
    let shown = safe(&folder.display().to_string());
    let failed = |e: std::io::Error| match e.kind() {
        std::io::ErrorKind::NotADirectory => CliError::unreadable("folder-unreadable", folder, &e)
            .hint("--corpus takes a folder; --log takes one event log"),
        _ => CliError::unreadable("folder-unreadable", folder, &e),
    };
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if path.is_file() {
            files.push(path);
        }
    }
    files.sort();
    if files.is_empty() {
        return Err(CliError::usage("folder-empty", format!("{shown} has no files"))
            .hint("put event logs into it; folders in it are not looked into"));
    }
    Ok(files)
}
