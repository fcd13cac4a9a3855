//! A real Prometheus loads the rules, scrapes a real service, and a rule fires.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod common;

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use common::TestServer;
use serde_json::Value;
use veriboot_service::heartbeat;

/// Ended when dropped.
struct Prometheus {
    child: Child,
    url: String,
}

impl Prometheus {
    fn get(&self, path: &str) -> Option<Value> {
        let mut answer = ureq::get(format!("{}{path}", self.url)).call().ok()?;
        answer.body_mut().read_json().ok()
    }

    /// Asks until the answer is as wanted.
    #[track_caller]
    fn wait(&self, path: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let (start, mut last) = (Instant::now(), Value::Null);
        while start.elapsed() < Duration::from_secs(60) {
            if let Some(answer) = self.get(path) {
                if wanted(&answer["data"]) {
                    return answer["data"].clone();
                }
                last = answer;
            }
            std::thread::sleep(Duration::from_millis(200));
        }
        panic!("{path}: {last:#}")
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn rules() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../../deploy/prometheus/veriboot.rules.yml")
        .canonicalize()
        .unwrap()
}

#[test]
fn the_rules_are_well_formed() {
    let output = Command::new("promtool").args(["check", "rules"]).arg(rules()).output();
    let output = output.expect("promtool is there: scripts/packages.sh test installs Debian's prometheus");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn a_rule_fires_for_what_the_service_counts() {
    let server = TestServer::start();
    let folder = server.folder();
    let config = format!(
        "global: {{ scrape_interval: 1s, evaluation_interval: 1s }}\nrule_files: [{rules}]\nscrape_configs:\n- job_name: \
         veriboot\n  scheme: https\n  tls_config: {{ ca_file: {ca} }}\n  static_configs: [{{ targets: ['{address}'] }}]\n",
        rules = rules().display(),
        ca = server.ca_file().display(),
        address = server.address(),
    );
    let file = folder.join("prometheus.yml");
    std::fs::write(&file, config).unwrap();
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let child = Command::new("prometheus")
        .arg(format!("--config.file={}", file.display()))
        .arg(format!("--storage.tsdb.path={}", folder.join("tsdb").display()))
        .arg(format!("--web.listen-address=127.0.0.1:{port}"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("prometheus is there: scripts/packages.sh test installs it");
    let prometheus = Prometheus { child, url: format!("http://127.0.0.1:{port}") };

    let targets = prometheus.wait("/api/v1/targets", |data| data["activeTargets"][0]["health"] == "up");
    assert_eq!(targets["activeTargets"][0]["lastError"], "");
    let loaded = prometheus.wait("/api/v1/rules", |data| {
        let groups = data["groups"].as_array().map(Vec::as_slice).unwrap_or_default();
        let rules = groups.iter().flat_map(|group| group["rules"].as_array().unwrap());
        groups.len() == 2 && rules.clone().all(|rule| rule["health"] == "ok")
    });
    let names: Vec<&str> = loaded["groups"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|group| group["rules"].as_array().unwrap())
        .map(|rule| rule["name"].as_str().unwrap())
        .collect();
    assert!(names.contains(&"VeribootNobodyWatched") && names.len() >= 15, "{names:?}");
    let firing = |data: &Value| {
        let alerts = data["alerts"].as_array().unwrap();
        alerts.iter().any(|a| a["labels"]["alertname"] == "VeribootNobodyWatched" && a["state"] == "firing")
    };
    let before = prometheus.get("/api/v1/alerts").unwrap();
    assert!(!firing(&before["data"]), "{before}");

    server.block_on(heartbeat::beat(server.state())).unwrap();
    server.clock().step_ms(86_400_000);
    server.block_on(heartbeat::beat(server.state())).unwrap();
    let alerts = prometheus.wait("/api/v1/alerts", firing);
    let alert = alerts["alerts"]
        .as_array()
        .unwrap()
        .iter()
        .find(|alert| alert["labels"]["alertname"] == "VeribootNobodyWatched")
        .unwrap();
    assert_eq!(alert["labels"]["cause"], "clock-step");
    assert_eq!(alert["annotations"]["runbook"], "docs/metrics.md#veribootnobodywatched");
    // Every metric of the rules has a series in a service that just started.
    let known = prometheus
        .wait("/api/v1/label/__name__/values", |data| data.as_array().is_some_and(|n| n.len() > 40));
    let known: Vec<&str> = known.as_array().unwrap().iter().filter_map(Value::as_str).collect();
    let text = std::fs::read_to_string(rules()).unwrap();
    let code: String = text.lines().filter(|line| !line.trim_start().starts_with('#')).collect();
    for name in
        code.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).filter(|w| w.starts_with("veriboot_"))
    {
        assert!(known.contains(&name), "{name} is not scraped: {known:?}");
    }
}
