//! `veriboot notify`: who is told of events.

mod deliveries;
mod target;

use clap::Subcommand;
use veriboot_wire::TargetTest;

use crate::client::{Client, segment};
use crate::error::{CliError, EXIT_NEGATIVE};
use crate::output::Output;

/// Notifications.
#[derive(Subcommand, Debug)]
pub enum NotifyCommand {
    /// Targets: who is told, of what, and how
    #[command(subcommand)]
    Target(target::TargetCommand),
    /// Send a target a test message now, and say what became of it (exit 1: not delivered)
    Test {
        /// Name of the target
        name: String,
    },
    /// What targets were told, are still to be told, or could not be told
    Deliveries(deliveries::ListArgs),
    /// Queue again what was given up
    Replay(deliveries::ReplayArgs),
}

/// Runs `veriboot notify`.
pub fn run(command: NotifyCommand, client: &Client, out: Output) -> Result<u8, CliError> {
    match command {
        NotifyCommand::Target(command) => target::run(command, client, out).map(|()| 0),
        NotifyCommand::Test { name } => test(&name, client, out),
        NotifyCommand::Deliveries(args) => deliveries::list(&args, client, out).map(|()| 0),
        NotifyCommand::Replay(args) => deliveries::replay(args, client, out).map(|()| 0),
    }
}

fn test(name: &str, client: &Client, out: Output) -> Result<u8, CliError> {
    let path = format!("/v1/notification-targets/{}/test", segment(name));
    let outcome: TargetTest = client.post(&path, &serde_json::json!({}))?;
    if out.json {
        out.print_json(&outcome)?;
    } else if outcome.delivered {
        out.line(&format!("{name} took the test message within {} ms", outcome.took_ms))?;
    } else {
        let error = outcome.error.as_deref().unwrap_or("no reason was given");
        out.line(&format!("{name} was not told: {}", crate::output::safe(error)))?;
    }
    Ok(if outcome.delivered { 0 } else { EXIT_NEGATIVE })
}
