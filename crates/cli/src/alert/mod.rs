//! `veriboot alert`: what needs attention. One file per question.

mod change;
mod list;
mod show;

use clap::Subcommand;
use veriboot_wire::AlertState;

use crate::client::Client;
use crate::error::CliError;
use crate::output::{Output, Tone};

pub use change::{confirm, report};

/// Alerts.
#[derive(Subcommand, Debug)]
pub enum AlertCommand {
    /// List alerts, newest first; only open ones unless --all, --state or --suppressed is given
    List(list::ListArgs),
    /// Show one alert: what happened, what to do, where to look further, its history
    Show {
        /// Id of the alert
        alert: String,
    },
    /// Say that somebody works on alerts
    #[command(alias = "ack")]
    Acknowledge(change::ChangeArgs),
    /// Close alerts because their cause is gone
    Resolve(change::ChangeArgs),
    /// Close alerts on purpose although their cause may remain
    Dismiss(change::ChangeArgs),
}

/// Runs `veriboot alert`.
pub fn run(command: AlertCommand, client: &Client, out: Output) -> Result<(), CliError> {
    use veriboot_wire::AlertAction as Action;
    match command {
        AlertCommand::List(args) => list::run(&args, client, out),
        AlertCommand::Show { alert } => show::run(&alert, client, out),
        AlertCommand::Acknowledge(args) => change::run(&args, Action::Acknowledge, client, out),
        AlertCommand::Resolve(args) => change::run(&args, Action::Resolve, client, out),
        AlertCommand::Dismiss(args) => change::run(&args, Action::Dismiss, client, out),
    }
}

pub const fn state_tone(state: AlertState) -> Tone {
    match state {
        AlertState::Active => Tone::Bad,
        AlertState::InProgress => Tone::Warn,
        AlertState::Resolved => Tone::Good,
        AlertState::Dismissed => Tone::Dim,
    }
}
