//! `veriboot baseline show`.

use clap::Args;
use veriboot_wire::{BaselineDetail, BaselineSummary};

use crate::client::{Client, segment};
use crate::error::CliError;
use crate::output::{Output, safe};

/// Arguments of `baseline show`.
#[derive(Args, Debug)]
pub struct ShowArgs {
    /// Id, or name for its current version (scale-set/default/web)
    baseline: String,
}

/// Runs it.
pub fn run(args: &ShowArgs, client: &Client, out: Output) -> Result<(), CliError> {
    let name = args.baseline.as_str();
    let id = if name.contains('/') {
        let query = [("name", name.to_owned())];
        let (rows, _): (Vec<BaselineSummary>, bool) = client.list("/v1/baselines", &query, 1)?;
        rows.into_iter().next().map(|b| b.id).ok_or_else(|| {
            CliError::usage("baseline-unknown", format!("there is no baseline {:?}", safe(name)))
                .hint("`veriboot baseline list` shows all of them")
        })?
    } else {
        name.to_owned()
    };
    let baseline: BaselineDetail = client.get(&format!("/v1/baselines/{}", segment(&id)), &[])?;
    if out.json {
        return out.print_json(&baseline);
    }
    let s = &baseline.summary;
    out.fields(&[
        ("baseline", format!("{}@{}", safe(&s.name), s.version)),
        ("id", s.id.clone()),
        ("current", if s.current { "yes" } else { "no" }.to_owned()),
        ("made", format!("{} by {}", s.created_at, safe(&s.created_by))),
        ("learned from boot", s.boot_id.clone().unwrap_or_else(|| "-".to_owned())),
        ("comment", s.comment.as_deref().map_or_else(|| "-".to_owned(), safe)),
    ])?;
    out.line("")?;
    let rows = super::rows::rows(&baseline.document);
    out.table(&["PCR", "COMPONENT", "NAME", "VALUE OR DIGEST", "SIGNER"], rows, "no components")
}
