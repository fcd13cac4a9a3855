//! `veriboot inventory sync` and `diff`.

use clap::Args;
use veriboot_inventory::to_json;
use veriboot_wire::{InventoryChange, InventoryChangeKind, InventorySynced, counted};

use super::gather::{self, FromArgs, Gathered};
use crate::client::{Client, segment};
use crate::error::{CliError, EXIT_NEGATIVE};
use crate::output::{Output, Styled, Tone, safe};

/// The parameter that says when an export was made.
const EXPORTED_AT: &str = "exported_at";

/// Arguments of `inventory sync`.
#[derive(Args, Debug)]
pub struct SyncArgs {
    #[command(flatten)]
    which: DiffArgs,
    /// Only say what would change
    #[arg(long)]
    dry_run: bool,
    /// Take an export in which more than half of the known VMs are missing
    #[arg(long)]
    allow_shrink: bool,
}

/// Arguments of `inventory diff`.
#[derive(Args, Debug)]
pub struct DiffArgs {
    /// Name of the source: one for each subscription, project, account or hypervisor
    #[arg(long, value_name = "NAME")]
    source: String,
    /// The export lists some VMs only: what is missing is not gone
    #[arg(long)]
    partial: bool,
    #[command(flatten)]
    from: FromArgs,
}

fn post(
    args: &DiffArgs,
    dry_run: bool,
    allow_shrink: bool,
    client: &Client,
) -> Result<InventorySynced, CliError> {
    let Gathered { listing, exported_at } = gather::read(&args.from)?;
    let document = to_json(&listing.items)
        .map_err(|e| CliError::usage("cannot-encode", format!("cannot encode the inventory: {e}")))?;
    let mut query = vec![
        ("format", "veriboot".to_owned()),
        ("complete", (!args.partial).to_string()),
        ("dry_run", dry_run.to_string()),
        ("allow_shrink", allow_shrink.to_string()),
    ];
    if let Some(at) = exported_at {
        query.push((EXPORTED_AT, at.to_string()));
    }
    let path = format!("/v1/inventory/sources/{}/sync", segment(&args.source));
    let post = |query: &[_]| client.post_bytes(&path, query, document.as_bytes());
    let posted = match post(&query) {
        Err(error) if is_older(&error) && query.last().is_some_and(|(name, _)| *name == EXPORTED_AT) => {
            query.pop();
            eprintln!(
                "note: the service is older than this program and takes no time at which an export was made: this one \
                 counts as made now; upgrade the service"
            );
            post(&query)
        }
        posted => posted,
    };
    let mut synced: InventorySynced = posted.map_err(shrinks)?;
    synced.format = listing.format;
    let said = std::mem::replace(&mut synced.notes, listing.notes);
    synced.notes.extend(said);
    Ok(synced)
}

/// Whether a service refused a request because it does not know when an export was made.
fn is_older(error: &CliError) -> bool {
    error.code == "invalid-query" && error.message.contains("unknown field `exported_at`")
}

/// In the words of the command line.
fn shrinks(mut error: CliError) -> CliError {
    match error.code.as_str() {
        "inventory-shrinks" => {
            error.hint = Some(
                "an export without permissions looks like this; see `veriboot inventory diff`, then give --allow-shrink when \
                 the VMs are really gone, or --partial when it lists some only"
                    .to_owned(),
            );
        }
        "invalid-value" if error.message.contains("exported_at") => {
            error.hint =
                Some("give the time at which the export was made with --exported-at TIME".to_owned());
        }
        "inventory-source-retired" => {
            error.hint = Some(
                "use it again with `veriboot inventory sources set NAME`, or sync as another source"
                    .to_owned(),
            );
        }
        _ => {}
    }
    error
}

/// Runs `inventory sync`.
pub fn sync(args: SyncArgs, client: &Client, out: Output) -> Result<(), CliError> {
    let synced = post(&args.which, args.dry_run, args.allow_shrink, client)?;
    say(&synced, out)
}

/// Runs `inventory diff`: 1 when something would change.
pub fn diff(args: DiffArgs, client: &Client, out: Output) -> Result<u8, CliError> {
    let synced = post(&args, true, true, client)?;
    say(&synced, out)?;
    let changes = synced.added + synced.changed + synced.gone + synced.returned;
    Ok(if changes == 0 { 0 } else { EXIT_NEGATIVE })
}

fn say(synced: &InventorySynced, out: Output) -> Result<(), CliError> {
    if out.json {
        return out.print_json(synced);
    }
    for note in &synced.notes {
        out.line(&format!("note: {}", safe(note)))?;
    }
    let would = if synced.dry_run { "would be synced" } else { "synced" };
    out.line(&format!(
        "{} {would}: {}, {} added, {} changed, {} gone, {} returned, {} unchanged, {} newly matched",
        safe(&synced.source),
        counted(synced.items, "VM"),
        synced.added,
        synced.changed,
        synced.gone,
        synced.returned,
        synced.unchanged,
        synced.matched
    ))?;
    if !synced.changes.is_empty() {
        out.line("")?;
        out.table(&["", "NAME", "GROUP", "KEY", "WHAT"], synced.changes.iter().map(row).collect(), "")?;
    }
    if synced.more_changes > 0 {
        out.line(&format!("… and {}", counted(synced.more_changes, "more change")))?;
    }
    Ok(())
}

fn row(change: &InventoryChange) -> Vec<Styled> {
    vec![
        kind(change.kind),
        change.name.as_str().into(),
        Styled::new(&change.group, Tone::Dim),
        Styled::new(&change.key, Tone::Dim),
        what(change).into(),
    ]
}

/// A change in one word.
pub fn kind(kind: InventoryChangeKind) -> Styled {
    let tone = match kind {
        InventoryChangeKind::Added | InventoryChangeKind::Returned | InventoryChangeKind::Linked => {
            Tone::Good
        }
        InventoryChangeKind::Changed => Tone::Plain,
        InventoryChangeKind::Gone | InventoryChangeKind::Unlinked => Tone::Warn,
    };
    Styled::new(kind.as_str(), tone)
}

/// What is different: `power running → stopped`.
pub fn what(change: &InventoryChange) -> String {
    let differences = change.differences.iter().map(|d| {
        let or = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
        format!("{} {} → {}", d.field, or(&d.from), or(&d.to))
    });
    differences.collect::<Vec<_>>().join(", ")
}
