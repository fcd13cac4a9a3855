//! What one guest can make the service do: how often, how much at once, and how much of it is kept.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod agent_support;

use std::io::Write as _;

use agent_support::boot::{Boot, command, encode, sha256};
use agent_support::*;
use veriboot_store::logs;
use veriboot_wire::{LogEvidence, Verdict, VmStatus};

/// The head of a POST whose body is announced and does not come yet.
fn head(path: &str, token: &str, length: usize) -> String {
    format!(
        "POST {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n\
         Content-Type: application/json\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
    )
}

#[test]
fn a_guest_that_reports_all_the_time_is_told_to_wait() {
    let world = World::sqlite_with(|config| {
        config.limits.evidence_burst = 6;
        config.limits.evidence_refill_s = 1;
    });
    let (mut noisy, mut quiet) = (world.healthy_guest("noisy"), world.healthy_guest("quiet"));
    let id = noisy.vm_id();
    let (path, token) = (format!("/v1/agent/vms/{id}/evidence"), noisy.agent_token());
    let send = |body: &[u8]| raw::post(world.address(), &world.ca_file(), &path, Some(&token), body);
    let refused = (0..60).map(|_| send(b"{}")).find(|answer| answer.status == 429).expect("it ends");
    assert_eq!((refused.code(), refused.retry_after_s), ("too-often", Some(1)));
    let before = world.vm(&id);
    let (path, fault) = (format!("/v1/agent/vms/{id}/fault"), br#"{"code":"tpm-busy","message":"x"}"#);
    let answer = raw::post(world.address(), &world.ca_file(), &path, Some(&token), fault);
    assert_eq!((answer.status, answer.code()), (429, "too-often"));
    assert_eq!(world.vm(&id), before, "what is refused changes nothing");
    // Nobody else waits, and the real agent is told when to come back.
    assert_eq!(quiet.attest().verdict, Verdict::Healthy);
    let refused = (0..60).find_map(|_| noisy.agent.attest_once().err()).expect("it ends");
    assert_eq!((code(&refused).as_str(), refused.retry_after().unwrap().as_secs()), ("too-often", 1));
    std::thread::sleep(refused.retry_after().unwrap() + std::time::Duration::from_millis(100));
    assert_eq!(noisy.attest().status, VmStatus::Healthy);
}

#[test]
fn defaults_let_an_agent_start_again_and_again() {
    let world = World::sqlite_with(|config| config.limits = veriboot_service::Config::default().limits);
    let mut guest = world.healthy_guest("web-0");
    for _ in 0..25 {
        // A new process: no challenge in hand.
        guest.agent = veriboot_agent::Agent::new(guest.config.clone()).unwrap();
        assert_eq!(guest.attest().status, VmStatus::Healthy);
    }
}

#[test]
fn evidence_of_one_vm_is_taken_one_at_a_time_and_bytes_are_bounded() {
    let world = World::sqlite_with(|config| config.limits.evidence_mib = 16);
    let (mut a, mut b, c) = (world.healthy_guest("a"), world.healthy_guest("b"), world.healthy_guest("c"));
    let large = 8 * 1024 * 1024;
    let path = |guest: &Guest| format!("/v1/agent/vms/{}/evidence", guest.vm_id());
    // Two bodies that do not come hold all the room there is.
    let mut held: Vec<_> = [&a, &b]
        .map(|guest| {
            let mut stream = raw::connect(world.address(), &world.ca_file());
            stream.write_all(head(&path(guest), &guest.agent_token(), large).as_bytes()).unwrap();
            stream.flush().unwrap();
            stream
        })
        .into();
    let evidence = a.evidence();
    let mut refused = String::new();
    for _ in 0..100 {
        refused = match a.submit(&evidence) {
            Ok(_) => panic!("two at a time"),
            Err(code) => code,
        };
        if refused == "evidence-in-flight" {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    assert_eq!(refused, "evidence-in-flight");
    let busy =
        raw::exchange(world.address(), &world.ca_file(), &head(&path(&c), &c.agent_token(), large), b"");
    assert_eq!((busy.status, busy.code()), (503, "overloaded"));
    assert!(busy.retry_after_s.is_some());
    // A body of unknown length is as large as they come.
    let chunked =
        head(&path(&c), &c.agent_token(), 0).replace("Content-Length: 0", "Transfer-Encoding: chunked");
    let busy = raw::exchange(world.address(), &world.ca_file(), &chunked, b"");
    assert_eq!((busy.status, busy.code()), (503, "overloaded"));
    // What agents normally send is let in.
    let mut c = c;
    assert_eq!(c.attest().status, VmStatus::Healthy);

    // The connection breaks: its room is free again.
    held.truncate(0);
    let mut answer = a.submit(&evidence).map(|receipt| receipt.verdict);
    for _ in 0..100 {
        if answer.is_ok() {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
        answer = a.submit(&evidence).map(|receipt| receipt.verdict);
    }
    assert_eq!(answer, Ok(Verdict::Healthy), "the challenge was not used by the refusals");
    assert_eq!(b.attest().status, VmStatus::Healthy);
}

on_both!(logs_of_failed_attestations_are_bounded);

mod scenario {
    use super::*;

    pub fn logs_of_failed_attestations_are_bounded(world: &World) {
        let mut guest = world.healthy_guest("web-0");
        let (id, good) = (guest.vm_id(), hex::encode(sha256(&guest.log())));
        let has = |sha256: &str| {
            let sha256 = sha256.to_owned();
            world.read(move |tx| logs::has(tx, &sha256))
        };
        // Neither the log of the machine nor one that another VM is known by is for this guest to have forgotten.
        let mut other = world.healthy_guest("other");
        other.boot(&Boot { cmdline: "root=/dev/vdb1".into(), ..Boot::default() });
        assert_eq!(other.attest().verdict, Verdict::Unhealthy);
        let foreign = hex::encode(sha256(&other.log()));
        let mut shown = Vec::new();
        for round in 0..12 {
            let mut events = Boot::default().events();
            events.push(command(&format!("grub_cmd: echo {round}")));
            let log = encode(&events);
            let mut evidence = guest.evidence();
            shown.push(hex::encode(sha256(&log)));
            evidence.log = Some(LogEvidence { sha256: shown[round].clone(), content: Some(log.into()) });
            assert_eq!(guest.submit(&evidence).unwrap().verdict, Verdict::Unhealthy);
            evidence = guest.evidence();
            evidence.log = Some(LogEvidence { sha256: foreign.clone(), content: Some(other.log().into()) });
            assert_eq!(guest.submit(&evidence).unwrap().verdict, Verdict::Unhealthy);
            world.clock.step_ms(10);
        }
        let kept: Vec<_> = shown.iter().map(|sha256| has(sha256)).collect();
        assert_eq!(kept, [vec![false; 4], vec![true; 8]].concat(), "the last eight");
        assert!(has(&good) && has(&foreign));
        let attestations = world.attestations(&id);
        assert_eq!(attestations.len(), 25, "no attestation is forgotten");
        assert_eq!(attestations.iter().filter(|a| a.log_sha256.is_none()).count(), 4);
        // One that is accepted later is no longer among them.
        assert_eq!(guest.attest().status, VmStatus::Healthy);
        guest.boot(&Boot { kernel: "vmlinuz-6.1.0-41".into(), ..Boot::default() });
        assert_eq!(guest.attest().status, VmStatus::Unhealthy);
        let updated = hex::encode(sha256(&guest.log()));
        guest.boot(&Boot::default());
        assert_eq!(guest.attest().status, VmStatus::Healthy);
        world.write({
            let updated = updated.clone();
            move |tx| logs::accepted(tx, &updated)
        });
        guest.boot(&Boot::default());
        for round in 0..12 {
            let mut events = Boot::default().events();
            events.push(command(&format!("grub_cmd: echo again {round}")));
            let log = encode(&events);
            let mut evidence = guest.evidence();
            evidence.log = Some(LogEvidence { sha256: hex::encode(sha256(&log)), content: Some(log.into()) });
            assert_eq!(guest.submit(&evidence).unwrap().verdict, Verdict::Unhealthy);
        }
        assert!(has(&updated) && has(&good));
    }
}
