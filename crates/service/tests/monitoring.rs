//! The monitoring switch, over the API and on both databases.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod agent_support;

use agent_support::boot::Boot;
use agent_support::operator::Operator;
use agent_support::{Guest, World};
use serde_json::{Value, json};
use veriboot_service::{monitoring, silence};
use veriboot_store::api_tokens::Role;
use veriboot_store::monitoring as settings;
use veriboot_wire::{AlertState, VmStatus};

fn scope(kind: &str, id: &str) -> Value {
    json!({ "kind": kind, "group": "default", "id": id })
}

fn put(operator: &Operator, kind: &str, id: &str, enabled: bool) -> Value {
    let body = json!({ "scope": scope(kind, id), "enabled": enabled, "comment": "because" });
    operator.put("/v1/monitoring", &body)
}

fn evil() -> Boot {
    Boot { cmdline: "init=/bin/sh".into(), ..Boot::default() }
}

fn drain(world: &World) {
    world.block_on(monitoring::drain(world.state())).unwrap();
    world.block_on(veriboot_service::members::drain(world.state(), u64::MAX)).unwrap();
}

macro_rules! on_both {
    ($($name:ident)+) => { $(
        mod $name {
            #[test]
            fn sqlite() {
                super::$name(&super::World::sqlite());
            }

            #[test]
            fn postgres() {
                if let Some(world) = super::World::postgres() {
                    super::$name(&world);
                }
            }
        }
    )+ };
}

on_both! {
    a_scope_is_switched_as_a_whole
    the_most_specific_setting_wins
    nothing_is_healthy_before_it_was_judged_again
    changes_name_what_they_replace
}

fn a_scope_is_switched_as_a_whole(world: &World) {
    let operator = Operator::new(world, "ann");
    let token = world.join_token(Some("web"), 10);
    let mut guests: Vec<Guest> = (0..3).map(|n| world.guest(&format!("web-{n}"), Some(&token))).collect();
    guests.iter_mut().for_each(|guest| assert_eq!(guest.attest().status, VmStatus::Healthy));
    guests[0].boot(&evil());
    assert_eq!(guests[0].attest().status, VmStatus::Unhealthy);
    let ids: Vec<String> = guests.iter().map(Guest::vm_id).collect();
    assert_eq!(world.open_alerts(&ids[0]).len(), 1);

    let changed = put(&operator, "scale-set", "web", false);
    assert_eq!(changed["switch"]["switched"], 3);
    assert_eq!(changed["status"]["monitored"], 0);
    assert_eq!(changed["status"]["monitoring"]["text"], "disabled (by scale set web)");
    for id in &ids {
        let vm = world.vm(id);
        assert_eq!((vm.status, vm.monitoring), (VmStatus::Unmonitored, false));
    }
    let alert = &world.alerts(&ids[0])[0];
    assert_eq!(alert.state, AlertState::Resolved);
    let last = alert.timeline.last().unwrap();
    assert!(last.comment.as_deref().unwrap().contains("monitoring was disabled"), "{last:?}");

    // It may attest, and nothing follows from it; it may be silent.
    assert_eq!(guests[0].attest().status, VmStatus::Unmonitored);
    world.pass_ms(1_800_000);
    assert_eq!(world.block_on(silence::sweep(world.state())).unwrap(), 0);
    assert!(ids.iter().all(|id| world.open_alerts(id).is_empty()));
    let shown = operator.get(&format!("/v1/vms/{}", ids[0]));
    assert_eq!(shown["monitoring"]["enabled"], false);
    assert_eq!(shown["status"], "unmonitored");

    // One that enrols now takes it.
    let mut late = world.guest("web-9", Some(&token));
    assert_eq!(late.attest().status, VmStatus::Unmonitored);
    assert_eq!(
        world.vm(&late.vm_id()).status_detail.unwrap(),
        "Integrity monitoring is disabled (by scale set web)."
    );

    // On again: what it showed meanwhile counts, and nobody is silent at once.
    let changed = put(&operator, "scale-set", "web", true);
    assert_eq!(changed["switch"]["switched"], 4);
    drain(world);
    assert_eq!(world.vm(&ids[0]).status, VmStatus::Unhealthy);
    assert_eq!(world.open_alerts(&ids[0]).len(), 1, "raised without waiting for its agent");
    assert_eq!(world.vm(&ids[1]).status, VmStatus::Healthy);
    assert_eq!(world.block_on(silence::sweep(world.state())).unwrap(), 0);
    world.pass_ms(905_000);
    assert_eq!(world.block_on(silence::sweep(world.state())).unwrap(), 4);

    let actions: Vec<String> = world.audit().into_iter().map(|entry| entry.action).collect();
    assert_eq!(actions.iter().filter(|action| *action == "monitoring.set").count(), 2);
    let events = operator.get("/v1/events?format=json&kind=monitoring.changed");
    assert_eq!(events["items"].as_array().unwrap().len(), 2, "{events}");
}

/// What was healthy before the pause is not taken for healthy after it: what judges may be another by then, or broken.
fn nothing_is_healthy_before_it_was_judged_again(world: &World) {
    let operator = Operator::new(world, "ann");
    let mut guest = world.healthy_guest("db-0");
    let id = guest.vm_id();
    put(&operator, "vm", "db-0", false);
    // The switch alone, as a replica leaves it that dies before it judges.
    let switch = |world: &World| {
        let (vm, now) = (id.clone(), world.clock.now());
        let scope =
            veriboot_wire::Scope { kind: veriboot_wire::ScopeKind::Vm, group: "default".into(), id: vm };
        world.write(move |tx| {
            settings::set(tx, &scope, true, None, "ann", now)?;
            settings::ask(tx, &scope, "ann", now)
        });
        world.block_on(monitoring::drain(world.state())).unwrap();
    };
    let baseline = world.vm(&id).baseline.unwrap();
    let name = baseline.split('@').next().unwrap().to_owned();
    let document = world.write(move |tx| {
        let rows = tx.query("SELECT document FROM baselines WHERE name = $1", &[name.as_str().into()])?;
        let document = rows.into_iter().next().unwrap().columns().text()?;
        tx.execute(
            "UPDATE baselines SET document = $1 WHERE name = $2",
            &["{".into(), name.as_str().into()],
        )?;
        Ok(document)
    });
    world.state().attest.forget();
    switch(world);
    let status = world.vm(&id).status;
    assert_ne!(status, VmStatus::Healthy, "nobody has judged it");
    drain(world);
    assert_eq!(world.vm(&id).status, VmStatus::Error, "what judges it cannot be read");
    let open = world.open_alerts(&id);
    assert_eq!((open.len(), open[0].kind.as_str()), (1, "vm-appraisal-failed"));

    // Once it can be judged, it is what that says.
    let name = baseline.split('@').next().unwrap().to_owned();
    world.write(move |tx| {
        tx.execute(
            "UPDATE baselines SET document = $1 WHERE name = $2",
            &[document.as_str().into(), name.as_str().into()],
        )
    });
    world.state().attest.forget();
    world.block_on(veriboot_service::attest::reappraise(world.state(), &id)).unwrap();
    assert_eq!(world.vm(&id).status, VmStatus::Healthy);
    assert!(world.open_alerts(&id).is_empty());

    // Enrolling is no attesting, and what was shown before it makes nobody healthy.
    put(&operator, "vm", "db-0", false);
    switch(world);
    guest.agent.enroll().unwrap();
    drain(world);
    let vm = world.vm(&id);
    assert_eq!(vm.status, VmStatus::Pending);
    assert!(vm.status_detail.unwrap().contains("enrolled again"));
    assert_eq!(guest.attest().status, VmStatus::Healthy);

    // Where nothing is left to be judged, the checks do not speak of a VM that is not monitored.
    let unmonitored = |world: &World| {
        let id = id.clone();
        world.write(move |tx| {
            let sql = "SELECT COUNT(*) FROM assessments WHERE resource_id = $1 AND cause = 'monitoring-off'";
            tx.query(sql, &[id.as_str().into()])?.into_iter().next().unwrap().columns().int()
        })
    };
    put(&operator, "vm", "db-0", false);
    assert!(unmonitored(world) > 0);
    let of = id.clone();
    world.write(move |tx| {
        let sql = "UPDATE attestations SET ak_public = $2 WHERE vm_id = $1";
        tx.execute(sql, &[of.as_str().into(), b"another"[..].into()])
    });
    switch(world);
    drain(world);
    assert_eq!((world.vm(&id).status, unmonitored(world)), (VmStatus::Pending, 0));
}

fn the_most_specific_setting_wins(world: &World) {
    let operator = Operator::new(world, "ann");
    let token = world.join_token(Some("web"), 10);
    let mut guests: Vec<Guest> = (0..2).map(|n| world.guest(&format!("web-{n}"), Some(&token))).collect();
    guests.iter_mut().for_each(|guest| assert_eq!(guest.attest().status, VmStatus::Healthy));
    let alone = world.healthy_guest("db-0");
    let monitored = |name: &str| world.vm_named(name).unwrap().monitoring;

    put(&operator, "vm", "web-0", true);
    assert_eq!(put(&operator, "group", "", false)["switch"]["switched"], 2, "web-0 has its own");
    assert_eq!([monitored("web-0"), monitored("web-1"), monitored("db-0")], [true, false, false]);
    put(&operator, "scale-set", "web", true);
    assert_eq!([monitored("web-0"), monitored("web-1"), monitored("db-0")], [true, true, false]);
    put(&operator, "vm", "web-0", false);
    assert_eq!([monitored("web-0"), monitored("web-1")], [false, true]);
    let status = |kind: &str, id: &str| {
        operator.get(&format!("/v1/monitoring/status?kind={kind}&group=default&id={id}"))
    };
    assert_eq!(status("vm", "web-0")["monitoring"]["text"], "disabled (for this VM)");
    assert_eq!(status("vm", "web-0")["vm_name"], "web-0");
    let listed = operator.get("/v1/monitoring");
    let of_vms: Vec<_> = listed["items"].as_array().unwrap().iter().map(|s| &s["vm_name"]).collect();
    assert!(of_vms.contains(&&json!("web-0")) && of_vms.contains(&&serde_json::Value::Null), "{listed:#}");
    assert_eq!(status("vm", "db-0")["monitoring"]["text"], "disabled (by group default)");
    assert_eq!(status("scale-set", "other")["monitoring"]["text"], "disabled (by group default)");
    let group = status("group", "");
    assert_eq!((group["vms"].as_u64(), group["monitored"].as_u64()), (Some(3), Some(1)));

    // Without its own setting a VM takes what its set says, without any it is monitored.
    operator.done("DELETE", "/v1/monitoring?kind=vm&group=default&id=web-0", None);
    assert!(monitored("web-0"));
    operator.done("DELETE", "/v1/monitoring?kind=group&group=default", None);
    assert!(monitored("db-0"));
    let list = operator.get("/v1/monitoring?group=default");
    assert_eq!(list["items"].as_array().unwrap().len(), 1);
    assert_eq!(list["items"][0]["scope"], scope("scale-set", "web"));
    // A VM that is forgotten takes its setting with it.
    put(&operator, "vm", "db-0", false);
    operator.send("DELETE", &format!("/v1/vms/{}", alone.vm_id()), "", None);
    assert_eq!(operator.get("/v1/monitoring")["items"].as_array().unwrap().len(), 1);
    drop(guests);
}

fn changes_name_what_they_replace(world: &World) {
    let operator = Operator::new(world, "ann");
    let path = "/v1/monitoring/status?kind=group&group=default";
    let body = |enabled: bool| json!({ "scope": scope("group", ""), "enabled": enabled });
    let send = |tag: &str, enabled: bool| {
        let answer =
            operator.send("PUT", "/v1/monitoring", &format!("If-Match: {tag}\r\n"), Some(&body(enabled)));
        (answer.status, answer.body["error"]["code"].as_str().map(str::to_owned))
    };
    let tag = || operator.send("GET", path, "", None).etag.unwrap();
    assert_eq!(tag(), "\"0\"");
    assert_eq!(send("\"0\"", false).0, 200);
    assert_eq!(send("\"0\"", true), (412, Some("precondition-failed".into())), "somebody was faster");
    assert_eq!(tag(), "\"1\"");
    assert_eq!(send("\"1\"", true).0, 200);
    assert_eq!(send("W/\"2\"", true).0, 400);

    let refused = |body: Value| operator.refused("PUT", "/v1/monitoring", &body);
    let with = |scope: Value| json!({ "scope": scope, "enabled": true });
    assert_eq!(refused(with(scope("image", "debian"))), (400, "invalid-value".into()));
    assert_eq!(refused(with(scope("vm", "nobody"))), (404, "not-found".into()));
    assert_eq!(refused(with(scope("scale-set", "a b"))), (400, "invalid-value".into()));
    assert_eq!(refused(json!({ "scope": scope("group", "") })), (400, "invalid-body".into()));
    let gone = operator.send("DELETE", "/v1/monitoring?kind=scale-set&group=default&id=x", "", None);
    assert_eq!(gone.status, 404);
    let viewer = Operator::with_role(world, "vic", Role::Viewer);
    assert_eq!(viewer.refused("PUT", "/v1/monitoring", &body(true)), (403, "forbidden".into()));
    assert_eq!(viewer.get(path)["monitoring"]["enabled"], true);
}

/// Two replicas share the work on a scope that is too large for the answer: each VM is switched once.
#[test]
fn replicas_share_a_large_switch() {
    let Some(world) = World::postgres() else { return };
    let replica = world.replica();
    let now = world.clock.now();
    let token = world.join_token(None, 1);
    let mut one = world.guest("vm-0", Some(&token));
    one.attest();
    let like = world.vm(&one.vm_id());
    for chunk in 0..5 {
        let like = like.clone();
        world.write(move |tx| {
            for n in 0..100 {
                let name = format!("many-{}", chunk * 100 + n);
                veriboot_store::vms::insert(
                    tx,
                    &veriboot_store::vms::VmRow {
                        id: veriboot_store::new_id(now),
                        ek_sha256: format!("ek of {name}"),
                        current_boot_id: None,
                        last_attestation_id: None,
                        name,
                        ..like.clone()
                    },
                )?;
            }
            Ok(())
        });
    }
    let group = veriboot_wire::Scope {
        kind: veriboot_wire::ScopeKind::Group,
        group: "default".into(),
        id: String::new(),
    };
    let asked = world.write({
        let group = group.clone();
        move |tx| {
            settings::set(tx, &group, false, None, "ann", now)?;
            settings::ask(tx, &group, "ann", now)
        }
    });
    let (a, b) = world.block_on(async {
        tokio::join!(monitoring::drain(world.state()), monitoring::drain(replica.state()))
    });
    a.unwrap();
    b.unwrap();
    // Whoever had it goes on in the background when the other found nothing to claim.
    for _ in 0..100 {
        if world.read(settings::pending) == 0 {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    let done = world.read(move |tx| settings::switch_by_id(tx, &asked.id)).unwrap();
    assert_eq!((done.vms, done.done, done.switched), (501, 501, 501));
    assert!(done.finished_at.is_some());
    assert_eq!(world.read(move |tx| settings::count(tx, &group)), (501, 0));
}
