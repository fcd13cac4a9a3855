//! `veriboot proposal`: changes that VMs booted and that wait for a decision. One file per question.

mod approve;
mod list;
mod reject;
mod show;

use clap::Subcommand;

use crate::client::{Client, segment};
use crate::error::CliError;
use crate::output::{Output, Tone};
use veriboot_wire::{ProposalDetail, ProposalState};

/// Proposals.
#[derive(Subcommand, Debug)]
pub enum ProposalCommand {
    /// List proposals, newest first; only open ones unless --all or --state is given
    List(list::ListArgs),
    /// Show one proposal: what differs from the baseline, who signed it, which VMs booted it
    Show(show::ShowArgs),
    /// Trust what proposals show, as the next version of their baselines
    Approve(approve::ApproveArgs),
    /// Refuse what a proposal shows: VMs that boot it are unhealthy
    Reject(reject::RejectArgs),
    /// Take a rejection back
    Reopen(reject::ReopenArgs),
}

/// Runs `veriboot proposal`.
pub fn run(command: ProposalCommand, client: &Client, out: Output) -> Result<(), CliError> {
    match command {
        ProposalCommand::List(args) => list::run(&args, client, out),
        ProposalCommand::Show(args) => show::run(&args, client, out),
        ProposalCommand::Approve(args) => approve::run(&args, client, out),
        ProposalCommand::Reject(args) => reject::reject(args, client, out),
        ProposalCommand::Reopen(args) => reject::reopen(args, client, out),
    }
}

fn fetch(id: &str, client: &Client) -> Result<ProposalDetail, CliError> {
    client.get(&format!("/v1/proposals/{}", segment(id)), &[])
}

const fn state_tone(state: ProposalState) -> Tone {
    match state {
        ProposalState::Open => Tone::Warn,
        ProposalState::Approved => Tone::Good,
        ProposalState::Rejected => Tone::Bad,
        ProposalState::Superseded | ProposalState::Withdrawn => Tone::Dim,
    }
}
