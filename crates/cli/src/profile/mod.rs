//! `veriboot profile`: what a boot must look like whatever its baseline says. One file per subcommand.

mod assign;
mod lint;
mod list;
mod set;
mod show;

use std::process::ExitCode;

use clap::Subcommand;

use crate::client::Client;
use crate::error::CliError;
use crate::output::Output;

/// Profiles.
#[derive(Subcommand, Debug)]
pub enum ProfileCommand {
    /// List profiles
    List(list::ListArgs),
    /// Show one profile, and where it is assigned
    Show(show::ShowArgs),
    /// Say what is wrong with a profile (no service); exit code 1 when it cannot be used
    Lint(lint::LintArgs),
    /// Store a document as the next version of a profile
    Set(set::SetArgs),
    /// Say which profile judges a VM, scale set, image or group; without a name, list who has which
    Assign(assign::AssignArgs),
    /// Take the profile of a VM, scale set, image or group away, so that a less specific one judges
    Unassign(assign::UnassignArgs),
}

/// Runs `veriboot profile`. `connect` finds the service; what works offline never calls it.
pub fn run(
    command: ProfileCommand,
    connect: impl FnOnce() -> Result<Client, CliError>,
    out: Output,
) -> Result<ExitCode, CliError> {
    let done = |()| ExitCode::SUCCESS;
    match command {
        ProfileCommand::List(args) => list::run(&args, &connect()?, out).map(done),
        ProfileCommand::Show(args) => show::run(&args, &connect()?, out).map(done),
        ProfileCommand::Lint(args) => lint::run(&args, out).map(ExitCode::from),
        ProfileCommand::Set(args) => set::run(args, &connect()?, out).map(done),
        ProfileCommand::Assign(args) => assign::assign(args, &connect()?, out).map(done),
        ProfileCommand::Unassign(args) => assign::unassign(args, &connect()?, out).map(done),
    }
}
