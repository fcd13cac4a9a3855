//! `veriboot scale-set`: what members of uniform scale sets booted, and who booted something else.

mod list;
mod show;

use clap::Subcommand;

use crate::client::Client;
use crate::error::CliError;
use crate::output::Output;

/// Scale sets.
#[derive(Subcommand, Debug)]
pub enum ScaleSetCommand {
    /// List scale sets with their health
    List(list::ListArgs),
    /// Show one scale set: its members by what they booted, and what the odd ones do differently
    Show(show::ShowArgs),
}

/// Runs `veriboot scale-set`.
pub fn run(command: ScaleSetCommand, client: &Client, out: Output) -> Result<(), CliError> {
    match command {
        ScaleSetCommand::List(args) => list::run(&args, client, out),
        ScaleSetCommand::Show(args) => show::run(&args, client, out),
    }
}
