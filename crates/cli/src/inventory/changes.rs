//! `veriboot inventory changes`.

use clap::Args;
use veriboot_wire::{InventoryChange, InventoryChangeKind};

use super::show::{WhichArgs, find};
use super::sync::{kind, what};
use crate::client::Client;
use crate::error::CliError;
use crate::output::{Output, Styled, Tone, cell, print_csv_list};
use crate::rows::RowsArgs;

/// Filters of `inventory changes`.
#[derive(Args, Debug)]
pub struct ChangesArgs {
    /// Only this source
    #[arg(long, value_name = "NAME")]
    source: Option<String>,
    /// Only this item (id or name)
    #[arg(long)]
    item: Option<String>,
    /// Only this kind: added, changed, gone, returned, linked, unlinked
    #[arg(long)]
    kind: Option<InventoryChangeKind>,
    #[command(flatten)]
    rows: RowsArgs,
}

/// Runs it.
pub fn run(args: &ChangesArgs, client: &Client, out: Output) -> Result<(), CliError> {
    let mut query = Vec::new();
    query.extend(args.source.clone().map(|v| ("source", v)));
    if let Some(item) = &args.item {
        let which = WhichArgs { source: args.source.clone() };
        query.push(("item", find(item, &which, client)?));
    }
    query.extend(args.kind.map(|v| ("kind", v.to_string())));
    let (changes, more): (Vec<InventoryChange>, bool) =
        client.list("/v1/inventory/changes", &query, args.rows.limit)?;
    if out.json {
        return out.print_json_list(&changes, more, args.rows.limit, "change");
    }
    if args.rows.csv {
        let rows = changes.into_iter().map(|change| {
            let said = what(&change);
            let item = [cell(change.item_id), change.name, change.group, change.source, change.key];
            let head = [change.at.to_string(), change.kind.to_string()];
            head.into_iter().chain(item).chain([change.by, said]).collect()
        });
        let header = ["at", "kind", "item_id", "name", "group", "source", "key", "by", "what"];
        return print_csv_list(&header, rows, more, args.rows.limit, "change");
    }
    let rows = changes
        .iter()
        .map(|change| {
            vec![
                out.ago(Some(change.at)).into(),
                kind(change.kind),
                change.name.as_str().into(),
                Styled::new(&change.group, Tone::Dim),
                Styled::new(&change.source, Tone::Dim),
                change.by.as_str().into(),
                what(change).into(),
            ]
        })
        .collect();
    out.table(
        &["WHEN", "", "NAME", "GROUP", "SOURCE", "BY", "WHAT"],
        rows,
        if query.is_empty() { "nothing changed yet" } else { "no changes match" },
    )?;
    out.more(more, args.rows.limit, "change")
}
