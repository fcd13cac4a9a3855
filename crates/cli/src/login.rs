//! `veriboot login`: remembers a service and an API token.

use std::io::IsTerminal as _;
use std::path::PathBuf;

use clap::Args;
use veriboot_wire::counted;

use crate::client::Client;
use crate::context::{Connection, SavedLogin, check_url, read, save};
use crate::error::CliError;

/// Arguments of `veriboot login`.
#[derive(Args, Debug)]
pub struct LoginArgs {
    /// URL of the service, for example https://veriboot.example:8443
    #[arg(long, env = "VERIBOOT_SERVER", value_name = "URL")]
    server: String,
    /// File with the API token; without it the token is read from standard input
    #[arg(long, env = "VERIBOOT_TOKEN_FILE", value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// PEM file with the CA of the service [default: the system's roots]
    #[arg(long, env = "VERIBOOT_CA", value_name = "FILE")]
    ca: Option<PathBuf>,
    /// File to write [default: ~/.config/veriboot/cli.toml]
    #[arg(long, env = "VERIBOOT_CLI_CONFIG", value_name = "FILE")]
    cli_config: Option<PathBuf>,
}

/// Checks that the token works, then saves it.
pub fn run(args: LoginArgs) -> Result<(), CliError> {
    let server = args.server.trim_end_matches('/').to_owned();
    check_url(&server)?;
    let token = match &args.token_file {
        Some(path) => read(path)?,
        None => {
            if std::io::stdin().is_terminal() {
                eprint!("API token (it will show): ");
            }
            let mut line = String::new();
            std::io::stdin()
                .read_line(&mut line)
                .map_err(|e| CliError::usage("cannot-read-token", format!("cannot read the token: {e}")))?;
            line
        }
    };
    let token = token.trim().to_owned();
    if token.is_empty() {
        return Err(CliError::usage("no-token", "no API token was given")
            .hint("give --token-file FILE, or write the token to standard input"));
    }
    let ca_pem = args.ca.as_deref().map(read).transpose()?;
    let login = SavedLogin { server, token, ca_pem };
    let path = Connection { cli_config: args.cli_config, ..Connection::default() }.config_path()?;
    let target = crate::context::Target {
        server: login.server.clone(),
        token: login.token.clone(),
        ca_pem: login.ca_pem.clone(),
    };
    let summary: veriboot_wire::FleetSummary = Client::new(target)?.get("/v1/summary", &[])?;
    save(&path, &login)?;
    println!("logged in to {} ({}); saved in {}", login.server, counted(summary.vms, "VM"), path.display());
    Ok(())
}
