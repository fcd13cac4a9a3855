//! `veriboot baseline progress`: how far VMs are judged again after changes.

use clap::Args;
use veriboot_wire::Reappraisal;

use super::changed;
use crate::client::{Client, segment};
use crate::error::CliError;
use crate::output::{Output, Styled, Tone};

/// Arguments of `baseline progress`.
#[derive(Args, Debug)]
pub struct ProgressArgs {
    /// One of them, by its id
    reappraisal: Option<String>,
    /// The most rows to show
    #[arg(long, default_value_t = 20, value_name = "ROWS")]
    limit: usize,
}

/// Runs it.
pub fn run(args: &ProgressArgs, client: &Client, out: Output) -> Result<(), CliError> {
    if let Some(id) = &args.reappraisal {
        let one: Reappraisal = client.get(&format!("/v1/reappraisals/{}", segment(id)), &[])?;
        return if out.json { out.print_json(&one) } else { out.line(&changed::progress(&one)) };
    }
    let (rows, more): (Vec<Reappraisal>, bool) = client.list("/v1/reappraisals", &[], args.limit)?;
    if out.json {
        return out.print_json_list(&rows, more, args.limit, "row");
    }
    let rows = rows
        .iter()
        .map(|r| {
            let state = match r.finished_at {
                Some(_) => Styled::new("done", Tone::Good),
                None => Styled::new("goes on", Tone::Warn),
            };
            vec![
                r.id.as_str().into(),
                out.ago(Some(r.created_at)).into(),
                state,
                format!("{}/{}", r.done.min(r.vms), r.vms).into(),
                r.turned.to_string().into(),
                r.failed.to_string().into(),
                r.created_by.as_str().into(),
                r.because.as_str().into(),
            ]
        })
        .collect();
    out.table(
        &["ID", "ASKED", "STATE", "VMS", "TURNED", "FAILED", "BY", "BECAUSE"],
        rows,
        "nothing was judged again yet",
    )?;
    out.more(more, args.limit, "row")
}
