//! `veriboot baseline diff`: what one baseline accepts and another does not.

use std::path::{Path, PathBuf};

use clap::Args;
use serde::Serialize;
use veriboot_appraisal::{Baseline, diff_baselines};
use veriboot_wire::{Finding, ScopeKind};

use super::{document, version};
use crate::client::{Client, segment};
use crate::error::{CliError, EXIT_NEGATIVE};
use crate::output::Output;

/// Codes under which the changes of one boot follow.
const HEADINGS: [&str; 2] = ["boot-accepted", "boot-dropped"];

/// Whether this can be a version that the service stores: `scale-set/default/web`, `…@3`, or an id.
fn is_version(path: &Path) -> bool {
    let text = path.to_string_lossy();
    let named = ScopeKind::ALL.iter().any(|kind| text.starts_with(&format!("{kind}/")));
    let id = text.len() == 36 && text.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-');
    named || id
}

fn fetched(client: &Client, key: &str) -> Result<Baseline, CliError> {
    let path = format!("/v1/baselines/{}/export", segment(&version::id_of(client, key)?));
    let document = client.get_bytes(&path, &[("format", "json".to_owned())])?;
    Baseline::from_json(&document)
        .map_err(|error| CliError::usage(error.code(), error.to_string()).hint(error.hint()))
}

/// Arguments of `baseline diff`.
#[derive(Args, Debug)]
pub struct DiffArgs {
    /// The earlier baseline: a file, or one of the service: its id, name or name@version
    from: PathBuf,
    /// The later baseline
    to: PathBuf,
}

/// `baseline diff --json`.
#[derive(Serialize)]
struct Difference {
    same: bool,
    changes: Vec<Finding>,
}

/// Runs it. Exit code 1 when they differ. `connect` is called only for what is no file.
pub fn run(
    args: &DiffArgs,
    connect: impl FnOnce() -> Result<Client, CliError>,
    out: Output,
) -> Result<u8, CliError> {
    let local = |path: &PathBuf| path.exists() || path.as_os_str() == "-" || !is_version(path);
    let client = if local(&args.from) && local(&args.to) { None } else { Some(connect()?) };
    let read = |path: &PathBuf| match &client {
        Some(client) if !local(path) => fetched(client, &path.to_string_lossy()),
        _ => Ok(document::read(path, None)?.baseline),
    };
    let changes = diff_baselines(&read(&args.from)?, &read(&args.to)?);
    let same = changes.is_empty();
    if out.json {
        out.print_json(&Difference { same, changes })?;
    } else if same {
        out.line("Both baselines accept the same.")?;
    } else {
        // Each boot with its changes below it.
        for part in changes.chunk_by(|_, next| !HEADINGS.contains(&next.code.as_str())) {
            out.findings_in_order(part)?;
        }
    }
    Ok(if same { 0 } else { EXIT_NEGATIVE })
}
