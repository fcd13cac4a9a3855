//! `veriboot profile show`.

use clap::Args;
use veriboot_wire::{ProfileDetail, ProfileSummary};

use crate::baseline::scope::words;
use crate::client::{Client, segment};
use crate::error::CliError;
use crate::output::{Output, safe};

/// Arguments of `profile show`.
#[derive(Args, Debug)]
pub struct ShowArgs {
    /// Name of the profile, or name@version
    name: String,
    /// List its versions
    #[arg(long)]
    history: bool,
    /// Print the document alone as TOML, to edit it
    #[arg(long, conflicts_with_all = ["history", "json"])]
    toml: bool,
}

/// Versions that are listed.
const MAX_VERSIONS: usize = 1000;

/// Runs it.
pub fn run(args: &ShowArgs, client: &Client, out: Output) -> Result<(), CliError> {
    let (name, version) = match args.name.rsplit_once('@') {
        // As `vm show` names one that comes with Veriboot.
        Some((name, "built-in")) => (name, None),
        Some((name, version)) if version.parse::<u32>().is_ok() => (name, Some(version)),
        Some((_, version)) => {
            let message = format!("{version:?} is no version: versions are numbers from 1");
            return Err(CliError::usage("bad-version", message)
                .hint("`veriboot profile show NAME --history` lists them"));
        }
        None => (args.name.as_str(), None),
    };
    let path = format!("/v1/profiles/{}", segment(name));
    if args.history {
        return history(&path, client, out);
    }
    let query: Vec<_> = version.map(|version| ("version", version.to_owned())).into_iter().collect();
    let profile: ProfileDetail = client.get(&path, &query)?;
    if args.toml {
        let text = toml::to_string_pretty(&profile.document)
            .map_err(|e| CliError::usage("cannot-encode", format!("the profile cannot be written: {e}")))?;
        return out.line(text.trim_end());
    }
    if out.json {
        return out.print_json(&profile);
    }
    let s = &profile.summary;
    let made = match (s.created_at, &s.created_by) {
        (Some(at), Some(by)) => format!("{at} by {}", safe(by)),
        _ => "comes with Veriboot".to_owned(),
    };
    out.fields(&[
        (
            "profile",
            s.version.map_or_else(|| safe(&s.name), |version| format!("{}@{version}", safe(&s.name))),
        ),
        ("for", safe(&s.description)),
        ("made", made),
        ("comment", s.comment.as_deref().map_or_else(|| "-".to_owned(), safe)),
    ])?;
    for scope in &profile.assigned {
        out.line(&format!("judges    {}", safe(&words(scope, None))))?;
    }
    out.line("")?;
    let document = serde_json::to_string_pretty(&profile.document)
        .map_err(|e| CliError::usage("cannot-encode", format!("the profile cannot be written: {e}")))?;
    document.lines().try_for_each(|line| out.line(&safe(line)))
}

fn history(path: &str, client: &Client, out: Output) -> Result<(), CliError> {
    let (versions, more): (Vec<ProfileSummary>, bool) =
        client.list(&format!("{path}/versions"), &[], MAX_VERSIONS)?;
    if out.json {
        return out.print_json_list(&versions, more, MAX_VERSIONS, "version");
    }
    let rows = versions
        .iter()
        .map(|p| {
            vec![
                p.version.map(|version| version.to_string()).unwrap_or_default().into(),
                if p.current { "judges" } else { "-" }.into(),
                p.created_at.map(|at| at.to_string()).unwrap_or_default().into(),
                p.created_by.as_deref().unwrap_or_default().into(),
                p.comment.as_deref().unwrap_or_default().into(),
            ]
        })
        .collect();
    out.table(&["VERSION", "NOW", "MADE", "BY", "COMMENT"], rows, "it has no stored versions")?;
    out.more(more, MAX_VERSIONS, "version")
}
