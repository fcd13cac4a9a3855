//! `veriboot policy variables`.

use std::path::PathBuf;

use clap::Args;
use veriboot_policy::{Basis, variables};

use super::offline;
use crate::error::CliError;
use crate::output::{Output, Styled, Tone};

/// Arguments of `policy variables`.
#[derive(Args, Debug)]
pub struct VariablesArgs {
    /// Show the values that they have for this event log, as JSON
    #[arg(long, value_name = "FILE")]
    log: Option<PathBuf>,
}

/// Runs it.
pub fn run(args: &VariablesArgs, out: Output) -> Result<(), CliError> {
    if let Some(log) = &args.log {
        return out.print_json(offline::read(log)?.0.variables());
    }
    let all = variables();
    if out.json {
        return out.print_json(&all);
    }
    let rows = all
        .into_iter()
        .map(|variable| {
            let basis = match variable.basis {
                Basis::Proven => Styled::new("proven", Tone::Good),
                Basis::Claim => Styled::new("claim", Tone::Warn),
                Basis::Service => Styled::new("service", Tone::Plain),
            };
            vec![
                Styled::new(variable.name, Tone::Plain),
                Styled::new(variable.ty, Tone::Dim),
                basis,
                Styled::new(variable.meaning, Tone::Plain),
                Styled::new(
                    variable.absent.map_or_else(String::new, |why| format!("absent: {why}")),
                    Tone::Dim,
                ),
            ]
        })
        .collect();
    out.table(&["VARIABLE", "TYPE", "RESTS ON", "MEANING", "ABSENT"], rows, "no variables")
}
