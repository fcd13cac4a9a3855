//! A real service process: the `veriboot` binary on the embedded database, in a folder of its own.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;

use crate::vm::process::{self, Guard};

/// How long a start may take.
const START_LIMIT: Duration = Duration::from_secs(30);

/// What the service says when it answers (`veriboot serve --json`).
#[derive(Debug, Deserialize)]
struct Announcement {
    listen: std::net::SocketAddr,
    ca_file: PathBuf,
    ca_sha256: String,
}

/// A running service; ended when dropped.
#[derive(Debug)]
pub struct Service {
    binary: PathBuf,
    folder: PathBuf,
    announcement: Announcement,
    process: Guard,
}

impl Service {
    /// Starts the service on a free port of the loopback with its data in `folder`. Guests of the lab reach it as
    /// 10.0.2.2, so its certificate is for that address too. `settings` are further `VERIBOOT_*` variables.
    pub fn start(binary: &Path, folder: &Path, settings: &[(&str, &str)]) -> Result<Self> {
        fs::create_dir_all(folder)?;
        let folder = folder.canonicalize()?;
        let (stdout, log) = (folder.join("announcement.json"), folder.join("service.log"));
        let token_file = folder.join("admin.token");
        let mut command = Command::new(binary);
        command.args(["serve", "--json", "--admin-token-file"]).arg(&token_file);
        command
            .env("VERIBOOT_DATA_DIR", folder.join("data"))
            .env("VERIBOOT_LISTEN", "127.0.0.1:0")
            .env("VERIBOOT_TLS_NAMES", "localhost,127.0.0.1,10.0.2.2");
        for (name, value) in settings {
            command.env(name, value);
        }
        let mut process =
            Guard::start_split(&mut command, process::create(&stdout)?, process::create(&log)?)?;
        let start = Instant::now();
        loop {
            let said = fs::read_to_string(&stdout).unwrap_or_default();
            if let Some((line, _)) = said.split_once('\n') {
                let announcement = serde_json::from_str(line)
                    .with_context(|| format!("the service announced something else: {line}"))?;
                return Ok(Self { binary: binary.to_owned(), folder, announcement, process });
            }
            if process.ended()?.is_some() || start.elapsed() > START_LIMIT {
                bail!("`{}` does not start:\n{}", process::describe(&command), process::tail_of(&log));
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Port on the loopback.
    pub fn port(&self) -> u16 {
        self.announcement.listen.port()
    }

    /// Fingerprint of the CA certificate as the agent takes it: `sha256:HEX`.
    pub fn ca_fingerprint(&self) -> String {
        format!("sha256:{}", self.announcement.ca_sha256)
    }

    /// The variables that make the CLI talk to this service as admin.
    pub fn environment(&self) -> Vec<(String, String)> {
        vec![
            ("VERIBOOT_SERVER".to_owned(), format!("https://127.0.0.1:{}", self.port())),
            ("VERIBOOT_CA".to_owned(), self.announcement.ca_file.display().to_string()),
            ("VERIBOOT_TOKEN_FILE".to_owned(), self.folder.join("admin.token").display().to_string()),
        ]
    }

    /// The CLI, set up for this service.
    pub fn cli<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Command {
        let mut command = Command::new(&self.binary);
        command.args(arguments).envs(self.environment());
        command
    }

    /// Runs the CLI with `--json` and gives what it prints.
    pub fn json(&self, arguments: &[&str]) -> Result<serde_json::Value> {
        let mut command = self.cli(arguments);
        let text = process::output(command.arg("--json"))?;
        serde_json::from_slice(&text)
            .with_context(|| format!("`{}` did not print JSON", process::describe(&command)))
    }

    /// Makes a join token; `arguments` are those of `veriboot token create`.
    pub fn join_token(&self, arguments: &[&str]) -> Result<String> {
        let mut words = vec!["token", "create"];
        words.extend_from_slice(arguments);
        let made = self.json(&words)?;
        let secret = made.get("secret").and_then(serde_json::Value::as_str);
        Ok(secret.context("the service made a join token without a secret")?.to_owned())
    }

    /// Waits until the service ends by itself, at most `limit`; whether it did.
    pub fn ended_within(&mut self, limit: Duration) -> Result<bool> {
        Ok(self.process.wait(limit)?.is_some())
    }

    /// Asks the service to end and waits for it.
    pub fn stop(mut self) -> Result<()> {
        process::output(Command::new("kill").args(["-TERM", &self.process.id().to_string()]))?;
        if !self.ended_within(Duration::from_secs(30))? {
            bail!("the service does not stop:\n{}", process::tail_of(&self.folder.join("service.log")));
        }
        Ok(())
    }
}
