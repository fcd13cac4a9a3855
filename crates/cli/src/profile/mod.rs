//! `veriboot profile`: what a boot must look like whatever its baseline says. One file per subcommand.

mod assign;
mod list;
mod set;
mod show;

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
    /// Store a document as the next version of a profile
    Set(set::SetArgs),
    /// Say which profile judges a VM, scale set, image or group; without a name, list who has which
    Assign(assign::AssignArgs),
    /// Take the profile of a VM, scale set, image or group away, so that a less specific one judges
    Unassign(assign::UnassignArgs),
}

/// Runs `veriboot profile`.
pub fn run(command: ProfileCommand, client: &Client, out: Output) -> Result<(), CliError> {
    match command {
        ProfileCommand::List(args) => list::run(&args, client, out),
        ProfileCommand::Show(args) => show::run(&args, client, out),
        ProfileCommand::Set(args) => set::run(args, client, out),
        ProfileCommand::Assign(args) => assign::assign(args, client, out),
        ProfileCommand::Unassign(args) => assign::unassign(args, client, out),
    }
}
