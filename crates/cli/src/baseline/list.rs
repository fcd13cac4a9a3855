//! `veriboot baseline list`.

use clap::Args;
use veriboot_wire::BaselineSummary;

use crate::client::Client;
use crate::error::CliError;
use crate::output::{Output, Styled, Tone};

/// Arguments of `baseline list`.
#[derive(Args, Debug)]
pub struct ListArgs {
    /// Also versions that no longer judge
    #[arg(long)]
    all: bool,
    /// The most rows to show
    #[arg(long, default_value_t = 200, value_name = "ROWS")]
    limit: usize,
}

/// Runs it.
pub fn run(args: &ListArgs, client: &Client, out: Output) -> Result<(), CliError> {
    let limit = args.limit;
    let query = if args.all { vec![("all_versions", "true".to_owned())] } else { Vec::new() };
    let (baselines, more): (Vec<BaselineSummary>, bool) = client.list("/v1/baselines", &query, limit)?;
    if out.json {
        return out.print_json_list(&baselines, more, limit, "baseline");
    }
    let rows = baselines
        .iter()
        .map(|b| {
            vec![
                b.name.as_str().into(),
                b.version.to_string().into(),
                if b.current { Styled::new("yes", Tone::Good) } else { Styled::new("no", Tone::Dim) },
                b.components.to_string().into(),
                out.ago(Some(b.created_at)).into(),
                b.created_by.as_str().into(),
                b.comment.as_deref().unwrap_or("").into(),
            ]
        })
        .collect();
    out.table(
        &["NAME", "VERSION", "CURRENT", "COMPONENTS", "MADE", "BY", "COMMENT"],
        rows,
        "no baselines; the first healthy boot of a VM or scale set makes one",
    )?;
    out.more(more, limit, "baseline")
}
