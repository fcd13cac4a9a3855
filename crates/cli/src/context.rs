//! Which service the CLI talks to, and with which token: flags, environment, then the file of `veriboot login`.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use clap::Args;
use serde::{Deserialize, Serialize};

use crate::error::CliError;

/// Where the service is. Every flag has an environment variable; what is absent comes from the file that
/// `veriboot login` writes.
#[derive(Args, Debug, Clone, Default)]
pub struct Connection {
    /// URL of the service, for example https://veriboot.example:8443
    #[arg(long, env = "VERIBOOT_SERVER", global = true, value_name = "URL", help_heading = "Connection")]
    pub server: Option<String>,
    /// File with the API token
    #[arg(
        long,
        env = "VERIBOOT_TOKEN_FILE",
        global = true,
        value_name = "FILE",
        help_heading = "Connection"
    )]
    pub token_file: Option<PathBuf>,
    /// PEM file with the CA of the service
    #[arg(long, env = "VERIBOOT_CA", global = true, value_name = "FILE", help_heading = "Connection")]
    pub ca: Option<PathBuf>,
    /// File that `veriboot login` writes [default: ~/.config/veriboot/cli.toml]
    #[arg(
        long,
        env = "VERIBOOT_CLI_CONFIG",
        global = true,
        value_name = "FILE",
        help_heading = "Connection"
    )]
    pub cli_config: Option<PathBuf>,
}

/// Content of the file that `veriboot login` writes.
#[derive(Serialize, Deserialize, Debug, Clone, Default)]
#[serde(deny_unknown_fields)]
pub struct SavedLogin {
    /// URL of the service.
    pub server: String,
    /// API token.
    pub token: String,
    /// CA of the service, PEM; absent when the system's roots are used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_pem: Option<String>,
}

/// A service that can be called.
#[derive(Debug, Clone)]
pub struct Target {
    /// URL without a slash at its end.
    pub server: String,
    /// API token.
    pub token: String,
    /// CA of the service, PEM.
    pub ca_pem: Option<String>,
}

impl Connection {
    /// The file of `veriboot login`.
    pub fn config_path(&self) -> Result<PathBuf, CliError> {
        if let Some(path) = &self.cli_config {
            return Ok(path.clone());
        }
        let base = std::env::var_os("XDG_CONFIG_HOME")
            .map(PathBuf::from)
            .or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".config")))
            .ok_or_else(|| {
                CliError::usage("no-home", "neither HOME nor XDG_CONFIG_HOME is set")
                    .hint("give --cli-config FILE, or --server and VERIBOOT_TOKEN")
            })?;
        Ok(base.join("veriboot").join("cli.toml"))
    }

    /// Puts flags, environment and the saved login together.
    pub fn resolve(&self) -> Result<Target, CliError> {
        let token = match (&self.token_file, std::env::var("VERIBOOT_TOKEN")) {
            (Some(path), _) => Some(read(path)?.trim().to_owned()),
            (None, Ok(token)) if !token.trim().is_empty() => Some(token.trim().to_owned()),
            _ => None,
        };
        let ca_pem = self.ca.as_deref().map(read).transpose()?;
        let saved = match self.config_path() {
            Ok(path) if path.exists() => Some(load(&path)?),
            _ => None,
        };
        // A saved token is only ever sent to the service that it was saved for.
        let server = self.server.as_deref().map(|s| s.trim_end_matches('/').to_owned());
        let saved = saved.filter(|s| server.as_ref().is_none_or(|given| *given == s.server));
        let server = server.or_else(|| saved.as_ref().map(|s| s.server.clone())).ok_or_else(|| {
            CliError::usage("no-server", "no service is named").hint(
                "run `veriboot login --server https://HOST:8443 --ca ca.pem --token-file FILE`, \
                 or set VERIBOOT_SERVER, VERIBOOT_CA and VERIBOOT_TOKEN",
            )
        })?;
        check_url(&server)?;
        let token = token.or_else(|| saved.as_ref().map(|s| s.token.clone())).ok_or_else(|| {
            CliError::usage("no-token", format!("no API token for {server}"))
                .hint("run `veriboot login`, or set VERIBOOT_TOKEN or --token-file")
        })?;
        if token.is_empty() || !token.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(CliError::usage("bad-token", "the API token has characters that no token has")
                .hint("the token file must hold the token alone, on one line"));
        }
        Ok(Target { server, token, ca_pem: ca_pem.or_else(|| saved.and_then(|s| s.ca_pem)) })
    }
}

/// Only https, or http to this machine.
pub fn check_url(server: &str) -> Result<(), CliError> {
    let loopback = ["http://127.0.0.1", "http://localhost", "http://[::1]"].iter().any(|prefix| {
        server.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with([':', '/']))
    });
    if server.starts_with("https://") || loopback {
        return Ok(());
    }
    Err(CliError::usage("bad-server-url", format!("{server:?} is not an https:// URL"))
        .hint("a token is never sent in clear text over a network"))
}

/// Writes the login file, readable by its owner only.
pub fn save(path: &Path, login: &SavedLogin) -> Result<(), CliError> {
    let failed = |e: std::io::Error| {
        CliError::usage("cannot-write-login", format!("cannot write {}: {e}", path.display()))
    };
    let text = toml::to_string(login)
        .map_err(|e| CliError::usage("cannot-write-login", format!("cannot encode the login: {e}")))?;
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder).map_err(failed)?;
    let new = path.with_extension("new");
    let _ = std::fs::remove_file(&new);
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(&new).map_err(failed)?;
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(failed)?;
    std::fs::rename(&new, path).map_err(failed)
}

fn load(path: &Path) -> Result<SavedLogin, CliError> {
    toml::from_str(&read(path)?).map_err(|e| {
        CliError::usage("bad-login-file", format!("{} is not a login file: {}", path.display(), e.message()))
            .hint("run `veriboot login` again")
    })
}

/// Reads a small text file.
pub fn read(path: &Path) -> Result<String, CliError> {
    std::fs::read_to_string(path).map_err(|e| CliError::unreadable("cannot-read-file", path, &e))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_never_leaves_in_clear_text() {
        assert!(check_url("https://a.example:8443").is_ok());
        assert!(check_url("http://127.0.0.1:80").is_ok());
        assert!(check_url("http://127.0.0.1.evil.example").is_err());
        assert!(check_url("http://a.example").is_err());
        assert!(check_url("ftp://a.example").is_err());
    }

    #[test]
    fn a_saved_token_stays_with_its_service() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cli.toml");
        let login = SavedLogin { server: "https://a.example".into(), token: "t".into(), ca_pem: None };
        save(&path, &login).unwrap();
        let mut connection = Connection { cli_config: Some(path), ..Connection::default() };
        assert_eq!(connection.resolve().unwrap().token, "t");
        connection.server = Some("https://b.example".into());
        assert_eq!(connection.resolve().unwrap_err().code, "no-token");
    }
}
