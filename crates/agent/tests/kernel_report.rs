//! What the agent says about its kernel, and to which services.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, clippy::string_slice)]

mod support;

use serde_json::Value;
use support::log_file;
use support::service::{Canned, Stub};
use veriboot_agent::{Agent, AgentConfig};
use veriboot_testkit::swtpm::Swtpm;
use veriboot_wire::{KernelLogRead, Verdict};

const KMSG: &str = include_str!("kmsg/secure-boot.txt");

struct Setup {
    swtpm: Swtpm,
    stub: Stub,
    dir: tempfile::TempDir,
}

impl Setup {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        log_file(dir.path(), b"a log of this boot");
        for (path, text) in [
            ("sys/kernel/security/lockdown", "none [integrity] confidentiality\n"),
            ("proc/sys/kernel/random/boot_id", "3ee8b6f4\n"),
            ("dev/kmsg", KMSG),
        ] {
            let path = dir.path().join("root").join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        Self { swtpm: Swtpm::start().unwrap(), stub: Stub::http(), dir }
    }

    fn agent(&self) -> Agent {
        let mut config = AgentConfig::new(self.stub.url(), self.dir.path().join("state"));
        config.join_token = Some("good".into());
        config.tpm = self.swtpm.tpm_address().parse().unwrap();
        config.event_log = self.dir.path().join("log");
        config.insecure_http = true;
        config.kernel_root = self.dir.path().join("root");
        Agent::new(config).unwrap()
    }

    /// Members of the evidence that came in, in their order.
    fn sent(&self) -> Vec<Value> {
        let seen = self.stub.seen();
        let evidence = seen.iter().filter(|seen| seen.path.ends_with("/evidence"));
        evidence.map(|seen| serde_json::from_slice(&seen.body).unwrap()).collect()
    }
}

#[test]
fn a_service_that_does_not_ask_is_told_nothing() {
    let setup = Setup::new();
    for accepts in [&[][..], &["something-else"]] {
        setup.stub.accepts(accepts);
        assert_eq!(setup.agent().attest_once().unwrap().verdict, Verdict::Healthy);
    }
    // An earlier release refuses members that it does not know: these are the ones that it does.
    for evidence in setup.sent() {
        let members: Vec<&str> = evidence.as_object().unwrap().keys().map(String::as_str).collect();
        for member in members {
            assert!(["log", "machine", "nonce", "pcrs", "quote", "signature"].contains(&member), "{member}");
        }
    }
    assert!(!setup.dir.path().join("state/kernel.json").exists(), "nothing is read either");
}

#[test]
fn one_that_asks_gets_what_the_kernel_says() {
    let setup = Setup::new();
    setup.stub.accepts(&["kernel"]);
    let mut agent = setup.agent();
    agent.attest_once().unwrap();
    agent.attest_once().unwrap();
    let report = setup.stub.evidence().kernel.unwrap();
    assert_eq!((report.enforces(), report.refused.count, report.log), (Some(true), 4, KernelLogRead::Whole));
    let sent = setup.sent();
    assert_eq!(sent[0]["kernel"], sent[1]["kernel"], "what does not change is said in the same words");
    // A fault and an enrolment are told in the words of every release.
    agent.report_fault("tpm-busy", "The TPM is busy").unwrap();
    for seen in setup.stub.seen().iter().filter(|seen| !seen.path.ends_with("/evidence")) {
        assert!(!String::from_utf8_lossy(&seen.body).contains("refused"), "{}", seen.path);
    }
}

#[test]
fn a_replica_of_an_earlier_release_gets_evidence_without_it() {
    let setup = Setup::new();
    setup.stub.accepts(&["kernel"]);
    let mut agent = setup.agent();
    agent.attest_once().unwrap();
    setup.stub.forget_seen();
    setup.stub.next(Canned::problem("/evidence", 400, "invalid-body"));
    assert_eq!(agent.attest_once().unwrap().verdict, Verdict::Healthy);
    let sent = setup.sent();
    assert_eq!((sent.len(), sent[0].get("kernel").is_some(), sent[1].get("kernel")), (2, true, None));
    // One that refuses everything is tried no third time.
    setup.stub.forget_seen();
    for _ in 0..3 {
        setup.stub.next(Canned::problem("/evidence", 400, "invalid-body"));
    }
    assert_eq!(agent.attest_once().unwrap_err().code(), "invalid-body");
    assert_eq!(setup.sent().len(), 2);
}

#[test]
fn an_agent_that_can_read_nothing_attests_all_the_same() {
    let setup = Setup::new();
    setup.stub.accepts(&["kernel"]);
    std::fs::remove_dir_all(setup.dir.path().join("root")).unwrap();
    assert_eq!(setup.agent().attest_once().unwrap().verdict, Verdict::Healthy);
    assert_eq!(setup.stub.evidence().kernel, None);
}
