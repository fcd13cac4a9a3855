//! Where an inventory is read from, and what it lists.
//!
//! Exports are read here and travel in the declarative form: mistakes are told with their file before anything is sent,
//! and several files become one list.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use clap::Args;
use veriboot_inventory::{Listing, MAX_DOCUMENT_BYTES, ReadError};
use veriboot_service::inventory::files::{self, FileError};
use veriboot_wire::InventoryFormat;

use super::{proxmox, virsh};
use crate::error::CliError;

/// Where from.
#[derive(Args, Debug)]
pub struct FromArgs {
    /// Exports: files, folders, or - for standard input
    #[arg(value_name = "FILE|FOLDER|-", required_unless_present_any = ["virsh", "proxmox"])]
    pub files: Vec<PathBuf>,
    /// How they are written; recognised when absent: veriboot, libvirt, az-vm, az-vmss, az-vmss-instances, gcloud, aws-ec2,
    /// proxmox
    #[arg(long)]
    pub format: Option<InventoryFormat>,
    /// Ask libvirt on this machine, or at URI, through `virsh`
    #[arg(long, value_name = "URI", num_args = 0..=1, default_missing_value = "", conflicts_with_all = ["files", "proxmox"])]
    pub virsh: Option<String>,
    /// Ask the API of Proxmox VE: https://HOST:8006
    #[arg(long, value_name = "URL", conflicts_with = "files", requires = "proxmox_token_file")]
    pub proxmox: Option<String>,
    /// File with an API token of Proxmox VE: USER@REALM!TOKENID=SECRET. PVEAuditor is role enough
    #[arg(long, value_name = "FILE")]
    pub proxmox_token_file: Option<PathBuf>,
    /// PEM file with the CA of Proxmox VE (/etc/pve/pve-root-ca.pem) [default: the system's roots]
    #[arg(long, value_name = "FILE")]
    pub proxmox_ca: Option<PathBuf>,
}

/// Reads it all.
pub fn listing(from: &FromArgs) -> Result<Listing, CliError> {
    if let Some(uri) = &from.virsh {
        return virsh::listing(uri);
    }
    if let Some(url) = &from.proxmox {
        let token = from
            .proxmox_token_file
            .as_deref()
            .ok_or_else(|| CliError::usage("no-proxmox-token", "--proxmox needs --proxmox-token-file"))?;
        return proxmox::listing(url, token, from.proxmox_ca.as_deref());
    }
    // All together: what one says about a scale set holds for the members in another.
    let mut documents = Vec::new();
    for path in &from.files {
        if path == Path::new("-") {
            let mut bytes = Vec::new();
            let most = u64::try_from(MAX_DOCUMENT_BYTES).unwrap_or(u64::MAX).saturating_add(1);
            std::io::stdin().lock().take(most).read_to_end(&mut bytes).map_err(|e| {
                CliError::usage("cannot-read-file", format!("cannot read standard input: {e}"))
            })?;
            documents.push((PathBuf::from("standard input"), bytes));
        } else {
            documents.extend(files::documents(path).map_err(|e| of_file(&e))?);
        }
    }
    files::of_documents(&documents, from.format, None).map_err(|e| of_file(&e))
}

/// What keeps a document from being read.
pub fn unreadable(name: &str, error: &ReadError) -> CliError {
    CliError::usage(error.code(), format!("{name}: {error}")).hint(error.hint())
}

fn of_file(error: &FileError) -> CliError {
    CliError::usage(error.code(), error.to_string()).hint(error.hint())
}
