//! `veriboot baseline apply`: a document becomes what judges.

use std::path::{Path, PathBuf};

use clap::Args;
use veriboot_wire::{BaselineApply, BaselineChanged, DocumentFormat};

use super::changed;
use super::scope::{self, ScopeArgs};
use crate::client::Client;
use crate::context;
use crate::error::CliError;
use crate::etag::EtagArg;
use crate::output::Output;

/// Arguments of `baseline apply`.
#[derive(Args, Debug)]
pub struct ApplyArgs {
    /// The document; .toml is read as TOML, everything else as JSON
    file: PathBuf,
    #[command(flatten)]
    scope: ScopeArgs,
    /// How the document is written, when its name does not say: json or toml
    #[arg(long)]
    format: Option<DocumentFormat>,
    #[command(flatten)]
    change: ChangeArgs,
}

/// What goes with every new version.
#[derive(Args, Debug)]
pub struct ChangeArgs {
    /// Version that you looked at and replace; 0: there is none yet [default: the present one]
    #[arg(long, value_name = "VERSION", conflicts_with = "etag")]
    pub replaces: Option<u32>,
    #[command(flatten)]
    pub etag: EtagArg,
    /// Code of a weakness that you accept on purpose; may be repeated
    #[arg(long = "allow-flaw", value_name = "CODE")]
    pub allow_flaws: Vec<String>,
    /// Why; kept in the baseline and in the audit log
    #[arg(long, short = 'm')]
    pub comment: Option<String>,
}

impl ChangeArgs {
    /// The version that is replaced, where no tag says it.
    pub fn expected(&self, client: &Client, scope: &veriboot_wire::Scope) -> Result<Option<u32>, CliError> {
        match self.replaces {
            Some(0) => Ok(None),
            Some(version) => Ok(Some(version)),
            None if self.etag.etag.is_some() => Ok(None),
            None => Ok(scope::current(client, scope)?.map(|current| current.version)),
        }
    }
}

/// How a document of this name is written.
pub fn format_of(path: &Path, given: Option<DocumentFormat>) -> DocumentFormat {
    let toml = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("toml"));
    given.unwrap_or(if toml { DocumentFormat::Toml } else { DocumentFormat::Json })
}

/// Runs it.
pub fn run(args: ApplyArgs, client: &Client, out: Output) -> Result<(), CliError> {
    let document = context::read(&args.file)?;
    let scope = args.scope.resolve(client)?;
    let if_match = args.change.etag.quoted();
    let request = BaselineApply {
        format: format_of(&args.file, args.format),
        document,
        expected_version: args.change.expected(client, &scope)?,
        scope,
        comment: args.change.comment,
        allow_flaws: args.change.allow_flaws,
    };
    let done: BaselineChanged = client.post_if_match("/v1/baselines", &request, if_match.as_deref())?;
    changed::show(&done, out)
}
