//! `veriboot`: the service, the operator CLI, and offline work on logs and evidence.

mod alert;
mod assessment;
mod audit;
mod baseline;
mod boot;
mod client;
mod clock;
mod context;
mod error;
mod etag;
mod evidence;
mod incident;
mod inventory;
mod kernel;
mod log;
mod login;
mod maintenance;
mod moment;
mod monitoring;
mod notify;
mod output;
mod policy;
mod posture;
mod profile;
mod proposal;
mod recommendation;
mod rows;
mod scale_set;
mod serve;
mod suppression;
mod token;
mod vm;
mod watch;
mod words;

use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::client::Client;
use crate::context::Connection;
use crate::error::CliError;
use crate::output::{ColorChoice, Output};

/// Boot integrity monitoring for fleets of virtual machines.
///
/// Exit codes: 0 done or "yes"; 1 the answer is "no" (differs, not trusted); 2 wrong usage or unreadable
/// input; 3 the service cannot be reached or trusted; 4 the service refused.
#[derive(Parser, Debug)]
#[command(name = "veriboot", version, propagate_version = true, max_term_width = 110)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Run the attestation service
    Serve(serve::ServeArgs),
    /// VMs and their status
    Vm(Online<vm::VmCommand>),
    /// What VMs booted, and what changed
    Boot(Online<boot::BootCommand>),
    /// Alerts: what needs attention
    Alert(Online<alert::AlertCommand>),
    /// The security score, what needs attention, and the trend
    Posture(Posture),
    /// Recommendations: checks that do not hold somewhere, and what to do
    Recommendation(Online<recommendation::RecommendationCommand>),
    /// Assessments: what became of each check on each VM
    Assessment(Online<assessment::AssessmentCommand>),
    /// Incidents: members of a scale set that fail alike
    Incident(Online<incident::IncidentCommand>),
    /// Suppression rules: alerts that are dismissed when they are raised
    Suppression(Online<suppression::SuppressionCommand>),
    /// Maintenance windows: times in which VMs may be silent
    Maintenance(Online<maintenance::MaintenanceCommand>),
    /// Trusted baselines
    Baseline(Online<baseline::BaselineCommand>),
    /// Profiles: what a boot must look like whatever its baseline says
    Profile(Online<profile::ProfileCommand>),
    /// Changes that VMs booted and that wait for a decision
    Proposal(Online<proposal::ProposalCommand>),
    /// Scale sets: what their members booted, and who is the odd one out
    ScaleSet(Online<scale_set::ScaleSetCommand>),
    /// Policy conditions: check them, try them on event logs or on what VMs attested
    Policy(Online<policy::PolicyCommand>),
    /// Notifications: who is told of events
    Notify(Online<notify::NotifyCommand>),
    /// What happens, as it happens
    Watch(Watch),
    /// Integrity monitoring: on or off for a VM, a scale set or a group
    Monitoring(Online<monitoring::MonitoringCommand>),
    /// The inventory: which VMs exist, and which of them are enrolled
    Inventory(Online<inventory::InventoryCommand>),
    /// Join tokens for agents
    Token(Online<token::TokenCommand>),
    /// The audit log
    Audit(Online<audit::AuditCommand>),
    /// Event logs with no service: story, replay, difference
    Log(Offline<log::LogCommand>),
    /// Evidence: verify it with no service, or export what the service stored
    Evidence(Online<evidence::EvidenceCommand>),
    /// Remember a service and an API token for later calls
    Login(login::LoginArgs),
}

/// Commands that call the service.
#[derive(Args, Debug)]
struct Online<C: Subcommand> {
    #[command(flatten)]
    connection: Connection,
    #[command(flatten)]
    format: Format,
    #[command(subcommand)]
    command: C,
}

/// `veriboot watch`.
#[derive(Args, Debug)]
struct Watch {
    #[command(flatten)]
    connection: Connection,
    #[command(flatten)]
    format: Format,
    #[command(flatten)]
    args: watch::WatchArgs,
}

/// `veriboot posture`.
#[derive(Args, Debug)]
struct Posture {
    #[command(flatten)]
    connection: Connection,
    #[command(flatten)]
    format: Format,
    #[command(flatten)]
    args: posture::PostureArgs,
}

/// Commands that need no service.
#[derive(Args, Debug)]
struct Offline<C: Subcommand> {
    #[command(flatten)]
    format: Format,
    #[command(subcommand)]
    command: C,
}

/// How answers look.
#[derive(Args, Debug, Clone, Copy)]
pub struct Format {
    /// JSON for programs instead of tables for people
    #[arg(long, global = true, display_order = 900)]
    json: bool,
    /// When to use colour
    #[arg(long, global = true, value_enum, default_value_t, value_name = "WHEN", display_order = 901)]
    color: ColorChoice,
}

impl<C: Subcommand> Online<C> {
    fn open(self) -> Result<(C, Client, Output), CliError> {
        let out = Output::new(self.format.json, self.format.color, clock::now());
        Ok((self.command, Client::new(self.connection.resolve()?)?, out))
    }
}

fn main() -> ExitCode {
    match run(Cli::parse().command) {
        Ok(code) => code,
        Err(error) => {
            error.print();
            ExitCode::from(error.exit)
        }
    }
}

fn run(command: Command) -> Result<ExitCode, CliError> {
    let done = |()| ExitCode::SUCCESS;
    match command {
        Command::Vm(args) => args.open().and_then(|(c, client, out)| vm::run(c, &client, out)).map(done),
        Command::Boot(args) => {
            args.open().and_then(|(c, client, out)| boot::run(c, &client, out)).map(ExitCode::from)
        }
        Command::Alert(args) => {
            args.open().and_then(|(c, client, out)| alert::run(c, &client, out)).map(done)
        }
        Command::Incident(args) => {
            args.open().and_then(|(c, client, out)| incident::run(c, &client, out)).map(done)
        }
        Command::Suppression(args) => {
            args.open().and_then(|(c, client, out)| suppression::run(c, &client, out)).map(done)
        }
        Command::Maintenance(args) => {
            args.open().and_then(|(c, client, out)| maintenance::run(c, &client, out)).map(done)
        }
        Command::Baseline(args) => {
            let out = Output::new(args.format.json, args.format.color, clock::now());
            baseline::run(args.command, || Client::new(args.connection.resolve()?), out)
        }
        Command::Proposal(args) => {
            args.open().and_then(|(c, client, out)| proposal::run(c, &client, out)).map(done)
        }
        Command::ScaleSet(args) => {
            args.open().and_then(|(c, client, out)| scale_set::run(c, &client, out)).map(done)
        }
        Command::Policy(args) => {
            let out = Output::new(args.format.json, args.format.color, clock::now());
            policy::run(args.command, || Client::new(args.connection.resolve()?), out)
        }
        Command::Profile(args) => {
            let out = Output::new(args.format.json, args.format.color, clock::now());
            profile::run(args.command, || Client::new(args.connection.resolve()?), out)
        }
        Command::Notify(args) => {
            args.open().and_then(|(c, client, out)| notify::run(c, &client, out)).map(ExitCode::from)
        }
        Command::Watch(Watch { connection, format, args }) => {
            let out = Output::new(format.json, format.color, clock::now());
            watch::run(args, &Client::new(connection.resolve()?)?, out).map(done)
        }
        Command::Monitoring(args) => {
            args.open().and_then(|(c, client, out)| monitoring::run(c, &client, out)).map(done)
        }
        Command::Posture(Posture { connection, format, args }) => {
            let out = Output::new(format.json, format.color, clock::now());
            posture::run(&args, &Client::new(connection.resolve()?)?, out).map(done)
        }
        Command::Recommendation(args) => {
            args.open().and_then(|(c, client, out)| recommendation::run(c, &client, out)).map(done)
        }
        Command::Assessment(args) => {
            args.open().and_then(|(c, client, out)| assessment::run(c, &client, out)).map(done)
        }
        Command::Inventory(args) => {
            args.open().and_then(|(c, client, out)| inventory::run(c, &client, out)).map(ExitCode::from)
        }
        Command::Token(args) => {
            args.open().and_then(|(c, client, out)| token::run(c, &client, out)).map(done)
        }
        Command::Audit(args) => {
            args.open().and_then(|(c, client, out)| audit::run(c, &client, out)).map(ExitCode::from)
        }
        Command::Log(args) => {
            let out = Output::new(args.format.json, args.format.color, clock::now());
            log::run(args.command, out).map(ExitCode::from)
        }
        Command::Evidence(args) => {
            let out = Output::new(args.format.json, args.format.color, clock::now());
            evidence::run(args.command, || Client::new(args.connection.resolve()?), out).map(ExitCode::from)
        }
        Command::Login(args) => login::run(args).map(done),
        Command::Serve(args) => serve::run(args),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    /// clap looks at a subcommand only when it is called: names that clash would be found by whoever calls it first.
    #[test]
    fn every_command_is_well_formed() {
        super::Cli::command().debug_assert();
    }
}
