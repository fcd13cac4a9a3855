//! `veriboot baseline convert`: JSON to TOML and back, older documents to the present form.

use std::path::PathBuf;

use clap::Args;

use super::document::{self, Form};
use crate::error::CliError;
use crate::output::{Output, safe};

/// Arguments of `baseline convert`.
#[derive(Args, Debug)]
pub struct ConvertArgs {
    /// Baseline: JSON of any version, TOML, what `baseline show --json` prints, or a signed envelope
    baseline: PathBuf,
    /// Where to write it; standard output without it
    #[arg(long, short = 'o', value_name = "FILE")]
    output: Option<PathBuf>,
    /// Form of the document; by the name of the file without it, else JSON
    #[arg(long, value_enum)]
    format: Option<Form>,
    /// Public key in PEM that must have signed the baseline
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
}

/// Runs it.
pub fn run(args: &ConvertArgs, out: Output) -> Result<(), CliError> {
    let output = args.output.as_deref();
    let form = Form::of(args.format, output)?;
    let document = document::read(&args.baseline, args.key.as_deref())?;
    document::write(&document.baseline, form, output)?;
    match output.filter(|path| !document::is_stdout(Some(path))) {
        Some(path) if !out.json => out.line(&format!("written to {}", safe(&path.display().to_string()))),
        _ => Ok(()),
    }
}
