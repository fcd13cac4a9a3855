//! `veriboot proposal show`.

use clap::Args;
use veriboot_wire::{ProposalDetail, ProposalMember, ProposalState};

use super::{fetch, state_tone};
use crate::client::{Client, segment};
use crate::error::CliError;
use crate::output::{Output, Styled, safe, status_tone};

/// One proposal.
#[derive(Args, Debug)]
pub struct ShowArgs {
    /// Id of the proposal
    proposal: String,
    /// The most members to show
    #[arg(long, default_value_t = 20, value_name = "ROWS", alias = "members")]
    limit: usize,
}

/// Runs it.
pub fn run(args: &ShowArgs, client: &Client, out: Output) -> Result<(), CliError> {
    let proposal = fetch(&args.proposal, client)?;
    if out.json {
        return out.print_json(&proposal);
    }
    content(&proposal, out)?;
    let p = &proposal.proposal;
    if !matches!(p.state, ProposalState::Open | ProposalState::Rejected) {
        return Ok(());
    }
    let path = format!("/v1/proposals/{}/members", segment(&p.id));
    let (members, more): (Vec<ProposalMember>, bool) = client.list(&path, &[], args.limit)?;
    out.line("\nVMs")?;
    let rows = members
        .iter()
        .map(|m| {
            vec![
                m.vm_name.as_str().into(),
                m.group.as_str().into(),
                Styled::new(m.status.as_str(), status_tone(m.status)),
                out.ago(Some(m.since)).into(),
                m.boot_id.as_deref().unwrap_or("-").into(),
            ]
        })
        .collect();
    out.table(&["NAME", "GROUP", "STATUS", "SINCE", "BOOT"], rows, "none")?;
    if more {
        out.line(&format!("… {} in all: raise --limit", p.vms))?;
    }
    if p.state == ProposalState::Open {
        out.line(&format!("\nApprove it:  veriboot proposal approve {}", p.id))?;
        out.line(&format!("Reject it:   veriboot proposal reject {} -m WHY", p.id))?;
    }
    Ok(())
}

/// What is asked, and what it rests on.
pub(super) fn content(detail: &ProposalDetail, out: Output) -> Result<(), CliError> {
    let (p, shows) = (&detail.proposal, &detail.representative);
    out.sentence("", &safe(&p.summary))?;
    out.line("")?;
    let pcrs: Vec<String> = p.pcrs.iter().map(u32::to_string).collect();
    let mut fields = vec![
        ("proposal", p.id.clone()),
        ("state", out.paint(p.state.as_str(), state_tone(p.state))),
        ("baseline", safe(&p.baseline)),
        ("profile", safe(&p.profile)),
        ("changes", p.classes.iter().map(|c| c.as_str()).collect::<Vec<_>>().join(", ")),
        ("PCRs", pcrs.join(", ")),
        ("first seen", format!("{} ({})", p.first_seen_at, out.ago(Some(p.first_seen_at)))),
        ("last seen", format!("{} ({})", p.last_seen_at, out.ago(Some(p.last_seen_at)))),
        ("shown by", format!("{}, boot {}", safe(&shows.vm_name), safe(&shows.boot_id))),
        ("event log", shows.log_sha256.clone()),
    ];
    if let Some(by) = &p.decided_by {
        let at = p.decided_at.map(|at| format!(" at {at}")).unwrap_or_default();
        fields.push(("decided by", format!("{}{at}", safe(by))));
    }
    fields.extend(p.result.as_deref().map(|result| ("became", safe(result))));
    fields.extend(p.comment.as_deref().map(|comment| ("comment", safe(comment))));
    out.fields(&fields)?;
    out.line("\nDifference to the baseline")?;
    out.findings(&detail.findings)
}
