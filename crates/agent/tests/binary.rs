//! The binary as an operator meets it: exit codes, messages, signals, memory.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, clippy::string_slice)]

mod support;

use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use support::service::{Canned, Stub, TlsOptions};
use support::{check_quote, log_file};
use veriboot_testkit::swtpm::{Swtpm, SwtpmOptions};
use veriboot_wire::EvidenceBundle;

struct Machine {
    swtpm: Swtpm,
    stub: Stub,
    dir: tempfile::TempDir,
}

impl Machine {
    fn new() -> Self {
        Self::with(Stub::http())
    }

    fn with(stub: Stub) -> Self {
        let dir = tempfile::tempdir().unwrap();
        log_file(dir.path(), b"a log");
        Self { swtpm: Swtpm::start().unwrap(), stub, dir }
    }

    fn agent(&self, arguments: &[&str]) -> Command {
        let mut command = agent(self.dir.path(), arguments);
        command
            .env("VERIBOOT_AGENT_SERVER", self.stub.url())
            .env("VERIBOOT_AGENT_TPM", self.swtpm.tpm_address())
            .env("VERIBOOT_AGENT_JOIN_TOKEN", "good");
        command
    }
}

fn agent(dir: &Path, arguments: &[&str]) -> Command {
    let config = dir.join("agent.toml");
    std::fs::write(&config, "insecure-http = true\n").unwrap();
    // Another build of the agent, the static one for example, goes through the same tests.
    let built = std::env::var_os("VERIBOOT_AGENT_BINARY");
    let mut command = Command::new(built.unwrap_or_else(|| env!("CARGO_BIN_EXE_veriboot-agent").into()));
    command
        .args(arguments)
        .env("VERIBOOT_AGENT_CONFIG", config)
        .env("VERIBOOT_AGENT_STATE_DIR", dir.join("state"))
        .env("VERIBOOT_AGENT_EVENT_LOG", dir.join("log"));
    command
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn once_tells_the_verdict_by_its_exit_code() {
    let machine = Machine::new();
    let output = machine.agent(&["status"]).output().unwrap();
    assert_eq!((output.status.code(), text(&output).trim()), (Some(2), "not enrolled"));
    let output = machine.agent(&["--once"]).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    assert_eq!(String::from_utf8_lossy(&output.stdout), "healthy\n");
    let output = machine.agent(&["status"]).output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    for line in ["vm            vm-1\n", "last verdict  healthy\n", "status        healthy\n"] {
        assert!(text(&output).contains(line), "{}", text(&output));
    }
    let directions = r#"{"challenge":{"nonce":"","expires_in_s":0,"banks":[],"pcrs":[]},"interval_s":5,"now":"2026-01-01T00:00:00Z"}"#;
    machine.stub.next(Canned::new(
        "/evidence",
        200,
        format!(
            r#"{{"attestation_id":"a","verdict":"unhealthy","status":"unhealthy","directions":{directions},
            "findings":[{{"code":"c","severity":"high","message":"the kernel's \"cmdline\" changed\u001b[2J\u202e"}}]}}"#
        ),
    ));
    let output = machine.agent(&["--once"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", text(&output));
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        "unhealthy\n  the kernel's \"cmdline\" changed [2J \n"
    );
    let output = machine.agent(&["status"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(
        text(&output).contains("reason        the kernel's \"cmdline\" changed [2J"),
        "{}",
        text(&output)
    );
}

#[test]
fn errors_have_code_blame_and_hint() {
    let machine = Machine::new();
    let expect = |command: &mut Command, code: &str, fault: &str, hint: &str| {
        let output = command.output().unwrap();
        let shown = text(&output);
        assert_eq!(output.status.code(), Some(2), "{shown}");
        assert!(shown.contains(&format!("code: {code} (fault: {fault})\n")), "{shown}");
        assert!(shown.lines().any(|line| line.starts_with("hint: ") && line.contains(hint)), "{shown}");
        assert!(!shown.contains("panicked"), "{shown}");
    };
    let once = || machine.agent(&["--once"]);
    expect(once().env("VERIBOOT_AGENT_TPM", "/dev/veriboot-none"), "tpm-missing", "machine", "--tpm");
    expect(once().env("VERIBOOT_AGENT_TPM", "tpm0"), "setting-invalid", "configuration", "/dev/tpmrm0");
    expect(
        once().env_remove("VERIBOOT_AGENT_SERVER"),
        "setting-missing",
        "configuration",
        "VERIBOOT_AGENT_SERVER",
    );
    expect(
        once().env_remove("VERIBOOT_AGENT_JOIN_TOKEN"),
        "join-token-missing",
        "configuration",
        "token create",
    );
    expect(once().env("VERIBOOT_AGENT_JOIN_TOKEN", "x"), "join-token-invalid", "configuration", "h");
    expect(
        once().env("VERIBOOT_AGENT_SERVER", "http://127.0.0.1:1"),
        "service-unreachable",
        "network",
        "firewall",
    );
    let tls = Stub::https(&TlsOptions { not_after_year: 2021, ..TlsOptions::default() });
    let ca = machine.dir.path().join("ca.pem");
    std::fs::write(&ca, &tls.tls().ca_pem).unwrap();
    let mut expired = once();
    expired.env("VERIBOOT_AGENT_SERVER", tls.url()).env("VERIBOOT_AGENT_CA", &ca);
    expect(&mut expired, "service-certificate-time", "machine", "clock");
    let mut pinned = once();
    let fingerprint = format!("sha256:{}", "00".repeat(32));
    pinned.env("VERIBOOT_AGENT_SERVER", tls.url()).env("VERIBOOT_AGENT_CA_FINGERPRINT", fingerprint);
    expect(&mut pinned, "ca-fingerprint-mismatch", "network", "fingerprint");
    let config = machine.dir.path().join("wrong.toml");
    std::fs::write(&config, "sever = 'x'\n").unwrap();
    expect(once().arg("--config").arg(&config), "settings-invalid", "configuration", "--help");
    expect(
        once().args(["evidence", "--nonce", "12"]).env_remove("VERIBOOT_AGENT_SERVER"),
        "setting-invalid",
        "configuration",
        "openssl rand -hex 32",
    );
}

#[test]
fn evidence_needs_no_service_and_verifies() {
    let dir = tempfile::tempdir().unwrap();
    log_file(dir.path(), b"a log");
    let swtpm = SwtpmOptions::default().banks(&["sha1", "sha256"]).start().unwrap();
    swtpm.extend(9, "sha256", &[9; 32]).unwrap();
    let nonce = "ab".repeat(32);
    let out = dir.path().join("bundle.json");
    let status = agent(dir.path(), &["evidence", "--nonce", &nonce, "--out"])
        .arg(&out)
        .env("VERIBOOT_AGENT_TPM", swtpm.tpm_address())
        .status()
        .unwrap();
    assert!(status.success());
    let bundle: EvidenceBundle = serde_json::from_slice(&std::fs::read(out).unwrap()).unwrap();
    assert_eq!(bundle.nonce.as_deref(), Some(nonce.as_str()));
    assert_eq!(bundle.event_log.unwrap().0, b"a log");
    assert_eq!(bundle.pcrs.keys().collect::<Vec<_>>(), ["sha1", "sha256"]);
    assert_eq!(bundle.pcrs["sha256"][&9], hex::encode(swtpm.pcr_read(9, "sha256").unwrap()));
    assert_eq!(bundle.pcrs["sha1"].len(), 24);
    let ak: veriboot_wire::Blob = serde_json::from_value(bundle.ak_public.unwrap().into()).unwrap();
    assert!(check_quote(&ak, &bundle.quote, &bundle.signature, &[0xab; 32]));
    assert!(!dir.path().join("state").exists());
}

/// Ends with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn until(what: &str, mut done: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !done() {
        assert!(begin.elapsed() < Duration::from_secs(30), "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn runs_until_sigterm_and_leaves_cleanly() {
    let machine = Machine::with(Stub::https(&TlsOptions::default()));
    log_file(machine.dir.path(), &[0x5a; 60_000]);
    let ca = machine.dir.path().join("ca.pem");
    std::fs::write(&ca, &machine.stub.tls().ca_pem).unwrap();
    let log = machine.dir.path().join("stderr");
    let child = machine
        .agent(&["run", "--log-format", "json"])
        .env("VERIBOOT_AGENT_CA", ca)
        .stderr(std::fs::File::create(&log).unwrap())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let mut running = Running(child);
    until("no evidence", || machine.stub.paths().iter().any(|path| path.ends_with("/evidence")));
    until("no verdict", || std::fs::read_to_string(&log).unwrap().contains("\"healthy\""));
    let status = std::fs::read_to_string(format!("/proc/{}/status", running.0.id())).unwrap();
    let kib = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.trim_start_matches(':').trim().trim_end_matches(" kB").parse::<u32>().unwrap()
    };
    println!("resident {} KiB, peak {} KiB", kib("VmRSS"), kib("VmHWM"));
    if std::env::var_os("VERIBOOT_AGENT_BINARY").is_some() {
        assert!(kib("VmRSS") <= 8 * 1024);
    }
    // A second agent on the same folder is refused.
    let output = machine.agent(&["--once"]).output().unwrap();
    assert!(text(&output).contains("code: state-in-use"), "{}", text(&output));
    let begin = Instant::now();
    support::run(Command::new("kill").args(["-TERM", &running.0.id().to_string()]));
    let status = running.0.wait().unwrap();
    assert!(status.success(), "{status}");
    assert!(begin.elapsed() < Duration::from_secs(2));
    for line in std::fs::read_to_string(&log).unwrap().lines() {
        serde_json::from_str::<serde_json::Value>(line).unwrap();
    }
    assert_eq!(machine.stub.paths().len(), 3, "it attested once and waited");
}
