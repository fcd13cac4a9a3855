//! `veriboot profile set`.

use std::path::PathBuf;

use clap::Args;
use veriboot_wire::{DocumentFormat, ProfileChanged, ProfileDetail, ProfilePut};

use crate::baseline::apply::format_of;
use crate::baseline::changed::progress;
use crate::client::{Client, segment};
use crate::context;
use crate::error::CliError;
use crate::etag::EtagArg;
use crate::output::{Output, safe};

/// Arguments of `profile set`.
#[derive(Args, Debug)]
pub struct SetArgs {
    /// Name of the profile
    name: String,
    /// The document; .toml is read as TOML, everything else as JSON
    file: PathBuf,
    /// How the document is written, when its name does not say: json or toml
    #[arg(long)]
    format: Option<DocumentFormat>,
    /// Version that you looked at and replace; 0: there is none yet [default: the present one]
    #[arg(long, value_name = "VERSION", conflicts_with = "etag")]
    replaces: Option<u32>,
    #[command(flatten)]
    etag: EtagArg,
    /// Code of a weakness that you accept on purpose; may be repeated
    #[arg(long = "allow-flaw", value_name = "CODE")]
    allow_flaws: Vec<String>,
    /// Why; kept in the profile and in the audit log
    #[arg(long, short = 'm')]
    comment: Option<String>,
}

/// Runs it.
pub fn run(args: SetArgs, client: &Client, out: Output) -> Result<(), CliError> {
    let path = format!("/v1/profiles/{}", segment(&args.name));
    let if_match = args.etag.quoted();
    let expected_version = match args.replaces {
        Some(0) => None,
        Some(version) => Some(version),
        None if if_match.is_some() => None,
        None => match client.get::<ProfileDetail>(&path, &[]) {
            Ok(present) => present.summary.version,
            Err(error) if error.code == "not-found" => None,
            Err(error) => return Err(error),
        },
    };
    let request = ProfilePut {
        document: context::read(&args.file)?,
        format: format_of(&args.file, args.format),
        comment: args.comment,
        expected_version,
        allow_flaws: args.allow_flaws,
    };
    let changed: ProfileChanged = client.put_if_match(&path, &request, if_match.as_deref())?;
    if out.json {
        return out.print_json(&changed);
    }
    let p = &changed.profile;
    let judges = match changed.changed {
        true => "judges where the profile is assigned",
        false => "is that already: nothing changed",
    };
    out.line(&format!("{}@{} {judges}", safe(&p.name), p.version.unwrap_or(0)))?;
    for flaw in &changed.flaws {
        out.line(&format!("accepted weakness [{}]: {}", safe(&flaw.code), safe(&flaw.message)))?;
    }
    changed.reappraisals.iter().try_for_each(|r| out.line(&progress(r)))
}
