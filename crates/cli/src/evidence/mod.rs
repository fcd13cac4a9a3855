//! `veriboot evidence`: work on evidence with no service and no network (SPEC section 10), and what a service stored.

mod bundle;
mod export;
mod judges;
mod key;
mod show;
#[cfg(test)]
mod tests;
mod verify;

use std::path::PathBuf;

use clap::{Args, Subcommand};
use veriboot_tpm::chain::Anchors;

use crate::baseline::{document, profile};
use crate::client::Client;
use crate::error::{CliError, EXIT_NEGATIVE};
use crate::output::Output;
use bundle::{Material, read_bounded, read_nonce};
use judges::{Given, Judges};
use verify::Demands;

/// Evidence.
#[derive(Subcommand, Debug)]
pub enum EvidenceCommand {
    /// Verify an evidence bundle (exit code 0 trusted, 1 not trusted, 2 unreadable)
    Verify(VerifyArgs),
    /// Write what an attestation of the service rests on as a bundle that `verify` judges the same
    Export(export::ExportArgs),
}

/// Arguments of `evidence verify`.
#[derive(Args, Debug)]
pub struct VerifyArgs {
    /// The bundle, JSON; `-` reads standard input
    #[arg(value_name = "BUNDLE")]
    bundle: PathBuf,
    /// The challenge that the quote must answer; without it nothing shows that the evidence is fresh
    #[arg(long, value_name = "HEX")]
    nonce: Option<String>,
    /// Roots (and intermediates) in PEM that the certificate of the attestation key must lead to
    #[arg(long, value_name = "FILE")]
    trust: Option<PathBuf>,
    /// A baseline to hold the event log against, instead of the bundle's: JSON, TOML, a signed envelope, or what
    /// `baseline show --json` prints
    #[arg(long, value_name = "FILE")]
    baseline: Option<PathBuf>,
    /// Public key in PEM that must have signed the baseline, that of --baseline or the bundle's
    #[arg(long, value_name = "FILE")]
    baseline_key: Option<PathBuf>,
    /// What a boot must look like whatever its baseline says: a name or a file. The bundle's own when absent, else
    /// secure-boot-required
    #[arg(long, value_name = "PROFILE")]
    profile: Option<String>,
    /// Leave out what the bundle says judged it: its profile, baseline and earlier counters
    #[arg(long)]
    evidence_only: bool,
    /// Judge the quote alone: a bundle without event log is not a failure, and an event log is not looked at
    #[arg(long, conflicts_with = "baseline")]
    quote_only: bool,
}

/// Runs `veriboot evidence`. Gives the exit code. `connect` is called only where the service is needed.
pub fn run(
    command: EvidenceCommand,
    connect: impl FnOnce() -> Result<Client, CliError>,
    out: Output,
) -> Result<u8, CliError> {
    match command {
        EvidenceCommand::Verify(args) => verify(&args, out),
        EvidenceCommand::Export(args) => export::run(&args, &connect()?, out).map(|()| 0),
    }
}

fn verify(args: &VerifyArgs, out: Output) -> Result<u8, CliError> {
    let material = Material::read(&read_bounded(&args.bundle, bundle::MAX_BUNDLE_BYTES)?)?;
    let anchors = args.trust.as_deref().map(|path| {
        let content = read_bounded(path, bundle::MAX_TRUST_BYTES)?;
        let mut anchors = Anchors::from_pem_or_der(&content).map_err(|error| {
            CliError::usage(error.code(), format!("{}: {error}", path.display()))
                .hint("Give one or more certificates in PEM.")
        })?;
        // Revocation lists beside the certificates.
        if content.first() != Some(&0x30) {
            anchors.revoke(&content).map_err(|error| {
                CliError::usage("revocation-list-unusable", format!("{}: {error}", path.display()))
                    .hint("Leave the X509 CRL block out, or give the certificate of its issuer beside it.")
            })?;
        }
        Ok::<_, CliError>(anchors)
    });
    let anchors = anchors.transpose()?;
    if let (Some(path), Some(anchors)) = (&args.trust, &anchors)
        && anchors.roots() == 0
    {
        let message = format!("{} has no self-signed certificate, so there is no root in it", path.display());
        return Err(CliError::usage("no-trust-root", message)
            .hint("Add the root that the intermediate certificates lead to."));
    }
    let key = args.baseline_key.as_deref();
    let baseline = args.baseline.as_deref().map(|path| document::read(path, key)).transpose()?;
    let given = Given {
        profile: args.profile.as_deref().map(profile::read).transpose()?,
        baseline: baseline.map(|read| read.baseline),
        baseline_key: key.map(document::public_key).transpose()?,
        evidence_only: args.evidence_only,
    };
    let judges = Judges::new(given, &material.bundle)?;
    let nonce = args.nonce.as_deref().map(read_nonce).transpose()?;
    let demands = Demands {
        nonce: nonce.as_deref(),
        anchors: anchors.as_ref(),
        judges: &judges,
        quote_only: args.quote_only,
        at_unix_s: u64::try_from(out.now.unix_ms() / 1000).unwrap_or_default(),
    };
    let report = verify::verify(&material, &demands);
    if out.json {
        out.print_json(&report)?
    } else {
        show::show(&report, out)?
    }
    Ok(if report.trusted { 0 } else { EXIT_NEGATIVE })
}
