//! Several replicas on one PostgreSQL: nothing that matters is in the memory of one of them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod agent_support;

use agent_support::boot::Boot;
use agent_support::*;
use veriboot_service::result_token::published;
use veriboot_service::silence;
use veriboot_store::baselines;
use veriboot_testkit::swtpm::Swtpm;
use veriboot_wire::{AlertReason, Verdict, VmStatus};

#[test]
fn challenges_enrolments_and_single_use_hold_across_replicas() {
    let Some(world) = World::postgres() else { return };
    let replica = world.replica();
    let token = world.join_token(None, 1);
    let mut guest = world.guest("web-0", Some(&token));

    // Enrolment begins at one replica and ends at the other.
    let (request, endorsement, ak) = guest.agent.enroll_request().unwrap();
    let challenge = guest.agent.client().unwrap().enroll(&request).unwrap();
    let secret = guest.agent.activation(&endorsement, &ak, &challenge).unwrap();
    let mut there = world.guest_at(&replica.url(), Swtpm::start().unwrap(), "there", None);
    let enrolled = there.agent.client().unwrap().activate(&challenge.enrolment_id, &secret).unwrap();
    let again = guest.agent.client().unwrap().activate(&challenge.enrolment_id, &secret).unwrap_err();
    assert_eq!(again.code(), "enrolment-unknown", "single use");

    // The challenge is of one, the evidence goes to the other, and counts once.
    assert_eq!(guest.attest().verdict, Verdict::Healthy);
    let (id, agent_token) = (guest.vm_id(), guest.agent_token());
    assert_eq!(id, enrolled.vm_id);
    let evidence = guest.evidence();
    let receipt = there.agent.client().unwrap().evidence(&id, &agent_token, &evidence).unwrap();
    assert_eq!(receipt.verdict, Verdict::Healthy);
    assert_eq!(guest.submit(&evidence).unwrap_err(), "challenge-used");
    assert_eq!(world.attestations(&id).len(), 2);

    // A log that only the other replica has examined is known by its digest here.
    guest.boot(&Boot { kernel: "vmlinuz-6.1.0-41".into(), ..Boot::default() });
    let evidence = guest.evidence();
    there.agent.client().unwrap().evidence(&id, &agent_token, &evidence).unwrap();
    let mut evidence = guest.evidence();
    evidence.log.as_mut().unwrap().content = None;
    assert_eq!(guest.submit(&evidence).unwrap().status, VmStatus::Unhealthy);

    // Both look for silent VMs at the same moment; one raises.
    world.pass_ms(3_600_000);
    let (a, b) = world
        .block_on(async { tokio::join!(silence::sweep(world.state()), silence::sweep(replica.state())) });
    assert_eq!(a.unwrap() + b.unwrap(), 1);
    let silent: Vec<_> =
        world.open_alerts(&id).into_iter().filter(|a| a.reason == AlertReason::AgentSilent).collect();
    assert_eq!((silent.len(), silent[0].count), (1, 1));

    // A rotation here is published there at once.
    let kid = world.block_on(world.state().attest.signer().rotate()).unwrap();
    let there = world.block_on(published(&replica.state().store, world.clock.now())).unwrap();
    assert_eq!((there.keys.len(), &there.keys[0].kid), (2, &kid));
}

/// Members that are all the first: one boot becomes the baseline, all others are judged by it.
#[test]
fn first_members_race_for_the_baseline() {
    let Some(world) = World::postgres() else { return };
    let replica = world.replica();
    for round in 0..4 {
        let set = format!("web{round}");
        let token = world.join_token(Some(&set), 4);
        let mut guests: Vec<Guest> = (0..4)
            .map(|n| {
                let url = if n % 2 == 0 { world.url() } else { replica.url() };
                let mut guest =
                    world.guest_at(&url, Swtpm::start().unwrap(), &format!("{set}-{n}"), Some(&token));
                // Two boot one kernel, two another: whoever wins, two are odd.
                let kernel = if n < 2 { "vmlinuz-a" } else { "vmlinuz-b" };
                guest.boot(&Boot { kernel: kernel.into(), ..Boot::default() });
                guest.agent.enroll().unwrap();
                guest
            })
            .collect();
        let ready: Vec<_> = guests.iter_mut().map(|guest| guest.evidence()).collect();
        let verdicts: Vec<Verdict> = std::thread::scope(|scope| {
            let threads: Vec<_> = guests
                .iter_mut()
                .zip(&ready)
                .map(|(guest, evidence)| scope.spawn(move || guest.submit(evidence).unwrap().verdict))
                .collect();
            threads.into_iter().map(|t| t.join().unwrap()).collect()
        });
        assert_eq!(verdicts.iter().filter(|v| **v == Verdict::Healthy).count(), 2, "{verdicts:?}");
        assert_eq!(verdicts[0], verdicts[1]);
        assert_eq!(verdicts[2], verdicts[3]);
        let name = format!("scale-set/default/{set}");
        let current = world.read(move |tx| baselines::by_name(tx, &name, None)).unwrap();
        assert_eq!(current.summary.version, 1, "learned once");
        let learned = format!("baseline:scale-set/default/{set}@1");
        assert_eq!(world.audit().iter().filter(|e| e.target == learned).count(), 1);
    }
}

/// The value of a metric without labels, or with these.
fn metric(address: std::net::SocketAddr, world: &World, name: &str) -> u64 {
    let text = raw::get_text(address, &world.ca_file(), "/metrics");
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("{name} is missing in {text}")).trim().parse().unwrap()
}

/// Waits until a service that just started has learned from boots that were accepted before. Gives how many events it knows.
fn learned(address: std::net::SocketAddr, world: &World) -> u64 {
    for _ in 0..200 {
        let events = metric(address, world, "veriboot_memo_events");
        if events > 0 {
            assert!(metric(address, world, "veriboot_memo_bytes") > 0);
            return events;
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    panic!("nothing was learned within ten seconds");
}

/// What a service knows of event logs is there again after its start, before a machine shows anything.
#[test]
fn a_service_that_starts_knows_events_of_earlier_boots() {
    let mut world = World::sqlite();
    let mut guest = world.healthy_guest("web-0");
    // What is refused teaches nothing.
    guest.boot(&Boot { kernel: "vmlinuz-evil".into(), cmdline: "init=/bin/sh".into(), ..Boot::default() });
    assert_eq!(guest.attest().verdict, Verdict::Unhealthy);
    world.restart();
    let events = learned(world.address(), &world);
    let known =
        |world: &World| metric(world.address(), world, "veriboot_log_events_total{outcome=\"known\"}");
    assert_eq!(known(&world), 0, "no machine has shown anything yet");

    // The first log after that is a new one, and little of it is.
    guest.boot(&Boot { kernel: "vmlinuz-6.1.0-41".into(), ..Boot::default() });
    assert_caught(&guest.attest(), "component-changed");
    assert_eq!(known(&world), events - 2, "all but the two commands that name the kernel");
}

/// So it is with a replica that joins.
#[test]
fn a_replica_that_joins_knows_events_of_earlier_boots() {
    let Some(world) = World::postgres() else { return };
    let mut guest = world.healthy_guest("web-0");
    let replica = world.replica();
    let address = replica.url().strip_prefix("https://").unwrap().parse().unwrap();
    let events = learned(address, &world);
    guest.boot(&Boot { firmware: "edk2 2024.02".into(), ..Boot::default() });
    let evidence = guest.evidence();
    let (id, token) = (guest.vm_id(), guest.agent_token());
    let mut there = world.guest_at(&replica.url(), Swtpm::start().unwrap(), "there", None);
    there.agent.client().unwrap().evidence(&id, &token, &evidence).unwrap();
    let known = metric(address, &world, "veriboot_log_events_total{outcome=\"known\"}");
    assert_eq!(known, events - 1, "all but the version of the firmware");
}
