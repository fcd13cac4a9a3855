//! The agent against a stub of the service that misbehaves, with a real swtpm below.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, clippy::string_slice)]

mod support;

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::json;
use support::service::{Canned, Stub, TlsOptions};
use support::{log_file, run};
use veriboot_agent::{Agent, AgentConfig, AgentError, Trust};
use veriboot_testkit::swtpm::Swtpm;
use veriboot_wire::{EvidenceRequest, Verdict};

struct Setup {
    swtpm: Swtpm,
    stub: Stub,
    dir: tempfile::TempDir,
}

impl Setup {
    fn new(stub: Stub) -> Self {
        let dir = tempfile::tempdir().unwrap();
        log_file(dir.path(), b"a log of this boot");
        Self { swtpm: Swtpm::start().unwrap(), stub, dir }
    }

    fn http() -> Self {
        Self::new(Stub::http())
    }

    fn state(&self) -> PathBuf {
        self.dir.path().join("state")
    }

    fn config(&self) -> AgentConfig {
        let mut config = AgentConfig::new(self.stub.url(), self.state());
        config.join_token = Some("good".into());
        config.tpm = self.swtpm.tpm_address().parse().unwrap();
        config.event_log = self.dir.path().join("log");
        config.insecure_http = true;
        if self.stub.url().starts_with("https") {
            let ca = self.dir.path().join("ca.pem");
            std::fs::write(&ca, &self.stub.tls().ca_pem).unwrap();
            config.trust = Trust::CaFile(ca);
        }
        config
    }

    fn agent(&self) -> Agent {
        Agent::new(self.config()).unwrap()
    }

    /// An agent that is enrolled and has attested; the stub has forgotten what it saw.
    fn settled(&self) -> Agent {
        let mut agent = self.agent();
        assert_eq!(agent.attest_once().unwrap().verdict, Verdict::Healthy);
        self.stub.forget_seen();
        agent
    }
}

const ENROLL: &str = "/v1/agent/enroll";
const ACTIVATE: &str = "/v1/agent/enroll/e-1/activate";
const CHALLENGE: &str = "/v1/agent/vms/vm-1/challenge";
const EVIDENCE: &str = "/v1/agent/vms/vm-1/evidence";
const FAULT: &str = "/v1/agent/vms/vm-1/fault";

#[test]
fn enrols_once_and_attests_in_one_round_trip_afterwards() {
    let setup = Setup::http();
    let mut agent = setup.agent();
    assert_eq!(agent.attest_once().unwrap().verdict, Verdict::Healthy);
    assert_eq!(setup.stub.paths(), [ENROLL, ACTIVATE, EVIDENCE]);
    let first = setup.stub.evidence();
    assert_eq!(first.log.as_ref().unwrap().content.as_ref().unwrap().0, b"a log of this boot");
    assert_eq!(first.pcrs["sha256"].len(), 16);
    setup.stub.forget_seen();
    assert_eq!(agent.attest_once().unwrap().verdict, Verdict::Healthy);
    assert_eq!(setup.stub.paths(), [EVIDENCE]);
    let second = setup.stub.evidence();
    assert_eq!(second.log.as_ref().unwrap().content, None);
    assert_eq!(second.log.unwrap().sha256, first.log.unwrap().sha256);
    assert_ne!(second.nonce, first.nonce);
}

#[test]
fn state_survives_a_restart_and_a_reboot_of_the_tpm() {
    let mut setup = Setup::http();
    let before = setup.settled().enrolment().unwrap().unwrap();
    // Another process: a challenge is asked for, nothing else.
    let mut agent = setup.agent();
    agent.attest_once().unwrap();
    assert_eq!(setup.stub.paths(), [CHALLENGE, EVIDENCE]);
    assert_eq!(setup.stub.evidence().log.unwrap().content, None);
    // The machine boots again with another log.
    drop(agent);
    setup.swtpm.reboot().unwrap();
    log_file(setup.dir.path(), b"a log of the next boot");
    setup.stub.forget_seen();
    let mut agent = setup.agent();
    agent.attest_once().unwrap();
    assert_eq!(setup.stub.paths(), [CHALLENGE, EVIDENCE]);
    assert_eq!(setup.stub.evidence().log.unwrap().content.unwrap().0, b"a log of the next boot");
    assert_eq!(agent.enrolment().unwrap().unwrap(), before);
    // The TPM goes away and comes back.
    setup.swtpm.stop();
    assert_eq!(agent.attest_once().unwrap_err().code(), "tpm-unreachable");
    setup.swtpm.restart().unwrap();
    let mut agent = setup.agent();
    assert_eq!(agent.attest_once().unwrap().verdict, Verdict::Healthy);
    assert_eq!(agent.enrolment().unwrap().unwrap(), before);
}

#[test]
fn a_log_that_the_service_lost_is_sent_again() {
    let setup = Setup::http();
    let mut agent = setup.settled();
    setup.stub.forget_logs();
    agent.attest_once().unwrap();
    assert_eq!(setup.stub.paths(), [EVIDENCE, EVIDENCE]);
    assert!(setup.stub.evidence().log.unwrap().content.is_some());
    // A service that never has enough does not get it for ever.
    setup.stub.forget_seen();
    for _ in 0..5 {
        setup.stub.next(Canned::problem("/evidence", 409, "log-needed"));
    }
    assert_eq!(agent.attest_once().unwrap_err().code(), "log-needed");
    assert_eq!(setup.stub.paths().len(), 2);
}

#[test]
fn a_refused_challenge_is_replaced_once() {
    let setup = Setup::http();
    let mut agent = setup.settled();
    for code in ["challenge-expired", "challenge-used", "challenge-unknown"] {
        setup.stub.next(Canned::problem("/evidence", 409, code));
        agent.attest_once().unwrap();
        assert_eq!(setup.stub.paths(), [EVIDENCE, CHALLENGE, EVIDENCE]);
        setup.stub.forget_seen();
    }
    for _ in 0..5 {
        setup.stub.next(Canned::problem("/evidence", 409, "challenge-expired"));
    }
    assert_eq!(agent.attest_once().unwrap_err().code(), "challenge-expired");
    assert_eq!(setup.stub.paths(), [EVIDENCE, CHALLENGE, EVIDENCE]);
}

#[test]
fn a_refused_token_leads_to_one_enrolment_with_the_known_keys() {
    let setup = Setup::http();
    drop(setup.settled());
    let mut config = setup.config();
    config.join_token = None;
    let mut agent = Agent::new(config).unwrap();
    let ak = agent.state().ak().unwrap();
    setup.stub.next(Canned::problem("/challenge", 401, "token-unknown"));
    agent.attest_once().unwrap();
    assert_eq!(setup.stub.paths(), [CHALLENGE, ENROLL, ACTIVATE, EVIDENCE]);
    assert_eq!(agent.state().ak().unwrap(), ak);
    setup.stub.forget_seen();
    for _ in 0..5 {
        setup.stub.next(Canned::problem("/evidence", 401, "token-unknown"));
    }
    assert_eq!(agent.attest_once().unwrap_err().code(), "token-unknown");
    assert_eq!(setup.stub.paths(), [EVIDENCE, ENROLL, ACTIVATE, EVIDENCE]);
}

#[test]
fn wrong_and_missing_join_tokens_say_what_to_do() {
    let setup = Setup::http();
    let mut config = setup.config();
    config.join_token = Some("bad".into());
    let error = Agent::new(config.clone()).unwrap().attest_once().unwrap_err();
    assert_eq!((error.code(), error.hint().as_deref()), ("join-token-invalid", Some("h")));
    config.join_token = None;
    let error = Agent::new(config).unwrap().attest_once().unwrap_err();
    assert_eq!(error.code(), "join-token-missing");
    assert!(error.hint().unwrap().contains("veriboot token create"));
    assert!(setup.agent().enrolment().unwrap().is_none());
}

#[test]
fn a_replaced_tpm_makes_new_keys_and_enrols_again() {
    let mut setup = Setup::http();
    let mut agent = setup.settled();
    let old = agent.state().ak().unwrap().unwrap();
    setup.swtpm = Swtpm::start().unwrap();
    agent = setup.agent();
    agent.attest_once().unwrap();
    assert_ne!(agent.state().ak().unwrap().unwrap(), old);
    assert_eq!(setup.stub.paths(), [CHALLENGE, ENROLL, ACTIVATE, EVIDENCE]);
}

#[test]
fn a_lying_service_gets_no_signature() {
    let setup = Setup::http();
    drop(setup.settled());
    for (member, value) in [
        ("nonce", json!("")),
        ("nonce", json!("AAAA")),
        ("nonce", serde_json::to_value(veriboot_wire::Blob(vec![0; 33])).unwrap()),
        ("nonce", serde_json::to_value(veriboot_wire::Blob(vec![0; 64])).unwrap()),
        ("pcrs", json!([])),
        ("pcrs", json!([23])),
        ("pcrs", json!([0, 0])),
        ("banks", json!([])),
    ] {
        let kept = if member == "pcrs" { json!([0, 1]) } else { json!(["sha256"]) };
        setup.stub.challenge(member, value.clone());
        setup.stub.forget_seen();
        let error = setup.agent().attest_once().unwrap_err();
        assert_eq!(error.code(), "challenge-refused", "{member} {value}");
        assert_eq!(setup.stub.paths(), [CHALLENGE], "{member} {value}");
        match member {
            "nonce" => setup.stub.drop_member("nonce"),
            _ => setup.stub.challenge(member, kept),
        }
    }
    setup.stub.challenge("banks", json!(["sha1", "md5"]));
    assert_eq!(setup.agent().attest_once().unwrap_err().code(), "tpm-bank-inactive");
}

#[test]
fn busy_answers_carry_their_wait() {
    let setup = Setup::http();
    let mut agent = setup.settled();
    let asked = |agent: &mut Agent, canned: Canned| {
        setup.stub.next(canned);
        let error = agent.attest_once().unwrap_err();
        (error.code().to_owned(), error.retry_after())
    };
    let busy = |status| Canned::new("/evidence", status, "");
    assert_eq!(asked(&mut agent, busy(429)), ("service-error".into(), None));
    assert_eq!(asked(&mut agent, busy(503).header("retry-after: 17")).1, Some(Duration::from_secs(17)));
    assert_eq!(asked(&mut agent, busy(429).header("Retry-After: soon")).1, None);
    let (_, wait) = asked(&mut agent, busy(503).header("retry-after: Fri, 31 Dec 2100 23:59:59 GMT"));
    assert_eq!(wait, Some(Duration::from_secs(3600)));
    let (_, wait) = asked(&mut agent, busy(503).header("retry-after: Sun, 06 Nov 1994 08:49:37 GMT"));
    assert_eq!(wait, Some(Duration::ZERO));
    let body =
        json!({"error": {"code": "overloaded", "message": "m", "fault": "service", "retry_after_s": 9}});
    let canned = Canned::new("/evidence", 503, body.to_string());
    assert_eq!(asked(&mut agent, canned), ("overloaded".into(), Some(Duration::from_secs(9))));
    assert_eq!(agent.attest_once().unwrap().verdict, Verdict::Healthy);
}

#[test]
fn redirects_garbage_and_floods_are_errors() {
    let setup = Setup::http();
    let mut agent = setup.settled();
    let mut code = |canned: Canned| {
        setup.stub.forget_seen();
        setup.stub.next(canned);
        let error = agent.attest_once().unwrap_err();
        assert!(setup.stub.paths().len() <= 2);
        error.code().to_owned()
    };
    for status in [301, 302, 303, 307, 308] {
        let to = format!("location: {}{EVIDENCE}", setup.stub.url());
        assert_eq!(code(Canned::new("/evidence", status, "").header(&to)), "service-redirect", "{status}");
    }
    assert_eq!(code(Canned::new("/evidence", 200, "")), "service-answer-invalid");
    assert_eq!(code(Canned::new("/evidence", 200, "<html>")), "service-answer-invalid");
    assert_eq!(code(Canned::new("/evidence", 200, "{}")), "service-answer-invalid");
    assert_eq!(code(Canned::new("/evidence", 200, "[".repeat(500_000))), "service-answer-invalid");
    assert_eq!(code(Canned::new("/evidence", 204, "")), "service-error");
    assert_eq!(code(Canned::new("/evidence", 500, "<html>")), "service-error");
    let flood = Canned { repeat: 64, ..Canned::new("/evidence", 200, vec![b' '; 1 << 20]) };
    assert_eq!(code(flood), "service-answer-too-long");
    let flood = Canned { repeat: 64, ..Canned::new("/evidence", 500, vec![b' '; 1 << 20]) };
    assert_eq!(code(flood), "service-error");
    // Control characters of the service reach no terminal.
    let canned = json!({"error": {"code": "x\u{1b}[2J", "message": "a\u{7}\nb", "fault": "client"}});
    setup.stub.next(Canned::new("/evidence", 400, canned.to_string()));
    let error = agent.attest_once().unwrap_err();
    assert!(!format!("{error}{}", error.code()).chars().any(char::is_control));
}

#[test]
fn identifiers_of_the_service_cannot_leave_their_place_in_a_path() {
    let setup = Setup::http();
    let answer = json!({"enrolment_id": "../../v1/vms", "credential_blob": "", "encrypted_secret": "", "expires_in_s": 1});
    setup.stub.next(Canned::new("/enroll", 200, answer.to_string()));
    assert!(setup.agent().attest_once().is_err());
    assert_eq!(setup.stub.paths(), [ENROLL]);
}

#[test]
fn the_token_goes_to_the_service_that_gave_it_only() {
    let setup = Setup::http();
    drop(setup.settled());
    let other = Stub::http();
    let mut config = setup.config();
    config.server = other.url();
    Agent::new(config).unwrap().attest_once().unwrap();
    assert_eq!(other.paths(), [ENROLL, ACTIVATE, EVIDENCE]);
    let tokens: Vec<_> = other.seen().into_iter().filter_map(|seen| seen.token).collect();
    assert_eq!(tokens.len(), 1);
}

#[test]
fn a_missing_log_is_said_in_the_evidence_and_reported_once() {
    let setup = Setup::http();
    let mut agent = setup.settled();
    std::fs::remove_file(setup.dir.path().join("log")).unwrap();
    for expected in [vec![FAULT, EVIDENCE], vec![EVIDENCE]] {
        setup.stub.forget_seen();
        // A service that refuses such evidence says so in its findings; this stub accepts it without a word.
        let receipt = json!({"attestation_id": "a", "verdict": "unhealthy", "status": "unhealthy", "findings": [
            {"code": "log-missing", "severity": "high", "message": "no log"}], "directions": {
            "challenge": {"nonce": veriboot_wire::Blob(vec![1; 32]), "expires_in_s": 0, "banks": ["sha256"], "pcrs": [0]},
            "interval_s": 300, "now": "2026-11-21T18:04:00.000Z"}});
        setup.stub.next(Canned::new("/evidence", 200, receipt.to_string()));
        assert_eq!(agent.attest_once().unwrap().verdict, Verdict::Unhealthy);
        let paths: Vec<String> = setup.stub.paths().into_iter().filter(|p| p != CHALLENGE).collect();
        assert_eq!(paths, expected);
        let evidence: EvidenceRequest = setup.stub.evidence();
        assert_eq!(evidence.log, None);
        assert!(evidence.log_absent_because.unwrap().starts_with("log-missing: "));
    }
}

#[test]
fn a_tpm_fault_is_reported_and_is_no_evidence() {
    let mut setup = Setup::http();
    let mut agent = setup.settled();
    setup.swtpm.stop();
    for expected in [vec![FAULT.to_owned()], vec![]] {
        assert_eq!(agent.attest_once().unwrap_err().code(), "tpm-unreachable");
        assert_eq!(setup.stub.paths(), expected);
        setup.stub.forget_seen();
    }
    let outcome = agent.state().outcome().unwrap();
    assert!(outcome.error.unwrap().starts_with("tpm-unreachable: "));
    assert_eq!(outcome.verdict, Some(Verdict::Healthy));
}

#[test]
fn https_under_the_given_ca_only() {
    let good = Setup::new(Stub::https(&TlsOptions::default()));
    assert_eq!(good.agent().attest_once().unwrap().verdict, Verdict::Healthy);
    // Another CA.
    let stranger = Stub::https(&TlsOptions::default());
    let ca = good.dir.path().join("stranger.pem");
    std::fs::write(&ca, &stranger.tls().ca_pem).unwrap();
    let code = |trust: Trust, stub: &Stub| {
        let mut config = good.config();
        config.trust = trust;
        config.server = stub.url();
        config.state_dir = good.dir.path().join("other-state");
        let _ = std::fs::remove_dir_all(&config.state_dir);
        let error = Agent::new(config).unwrap().attest_once().unwrap_err();
        assert!(stub.seen().is_empty() || std::ptr::eq(stub, &good.stub), "nothing is sent to it");
        error.code().to_owned()
    };
    assert_eq!(code(Trust::CaFile(ca), &good.stub), "service-certificate-invalid");
    let own = |stub: &Stub| {
        let path = good.dir.path().join("own.pem");
        std::fs::write(&path, &stub.tls().ca_pem).unwrap();
        Trust::CaFile(path)
    };
    let expired = Stub::https(&TlsOptions { not_after_year: 2021, ..TlsOptions::default() });
    assert_eq!(code(own(&expired), &expired), "service-certificate-time");
    let misnamed = Stub::https(&TlsOptions { name: "elsewhere.example", ..TlsOptions::default() });
    assert_eq!(code(own(&misnamed), &misnamed), "service-certificate-invalid");
    let foreign = Stub::https(&TlsOptions { foreign_leaf: true, ..TlsOptions::default() });
    assert_eq!(code(own(&foreign), &foreign), "service-certificate-invalid");
    assert_eq!(code(Trust::CaFile("/nonexistent".into()), &foreign), "ca-file");
}

fn fingerprint(stub: &Stub) -> [u8; 32] {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("ca.der");
    std::fs::write(&file, &stub.tls().ca).unwrap();
    let sum = String::from_utf8(run(std::process::Command::new("sha256sum").arg(file))).unwrap();
    hex::decode(&sum[..64]).unwrap().try_into().unwrap()
}

/// The CA of another service.
fn fresh_ca() -> Vec<u8> {
    Stub::https(&TlsOptions::default()).tls().ca.to_vec()
}

#[test]
fn a_pinned_fingerprint_finds_the_ca_and_keeps_it() {
    let setup = Setup::new(Stub::https(&TlsOptions::default()));
    let mut config = setup.config();
    config.trust = Trust::CaFingerprint(fingerprint(&setup.stub));
    let mut agent = Agent::new(config.clone()).unwrap();
    agent.attest_once().unwrap();
    assert_eq!(agent.state().ca().unwrap().unwrap(), setup.stub.tls().ca.to_vec());
    // Kept: works again after a restart.
    Agent::new(config.clone()).unwrap().attest_once().unwrap();
    // Also without the fingerprint, and no other root counts then.
    let unset = AgentConfig { trust: Trust::System, ..config.clone() };
    Agent::new(unset.clone()).unwrap().attest_once().unwrap();
    let kept = agent.state().ca().unwrap().unwrap();
    agent.state().set_ca(&fresh_ca()).unwrap();
    let error = Agent::new(unset.clone()).unwrap().attest_once().unwrap_err();
    assert_eq!(error.code(), "service-certificate-invalid");
    agent.state().set_ca(b"no certificate").unwrap();
    let error = Agent::new(unset.clone()).unwrap().attest_once().unwrap_err();
    assert_eq!(error.code(), "ca-kept-broken");
    agent.state().set_ca(&kept).unwrap();
    Agent::new(unset).unwrap().attest_once().unwrap();
    let code = |stub: &Stub, fingerprint: [u8; 32]| {
        let mut config = config.clone();
        config.server = stub.url();
        config.trust = Trust::CaFingerprint(fingerprint);
        config.state_dir = setup.dir.path().join("other-state");
        let _ = std::fs::remove_dir_all(&config.state_dir);
        let mut agent = Agent::new(config).unwrap();
        let error = agent.attest_once().unwrap_err();
        assert!(stub.seen().is_empty(), "nothing is sent to it");
        assert_eq!(agent.state().ca().unwrap(), None);
        error.code().to_owned()
    };
    let fresh = || Stub::https(&TlsOptions::default());
    assert_eq!(code(&fresh(), fingerprint(&setup.stub)), "ca-fingerprint-mismatch");
    let silent = Stub::https(&TlsOptions { send_ca: false, ..TlsOptions::default() });
    assert_eq!(code(&silent, fingerprint(&silent)), "ca-fingerprint-mismatch");
    // The right CA is shown, but it did not sign the leaf.
    let foreign = Stub::https(&TlsOptions { foreign_leaf: true, ..TlsOptions::default() });
    assert_eq!(code(&foreign, fingerprint(&foreign)), "service-certificate-invalid");
    let misnamed = Stub::https(&TlsOptions { name: "elsewhere.example", ..TlsOptions::default() });
    assert_eq!(code(&misnamed, fingerprint(&misnamed)), "service-certificate-invalid");
    let expired = Stub::https(&TlsOptions { not_after_year: 2021, ..TlsOptions::default() });
    assert_eq!(code(&expired, fingerprint(&expired)), "service-certificate-invalid");
}

#[test]
fn the_state_folder_is_private_or_refused() {
    let setup = Setup::http();
    drop(setup.settled());
    let state = setup.state();
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    assert_eq!(mode(&state), 0o700);
    for entry in std::fs::read_dir(&state).unwrap() {
        let path = entry.unwrap().path();
        assert_eq!(mode(&path), 0o600, "{}", path.display());
    }
    let refused = |config: AgentConfig| Agent::new(config).unwrap_err().code().to_owned();
    for open in [0o755, 0o770, 0o701, 0o777] {
        std::fs::set_permissions(&state, std::fs::Permissions::from_mode(open)).unwrap();
        assert_eq!(refused(setup.config()), "state-open");
    }
    std::fs::set_permissions(&state, std::fs::Permissions::from_mode(0o700)).unwrap();
    let mut config = setup.config();
    config.state_dir = setup.dir.path().join("link");
    std::os::unix::fs::symlink(&state, &config.state_dir).unwrap();
    assert_eq!(refused(config.clone()), "state-symbolic-link");
    config.state_dir = setup.dir.path().join("log");
    assert_eq!(refused(config.clone()), "state-not-a-directory");
    // A file in it that was replaced by a link.
    let ak = state.join("ak.json");
    std::fs::rename(&ak, setup.dir.path().join("moved")).unwrap();
    std::os::unix::fs::symlink(setup.dir.path().join("moved"), &ak).unwrap();
    assert_eq!(setup.agent().attest_once().unwrap_err().code(), "state-symbolic-link");
    // Another user's folder; only root can make one.
    if std::os::unix::fs::chown(&state, Some(65534), None).is_ok() {
        assert_eq!(refused(setup.config()), "state-foreign-owner");
    }
}

#[test]
fn broken_state_files_are_made_anew() {
    let setup = Setup::http();
    drop(setup.settled());
    for (file, bytes) in
        [("enrolment.json", &b"{"[..]), ("ak.json", b""), ("outcome.json", b"\xff\xff"), ("ak.json", b"[]")]
    {
        std::fs::write(setup.state().join(file), bytes).unwrap();
        assert_eq!(setup.agent().attest_once().unwrap().verdict, Verdict::Healthy, "{file}");
    }
}

#[test]
fn one_agent_per_state_folder() {
    let setup = Setup::http();
    let (one, two) = (setup.agent(), setup.agent());
    let lock = one.state().lock().unwrap();
    assert_eq!(two.state().lock().unwrap_err().code(), "state-in-use");
    drop(lock);
    two.state().lock().unwrap();
}

#[test]
fn a_service_that_is_not_there_is_the_networks_fault() {
    let setup = Setup::http();
    let mut config = setup.config();
    config.server = "http://127.0.0.1:1".into();
    let error = Agent::new(config).unwrap().attest_once().unwrap_err();
    assert_eq!(error.code(), "service-unreachable");
    assert_eq!(error.blame().as_str(), "network");
    assert!(matches!(error, AgentError::Service(_)));
}
