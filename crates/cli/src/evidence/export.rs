//! `veriboot evidence export`: what an attestation of the service rests on, as a bundle.

use std::path::PathBuf;

use clap::Args;
use veriboot_wire::{Attestation, Page};

use crate::client::{Client, segment};
use crate::error::CliError;
use crate::output::Output;

/// Arguments of `evidence export`.
#[derive(Args, Debug)]
#[command(group(clap::ArgGroup::new("which").required(true).args(["attestation", "vm"])))]
pub struct ExportArgs {
    /// Id of the attestation
    attestation: Option<String>,
    /// The last attestation of this VM (id or name)
    #[arg(long, value_name = "VM")]
    vm: Option<String>,
    /// Group of the VM, where VMs of several groups have its name
    #[arg(long, requires = "vm", conflicts_with = "attestation")]
    group: Option<String>,
    /// File to write instead of standard output
    #[arg(long, short = 'o', value_name = "FILE")]
    output: Option<PathBuf>,
}

/// Runs it. What was asked for is the answer, so `--json` changes nothing.
pub fn run(args: &ExportArgs, client: &Client, out: Output) -> Result<(), CliError> {
    let id = match &args.vm {
        Some(vm) => last_of(client, vm, args.group.as_ref())?,
        None => args.attestation.clone().unwrap_or_default(),
    };
    let bytes = client.get_bytes(&format!("/v1/attestations/{}/evidence", segment(&id)), &[])?;
    match &args.output {
        Some(file) => std::fs::write(file, bytes).map_err(|e| {
            CliError::usage("cannot-write-file", format!("cannot write {}: {e}", file.display()))
        }),
        None => out.line(String::from_utf8_lossy(&bytes).trim_end()),
    }
}

fn last_of(client: &Client, vm: &str, group: Option<&String>) -> Result<String, CliError> {
    let mut query = vec![("limit", "1".to_owned())];
    query.extend(group.map(|group| ("group", group.clone())));
    let page: Page<Attestation> = client.get(&format!("/v1/vms/{}/attestations", segment(vm)), &query)?;
    page.items.into_iter().next().map(|attestation| attestation.id).ok_or_else(|| {
        CliError::usage("never-attested", format!("{vm} has never attested"))
            .hint("`veriboot vm show` says what is known of it.")
    })
}
