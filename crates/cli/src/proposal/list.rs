//! `veriboot proposal list`.

use clap::Args;
use veriboot_wire::{ChangeClass, Proposal, ProposalState};

use super::state_tone;
use crate::client::Client;
use crate::error::CliError;
use crate::output::{Output, Styled, cell, print_csv_list};
use crate::rows::RowsArgs;

/// Filters of `proposal list`.
#[derive(Args, Debug)]
pub struct ListArgs {
    /// Also proposals that were decided
    #[arg(long, conflicts_with = "state")]
    all: bool,
    /// Only this state: open, approved, rejected, superseded, withdrawn
    #[arg(long)]
    state: Option<ProposalState>,
    /// Only baselines of this group
    #[arg(long)]
    group: Option<String>,
    /// Only what this scale set's baseline or its members propose
    #[arg(long)]
    scale_set: Option<String>,
    /// Only those with a change of this class: kernel-update, bootloader-update, shim-update, …
    #[arg(long)]
    class: Option<ChangeClass>,
    /// Only this baseline, by name
    #[arg(long, value_name = "NAME")]
    baseline: Option<String>,
    #[command(flatten)]
    rows: RowsArgs,
}

/// Runs it.
pub fn run(args: &ListArgs, client: &Client, out: Output) -> Result<(), CliError> {
    let state = args.state.or((!args.all).then_some(ProposalState::Open));
    let mut query = Vec::new();
    query.extend(state.map(|v| ("state", v.to_string())));
    query.extend(args.group.clone().map(|v| ("group", v)));
    query.extend(args.scale_set.clone().map(|v| ("scale_set", v)));
    query.extend(args.class.map(|v| ("class", v.to_string())));
    query.extend(args.baseline.clone().map(|v| ("baseline", v)));
    let (proposals, more): (Vec<Proposal>, bool) = client.list("/v1/proposals", &query, args.rows.limit)?;
    if out.json {
        return out.print_json_list(&proposals, more, args.rows.limit, "proposal");
    }
    if args.rows.csv {
        let rows = proposals.into_iter().map(|p| {
            let classes = p.classes.iter().map(|c| c.as_str()).collect::<Vec<_>>().join(" ");
            let what = [
                p.id,
                p.state.to_string(),
                p.baseline,
                classes,
                cell(p.signer),
                p.vms.to_string(),
                p.of_vms.to_string(),
            ];
            let when = [p.first_seen_at.to_string(), p.last_seen_at.to_string()];
            let done = [cell(p.decided_at), cell(p.decided_by), cell(p.comment), cell(p.result), p.summary];
            what.into_iter().chain(when).chain(done).collect()
        });
        let header = [
            "id",
            "state",
            "baseline",
            "classes",
            "signer",
            "vms",
            "of_vms",
            "first_seen_at",
            "last_seen_at",
            "decided_at",
            "decided_by",
            "comment",
            "result",
            "summary",
        ];
        return print_csv_list(&header, rows, more, args.rows.limit, "proposal");
    }
    let rows = proposals
        .iter()
        .map(|p| {
            vec![
                p.id.as_str().into(),
                Styled::new(p.state.as_str(), state_tone(p.state)),
                p.baseline.as_str().into(),
                p.classes.iter().map(|c| c.as_str()).collect::<Vec<_>>().join(", ").into(),
                out.ago(Some(p.first_seen_at)).into(),
                p.summary.as_str().into(),
            ]
        })
        .collect();
    out.table(
        &["PROPOSAL", "STATE", "BASELINE", "CHANGES", "SINCE", "WHAT"],
        rows,
        match query.iter().all(|(name, _)| *name == "state") {
            true if state == Some(ProposalState::Open) => {
                "no open proposals: no VM booted a change that waits for a decision"
            }
            true => "no proposals",
            false => "no proposals match; decided ones need --all",
        },
    )?;
    out.more(more, args.rows.limit, "proposal")
}
