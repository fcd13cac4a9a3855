//! `veriboot inventory show`.

use clap::Args;
use veriboot_wire::{InventoryItemDetail, InventoryRow, InventorySuggestion, MatchedBy, Time};

use super::disagreements;
use super::sync::what;
use crate::client::{Client, segment};
use crate::error::CliError;
use crate::output::{Output, safe};

/// One item.
#[derive(Args, Debug)]
pub struct ShowArgs {
    /// Id of the item, or its name where only one has it
    item: String,
    #[command(flatten)]
    which: WhichArgs,
}

/// Tells items of one name apart.
#[derive(Args, Debug, Default)]
pub struct WhichArgs {
    /// Source of the item, when items of several have its name
    #[arg(long, value_name = "NAME")]
    pub source: Option<String>,
}

/// The id of an item that is named by id or name.
pub fn find(item: &str, which: &WhichArgs, client: &Client) -> Result<String, CliError> {
    if item.len() == 36 && item.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-') {
        return Ok(item.to_owned());
    }
    let mut query = vec![("name_prefix", item.to_owned()), ("all", "true".to_owned())];
    query.extend(which.source.clone().map(|v| ("source", v)));
    let (found, _): (Vec<InventoryRow>, bool) = client.list("/v1/inventory/items", &query, 1000)?;
    let mut same: Vec<&InventoryRow> = found.iter().filter(|row| row.item.facts.name == item).collect();
    if same.iter().any(|row| row.item.gone_at.is_none()) {
        same.retain(|row| row.item.gone_at.is_none());
    }
    match same.as_slice() {
        [one] => Ok(one.item.id.clone()),
        [] => Err(CliError::usage("no-such-item", format!("no VM of the inventory is called {item:?}"))
            .hint("`veriboot inventory list` shows all of them")),
        several => {
            let of: Vec<String> =
                several.iter().map(|row| format!("{} ({})", row.item.source, row.item.id)).collect();
            Err(CliError::usage("ambiguous-item", format!("several are called {item:?}: {}", of.join(", ")))
                .hint("name the source with --source, or use the id"))
        }
    }
}

/// Runs `inventory show`.
pub fn run(args: &ShowArgs, client: &Client, out: Output) -> Result<(), CliError> {
    let id = find(&args.item, &args.which, client)?;
    let detail: InventoryItemDetail = client.get(&format!("/v1/inventory/items/{}", segment(&id)), &[])?;
    if out.json {
        return out.print_json(&detail);
    }
    one(&detail, out)
}

/// Prints one item.
pub fn one(detail: &InventoryItemDetail, out: Output) -> Result<(), CliError> {
    let (item, or) = (&detail.row.item, |text: &Option<String>| text.as_deref().map_or("-".to_owned(), safe));
    let f = &item.facts;
    let agent = match (&detail.row.vm_name, item.matched_by) {
        (Some(name), Some(MatchedBy::Link)) => {
            format!("{} (linked by {})", safe(name), or(&item.linked_by))
        }
        (Some(name), Some(MatchedBy::Suggestion)) => {
            let by: Vec<&str> = item.agreed_by.iter().map(|by| by.as_str()).collect();
            let by = if by.is_empty() { String::new() } else { format!(" by {}", by.join(", ")) };
            format!("{} (as suggested{by}, taken by {})", safe(name), or(&item.linked_by))
        }
        (Some(name), _) => format!("{} (by its endorsement key)", safe(name)),
        (None, _) => "no agent".to_owned(),
    };
    out.line(&format!("{}  {}", safe(&f.name), agent))?;
    out.line("")?;
    let confidential =
        f.confidential_kind.as_ref().map(|kind| format!(" ({})", safe(kind))).unwrap_or_default();
    let tags: Vec<String> = f.tags.iter().map(|(k, v)| format!("{}={}", safe(k), safe(v))).collect();
    out.fields(&[
        ("id", safe(&item.id)),
        ("source", safe(&item.source)),
        ("key", safe(&f.key)),
        ("group", safe(&f.group)),
        ("scale set", or(&f.scale_set)),
        ("platform", format!("{}, {}, {}", safe(&f.platform), or(&f.os), or(&f.region))),
        ("power", absence(f.power.to_string(), item.stopped_at, item.stopped_as_of, out)),
        ("security type", format!("{}{confidential}", f.security_type)),
        ("Secure Boot", f.secure_boot.to_string()),
        ("vTPM", f.vtpm.to_string()),
        ("machine UUID", or(&f.machine_uuid)),
        ("cloud id", or(&f.cloud_id)),
        ("tags", if tags.is_empty() { "-".to_owned() } else { tags.join(", ") }),
        ("first seen", out.ago(Some(item.first_seen_at))),
        (
            "gone",
            item.gone_at.map_or_else(
                || "no".to_owned(),
                |_| absence(String::new(), item.gone_at, item.gone_as_of, out),
            ),
        ),
    ])?;
    if !detail.row.disagreements.is_empty() {
        out.line("\ncontradictions:")?;
        disagreements(&detail.row.disagreements, out)?;
    }
    if !detail.suggestions.is_empty() {
        out.line("\nmay be:")?;
        for s in &detail.suggestions {
            out.line(&format!("  {}", suggestion(s)))?;
        }
    }
    out.line("\nchanges:")?;
    for change in &detail.changes {
        out.line(&format!("  {}  {:<8}  {}", change.at, change.kind, safe(&what(change))))?;
    }
    Ok(())
}

/// Since when something is stopped or gone, and what that is worth where nobody said when the document was made.
fn absence(what: String, since: Option<Time>, as_of: Option<Time>, out: Output) -> String {
    let Some(since) = since else { return what };
    let unknown = if as_of.is_none() { ", as of when is not known: excuses no silence" } else { "" };
    let since = format!("{}{unknown}", out.ago(Some(since)));
    if what.is_empty() { since } else { format!("{what}, since {since}") }
}

/// `web-0 of default, same name: veriboot inventory link ITEM VM`.
pub fn suggestion(s: &InventorySuggestion) -> String {
    let by: Vec<&str> = s.by.iter().map(|by| by.as_str()).collect();
    let look = s.by_hand_because.as_ref().map(|why| format!("; {}", safe(why))).unwrap_or_default();
    format!(
        "{} of {} (same {}{look}): veriboot inventory link {} {}",
        safe(&s.vm_name),
        safe(&s.vm_group),
        by.join(", "),
        safe(&s.item_id),
        safe(&s.vm_id)
    )
}
