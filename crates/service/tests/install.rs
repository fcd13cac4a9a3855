//! The install line and its script, run by the real curl and sh into a folder.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)] // a test that fails here says where

mod common;

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Output};

use common::TestServer;

/// Something with the ELF header of this machine.
fn agent(folder: &Path, text: &str) -> std::path::PathBuf {
    let machine: u8 = if cfg!(target_arch = "x86_64") { 0x3e } else { 0xb7 };
    let mut bytes = vec![0_u8; 64];
    bytes[..6].copy_from_slice(b"\x7fELF\x02\x01");
    bytes[18] = machine;
    bytes.extend_from_slice(text.as_bytes());
    let path = folder.join("veriboot-agent");
    std::fs::write(&path, bytes).unwrap();
    path
}

fn with_agent(folder: &Path) -> TestServer {
    let path = agent(folder, "first");
    TestServer::builder().config(move |c| c.agent_binary = Some(path)).start()
}

/// Runs the line as it was printed, except that `sudo` is not wanted here and the files go to `root`.
fn run(line: &str, root: &Path) -> Output {
    let line = line.replace("sudo sh", "sh");
    Command::new("bash").args(["-o", "pipefail", "-c", &line]).env("DESTDIR", root).output().unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn the_line_installs_and_installs_again() {
    let folder = tempfile::tempdir().unwrap();
    let mut server = with_agent(folder.path());
    let root = folder.path().join("root");
    let line = server.announcement().first_start.clone().unwrap().install;
    let line = line.replace(&server.announcement().url, &server.url());
    let output = run(&line, &root);
    assert!(output.status.success(), "{line}: {}", stderr(&output));
    let read = |path: &str| std::fs::read_to_string(root.join(path)).unwrap();
    let mode = |path: &str| std::fs::metadata(root.join(path)).unwrap().permissions().mode() & 0o777;
    let token = line.rsplit(' ').next().unwrap();
    let config = read("etc/veriboot/agent.toml");
    assert!(config.contains(&format!("join-token = \"{token}\"")), "{config}");
    assert!(config.contains("ca = \"/etc/veriboot/ca.pem\""), "{config}");
    assert_eq!(
        read("etc/veriboot/ca.pem"),
        std::fs::read_to_string(server.ca_file()).unwrap().replace("\r\n", "\n")
    );
    assert_eq!((mode("etc/veriboot/agent.toml"), mode("usr/local/bin/veriboot-agent")), (0o600, 0o755));
    let unit = read("etc/systemd/system/veriboot-agent.service");
    assert!(unit.contains("ExecStart=/usr/local/bin/veriboot-agent --config /etc/veriboot/agent.toml"));
    // What hides the TPM, /dev/kmsg, or the kernel's settings from the agent is not set.
    for hides in [
        "PrivateDevices=",
        "ProtectKernelLogs=",
        "CapabilityBoundingSet=",
        "DevicePolicy=",
        "InaccessiblePaths=",
    ] {
        assert!(!unit.contains(hides), "{hides}");
    }
    // The agent reads this file.
    let settings = veriboot_agent::Settings::from_file(&root.join("etc/veriboot/agent.toml")).unwrap();
    assert_eq!(settings.join_token.as_deref(), Some(token));

    // Again, with another binary and without a token: the configuration stays.
    agent(folder.path(), "second");
    server.restart();
    let again = line.split(" --join-token").next().unwrap();
    let output = run(again, &root);
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(std::fs::read(root.join("usr/local/bin/veriboot-agent")).unwrap().ends_with(b"second"));
    assert_eq!(read("etc/veriboot/agent.toml"), config);
}

#[test]
fn the_line_refuses_what_it_should() {
    let folder = tempfile::tempdir().unwrap();
    let server = with_agent(folder.path());
    let line = server.announcement().first_start.clone().unwrap().install;
    let line = line.replace(&server.announcement().url, &server.url());
    // Another server than the pinned one.
    let other = with_agent(folder.path());
    let output = run(&line.replace(&server.url(), &other.url()), &folder.path().join("a"));
    assert!(!output.status.success());
    assert!(!folder.path().join("a").exists(), "curl must not have handed over a script");
    // No token on a first install; a token that would be TOML or shell.
    let script = line.split(" --join-token").next().unwrap();
    for arguments in [
        "",
        " --join-token 'a\"b'",
        " --join-token '$(id)'",
        " --name 'a b'",
        " --frobnicate",
        " --join-token",
    ] {
        let output = run(&format!("{script}{arguments}"), &folder.path().join("b"));
        assert!(!output.status.success(), "{arguments}");
        assert!(stderr(&output).contains("veriboot:"), "{arguments}: {}", stderr(&output));
    }
    assert!(!folder.path().join("b/etc/veriboot/agent.toml").exists());
    // A script of yesterday with the binary of today.
    let text = server.anonymous().get("/install.sh").text();
    let sha256 = server.state().agent.as_ref().unwrap().sha256.clone();
    let stale = folder.path().join("stale.sh");
    std::fs::write(&stale, text.replace(&sha256, &"0".repeat(64))).unwrap();
    let output = Command::new("sh")
        .arg(&stale)
        .args(["--join-token", "vbj_x"])
        .env("DESTDIR", folder.path().join("c"))
        .output()
        .unwrap();
    assert!(!output.status.success() && stderr(&output).contains("not the one"), "{}", stderr(&output));
    assert!(!folder.path().join("c/usr/local/bin/veriboot-agent").exists());
    // Half a script does nothing.
    for length in [100, 1000, text.len() - 10] {
        std::fs::write(&stale, &text.as_bytes()[..length]).unwrap();
        let d = folder.path().join("d");
        let _ = Command::new("sh")
            .arg(&stale)
            .args(["--join-token", "vbj_x"])
            .env("DESTDIR", &d)
            .output()
            .unwrap();
        assert!(!d.exists(), "{length} bytes");
    }
}

#[test]
fn shellcheck_has_nothing_to_say() {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/src/install/install.sh");
    match Command::new("shellcheck").args(["--shell=sh", script]).output() {
        Ok(output) => assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout)),
        Err(_) => eprintln!("shellcheck is not installed: not checked"),
    }
}

#[test]
fn without_an_agent_nothing_is_handed_out() {
    let server = TestServer::start();
    assert_eq!(server.anonymous().get("/install.sh").code(), "not-found");
    assert_eq!(server.anonymous().get("/agent/linux-x86_64").code(), "not-found");
    let told = server.announcement().to_string();
    assert!(told.contains("/install.sh is off") && told.contains("agent_binary"), "{told}");
    let line = server.announcement().first_start.clone().unwrap().install;
    assert!(line.contains("veriboot-agent --server ") && line.contains("--ca-fingerprint sha256:"), "{line}");
    assert_eq!(
        server.anonymous().get("/ca.pem").text(),
        std::fs::read_to_string(server.ca_file()).unwrap().replace("\r\n", "\n")
    );
}
