//! Developer commands. `cargo xtask help` lists them.

mod boot;
mod build;
mod capture;
mod demo;
mod steps;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(about = "Developer commands of Veriboot")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Boots one machine and shows its PCR values: whether the lab works here
    Boot(boot::Arguments),
    /// Builds the service and the static agent as demo and machine tests run them
    Build,
    /// Six real machines boot, attest and are judged
    Demo(demo::Arguments),
    /// Boots variants and saves event logs, quotes and PCR values as golden files
    Capture(capture::Arguments),
}

fn main() -> ExitCode {
    let result = match Arguments::parse().command {
        Command::Boot(arguments) => boot::run(&arguments),
        Command::Build => build::all(),
        Command::Demo(arguments) => demo::run(&arguments),
        Command::Capture(arguments) => capture::run(&arguments),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Root of the repository.
fn root() -> Result<PathBuf> {
    let manifest = std::env::var_os("CARGO_MANIFEST_DIR").context("run this as `cargo xtask`")?;
    Ok(PathBuf::from(manifest).parent().context("xtask has no parent folder")?.to_owned())
}
