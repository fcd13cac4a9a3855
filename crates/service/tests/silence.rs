//! Whom silence makes stale, and what is no silence: outages, clocks, windows, members that left. Virtual time, on both
//! databases.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod agent_support;

use agent_support::World;
use agent_support::boot::Boot;
use agent_support::operator::Operator;
use serde_json::{Value, json};
use veriboot_service::{heartbeat, silence};
use veriboot_store::heartbeats::{self, OutageCause};
use veriboot_store::{alerts, deadlines, inventory, maintenance, vms};
use veriboot_wire::{
    AlertReason, AlertState, Configured, ConfiguredSecurity, InventoryFacts, PowerState, Scope, ScopeKind,
    Time, VmStatus,
};

const S: i64 = 1000;

fn sweep(world: &World) -> usize {
    world.block_on(silence::sweep(world.state())).unwrap()
}

fn status(world: &World, id: &str) -> VmStatus {
    world.vm(id).status
}

/// Declares one test per database.
macro_rules! on_both {
    ($($name:ident)+) => { $(
        mod $name {
            #[test]
            fn sqlite() {
                super::$name(super::World::sqlite());
            }

            #[test]
            fn postgres() {
                if let Some(world) = super::World::postgres() {
                    super::$name(world);
                }
            }
        }
    )+ };
}

on_both! {
    silence_is_told_once
    an_outage_of_the_service_is_no_silence
    a_clock_that_is_set_is_no_silence
    a_clock_that_is_set_back_hides_no_silence
    a_maintenance_window_is_no_silence
    a_member_that_left_is_not_silent
    who_is_stale_and_then_leaves_is_let_go
    an_export_that_is_older_than_the_last_evidence_excuses_nothing
    an_export_that_is_older_than_a_list_of_some_machines_excuses_nothing
    a_dismissed_silence_is_forgotten_when_the_agent_reports
}

fn silence_is_told_once(world: World) {
    let mut guest = world.healthy_guest("web-0");
    let id = guest.vm_id();
    world.pass_ms(890 * S);
    assert_eq!(sweep(&world), 0);
    world.pass_ms(11 * S);
    assert_eq!((sweep(&world), sweep(&world)), (1, 0));
    assert_eq!(status(&world, &id), VmStatus::Stale);
    let alerts = world.open_alerts(&id);
    assert_eq!((alerts.len(), alerts[0].reason), (1, AlertReason::AgentSilent));
    guest.attest();
    assert_eq!(world.alerts(&id)[0].state, AlertState::Resolved);
}

/// The service ends with 13 of 15 minutes gone, and comes back an hour later: exact to the second from then on.
fn an_outage_of_the_service_is_no_silence(mut world: World) {
    let mut quiet = world.healthy_guest("quiet");
    let mut lives = world.healthy_guest("lives");
    let (quiet_id, lives_id) = (quiet.vm_id(), lives.vm_id());
    world.pass_ms(780 * S);
    world.stop();
    world.clock.advance_ms(3_600 * S);
    world.restart();
    assert_eq!(sweep(&world), 0, "nobody could attest");
    let outage = world.read(heartbeats::last_outage).unwrap();
    assert_eq!(outage.cause, OutageCause::Down);
    let lasted = outage.until.unix_ms() - outage.from.unix_ms();
    assert!((3_600 * S..3_640 * S).contains(&lasted), "{lasted}");
    // The deadline was moved once, and is not looked at again before.
    let due = world.read({
        let id = quiet_id.clone();
        move |tx| deadlines::of(tx, &id)
    });
    assert_eq!(due.unwrap().unix_ms(), outage.until.unix_ms() + 900 * S);
    lives.attest();
    // Another restart without an outage changes nothing about it.
    world.pass_ms(600 * S);
    world.restart();
    lives.attest();
    world.pass_ms(290 * S);
    assert_eq!(sweep(&world), 0);
    world.pass_ms(15 * S);
    assert_eq!(sweep(&world), 1);
    assert_eq!(status(&world, &quiet_id), VmStatus::Stale);
    assert_eq!(status(&world, &lives_id), VmStatus::Healthy);
    assert_eq!(world.read(heartbeats::outages), 1);
    quiet.attest();
    assert_eq!(status(&world, &quiet_id), VmStatus::Healthy);
}

fn a_clock_that_is_set_is_no_silence(world: World) {
    let mut guests: Vec<_> = (0..3).map(|n| world.healthy_guest(&format!("web-{n}"))).collect();
    world.pass_ms(30 * S);
    for step in [86_400 * S, -86_400 * S, 7_200 * S] {
        world.clock.step_ms(step);
        assert_eq!(sweep(&world), 0, "{step}");
        let outage = world.read(heartbeats::last_outage).unwrap();
        assert_eq!(outage.cause, OutageCause::ClockStep);
        assert!((outage.step_ms - step).abs() < 5 * S, "{outage:?}");
        for guest in &mut guests {
            // A challenge of a clock that was ahead is not newer: the agent asks for another.
            let _ = guest.agent.attest_once();
        }
        world.pass_ms(600 * S);
        assert_eq!(sweep(&world), 0, "{step}");
    }
    assert_eq!(world.open_alerts(&guests[0].vm_id()), []);
    // A drift that NTP slews away is no step.
    let before = world.read(heartbeats::outages);
    for _ in 0..20 {
        world.clock.step_ms(100);
        world.pass_ms(15 * S);
    }
    assert_eq!(world.read(heartbeats::outages), before);
}

fn a_clock_that_is_set_back_hides_no_silence(world: World) {
    world.clock.step_ms(30 * 86_400 * S);
    world.block_on(heartbeat::beat(world.state())).unwrap();
    let quiet = world.healthy_guest("quiet");
    world.pass_ms(60 * S);
    world.clock.step_ms(-30 * 86_400 * S);
    assert_eq!(sweep(&world), 0);
    world.pass_ms(890 * S);
    assert_eq!(sweep(&world), 0);
    world.pass_ms(30 * S);
    assert_eq!(sweep(&world), 1, "not in a month");
    assert_eq!(status(&world, &quiet.vm_id()), VmStatus::Stale);
}

/// Two replicas: each VM is told of once, whoever looks first; while one of both lives there is no outage.
#[test]
fn two_replicas_are_one_watch() {
    let Some(world) = World::postgres() else { return };
    let replica = world.replica();
    let ids: Vec<String> = (0..3).map(|n| world.healthy_guest(&format!("web-{n}")).vm_id()).collect();
    for _ in 0..31 {
        world.clock.advance_ms(30 * S);
        // Only one of both beats.
        world.block_on(heartbeat::beat(replica.state())).unwrap();
    }
    let (a, b) = world
        .block_on(async { tokio::join!(silence::sweep(world.state()), silence::sweep(replica.state())) });
    assert_eq!(a.unwrap() + b.unwrap(), 3);
    for id in &ids {
        let alerts = world.open_alerts(id);
        assert_eq!((alerts.len(), alerts[0].count), (1, 1));
    }
    assert_eq!(world.read(heartbeats::outages), 0);
    assert_eq!(world.read(heartbeats::replicas).len(), 2);

    // Both are down, both come back: one outage.
    world.clock.advance_ms(3_600 * S);
    let (a, b) = world
        .block_on(async { tokio::join!(heartbeat::beat(world.state()), heartbeat::beat(replica.state())) });
    a.unwrap();
    b.unwrap();
    assert_eq!(world.read(heartbeats::outages), 1);
}

fn scope(kind: ScopeKind, id: &str) -> Scope {
    Scope { kind, group: "default".into(), id: id.into() }
}

fn deadline(world: &World, id: &str) -> Time {
    let id = id.to_owned();
    world.read(move |tx| deadlines::of(tx, &id)).unwrap()
}

/// A window puts the deadline off to one limit after its end, and the VM is not looked at again meanwhile.
fn a_maintenance_window_is_no_silence(world: World) {
    let mut guest = world.healthy_guest("web-0");
    let id = guest.vm_id();
    let now = world.clock.now();
    let until = now.plus_s(1800);
    let group = scope(ScopeKind::Group, "");
    world.write(move |tx| {
        let window = maintenance::NewWindow {
            scope: &group,
            vm_name: None,
            from: now,
            until,
            comment: "new hosts",
            by: "ann",
            now,
        };
        maintenance::declare(tx, &window)
    });
    world.pass_ms(910 * S);
    assert_eq!(sweep(&world), 0);
    assert_eq!(deadline(&world, &id), until.plus_s(900));
    world.pass_ms(1785 * S);
    assert_eq!(sweep(&world), 0, "within one limit after its end");
    world.pass_ms(10 * S);
    assert_eq!(sweep(&world), 1);
    assert_eq!(world.open_alerts(&id).len(), 1);
    guest.attest();
    assert_eq!(status(&world, &id), VmStatus::Healthy);
}

/// A source that says `power` of the VM with this EK, or does not list it.
fn inventory_says(world: &World, ek_sha256: &str, power: Option<PowerState>) {
    let at = world.clock.now();
    let ek = ek_sha256.to_owned();
    world.write(move |tx| {
        if inventory::source(tx, "cloud")?.is_none() {
            let source = inventory::NewSource {
                name: "cloud",
                format: None,
                group: None,
                comment: None,
                by: "ann",
                at,
            };
            inventory::put_source(tx, &source)?;
        }
        let items: Vec<InventoryFacts> = power
            .iter()
            .map(|power| InventoryFacts {
                key: "i-1".into(),
                name: "web-0".into(),
                group: "default".into(),
                scale_set: None,
                platform: "aws".into(),
                os: None,
                region: None,
                power: *power,
                security_type: ConfiguredSecurity::Unknown,
                confidential_kind: None,
                secure_boot: Configured::Unknown,
                vtpm: Configured::Unknown,
                machine_uuid: None,
                cloud_id: None,
                ek_sha256: Some(ek.clone()),
                tags: Default::default(),
            })
            .collect();
        let sync = inventory::Sync {
            source: "cloud",
            items: &items,
            complete: true,
            dry_run: false,
            exported_at: Some(at),
            by: "ann",
            at,
        };
        inventory::sync(tx, &sync)
    });
}

/// A member that left is not silent, says so, and returns by itself; one that runs again without its agent is silent.
fn a_member_that_left_is_not_silent(world: World) {
    let mut guest = world.healthy_guest("web-0");
    let id = guest.vm_id();
    let ek = world.vm(&id).ek_sha256;
    inventory_says(&world, &ek, Some(PowerState::Running));
    inventory_says(&world, &ek, None);
    world.pass_ms(905 * S);
    assert_eq!(sweep(&world), 0);
    let vm = world.vm(&id);
    assert_eq!((vm.status, vm.monitoring), (VmStatus::Unmonitored, true));
    assert!(vm.status_detail.unwrap().starts_with("The VM is gone from its inventory since "));
    assert_eq!(world.open_alerts(&id), []);
    assert!(deadline(&world, &id) > world.clock.now(), "it is not looked at in each sweep");

    assert_eq!(guest.attest().status, VmStatus::Healthy);
    inventory_says(&world, &ek, Some(PowerState::Stopped));
    world.pass_ms(905 * S);
    assert_eq!(sweep(&world), 0);
    assert!(world.vm(&id).status_detail.unwrap().contains("stopped"));
    inventory_says(&world, &ek, Some(PowerState::Running));
    world.pass_ms(905 * S);
    assert_eq!(sweep(&world), 1, "it was started, and nobody hears of its agent");
    assert_eq!(status(&world, &id), VmStatus::Stale);

    // An item that says all the time that it is stopped is that of another machine, or old: it excuses nothing.
    inventory_says(&world, &ek, Some(PowerState::Stopped));
    world.pass_ms(S);
    assert_eq!(guest.attest().status, VmStatus::Healthy);
    inventory_says(&world, &ek, Some(PowerState::Stopped));
    world.pass_ms(905 * S);
    assert_eq!(sweep(&world), 1, "it attested after it was stopped");
}

/// Exported while it was stopped, synced after it was started, attested and went silent.
fn an_export_that_is_older_than_the_last_evidence_excuses_nothing(world: World) {
    let ann = Operator::new(&world, "ann");
    let mut guest = world.healthy_guest("web-0");
    let id = guest.vm_id();
    let ek = world.vm(&id).ek_sha256;
    let sync = |query: &str, power: &str| {
        let vm = json!({ "name": "web-0", "power": power, "ek_sha256": ek });
        let document = json!({ "format": veriboot_wire::INVENTORY_SCHEMA, "vms": [vm] });
        ann.post(&format!("/v1/inventory/sources/cloud/sync{query}"), &document)
    };
    let exported_at = |at: Time| format!("?exported_at={at}");
    sync(&exported_at(world.clock.now()), "running");
    world.pass_ms(60 * S);
    let made = world.clock.now();
    world.pass_ms(60 * S);
    assert_eq!(guest.attest().status, VmStatus::Healthy);
    world.pass_ms(60 * S);
    let synced = sync(&exported_at(made), "stopped");
    assert_eq!((synced["exported_at"].clone(), synced["notes"].clone()), (json!(made), json!([])));
    world.pass_ms(905 * S);
    assert_eq!(sweep(&world), 1, "it was started after the export, and went silent");
    // One that does not say when it was made, and one that is older than the last, say that they excuse nothing.
    for query in [String::new(), exported_at(made.plus_s(-1))] {
        let synced = sync(&query, "stopped");
        assert!(synced["notes"][0].as_str().unwrap().contains("expected to attest as before"), "{synced}");
        assert_eq!((synced["exported_at"].clone(), status(&world, &id)), (Value::Null, VmStatus::Stale));
    }
    let document = json!({ "format": veriboot_wire::INVENTORY_SCHEMA, "vms": [] });
    let future = format!("/v1/inventory/sources/cloud/sync{}", exported_at(world.clock.now().plus_s(301)));
    assert_eq!(ann.refused("POST", &future, &document), (400, "invalid-value".into()));
    // A new export: it is stopped by now. It was called so for the first time before it attested, which nothing but a
    // list of it as running takes back.
    assert_eq!(status(&world, &id), VmStatus::Stale);
    sync(&exported_at(world.clock.now()), "running");
    sync(&exported_at(world.clock.now()), "stopped");
    assert_eq!(status(&world, &id), VmStatus::Unmonitored);
}

/// Exported whole while it was stopped, and in part after it was started; the whole one is synced last.
fn an_export_that_is_older_than_a_list_of_some_machines_excuses_nothing(world: World) {
    let ann = Operator::new(&world, "ann");
    let guest = world.healthy_guest("web-0");
    let id = guest.vm_id();
    let ek = world.vm(&id).ek_sha256;
    let sync = |query: &str, made: Time, power: &str| {
        let vm = json!({ "name": "web-0", "power": power, "ek_sha256": ek });
        let document = json!({ "format": veriboot_wire::INVENTORY_SCHEMA, "vms": [vm] });
        ann.post(&format!("/v1/inventory/sources/cloud/sync?exported_at={made}{query}"), &document)
    };
    let made = |world: &World| {
        world.pass_ms(60 * S);
        world.clock.now()
    };
    let whole = made(&world);
    sync("", whole, "running");
    let (late, part) = (made(&world), made(&world));
    sync("&complete=false", part, "running");
    assert_eq!(ann.get("/v1/inventory/sources/cloud")["exported_at"], json!(part));
    let synced = sync("", late, "stopped");
    assert_eq!(synced["exported_at"], Value::Null);
    assert!(synced["notes"][0].as_str().unwrap().contains("was synced before"), "{synced}");
    // Parts go by the same rule, and a newer one mends it.
    assert_eq!(sync("&complete=false", late, "stopped")["exported_at"], Value::Null);
    world.pass_ms(905 * S);
    assert_eq!(sweep(&world), 1, "it ran after the export that calls it stopped");
    sync("&complete=false", world.clock.now(), "stopped");
    assert_eq!(status(&world, &id), VmStatus::Unmonitored);
}

/// Silence came first, and then the inventory says that it left: nobody waits for it, and its alert says why it ended.
fn who_is_stale_and_then_leaves_is_let_go(world: World) {
    let ann = Operator::new(&world, "ann");
    let guests: Vec<_> = ["gone", "stopped", "linked"].iter().map(|name| world.healthy_guest(name)).collect();
    let ids: Vec<String> = guests.iter().map(|guest| guest.vm_id()).collect();
    let sync = |vms: Value| {
        let document = json!({ "format": veriboot_wire::INVENTORY_SCHEMA, "vms": vms });
        let made = world.clock.now();
        ann.post(&format!("/v1/inventory/sources/cloud/sync?exported_at={made}"), &document)
    };
    let of = |n: usize, name: &str, power: &str| json!({ "name": name, "power": power, "ek_sha256": world.vm(&ids[n]).ek_sha256 });
    let old = json!({ "name": "old", "power": "stopped" });
    sync(json!([of(0, "gone", "running"), of(1, "stopped", "running")]));
    world.pass_ms(905 * S);
    assert_eq!(sweep(&world), 3);
    sync(json!([of(1, "stopped", "stopped"), old]));
    for id in &ids[..2] {
        let (vm, alert) = (world.vm(id), world.alerts(id).remove(0));
        assert_eq!((vm.status, alert.state), (VmStatus::Unmonitored, AlertState::Resolved), "{vm:?}");
        let last = alert.timeline.last().unwrap();
        assert_eq!(
            (last.by.as_str(), last.comment.as_deref()),
            ("service", Some("the VM left by its inventory"))
        );
    }
    // Told once, and not looked at in each sweep.
    assert!(deadline(&world, &ids[0]) > world.clock.now());
    assert_eq!(sweep(&world), 0);
    // One that somebody links now is let go as well; one that runs again and stays silent is stale again.
    assert_eq!(status(&world, &ids[2]), VmStatus::Stale);
    let items = ann.get("/v1/inventory/items?matched=false");
    let path = format!("/v1/inventory/items/{}/link", items["items"][0]["id"].as_str().unwrap());
    ann.put(&path, &json!({ "vm": ids[2] }));
    assert_eq!(status(&world, &ids[2]), VmStatus::Unmonitored);
    sync(json!([of(1, "stopped", "running"), old]));
    world.pass_ms(905 * S);
    assert_eq!(sweep(&world), 1);
    assert_eq!(status(&world, &ids[1]), VmStatus::Stale);
    // Who dismisses this silence does not dismiss that of another start.
    let alert = world.open_alerts(&ids[1])[0].id.clone();
    ann.post(&format!("/v1/alerts/{alert}/dismiss"), &json!({ "comment": "known" }));
    sync(json!([of(1, "stopped", "stopped"), old]));
    assert_eq!(status(&world, &ids[1]), VmStatus::Unmonitored);
    sync(json!([of(1, "stopped", "running"), old]));
    world.pass_ms(905 * S);
    assert_eq!(sweep(&world), 1);
    assert_eq!(world.open_alerts(&ids[1])[0].reason, AlertReason::AgentSilent);
    // Nor that which begins when monitoring is switched on again.
    let alert = world.open_alerts(&ids[1])[0].id.clone();
    ann.post(&format!("/v1/alerts/{alert}/dismiss"), &json!({ "comment": "known" }));
    let scope = json!({ "kind": "vm", "group": "default", "id": ids[1] });
    for enabled in [false, true] {
        ann.put("/v1/monitoring", &json!({ "scope": scope, "enabled": enabled }));
    }
    world.pass_ms(905 * S);
    assert_eq!(sweep(&world), 1);
    assert_eq!(world.open_alerts(&ids[1]).len(), 1);
}

/// Who dismissed one silence did not dismiss the next one, whatever the agent showed in between.
fn a_dismissed_silence_is_forgotten_when_the_agent_reports(world: World) {
    let mut guest = world.healthy_guest("web-0");
    let id = guest.vm_id();
    world.pass_ms(905 * S);
    assert_eq!(sweep(&world), 1);
    let alert = world.open_alerts(&id)[0].id.clone();
    let now = world.clock.now();
    world.write(move |tx| {
        alerts::change_state(tx, &alert, AlertState::Dismissed, "ann", Some("known"), now).map(drop)
    });
    let shell = Boot { cmdline: "root=/dev/vda1 ro quiet init=/bin/sh".into(), ..Boot::default() };
    guest.boot(&shell);
    assert_eq!(guest.attest().status, VmStatus::Unhealthy);
    world.pass_ms(905 * S);
    assert_eq!(sweep(&world), 1);
    assert!(world.open_alerts(&id).iter().any(|alert| alert.reason == AlertReason::AgentSilent));
}

/// A VM that is not monitored is never due, and none is looked at that is not due.
#[test]
fn who_is_not_monitored_is_never_silent() {
    let world = World::sqlite();
    let id = world.healthy_guest("lab").vm_id();
    world.write({
        let id = id.clone();
        move |tx| vms::set_monitoring(tx, &id, false, VmStatus::Unmonitored)
    });
    world.pass_ms(3_600 * S);
    assert_eq!(sweep(&world), 0);
    assert_eq!(status(&world, &id), VmStatus::Unmonitored);
}
