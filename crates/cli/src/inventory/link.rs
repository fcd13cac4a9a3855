//! `veriboot inventory link` and `unlink`.

use clap::Args;
use veriboot_wire::{
    InventoryItemDetail, InventoryLink, InventoryLinkFailed, InventoryLinkSuggested, InventoryLinked,
    Problem, counted,
};

use super::show::{WhichArgs, find, one};
use crate::client::{Client, segment};
use crate::error::CliError;
use crate::etag::EtagArg;
use crate::output::{Output, Styled, Tone};

/// Arguments of `inventory link`.
#[derive(Args, Debug)]
pub struct LinkArgs {
    /// Id of the item, or its name where only one has it
    #[arg(required_unless_present = "suggested", requires = "vm")]
    item: Option<String>,
    /// The enrolled VM, by id or name
    vm: Option<String>,
    #[command(flatten)]
    which: WhichArgs,
    /// Group of the VM, when several have its name; with --suggested, only items of this group
    #[arg(long)]
    group: Option<String>,
    /// Link every item that can be one VM only and agrees with it in enough; the others are left to you
    #[arg(long, conflicts_with_all = ["item", "etag"])]
    suggested: bool,
    /// With --suggested: only say what would be linked
    #[arg(long, requires = "suggested")]
    dry_run: bool,
    /// Why; kept in the audit log
    #[arg(long, short = 'm')]
    comment: Option<String>,
    #[command(flatten)]
    etag: EtagArg,
}

/// Arguments of `inventory unlink`.
#[derive(Args, Debug)]
pub struct UnlinkArgs {
    /// Id of the item, or its name where only one has it
    item: String,
    #[command(flatten)]
    which: WhichArgs,
    #[command(flatten)]
    etag: EtagArg,
}

/// Runs `inventory link`.
pub fn link(args: LinkArgs, client: &Client, out: Output) -> Result<(), CliError> {
    let (Some(item), Some(vm)) = (&args.item, args.vm) else {
        let request = InventoryLinkSuggested {
            source: args.which.source,
            group: args.group,
            dry_run: args.dry_run,
            comment: args.comment,
        };
        let linked: InventoryLinked = client.post("/v1/inventory/links", &request)?;
        suggested(&linked, out)?;
        return match linked.failed {
            None => Ok(()),
            Some(failed) => Err(stopped(failed)),
        };
    };
    let id = find(item, &args.which, client)?;
    let request = InventoryLink { vm, group: args.group, comment: args.comment };
    let path = format!("/v1/inventory/items/{}/link", segment(&id));
    let detail: InventoryItemDetail = client.put_if_match(&path, &request, args.etag.quoted().as_deref())?;
    if out.json { out.print_json(&detail) } else { one(&detail, out) }
}

/// What was linked is told already; how many were not, and why, is an error.
fn stopped(failed: InventoryLinkFailed) -> CliError {
    let mut error = CliError::from(Problem { error: failed.error });
    error.message = format!("{} not linked: {}", counted(failed.items, "item"), error.message);
    error.hint("those in the list are linked; run it again for the rest")
}

fn suggested(linked: &InventoryLinked, out: Output) -> Result<(), CliError> {
    if out.json {
        return out.print_json(linked);
    }
    let rows = linked
        .linked
        .iter()
        .map(|s| {
            let by: Vec<&str> = s.by.iter().map(|by| by.as_str()).collect();
            vec![
                s.item_name.as_str().into(),
                Styled::new(&s.source, Tone::Dim),
                s.vm_name.as_str().into(),
                Styled::new(&s.vm_group, Tone::Dim),
                by.join(", ").into(),
            ]
        })
        .collect();
    out.table(
        &["ITEM", "SOURCE", "VM", "GROUP", "SAME"],
        rows,
        "no item has exactly one candidate that agrees in enough",
    )?;
    let count = linked.linked.len();
    out.line(&match (linked.dry_run, linked.more) {
        (true, _) => format!("{count} would be linked"),
        (false, true) => format!("{count} linked; there are more: run it again"),
        (false, false) => format!("{count} linked"),
    })?;
    match linked.left {
        0 => Ok(()),
        left => out.line(&format!(
            "{left} with candidates are left to be linked by hand: `veriboot inventory show ITEM` says why"
        )),
    }
}

/// Runs `inventory unlink`.
pub fn unlink(args: &UnlinkArgs, client: &Client, out: Output) -> Result<(), CliError> {
    let id = find(&args.item, &args.which, client)?;
    let path = format!("/v1/inventory/items/{}/link", segment(&id));
    let detail: InventoryItemDetail = client.delete_if_match(&path, &[], args.etag.quoted().as_deref())?;
    if out.json { out.print_json(&detail) } else { one(&detail, out) }
}

#[cfg(test)]
mod tests {
    use veriboot_wire::{Fault, ProblemDetail};

    use super::*;
    use crate::error::EXIT_REFUSED;

    #[test]
    fn what_was_not_linked_is_an_error() {
        let error = ProblemDetail {
            code: "database-busy".into(),
            message: "the database is busy".into(),
            fault: Fault::Service,
            hint: Some("try again after Retry-After".into()),
            retry_after_s: Some(2),
            request_id: None,
        };
        let said = stopped(InventoryLinkFailed { items: 1, error });
        assert_eq!((said.code.as_str(), said.exit), ("database-busy", EXIT_REFUSED));
        assert_eq!(said.message, "1 item not linked: the database is busy");
        assert_eq!(said.hint.as_deref(), Some("those in the list are linked; run it again for the rest"));
    }
}
