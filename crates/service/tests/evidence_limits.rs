//! What one guest can make the service do: how often, how much at once, and how much of it is kept.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod agent_support;

use std::io::Write as _;

use agent_support::*;
use veriboot_wire::{Verdict, VmStatus};

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
