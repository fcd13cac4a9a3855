//! `veriboot baseline export`: a version for another service, or to edit by hand.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::version;
use crate::client::{Client, segment};
use crate::error::CliError;
use crate::output::Output;

/// Arguments of `baseline export`.
#[derive(Args, Debug)]
pub struct ExportArgs {
    /// Id, name or name@version (scale-set/default/web@3)
    baseline: String,
    /// How it is written
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    /// File to write instead of standard output
    #[arg(long, short = 'o', value_name = "FILE")]
    output: Option<PathBuf>,
}

#[derive(ValueEnum, Clone, Copy, Debug, Default)]
enum Format {
    /// A DSSE envelope, signed by the service: what `import` takes
    #[default]
    Dsse,
    /// The bare document
    Json,
    /// The bare document, to edit by hand
    Toml,
}

/// Runs it. What was asked for is the answer, so `--json` changes nothing.
pub fn run(args: &ExportArgs, client: &Client, out: Output) -> Result<(), CliError> {
    let id = version::id_of(client, &args.baseline)?;
    let format = match args.format {
        Format::Dsse => "dsse",
        Format::Json => "json",
        Format::Toml => "toml",
    };
    let path = format!("/v1/baselines/{}/export", segment(&id));
    let bytes = client.get_bytes(&path, &[("format", format.to_owned())])?;
    match &args.output {
        Some(file) => std::fs::write(file, bytes).map_err(|e| {
            CliError::usage("cannot-write-file", format!("cannot write {}: {e}", file.display()))
        }),
        None => out.line(String::from_utf8_lossy(&bytes).trim_end()),
    }
}
