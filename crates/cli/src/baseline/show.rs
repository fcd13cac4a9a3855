//! `veriboot baseline show`.

use clap::Args;
use veriboot_appraisal::Baseline;
use veriboot_wire::BaselineDetail;

use super::sections;
use crate::client::{Client, segment};
use crate::error::CliError;
use crate::output::{Output, safe};

/// Arguments of `baseline show`.
#[derive(Args, Debug)]
pub struct ShowArgs {
    /// Id, name for its current version, or name@version (scale-set/default/web@3)
    baseline: String,
}

/// Runs it.
pub fn run(args: &ShowArgs, client: &Client, out: Output) -> Result<(), CliError> {
    let name = args.baseline.as_str();
    let id = super::version::id_of(client, name)?;
    let baseline: BaselineDetail = client.get(&format!("/v1/baselines/{}", segment(&id)), &[])?;
    if out.json {
        return out.print_json(&baseline);
    }
    let s = &baseline.summary;
    out.fields(&[
        ("baseline", format!("{}@{}", safe(&s.name), s.version)),
        ("id", s.id.clone()),
        ("current", if s.current { "yes" } else { "no" }.to_owned()),
        ("judges", super::scope::words(&s.scope, None)),
        ("origin", s.origin.to_string()),
        ("SHA-256", s.sha256.clone()),
        ("signed by key", s.signed_by.clone().unwrap_or_else(|| "-".to_owned())),
        ("made", format!("{} by {}", s.created_at, safe(&s.created_by))),
        ("learned from boot", s.boot_id.clone().unwrap_or_else(|| "-".to_owned())),
        ("comment", s.comment.as_deref().map_or_else(|| "-".to_owned(), safe)),
    ])?;
    // A newer service may write what this version does not read; the rows below are read leniently.
    if let Ok(document) = Baseline::from_json(baseline.document.to_string().as_bytes()) {
        sections::whole(&document, out)?;
    }
    out.line("")?;
    let rows = super::rows::rows(&baseline.document);
    out.table(&["PCR", "COMPONENT", "NAME", "VALUE OR DIGEST", "SIGNER"], rows, "no components")
}
