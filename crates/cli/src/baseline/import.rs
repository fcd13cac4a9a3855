//! `veriboot baseline import`: what another service signed becomes what judges.

use std::path::PathBuf;

use clap::Args;
use veriboot_wire::{BaselineChanged, BaselineImport};

use super::apply::ChangeArgs;
use super::changed;
use super::scope::ScopeArgs;
use crate::client::Client;
use crate::context;
use crate::error::CliError;
use crate::output::Output;

/// Arguments of `baseline import`.
#[derive(Args, Debug)]
pub struct ImportArgs {
    /// The envelope that `baseline export` wrote
    file: PathBuf,
    #[command(flatten)]
    scope: ScopeArgs,
    #[command(flatten)]
    change: ChangeArgs,
}

/// Runs it.
pub fn run(args: ImportArgs, client: &Client, out: Output) -> Result<(), CliError> {
    let envelope = context::read(&args.file)?;
    let scope = args.scope.resolve(client)?;
    let if_match = args.change.etag.quoted();
    let request = BaselineImport {
        envelope,
        expected_version: args.change.expected(client, &scope)?,
        scope,
        comment: args.change.comment,
        allow_flaws: args.change.allow_flaws,
    };
    let done: BaselineChanged =
        client.post_if_match("/v1/baselines/import", &request, if_match.as_deref())?;
    changed::show(&done, out)
}
