//! `veriboot baseline`: what is trusted. One file per subcommand.

mod accept;
pub(crate) mod apply;
mod as_of;
pub(crate) mod changed;
mod check;
mod convert;
mod diff;
pub(crate) mod document;
mod export;
mod history;
mod import;
mod keys;
mod learn;
mod lint;
mod list;
mod logs;
mod predict;
pub(crate) mod profile;
mod progress;
mod retire;
mod rows;
pub(crate) mod scope;
pub(crate) mod sections;
mod show;
mod version;

use std::process::ExitCode;

use clap::Subcommand;

use crate::client::Client;
use crate::error::CliError;
use crate::output::Output;

/// Baselines.
#[derive(Subcommand, Debug)]
pub enum BaselineCommand {
    /// List baselines
    List(list::ListArgs),
    /// Show one baseline
    Show(show::ShowArgs),
    /// Trust what a VM booted last, as the next version of the baseline that judges it, and show what that is
    Accept(accept::AcceptArgs),
    /// Make a document what judges a VM, scale set, image or group
    Apply(apply::ApplyArgs),
    /// Make what another service exported and signed what judges
    Import(import::ImportArgs),
    /// Write a version for another service (signed), or to edit it
    Export(export::ExportArgs),
    /// End the baseline of a scope, so that a less specific one judges
    Retire(retire::RetireArgs),
    /// The versions of one baseline
    History(history::HistoryArgs),
    /// Say what verdicts would be under another version, document or profile; exit code 1 when a VM would turn unhealthy
    AsOf(as_of::AsOfArgs),
    /// How far VMs are judged again after changes
    Progress(progress::ProgressArgs),
    /// The keys whose signed baselines are imported
    Keys(keys::KeysArgs),
    /// Learn a baseline from event logs (no service)
    Learn(learn::LearnArgs),
    /// Hold an event log against a baseline (no service); exit code 1 when it deviates
    Check(check::CheckArgs),
    /// Predict what packages, images and configurations will measure, before they are rolled out (no service); exit code 1
    /// when something cannot be predicted
    Predict(predict::PredictArgs),
    /// Explain what one baseline accepts and another does not (no service for files); exit code 1 when they differ
    Diff(diff::DiffArgs),
    /// Say what is wrong with a baseline (no service); exit code 1 when it must not judge
    Lint(lint::LintArgs),
    /// Write a baseline as JSON or TOML in the present form (no service)
    Convert(convert::ConvertArgs),
}

/// Runs `veriboot baseline`. `connect` finds the service; subcommands that work offline never call it.
pub fn run(
    command: BaselineCommand,
    connect: impl FnOnce() -> Result<Client, CliError>,
    out: Output,
) -> Result<ExitCode, CliError> {
    let done = |()| ExitCode::SUCCESS;
    match command {
        BaselineCommand::List(args) => list::run(&args, &connect()?, out).map(done),
        BaselineCommand::Show(args) => show::run(&args, &connect()?, out).map(done),
        BaselineCommand::Accept(args) => accept::run(args, &connect()?, out).map(done),
        BaselineCommand::Apply(args) => apply::run(args, &connect()?, out).map(done),
        BaselineCommand::Import(args) => import::run(args, &connect()?, out).map(done),
        BaselineCommand::Export(args) => export::run(&args, &connect()?, out).map(done),
        BaselineCommand::Retire(args) => retire::run(&args, &connect()?, out).map(done),
        BaselineCommand::History(args) => history::run(&args, &connect()?, out).map(done),
        BaselineCommand::AsOf(args) => as_of::run(args, &connect()?, out).map(ExitCode::from),
        BaselineCommand::Progress(args) => progress::run(&args, &connect()?, out).map(done),
        BaselineCommand::Keys(args) => keys::run(&args, &connect()?, out).map(done),
        BaselineCommand::Learn(args) => learn::run(args, out).map(done),
        BaselineCommand::Check(args) => check::run(&args, out).map(ExitCode::from),
        BaselineCommand::Predict(args) => predict::run(&args, out).map(ExitCode::from),
        BaselineCommand::Diff(args) => diff::run(&args, connect, out).map(ExitCode::from),
        BaselineCommand::Lint(args) => lint::run(&args, out).map(ExitCode::from),
        BaselineCommand::Convert(args) => convert::run(&args, out).map(done),
    }
}
