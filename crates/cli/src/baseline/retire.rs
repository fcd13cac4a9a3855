//! `veriboot baseline retire`: a scope gives its baseline up.

use clap::Args;
use veriboot_wire::BaselineChanged;

use super::changed;
use super::scope::{self, ScopeArgs};
use crate::client::{Client, segment};
use crate::error::CliError;
use crate::etag::EtagArg;
use crate::output::{Output, safe};

/// Arguments of `baseline retire`.
#[derive(Args, Debug)]
pub struct RetireArgs {
    #[command(flatten)]
    scope: ScopeArgs,
    /// Only this version, which you looked at: refused when another one judges by now
    #[arg(long, value_name = "VERSION", conflicts_with = "etag")]
    only: Option<u32>,
    #[command(flatten)]
    etag: EtagArg,
    /// Why; kept in the audit log
    #[arg(long, short = 'm')]
    comment: Option<String>,
}

/// Runs it.
pub fn run(args: &RetireArgs, client: &Client, out: Output) -> Result<(), CliError> {
    let scope = args.scope.resolve(client)?;
    let current = scope::current(client, &scope)?.ok_or_else(|| {
        CliError::usage(
            "baseline-unknown",
            format!("{} has no baseline of its own", safe(&scope::words(&scope, None))),
        )
        .hint("`veriboot baseline list` shows which scopes have one")
    })?;
    if let Some(version) = args.only.filter(|version| *version != current.version) {
        let message = format!("version {version} does not judge: {} does", current.version);
        return Err(CliError::usage("version-conflict", message));
    }
    let path = format!("/v1/baselines/{}", segment(&current.id));
    let query: Vec<_> = args.comment.clone().map(|comment| ("comment", comment)).into_iter().collect();
    let done: BaselineChanged = client.delete_if_match(&path, &query, args.etag.quoted().as_deref())?;
    if !out.json {
        out.line(&format!("{}@{} judges no more", safe(&current.name), current.version))?;
    }
    changed::show(&done, out)
}
