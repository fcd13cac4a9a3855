//! `veriboot baseline keys`: whose signed baselines are imported.

use clap::Args;
use veriboot_wire::BaselineKey;

use crate::client::Client;
use crate::error::CliError;
use crate::output::{Output, Styled, Tone};

/// Arguments of `baseline keys`.
#[derive(Args, Debug)]
pub struct KeysArgs {
    /// Print the service's own public keys as PEM, for `baseline_trusted_keys` of another one
    #[arg(long)]
    pem: bool,
}

/// Runs it.
pub fn run(args: &KeysArgs, client: &Client, out: Output) -> Result<(), CliError> {
    let keys: Vec<BaselineKey> = client.get("/v1/baseline-keys", &[])?;
    if args.pem {
        for key in keys.iter().filter(|key| key.own) {
            out.line(key.pem.trim_end())?;
        }
        return Ok(());
    }
    if out.json {
        return out.print_json(&keys);
    }
    let rows = keys
        .iter()
        .map(|key| {
            let whose = if key.own { "this service" } else { "trusted" };
            vec![whose.into(), key.algorithm.as_str().into(), Styled::new(&key.id, Tone::Plain)]
        })
        .collect();
    out.table(&["WHOSE", "ALGORITHM", "KEY ID (SHA-256)"], rows, "no keys")
}
