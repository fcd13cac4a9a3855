//! `veriboot proposal approve`: shows what will be trusted, asks, and approves exactly that.

use std::io::IsTerminal as _;

use clap::Args;
use veriboot_wire::{
    ExpectedProposal, ProposalDetail, ProposalState, ProposalsApprove, ProposalsApproved, counted,
};

use super::{fetch, show};
use crate::client::Client;
use crate::error::CliError;
use crate::output::{Output, safe};

/// Arguments of `proposal approve`.
#[derive(Args, Debug)]
pub struct ApproveArgs {
    /// Ids of the proposals; all of them are approved, or none
    #[arg(required = true, value_name = "PROPOSAL")]
    proposals: Vec<String>,
    /// Why; kept in the baseline and in the audit log
    #[arg(long, short = 'm')]
    comment: Option<String>,
    /// Stop accepting what the baseline had in these PCRs until now: VMs that still boot that turn unhealthy
    #[arg(long)]
    replace: bool,
    /// The etag of what you looked at before (`proposal show --json`), for one proposal; refused when it changed since
    #[arg(long, value_name = "ETAG")]
    etag: Option<String>,
    /// Do not ask
    #[arg(long, short = 'y')]
    yes: bool,
}

/// Runs it.
pub fn run(args: &ApproveArgs, client: &Client, out: Output) -> Result<(), CliError> {
    let mut shown = Vec::with_capacity(args.proposals.len());
    for id in &args.proposals {
        let detail = fetch(id, client)?;
        if !out.json {
            show::content(&detail, out)?;
            out.line("")?;
        }
        shown.push(detail);
    }
    if let Some(etag) = &args.etag
        && !matches!(shown.as_slice(), [one] if one.proposal.etag == *etag)
    {
        let message = "what --etag names is not what there is now";
        return Err(CliError::usage("etag-differs", message)
            .hint("look at it again: `veriboot proposal show PROPOSAL`; --etag is for one proposal"));
    }
    let open = shown.iter().any(|detail| detail.proposal.state == ProposalState::Open);
    if !args.yes && open {
        ask(&shown)?;
    }
    // Exactly what was shown: anything that changed meanwhile is refused.
    let proposals = shown
        .into_iter()
        .map(|detail| ExpectedProposal { id: detail.proposal.id, expected_etag: detail.proposal.etag })
        .collect();
    let request = ProposalsApprove { proposals, comment: args.comment.clone(), replace: args.replace };
    let approved: ProposalsApproved = client.post("/v1/proposals/approve", &request)?;
    if out.json {
        return out.print_json(&approved);
    }
    for baseline in &approved.baselines {
        out.line(&format!("{}@{} judges from now on", safe(&baseline.name), baseline.version))?;
    }
    out.line(&format!("{} judged again at once", counted(approved.reappraised, "VM")))
}

fn ask(shown: &[ProposalDetail]) -> Result<(), CliError> {
    let count = match shown.len() {
        1 => "it".to_owned(),
        many => format!("these {many}"),
    };
    if !std::io::stdin().is_terminal() {
        return Err(CliError::usage("not-confirmed", format!("approving {count} has to be confirmed"))
            .hint("give --yes, and --etag when you looked at it before"));
    }
    eprint!("Approve {count}? [y/N] ");
    let mut answer = String::new();
    let read = std::io::stdin().read_line(&mut answer);
    match answer.trim() {
        "y" | "Y" | "yes" if read.is_ok() => Ok(()),
        _ => Err(CliError::usage("not-confirmed", "nothing was approved")),
    }
}
