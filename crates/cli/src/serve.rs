//! `veriboot serve`: runs the attestation service.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use tracing_subscriber::EnvFilter;
use veriboot_service::{Config, ConfigError, LogFormat, ServeOptions, StartError};

use crate::error::{CliError, EXIT_USAGE};

/// Arguments of `veriboot serve`. Flags win over VERIBOOT_* variables, these over the configuration file.
#[derive(Args, Debug)]
pub struct ServeArgs {
    /// Configuration file, TOML [default: /etc/veriboot/veriboot.toml where it exists]
    #[arg(long, env = "VERIBOOT_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// Address and port to listen on
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: Option<SocketAddr>,
    /// Folder of the embedded database, the service's keys and its CA
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// sqlite:PATH or postgres://USER:PASSWORD@HOST/NAME
    #[arg(long, value_name = "URL")]
    database: Option<String>,
    /// How agents and people reach this service from outside
    #[arg(long, value_name = "URL")]
    public_url: Option<String>,
    /// Host name or IP address that the self-made certificate is for; repeat for more
    #[arg(long = "tls-name", value_name = "NAME")]
    tls_names: Vec<String>,
    /// Seconds between two attestations of one VM
    #[arg(long, value_name = "SECONDS")]
    interval: Option<u32>,
    /// The agent's binary that /install.sh hands out
    #[arg(long, value_name = "FILE")]
    agent_binary: Option<PathBuf>,
    /// On the first start write the admin token here (mode 0600) instead of printing it
    #[arg(long, value_name = "FILE")]
    admin_token_file: Option<PathBuf>,
    /// Announce the start as one JSON object
    #[arg(long)]
    json: bool,
}

/// Where the configuration is looked for when none is named.
const DEFAULT_CONFIG: &str = "/etc/veriboot/veriboot.toml";

/// Runs the service until SIGTERM or SIGINT.
pub fn run(args: ServeArgs) -> Result<ExitCode, CliError> {
    let options = ServeOptions { json: args.json, admin_token_file: args.admin_token_file.clone() };
    let config = configuration(args).map_err(|e| start_error(&StartError::Config(e)))?;
    log_to_stderr(&config)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|e| CliError::usage("start-failed", format!("cannot start the runtime: {e}")))?;
    let stop = async {
        match stop_signal().await {
            Ok(name) => tracing::info!(signal = name, "asked to stop"),
            Err(error) => tracing::error!(%error, "cannot listen for signals"),
        }
    };
    runtime
        .block_on(veriboot_service::serve(config, options, stop))
        .map(|()| ExitCode::SUCCESS)
        .map_err(|e| start_error(&e))
}

fn configuration(args: ServeArgs) -> Result<Config, ConfigError> {
    let default = PathBuf::from(DEFAULT_CONFIG);
    let file = args.config.or_else(|| default.exists().then_some(default));
    let mut config = Config::load(file.as_deref(), |name| std::env::var(name).ok())?;
    if let Some(listen) = args.listen {
        config.listen = listen;
    }
    if let Some(data_dir) = args.data_dir {
        config.data_dir = data_dir;
    }
    if let Some(interval) = args.interval {
        config.interval_s = interval;
    }
    config.database = args.database.or(config.database);
    config.public_url = args.public_url.or(config.public_url);
    config.agent_binary = args.agent_binary.or(config.agent_binary);
    if !args.tls_names.is_empty() {
        config.tls.names = args.tls_names;
    }
    Ok(config)
}

fn log_to_stderr(config: &Config) -> Result<(), CliError> {
    let filter = EnvFilter::try_new(&config.log.level).map_err(|e| {
        CliError::usage("config-invalid", format!("log.level {:?} is no filter: {e}", config.log.level))
            .hint("use error, warn, info, debug, or veriboot_service=debug,info")
    })?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match config.log.format {
        LogFormat::Text => builder.with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr())).init(),
        LogFormat::Json => builder.json().flatten_event(true).init(),
    }
    Ok(())
}

async fn stop_signal() -> std::io::Result<&'static str> {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        let (mut terminate, mut interrupt) =
            (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        tokio::select! {
            _ = terminate.recv() => Ok("SIGTERM"),
            _ = interrupt.recv() => Ok("SIGINT"),
        }
    }
    #[cfg(not(unix))]
    tokio::signal::ctrl_c().await.map(|()| "Ctrl-C")
}

fn start_error(error: &StartError) -> CliError {
    let text = error.to_string();
    let (message, below) = match error {
        // What the TOML library says has the line of the mistake and a mark below it.
        StartError::Config(ConfigError::Invalid { .. }) => text.split_once('\n').unwrap_or((&text, "")),
        _ => (text.as_str(), ""),
    };
    CliError {
        code: error.code().to_owned(),
        message: message.to_owned(),
        below: below.lines().map(str::to_owned).collect(),
        hint: error.hint(),
        exit: EXIT_USAGE,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mistake_in_the_configuration_is_shown_where_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("veriboot.toml");
        std::fs::write(&file, "interval_s = 300\nlisten = \"h\u{202e}ere\"\n").unwrap();
        let error = start_error(&Config::load(Some(&file), |_| None).unwrap_err().into());
        assert_eq!(error.code, "config-invalid");
        assert!(error.message.ends_with("TOML parse error at line 2, column 10"), "{}", error.message);
        assert_eq!(
            error.below.get(1).map(String::as_str),
            Some("2 | listen = \"h\u{202e}ere\""),
            "{error:?}"
        );
        assert!(error.below.get(2).is_some_and(|mark| mark.starts_with("  |          ^^^")), "{error:?}");
        // Every other message is one line, whatever the names in it are.
        let error = StartError::DataDirInUse { path: "a\nhint: b".into() };
        assert!(start_error(&error).below.is_empty());
    }
}
