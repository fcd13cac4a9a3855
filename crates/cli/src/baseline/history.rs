//! `veriboot baseline history`: the versions of one baseline.

use clap::Args;
use veriboot_wire::BaselineSummary;

use super::version;
use crate::client::Client;
use crate::error::CliError;
use crate::output::{Output, Styled, Tone};

/// Arguments of `baseline history`.
#[derive(Args, Debug)]
pub struct HistoryArgs {
    /// Name (scale-set/default/web)
    name: String,
    /// The most versions to show
    #[arg(long, default_value_t = 200, value_name = "ROWS")]
    limit: usize,
}

/// Runs it.
pub fn run(args: &HistoryArgs, client: &Client, out: Output) -> Result<(), CliError> {
    let query = [("name", args.name.clone()), ("all_versions", "true".to_owned())];
    let (versions, more): (Vec<BaselineSummary>, bool) = client.list("/v1/baselines", &query, args.limit)?;
    if versions.is_empty() {
        return Err(version::unknown(&args.name));
    }
    if out.json {
        return out.print_json_list(&versions, more, args.limit, "version");
    }
    let rows = versions
        .iter()
        .map(|b| {
            vec![
                b.version.to_string().into(),
                if b.current { Styled::new("judges", Tone::Good) } else { Styled::new("-", Tone::Dim) },
                b.origin.as_str().into(),
                b.components.to_string().into(),
                b.created_at.to_string().into(),
                b.created_by.as_str().into(),
                b.comment.as_deref().unwrap_or("").into(),
            ]
        })
        .collect();
    out.table(&["VERSION", "NOW", "ORIGIN", "COMPONENTS", "MADE", "BY", "COMMENT"], rows, "no versions")?;
    out.more(more, args.limit, "version")
}
