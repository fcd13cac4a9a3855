//! `veriboot inventory sources`.

use clap::{Args, Subcommand};
use veriboot_wire::{InventoryFormat, InventorySource, InventorySourcePut, counted};

use crate::client::{Client, segment};
use crate::error::{CliError, EXIT_REFUSED};
use crate::etag::EtagArg;
use crate::output::{Output, Styled, Tone, safe};

/// Sources of the inventory.
#[derive(Subcommand, Debug)]
pub enum SourcesCommand {
    /// List sources, with when each was last synced
    List(ListArgs),
    /// Make a source; refused when there is one of this name. A sync makes one by itself where there is nothing to say about it
    Add(AddArgs),
    /// Show one source
    Show {
        /// Name of the source
        name: String,
    },
    /// Say something else about a source, or use it again: what is not named stays
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
    #[command(flatten)]
    said: AddArgs,
    /// Recognise the format again
    #[arg(long, conflicts_with = "format")]
    any_format: bool,
    /// Groups as its exports say again
    #[arg(long, conflicts_with = "group")]
    own_groups: bool,
    /// Nothing about what it is for
    #[arg(long, conflicts_with = "comment")]
    no_comment: bool,
    #[command(flatten)]
    etag: EtagArg,
}

/// Arguments of `inventory sources add`.
#[derive(Args, Debug)]
pub struct AddArgs {
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
    #[command(flatten)]
    etag: EtagArg,
}

/// Runs it.
pub fn run(command: SourcesCommand, client: &Client, out: Output) -> Result<(), CliError> {
    match command {
        SourcesCommand::List(args) => list(&args, client, out),
        SourcesCommand::Add(args) => in_use(&add(args, client)?, out),
        SourcesCommand::Show { name } => show(&client.get(&path(&name), &[])?, out),
        SourcesCommand::Set(args) => set(args, client, out),
        SourcesCommand::Retire(args) => {
            client.remove(&path(&args.name), args.etag.quoted().as_deref())?;
            if out.json {
                return out.print_json(&serde_json::json!({ "retired": args.name }));
            }
            out.line(&format!("source {} is no longer used", safe(&args.name)))
        }
    }
}

/// Makes a source where there is none. A service that is older than `If-None-Match: *` does not look by itself.
fn add(args: AddArgs, client: &Client) -> Result<InventorySource, CliError> {
    let path = path(&args.name);
    let exists = |message: String| CliError {
        exit: EXIT_REFUSED,
        ..CliError::usage("precondition-failed", message)
            .hint("`veriboot inventory sources set NAME` changes it")
    };
    match client.get::<InventorySource>(&path, &[]) {
        Ok(present) => {
            return Err(exists(format!(
                "there is a source of this name already: its ETag is {}",
                present.revision
            )));
        }
        Err(error) if error.code == "not-found" => {}
        Err(error) => return Err(error),
    }
    let request = InventorySourcePut { format: args.format, group: args.group, comment: args.comment };
    client.put_new(&path, &request).map_err(|error: CliError| match error.code.as_str() {
        "precondition-failed" => exists(error.message),
        _ => error,
    })
}

fn path(name: &str) -> String {
    format!("/v1/inventory/sources/{}", segment(name))
}

/// Changes what is named, and only in what was there: a name that is misspelt makes no source.
fn set(args: SetArgs, client: &Client, out: Output) -> Result<(), CliError> {
    let SetArgs { said, any_format, own_groups, no_comment, etag } = args;
    let path = path(&said.name);
    let (present, tag): (InventorySource, Option<String>) = client.get_tagged(&path)?;
    let kept = |given: Option<String>, present: Option<String>, none: bool| match none {
        true => None,
        false => given.or(present),
    };
    let request = InventorySourcePut {
        format: said.format.or(present.format).filter(|_| !any_format),
        group: kept(said.group, present.group, own_groups),
        comment: kept(said.comment, present.comment, no_comment),
    };
    let if_match = etag.quoted().or(tag);
    in_use(&client.put_if_match(&path, &request, if_match.as_deref())?, out)
}

fn in_use(source: &InventorySource, out: Output) -> Result<(), CliError> {
    if out.json {
        return out.print_json(source);
    }
    out.line(&format!("source {} is in use: {}", safe(&source.name), taken_as(source)))?;
    match source.last_sync_at {
        Some(_) => Ok(()),
        None => out.line("nothing was synced to it yet"),
    }
}

/// `format az-vm, group shop`.
fn taken_as(source: &InventorySource) -> String {
    let format = source.format.map_or("recognised", InventoryFormat::as_str);
    let group = source.group.as_deref().map_or("as exported".to_owned(), safe);
    format!("format {format}, group {group}")
}

fn show(source: &InventorySource, out: Output) -> Result<(), CliError> {
    if out.json {
        return out.print_json(source);
    }
    let mut fields = vec![
        ("source", safe(&source.name)),
        ("taken as", taken_as(source)),
        ("for", source.comment.as_deref().map_or("-".to_owned(), safe)),
        ("listed", format!("{}, {} enrolled", counted(source.items, "VM"), source.matched)),
        ("gone", counted(source.gone, "VM")),
        ("synced", out.ago(source.last_sync_at)),
        ("etag", source.revision.to_string()),
    ];
    fields.extend(source.path.as_deref().map(|path| ("read from", safe(path))));
    fields.extend(source.last_error.as_deref().map(|error| {
        ("failed", out.paint(&format!("{}: {}", out.ago(source.failed_at), safe(error)), Tone::Bad))
    }));
    if source.retired_at.is_some() {
        fields.push(("retired", out.ago(source.retired_at)));
    }
    out.fields(&fields)
}

fn list(args: &ListArgs, client: &Client, out: Output) -> Result<(), CliError> {
    let query: Vec<_> = args.all.then(|| ("all", "true".to_owned())).into_iter().collect();
    let (sources, more): (Vec<InventorySource>, bool) =
        client.list("/v1/inventory/sources", &query, args.limit)?;
    if out.json {
        return out.print_json_list(&sources, more, args.limit, "source");
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
    out.more(more, args.limit, "source")
}
