//! Asks libvirt through `virsh`.

use std::collections::BTreeSet;
use std::process::{Command, Stdio};

use veriboot_inventory::{InventoryFormat, Listing, MAX_XML_BYTES, Options, merge, read};
use veriboot_wire::PowerState;

use super::gather::unreadable;
use crate::error::CliError;

/// What `virsh` says about every domain.
pub fn listing(uri: &str) -> Result<Listing, CliError> {
    let running: BTreeSet<String> = uuids(uri, &["list", "--uuid"])?.into_iter().collect();
    let mut listings = Vec::new();
    for uuid in uuids(uri, &["list", "--all", "--uuid"])? {
        let xml = match virsh(uri, &["dumpxml", &uuid]) {
            Ok(xml) => xml,
            // It was removed since the list was made.
            Err(error) if error.code == "virsh-failed" && error.message.contains("not found") => continue,
            Err(error) => return Err(error),
        };
        if xml.len() > MAX_XML_BYTES {
            return Err(CliError::usage(
                "inventory-too-large",
                format!("the XML of domain {uuid} is too large"),
            ));
        }
        let options = Options { format: Some(InventoryFormat::Libvirt), group: None };
        let mut listing = read(&xml, &options).map_err(|e| unreadable(&format!("domain {uuid}"), &e))?;
        let power = if running.contains(&uuid) { PowerState::Running } else { PowerState::Stopped };
        listing.items.iter_mut().for_each(|item| item.power = power);
        listings.push(listing);
    }
    if listings.is_empty() {
        // No domains is an answer: everything that was there is gone.
        listings.push(read(b"<domains/>", &Options::default()).map_err(|e| unreadable("virsh", &e))?);
    }
    merge(listings).map_err(|e| unreadable("virsh", &e))
}

fn uuids(uri: &str, args: &[&str]) -> Result<Vec<String>, CliError> {
    let said = virsh(uri, args)?;
    let said = String::from_utf8_lossy(&said);
    let uuids = said.lines().map(str::trim).filter(|line| !line.is_empty());
    uuids
        .map(|uuid| {
            if uuid.len() == 36 && uuid.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-') {
                return Ok(uuid.to_ascii_lowercase());
            }
            Err(CliError::usage("virsh-failed", format!("virsh printed {uuid:?} where a UUID was expected")))
        })
        .collect()
}

fn virsh(uri: &str, args: &[&str]) -> Result<Vec<u8>, CliError> {
    let mut command = Command::new("virsh");
    if !uri.is_empty() {
        command.args(["-c", uri]);
    }
    let out = command.args(["-q"]).args(args).env("LC_ALL", "C").stdin(Stdio::null()).output();
    let out = out.map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => {
            CliError::usage("no-virsh", "there is no `virsh` on this machine")
                .hint("install libvirt-clients, or give domain XML: a folder such as /etc/libvirt/qemu, or `virsh dumpxml` of each")
        }
        _ => CliError::usage("virsh-failed", format!("cannot run virsh: {error}")),
    })?;
    if out.status.success() {
        return Ok(out.stdout);
    }
    let said = String::from_utf8_lossy(&out.stderr);
    let said: Vec<&str> = said.lines().map(str::trim).filter(|line| !line.is_empty()).take(5).collect();
    Err(CliError::usage("virsh-failed", format!("virsh {}: {}", args.join(" "), said.join("; ")))
        .hint("does `virsh -c URI list --all` work for this user? name the URI: --virsh qemu:///system"))
}
