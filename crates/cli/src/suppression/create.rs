//! `veriboot suppression create`.

use clap::Args;
use veriboot_wire::{Suppression, SuppressionCreate};

use super::{MatchArgs, show};
use crate::client::Client;
use crate::error::CliError;
use crate::output::Output;

/// Arguments of `suppression create`.
#[derive(Args, Debug)]
pub struct CreateArgs {
    #[command(flatten)]
    matches: MatchArgs,
    /// Why the alerts are hidden
    #[arg(long, short = 'm')]
    reason: String,
    /// More about it: a ticket, a link
    #[arg(long)]
    comment: Option<String>,
    /// Until when: a time (2026-11-21T18:04:00Z), or how long from now (30m, 12h, 7d)
    #[arg(long, value_name = "WHEN", required_unless_present = "no_expiry")]
    until: Option<String>,
    /// It shall hold until somebody ends it
    #[arg(long, conflicts_with = "until")]
    no_expiry: bool,
    /// It is meant to hide everything, everything of a group, or one reason in the whole fleet
    #[arg(long)]
    allow_broad: bool,
}

/// Runs it.
pub fn run(args: &CreateArgs, client: &Client, out: Output) -> Result<(), CliError> {
    let expires_at = args.until.as_deref().map(|until| crate::moment::after(until, out.now)).transpose()?;
    let request = SuppressionCreate {
        matches: args.matches.matches(),
        reason: args.reason.clone(),
        comment: args.comment.clone(),
        expires_at,
        no_expiry: args.no_expiry,
        allow_broad: args.allow_broad,
    };
    let rule: Suppression = client.post("/v1/suppressions", &request)?;
    show(&rule, out)
}
