//! A real Alertmanager (Debian's prometheus-alertmanager).

use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

use super::{Running, free_port, until};

/// On free loopback ports; ends when dropped.
pub struct Alertmanager {
    port: u16,
    _running: Running,
}

impl Alertmanager {
    pub fn start(folder: &Path) -> Self {
        std::fs::create_dir_all(folder).unwrap();
        let config = folder.join("alertmanager.yml");
        std::fs::write(
            &config,
            "route:\n  receiver: nobody\n  group_by: [alertname]\nreceivers:\n  - name: nobody\n",
        )
        .unwrap();
        let port = free_port();
        let child = Command::new("prometheus-alertmanager")
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.path={}", folder.join("data").display()))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .arg("--cluster.listen-address=")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("prometheus-alertmanager is installed: scripts/packages.sh test");
        let alertmanager = Self { port, _running: Running(child) };
        until(|| alertmanager.get("/-/ready").map(drop), || "the Alertmanager".into());
        alertmanager
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    fn get(&self, path: &str) -> Option<String> {
        let mut reply = ureq::get(format!("{}{path}", self.url())).call().ok()?;
        reply.body_mut().read_to_string().ok()
    }

    /// What it knows from Veriboot and has not ended.
    pub fn alerts(&self) -> Vec<Value> {
        let text = self.get("/api/v2/alerts?filter=service%3Dveriboot").unwrap_or_else(|| "[]".into());
        serde_json::from_str(&text).unwrap()
    }

    /// What it knows of a VM.
    pub fn firing(&self, vm: &str) -> Option<Value> {
        self.alerts().into_iter().find(|alert| alert["labels"]["vm"] == vm)
    }
}
