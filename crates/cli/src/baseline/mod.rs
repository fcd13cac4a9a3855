//! `veriboot baseline`: what is trusted. One file per subcommand.

mod accept;
mod list;
mod rows;
mod show;

use std::process::ExitCode;

use clap::Subcommand;

use crate::client::Client;
use crate::error::CliError;
use crate::output::Output;

/// Baselines.
#[derive(Subcommand, Debug)]
pub enum BaselineCommand {
    /// List baselines
    List(list::ListArgs),
    /// Show one baseline
    Show(show::ShowArgs),
    /// Trust what a VM booted last, as the next version of the baseline that judges it, and show what that is
    Accept(accept::AcceptArgs),
}

/// Runs `veriboot baseline`. `connect` finds the service; subcommands that work offline never call it.
pub fn run(
    command: BaselineCommand,
    connect: impl FnOnce() -> Result<Client, CliError>,
    out: Output,
) -> Result<ExitCode, CliError> {
    let done = |()| ExitCode::SUCCESS;
    match command {
        BaselineCommand::List(args) => list::run(&args, &connect()?, out).map(done),
        BaselineCommand::Show(args) => show::run(&args, &connect()?, out).map(done),
        BaselineCommand::Accept(args) => accept::run(args, &connect()?, out).map(done),
    }
}
