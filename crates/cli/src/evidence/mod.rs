//! `veriboot evidence`: work on evidence with no service and no network (SPEC section 10).

mod bundle;
mod key;
mod show;
#[cfg(test)]
mod tests;
mod verify;

use std::path::PathBuf;

use clap::{Args, Subcommand};
use veriboot_appraisal::{Baseline, MAX_BASELINE_BYTES, Profile};
use veriboot_tpm::chain::Anchors;

use crate::error::{CliError, EXIT_NEGATIVE};
use crate::output::Output;
use bundle::{Material, read_bounded, read_nonce};
use verify::Demands;

/// Evidence.
#[derive(Subcommand, Debug)]
pub enum EvidenceCommand {
    /// Verify an evidence bundle (exit code 0 trusted, 1 not trusted, 2 unreadable)
    Verify(VerifyArgs),
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
    /// A baseline to hold the event log against
    #[arg(long, value_name = "FILE")]
    baseline: Option<PathBuf>,
    /// What a boot must look like whatever its baseline says
    #[arg(long, value_name = "PROFILE", default_value = "secure-boot-required", value_parser = ["secure-boot-required", "measured-only"])]
    profile: String,
    /// Judge the quote alone: a bundle without event log is not a failure, and an event log is not looked at
    #[arg(long, conflicts_with = "baseline")]
    quote_only: bool,
}

/// Runs `veriboot evidence`. Gives the exit code.
pub fn run(command: EvidenceCommand, out: Output) -> Result<u8, CliError> {
    match command {
        EvidenceCommand::Verify(args) => verify(&args, out),
    }
}

fn verify(args: &VerifyArgs, out: Output) -> Result<u8, CliError> {
    let material = Material::read(&read_bounded(&args.bundle, bundle::MAX_BUNDLE_BYTES)?)?;
    let anchors = args.trust.as_deref().map(|path| {
        let content = read_bounded(path, bundle::MAX_TRUST_BYTES)?;
        Anchors::from_pem_or_der(&content).map_err(|error| {
            CliError::usage(error.code(), format!("{}: {error}", path.display()))
                .hint("Give one or more certificates in PEM.")
        })
    });
    let anchors = anchors.transpose()?;
    if let (Some(path), Some(anchors)) = (&args.trust, &anchors)
        && anchors.roots() == 0
    {
        let message = format!("{} has no self-signed certificate, so there is no root in it", path.display());
        return Err(CliError::usage("no-trust-root", message)
            .hint("Add the root that the intermediate certificates lead to."));
    }
    let baseline = args.baseline.as_deref().map(|path| {
        let content = read_bounded(path, MAX_BASELINE_BYTES)?;
        Baseline::from_json(&content)
            .map(Baseline::compile)
            .map_err(|error| CliError::usage("baseline-unreadable", format!("{}: {error}", path.display())))
    });
    let baseline = baseline.transpose()?;
    let nonce = args.nonce.as_deref().map(read_nonce).transpose()?;
    let profile = Profile::named(&args.profile).unwrap_or_default();
    let demands = Demands {
        nonce: nonce.as_deref(),
        anchors: anchors.as_ref(),
        baseline: baseline.as_ref(),
        profile: &profile,
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
