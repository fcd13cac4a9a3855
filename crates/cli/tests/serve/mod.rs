//! `veriboot serve`, the real binary, on a free port of this machine.
#![allow(dead_code)] // each test binary uses its part of this

use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::Value;

/// A port that nobody listens on.
pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// A running service; killed when dropped.
pub struct Service {
    child: Child,
    /// The folder that has its data.
    pub folder: PathBuf,
    /// Where it listens.
    pub url: String,
    /// What it said when it was ready.
    announced: Value,
}

impl Service {
    /// Starts it on a port of its own.
    pub fn start(folder: &Path) -> Self {
        Self::start_at(folder, free_port())
    }

    /// Starts it on this port.
    pub fn start_at(folder: &Path, port: u16) -> Self {
        Self::start_with(folder, port, &[])
    }

    /// Starts it with variables of the environment and its data in `folder/data`, and waits until it is ready.
    pub fn start_with(folder: &Path, port: u16, settings: &[(&str, &str)]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_veriboot"))
            .args(["serve", "--json", "--listen", &format!("127.0.0.1:{port}")])
            .arg("--data-dir")
            .arg(folder.join("data"))
            .envs(settings.iter().copied())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let announced =
            serde_json::from_str(&line).unwrap_or_else(|_| panic!("the service starts: {line:?}"));
        let url = format!("https://127.0.0.1:{port}");
        Self { child, folder: folder.to_owned(), url, announced }
    }

    /// The token that the first start gives.
    pub fn admin_token(&self) -> &str {
        self.announced["first_start"]["admin_token"].as_str().unwrap()
    }

    /// The certificate of its CA.
    pub fn ca(&self) -> PathBuf {
        self.folder.join("data/ca.pem")
    }

    /// SIGKILL: nothing is flushed, nothing is said.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
