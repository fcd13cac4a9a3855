//! `veriboot baseline accept`: what is trusted is what was shown.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod made_log;
mod serve;

use std::process::Command;

use serde_json::Value;
use serve::Service;
use veriboot_agent::{Agent, AgentConfig, Trust};
use veriboot_testkit::swtpm::Swtpm;

/// Resets the TPM, measures `text` and gives the log of that.
fn boot(tpm: &Swtpm, text: &str) -> Vec<u8> {
    tpm.reboot().unwrap();
    // GRUB measures a command without what it puts in front of it.
    let measured = text.split_once(": ").unwrap().1;
    let digest = veriboot_eventlog::HashAlg::Sha256.hash(&[measured.as_bytes()]);
    let text = format!("{text}\0");
    tpm.extend(8, "sha256", digest.as_ref()).unwrap();
    made_log::of_one_event(digest.as_ref(), text.as_bytes())
}

#[test]
fn accept_shows_what_it_trusts_and_trusts_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let service = Service::start(dir.path());
    let ca = dir.path().join("data/ca.pem");
    let veriboot = |args: &[&str]| {
        let out = Command::new(env!("CARGO_BIN_EXE_veriboot"))
            .args(args)
            .env("VERIBOOT_SERVER", &service.url)
            .env("VERIBOOT_CA", &ca)
            .env("VERIBOOT_TOKEN", service.admin_token())
            .env("VERIBOOT_CLI_CONFIG", dir.path().join("none"))
            .output()
            .unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (out.status.code().unwrap(), text(&out.stdout), text(&out.stderr))
    };
    let json = |args: &[&str]| -> Value {
        let (code, stdout, stderr) = veriboot(args);
        assert_eq!(code, 0, "{stderr}");
        serde_json::from_str(&stdout).unwrap()
    };
    let token = json(&["token", "create", "--json"])["secret"].as_str().unwrap().to_owned();
    let tpm = Swtpm::start().unwrap();
    let config = AgentConfig {
        join_token: Some(token),
        trust: Trust::CaFile(ca.clone()),
        tpm: tpm.tpm_address().parse().unwrap(),
        event_log: dir.path().join("log"),
        kernel_root: dir.path().join("root"),
        name: Some("app-0".to_owned()),
        ..AgentConfig::new(&service.url, dir.path().join("state"))
    };
    let mut agent = Agent::new(config).unwrap();
    let mut attest = |text: &str| {
        std::fs::write(dir.path().join("log"), boot(&tpm, text)).unwrap();
        agent.attest_once().unwrap();
        json(&["boot", "list", "app-0", "--json"])[0]["id"].as_str().unwrap().to_owned()
    };

    let first = attest("grub_cmd: set a=1");
    let (code, stdout, stderr) = veriboot(&["baseline", "accept", "app-0"]);
    assert_eq!(code, 0, "{stderr}");
    assert!(stdout.contains(&first) && stdout.contains("vm/default/app-0@1 judges from now on"), "{stdout}");

    let second = attest("grub_cmd: set a=evil");
    // Looked at before the VM booted again.
    let (code, _, stderr) = veriboot(&["baseline", "accept", "app-0", "--boot", &first]);
    assert!(code == 4 && stderr.contains("boot-changed"), "{code} {stderr}");
    let (code, stdout, stderr) = veriboot(&["baseline", "accept", "app-0", "-m", "planned"]);
    assert_eq!(code, 0, "{stderr}");
    let (shown, judges) = stdout.split_once("vm/default/app-0@2 judges from now on").expect(&stdout);
    assert!(judges.trim().is_empty());
    for part in [second.as_str(), "Trusted from now on", "PCR 8"] {
        assert!(shown.contains(part), "{part:?} is missing in\n{stdout}");
    }
    let baselines = json(&["baseline", "list", "--json"]);
    assert_eq!(baselines[0]["boot_id"], second.as_str());
}
