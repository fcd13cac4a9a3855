//! `veriboot scale-set list`.

use clap::Args;
use veriboot_wire::{Majority, ScaleSet};

use crate::client::Client;
use crate::error::CliError;
use crate::output::{Output, Styled, Tone, print_csv_list, status_tone};
use crate::rows::RowsArgs;

/// Filters of `scale-set list`.
#[derive(Args, Debug)]
pub struct ListArgs {
    /// Only this group
    #[arg(long)]
    group: Option<String>,
    #[command(flatten)]
    rows: RowsArgs,
}

/// Runs it.
pub fn run(args: &ListArgs, client: &Client, out: Output) -> Result<(), CliError> {
    let query: Vec<_> = args.group.clone().map(|v| ("group", v)).into_iter().collect();
    let (sets, more): (Vec<ScaleSet>, bool) = client.list("/v1/scale-sets", &query, args.rows.limit)?;
    if out.json {
        return out.print_json_list(&sets, more, args.rows.limit, "scale set");
    }
    if args.rows.csv {
        let rows = sets.into_iter().map(|set| {
            let counts =
                [set.members, set.healthy, set.compared, set.boots, set.odd].map(|count| count.to_string());
            [set.name, set.group, set.worst.to_string()].into_iter().chain(counts).collect()
        });
        let header = ["name", "group", "worst", "members", "healthy", "compared", "boots", "odd"];
        return print_csv_list(&header, rows, more, args.rows.limit, "scale set");
    }
    let rows = sets
        .iter()
        .map(|set| {
            vec![
                set.name.as_str().into(),
                Styled::new(&set.group, Tone::Dim),
                format!("{} of {}", set.healthy, set.members).into(),
                Styled::new(set.worst.as_str(), status_tone(set.worst)),
                set.boots.to_string().into(),
                odd(set),
            ]
        })
        .collect();
    out.table(
        &["SCALE SET", "GROUP", "HEALTHY", "WORST", "DIFFERENT BOOTS", "ODD ONES OUT"],
        rows,
        match query.is_empty() {
            true => "no scale sets; `veriboot token create --scale-set NAME` makes a join token for one",
            false => "no scale set is in this group; `veriboot scale-set list` shows all of them",
        },
    )?;
    out.more(more, args.rows.limit, "scale set")
}

fn odd(set: &ScaleSet) -> Styled {
    match (set.majority, set.odd) {
        (Majority::TooFew, _) => {
            Styled::new(format!("nobody is called odd: {} can be compared", set.compared), Tone::Dim)
        }
        (Majority::None, _) => Styled::new("nobody is called odd: no majority", Tone::Warn),
        (Majority::Found, 0) => Styled::new("none", Tone::Good),
        (Majority::Found, odd) => Styled::new(format!("{odd} of {}", set.compared), Tone::Bad),
    }
}
