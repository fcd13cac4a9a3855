//! `veriboot profile list`.

use clap::Args;
use veriboot_wire::ProfileSummary;

use crate::client::Client;
use crate::error::CliError;
use crate::output::{Output, Styled, Tone};

/// Arguments of `profile list`.
#[derive(Args, Debug)]
pub struct ListArgs {
    /// The most rows to show
    #[arg(long, default_value_t = 200, value_name = "ROWS")]
    limit: usize,
}

/// Runs it.
pub fn run(args: &ListArgs, client: &Client, out: Output) -> Result<(), CliError> {
    let (profiles, more): (Vec<ProfileSummary>, bool) = client.list("/v1/profiles", &[], args.limit)?;
    if out.json {
        return out.print_json_list(&profiles, more, args.limit, "profile");
    }
    let rows = profiles
        .iter()
        .map(|p| {
            let version = match p.version {
                Some(version) => Styled::new(version.to_string(), Tone::Plain),
                None => Styled::new("built-in", Tone::Dim),
            };
            vec![
                p.name.as_str().into(),
                version,
                out.ago(p.created_at).into(),
                p.created_by.as_deref().unwrap_or("-").into(),
                p.description.as_str().into(),
            ]
        })
        .collect();
    out.table(&["NAME", "VERSION", "MADE", "BY", "WHAT IT IS FOR"], rows, "no profiles")?;
    out.more(more, args.limit, "profile")
}
