//! The commands of the binary.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::mpsc::Sender;
use std::time::Duration;

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use tracing_subscriber::filter::LevelFilter;
use veriboot_agent::{
    Agent, AgentError, DEFAULT_CONFIG, LogFormat, Settings, SettingsError, StateDir, Stop, attest_forever,
    evidence_bundle, printable,
};
use veriboot_wire::Verdict;

/// The VM is unhealthy.
pub const EXIT_UNHEALTHY: u8 = 1;
/// There is no verdict.
pub const EXIT_ERROR: u8 = 2;
/// How long an exchange in progress may take after the signal; state is replaced whole, so leaving is always safe.
const STOP_PATIENCE: Duration = Duration::from_secs(5);

/// Veriboot's guest agent: attests how this VM booted.
#[derive(Debug, clap::Parser)]
#[command(name = "veriboot-agent", version, about, after_help = EXIT_CODES)]
pub struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    /// Configuration file [default: /etc/veriboot/agent.toml, which may be absent]
    #[arg(long, global = true, env = "VERIBOOT_AGENT_CONFIG")]
    config: Option<PathBuf>,
    /// Attest once and exit: 0 healthy, 1 unhealthy, 2 error
    #[arg(long)]
    once: bool,
    /// Show debug messages
    #[arg(long, short, global = true)]
    verbose: bool,
    #[command(flatten)]
    settings: Settings,
}

const EXIT_CODES: &str = "Every flag of a setting can also be given as VERIBOOT_AGENT_* or in the configuration file, \
                          by the same name.\nExit codes: 0 stopped, or healthy; 1 unhealthy; 2 error.";

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Attest now and at the service's interval (the default)
    Run,
    /// Write quote, PCR values and event log into one file, for `veriboot evidence verify`; needs no service
    Evidence {
        /// Challenge, 32 bytes in hex; random when absent
        #[arg(long, value_name = "HEX")]
        nonce: Option<String>,
        /// File to write; standard output when absent
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// Show enrolment and last verdict
    Status,
}

/// Runs what the arguments ask for.
///
/// # Errors
/// Any [`AgentError`].
pub fn execute(arguments: Arguments) -> Result<ExitCode, AgentError> {
    let file = match &arguments.config {
        Some(path) => Settings::from_file(path)?,
        None if Path::new(DEFAULT_CONFIG).exists() => Settings::from_file(Path::new(DEFAULT_CONFIG))?,
        None => Settings::default(),
    };
    let settings = arguments.settings.or(file);
    set_up_logging(settings.log_format.unwrap_or_default(), arguments.verbose);
    match arguments.command.unwrap_or(Command::Run) {
        Command::Run => run(settings, arguments.once),
        Command::Evidence { nonce, out } => evidence(&settings, nonce.as_deref(), out.as_deref()),
        Command::Status => status(&settings),
    }
}

fn run(settings: Settings, once: bool) -> Result<ExitCode, AgentError> {
    let mut agent = Agent::new(settings.into_config()?)?;
    let _lock = agent.state().lock()?;
    if once {
        let receipt = agent.attest_once()?;
        println!("{}", receipt.verdict);
        for finding in receipt.findings.iter().filter(|finding| finding.fails()).take(32) {
            println!("  {}", printable(&finding.message, 512));
        }
        return Ok(verdict_code(Some(receipt.verdict)));
    }
    let (trigger, stop) = Stop::new();
    stop_on_signal(trigger).map_err(|source| SettingsError::Unreadable { path: "signals".into(), source })?;
    attest_forever(&mut agent, &stop);
    Ok(ExitCode::SUCCESS)
}

fn evidence(settings: &Settings, nonce: Option<&str>, out: Option<&Path>) -> Result<ExitCode, AgentError> {
    let nonce = nonce.map(parse_nonce).transpose()?;
    let state_dir = settings.state_dir();
    let state = if state_dir.exists() { Some(StateDir::open(&state_dir)?) } else { None };
    let bundle = evidence_bundle(
        &settings.tpm()?,
        state.as_ref(),
        settings.ak_algorithm()?,
        &settings.event_log(),
        nonce,
    )?;
    let path = out.unwrap_or(Path::new("standard output"));
    let failed = |source| SettingsError::Unreadable { path: path.display().to_string(), source };
    let json = serde_json::to_vec_pretty(&bundle).map_err(|e| failed(e.into()))?;
    match out {
        Some(path) => std::fs::write(path, json).map_err(failed)?,
        None => std::io::stdout().write_all(&json).map_err(failed)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn parse_nonce(text: &str) -> Result<[u8; 32], SettingsError> {
    let mut nonce = [0; 32];
    hex::decode_to_slice(text, &mut nonce).map_err(|_| SettingsError::Value {
        setting: "nonce",
        reason: "give 32 bytes as 64 hex digits".into(),
    })?;
    Ok(nonce)
}

fn status(settings: &Settings) -> Result<ExitCode, AgentError> {
    let state_dir = settings.state_dir();
    let state = if state_dir.exists() { Some(StateDir::open(&state_dir)?) } else { None };
    let enrolment = match &state {
        Some(state) => state.enrolment()?,
        None => None,
    };
    let (Some(state), Some(enrolment)) = (state, enrolment) else {
        println!("not enrolled");
        return Ok(ExitCode::from(EXIT_ERROR));
    };
    let outcome = state.outcome()?;
    let word = |text: Option<String>| text.unwrap_or_else(|| "none yet".into());
    println!("server        {}", printable(&enrolment.server, 256));
    println!("vm            {}", printable(&enrolment.vm_id, 64));
    println!("name          {}", printable(&enrolment.name, 64));
    println!("last verdict  {}", word(outcome.verdict.map(|v| v.to_string())));
    println!("status        {}", word(outcome.status.map(|s| s.to_string())));
    println!("at            {}", word(outcome.at.map(|t| t.to_string())));
    for reason in &outcome.reasons {
        println!("reason        {}", printable(reason, 512));
    }
    if let Some(error) = &outcome.error {
        println!("last error    {}", printable(error, 1024));
    }
    Ok(verdict_code(outcome.verdict))
}

fn verdict_code(verdict: Option<Verdict>) -> ExitCode {
    match verdict {
        Some(Verdict::Healthy) => ExitCode::SUCCESS,
        Some(Verdict::Unhealthy) => ExitCode::from(EXIT_UNHEALTHY),
        None => ExitCode::from(EXIT_ERROR),
    }
}

fn set_up_logging(format: LogFormat, verbose: bool) {
    let level = if verbose { LevelFilter::DEBUG } else { LevelFilter::INFO };
    let lines =
        tracing_subscriber::fmt().with_writer(std::io::stderr).with_max_level(level).with_target(false);
    match format {
        LogFormat::Text => lines.with_ansi(false).init(),
        LogFormat::Json => lines.json().flatten_event(true).init(),
    }
}

/// The first signal ends the wait between attestations; an exchange in progress gets [`STOP_PATIENCE`], a second
/// signal none.
fn stop_on_signal(trigger: Sender<()>) -> std::io::Result<()> {
    let mut signals = Signals::new([SIGTERM, SIGINT])?;
    std::thread::Builder::new().name("signals".into()).stack_size(64 * 1024).spawn(move || {
        let mut trigger = Some(trigger);
        for _ in signals.forever() {
            match trigger.take() {
                Some(trigger) => {
                    let _ = trigger.send(());
                    let _ = std::thread::Builder::new().stack_size(64 * 1024).spawn(|| {
                        std::thread::sleep(STOP_PATIENCE);
                        std::process::exit(0);
                    });
                }
                None => std::process::exit(0),
            }
        }
    })?;
    Ok(())
}
