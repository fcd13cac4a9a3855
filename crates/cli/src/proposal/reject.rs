//! `veriboot proposal reject` and `veriboot proposal reopen`.

use clap::Args;
use veriboot_wire::{Proposal, ProposalReject, ProposalReopen};

use super::fetch;
use crate::client::{Client, segment};
use crate::error::CliError;
use crate::output::{Output, safe};

/// Arguments of `proposal reject`.
#[derive(Args, Debug)]
pub struct RejectArgs {
    /// Id of the proposal
    proposal: String,
    /// Why; kept in the audit log and shown with the alerts that follow
    #[arg(long, short = 'm')]
    comment: String,
    /// The etag of what you looked at before (`proposal show --json`); refused when it changed since
    #[arg(long, value_name = "ETAG")]
    etag: Option<String>,
}

/// Arguments of `proposal reopen`.
#[derive(Args, Debug)]
pub struct ReopenArgs {
    /// Id of the proposal
    proposal: String,
    /// Why; kept in the audit log
    #[arg(long, short = 'm')]
    comment: Option<String>,
}

/// Rejects.
pub fn reject(args: RejectArgs, client: &Client, out: Output) -> Result<(), CliError> {
    let expected_etag = match args.etag {
        Some(etag) => etag,
        None => fetch(&args.proposal, client)?.proposal.etag,
    };
    let path = format!("/v1/proposals/{}/reject", segment(&args.proposal));
    let request = ProposalReject { expected_etag, comment: args.comment };
    let proposal: Proposal = client.post(&path, &request)?;
    done(&proposal, out)
}

/// Takes a rejection back.
pub fn reopen(args: ReopenArgs, client: &Client, out: Output) -> Result<(), CliError> {
    let path = format!("/v1/proposals/{}/reopen", segment(&args.proposal));
    let proposal: Proposal = client.post(&path, &ProposalReopen { comment: args.comment })?;
    done(&proposal, out)
}

fn done(proposal: &Proposal, out: Output) -> Result<(), CliError> {
    if out.json {
        return out.print_json(proposal);
    }
    out.line(&safe(&proposal.summary))
}
