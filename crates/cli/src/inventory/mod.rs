//! `veriboot inventory`: which VMs exist, as sources say, and which of them are enrolled.

mod changes;
mod gather;
mod link;
mod list;
mod program;
mod proxmox;
mod show;
mod sources;
mod sync;
mod virsh;

use clap::Subcommand;
use veriboot_wire::{InventoryDisagreement, InventorySuggestion};

use crate::client::Client;
use crate::error::CliError;
use crate::output::{Output, safe, severity_tone};

/// The inventory.
#[derive(Subcommand, Debug)]
pub enum InventoryCommand {
    /// Bring a source up to an export, a folder of exports, libvirt or Proxmox VE
    Sync(sync::SyncArgs),
    /// Say what a sync would change; exit code 1 when it would change something
    Diff(sync::DiffArgs),
    /// List VMs that sources list
    List(list::ListArgs),
    /// List enrolled VMs that no source lists
    Unlisted(list::UnlistedArgs),
    /// Show one VM of the inventory, its changes, and who contradicts whom
    Show(show::ShowArgs),
    /// List what changed, newest first
    Changes(changes::ChangesArgs),
    /// Say which enrolled VM an item is
    Link(link::LinkArgs),
    /// Take a link back
    Unlink(link::UnlinkArgs),
    /// Sources: list them, change one, stop using one
    #[command(subcommand)]
    Sources(sources::SourcesCommand),
}

/// Runs `veriboot inventory`, and gives the exit code.
pub fn run(command: InventoryCommand, client: &Client, out: Output) -> Result<u8, CliError> {
    let done = |()| 0;
    match command {
        InventoryCommand::Sync(args) => sync::sync(args, client, out).map(done),
        InventoryCommand::Diff(args) => sync::diff(args, client, out),
        InventoryCommand::List(args) => list::run(&args, client, out).map(done),
        InventoryCommand::Unlisted(args) => list::unlisted(&args, client, out).map(done),
        InventoryCommand::Show(args) => show::run(&args, client, out).map(done),
        InventoryCommand::Changes(args) => changes::run(&args, client, out).map(done),
        InventoryCommand::Link(args) => link::link(args, client, out).map(done),
        InventoryCommand::Unlink(args) => link::unlink(&args, client, out).map(done),
        InventoryCommand::Sources(command) => sources::run(command, client, out).map(done),
    }
}

/// An item that may be a VM: `web-0 in azure (same name): veriboot inventory link ITEM VM`.
pub fn candidate(s: &InventorySuggestion) -> String {
    let by: Vec<&str> = s.by.iter().map(|by| by.as_str()).collect();
    format!(
        "{} in {} (same {}): veriboot inventory link {} {}",
        safe(&s.item_name),
        safe(&s.source),
        by.join(", "),
        safe(&s.item_id),
        safe(&s.vm_id)
    )
}

/// Prints who contradicts whom.
pub fn disagreements(all: &[InventoryDisagreement], out: Output) -> Result<(), CliError> {
    for one in all {
        let severity = out.paint(&format!("{:<8}", one.severity.as_str()), severity_tone(one.severity));
        out.sentence(&format!("  {severity} "), &safe(&one.message))?;
        out.line(&format!("           {}", safe(&one.code)))?;
        out.sentence("           hint: ", &safe(&one.hint))?;
    }
    Ok(())
}
