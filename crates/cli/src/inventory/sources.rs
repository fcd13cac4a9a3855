//! `veriboot inventory sources`.

use clap::{Args, Subcommand};
use veriboot_wire::{InventoryFormat, InventorySource, InventorySourcePut};

use crate::client::{Client, segment};
use crate::error::CliError;
use crate::output::{Output, Styled, Tone, safe};

/// Sources of the inventory.
#[derive(Subcommand, Debug)]
pub enum SourcesCommand {
    /// List sources, with when each was last synced
    List(ListArgs),
    /// Make a source, say something else about it, or use it again; what is not given is taken away
    Set(SetArgs),
    /// Stop using a source: its VMs are gone from the inventory, their history stays
    Retire(RetireArgs),
}

/// Arguments of `inventory sources list`.
#[derive(Args, Debug)]
pub struct ListArgs {
    /// Also sources that are no longer used
    #[arg(long)]
    all: bool,
    /// The most rows to show
    #[arg(long, default_value_t = 200, value_name = "ROWS")]
    limit: usize,
}

/// Arguments of `inventory sources set`.
#[derive(Args, Debug)]
pub struct SetArgs {
    /// Name of the source
    name: String,
    /// Format of what is posted to it without one [default: recognised]
    #[arg(long)]
    format: Option<InventoryFormat>,
    /// Group of all its VMs from the next sync on, in place of what its exports say
    #[arg(long)]
    group: Option<String>,
    /// What it is for
    #[arg(long, short = 'm')]
    comment: Option<String>,
}

/// Arguments of `inventory sources retire`.
#[derive(Args, Debug)]
pub struct RetireArgs {
    /// Name of the source
    name: String,
}

/// Runs it.
pub fn run(command: SourcesCommand, client: &Client, out: Output) -> Result<(), CliError> {
    match command {
        SourcesCommand::List(args) => list(&args, client, out),
        SourcesCommand::Set(args) => {
            let request =
                InventorySourcePut { format: args.format, group: args.group, comment: args.comment };
            let path = format!("/v1/inventory/sources/{}", segment(&args.name));
            let source: InventorySource = client.put(&path, &request)?;
            if out.json {
                return out.print_json(&source);
            }
            let format = source.format.map_or("recognised", InventoryFormat::as_str);
            let group = source.group.as_deref().map_or("as exported".to_owned(), safe);
            out.line(&format!("source {} is in use: format {format}, group {group}", safe(&source.name)))?;
            match source.last_sync_at {
                Some(_) => Ok(()),
                None => out.line("nothing was synced to it yet"),
            }
        }
        SourcesCommand::Retire(args) => {
            client.delete(&format!("/v1/inventory/sources/{}", segment(&args.name)))?;
            if out.json {
                return out.print_json(&serde_json::json!({ "retired": args.name }));
            }
            out.line(&format!("source {} is no longer used", safe(&args.name)))
        }
    }
}

fn list(args: &ListArgs, client: &Client, out: Output) -> Result<(), CliError> {
    let query: Vec<_> = args.all.then(|| ("all", "true".to_owned())).into_iter().collect();
    let (sources, more): (Vec<InventorySource>, bool) =
        client.list("/v1/inventory/sources", &query, args.limit)?;
    if out.json {
        return out.print_json_list(&sources, more, args.limit, "sources");
    }
    let rows = sources
        .iter()
        .map(|s| {
            let state = match (&s.retired_at, &s.last_error) {
                (Some(_), _) => Styled::new(format!("not used since {}", out.ago(s.retired_at)), Tone::Dim),
                (None, Some(error)) => {
                    Styled::new(format!("failed {}: {error}", out.ago(s.failed_at)), Tone::Bad)
                }
                (None, None) => s.path.as_deref().or(s.comment.as_deref()).unwrap_or("").into(),
            };
            vec![
                s.name.as_str().into(),
                s.format.map_or("recognised", InventoryFormat::as_str).into(),
                s.items.to_string().into(),
                s.matched.to_string().into(),
                s.gone.to_string().into(),
                out.ago(s.last_sync_at).into(),
                state,
            ]
        })
        .collect();
    out.table(
        &["NAME", "FORMAT", "VMS", "ENROLLED", "GONE", "SYNCED", ""],
        rows,
        "no sources; `veriboot inventory sync --source NAME FILE` makes one",
    )?;
    out.more(more, args.limit, "sources")
}
