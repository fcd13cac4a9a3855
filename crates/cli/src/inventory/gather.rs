//! Where an inventory is read from, and what it lists.
//!
//! Exports are read here and travel in the declarative form: mistakes are told with their file before anything is sent,
//! and several files become one list.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use clap::Args;
use veriboot_inventory::{Listing, MAX_DOCUMENT_BYTES, ReadError};
use veriboot_service::inventory::files::{self, Document, FileError};
use veriboot_wire::{InventoryFormat, Time};

use super::{proxmox, virsh};
use crate::error::CliError;
use crate::{clock, moment};

/// How far the clock of a file may be ahead of ours, seconds.
const AHEAD_S: i64 = 300;

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
    /// When the export was made: 2026-11-21T18:04:00Z, or how long ago: 30s, 5m, 2h [default: when its files were written
    /// last, the oldest of them; unknown for standard input]. What it calls stopped or does not list excuses the silence of
    /// no VM that attested since
    #[arg(long, value_name = "TIME")]
    pub exported_at: Option<String>,
}

/// What was read, and when it was made, where that is known.
pub struct Gathered {
    pub listing: Listing,
    pub exported_at: Option<Time>,
}

/// Reads it all.
pub fn read(from: &FromArgs) -> Result<Gathered, CliError> {
    let began = clock::now();
    let told = from.exported_at.as_deref().map(|text| moment::before(text, began)).transpose()?;
    let (listing, made) = listing(from, began)?;
    Ok(Gathered { listing, exported_at: told.or(made) })
}

/// What is listed, and when that was so. What is asked for is as it is from now on.
fn listing(from: &FromArgs, began: Time) -> Result<(Listing, Option<Time>), CliError> {
    if let Some(uri) = &from.virsh {
        return Ok((virsh::listing(uri)?, Some(began)));
    }
    if let Some(url) = &from.proxmox {
        let token = from
            .proxmox_token_file
            .as_deref()
            .ok_or_else(|| CliError::usage("no-proxmox-token", "--proxmox needs --proxmox-token-file"))?;
        return Ok((proxmox::listing(url, token, from.proxmox_ca.as_deref())?, Some(began)));
    }
    // All together: what one says about a scale set holds for the members in another.
    let mut documents = Vec::new();
    for path in &from.files {
        if path == Path::new("-") {
            let mut bytes = Vec::new();
            let most = u64::try_from(MAX_DOCUMENT_BYTES).unwrap_or(u64::MAX).saturating_add(1);
            (std::io::stdin().lock().take(most).read_to_end(&mut bytes))
                .map_err(|e| CliError::unreadable("cannot-read-file", path, &e))?;
            documents.push(Document { path: PathBuf::from("standard input"), bytes, as_of: None });
        } else {
            documents.extend(files::documents(path).map_err(|e| of_file(&e))?);
        }
    }
    let listing = files::of_documents(&documents, from.format, None).map_err(|e| of_file(&e))?;
    // A file of the future was written by a clock that is wrong.
    let made = files::exported_at(&documents).filter(|at| *at <= began.plus_s(AHEAD_S));
    Ok((listing, made))
}

/// What keeps a document from being read.
pub fn unreadable(name: &str, error: &ReadError) -> CliError {
    CliError::usage(error.code(), format!("{name}: {error}")).hint(error.hint())
}

fn of_file(error: &FileError) -> CliError {
    CliError::usage(error.code(), error.to_string()).hint(error.hint())
}
