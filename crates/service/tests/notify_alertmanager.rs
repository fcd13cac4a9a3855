//! What an Alertmanager is told, a real one and one with a clock that cannot be.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod agent_support;
mod common;
mod notify_support;
#[path = "notify_support/world.rs"]
mod world;

use std::time::Duration;

use agent_support::World;
use agent_support::boot::Boot;
use notify_support::alertmanager::Alertmanager;
use notify_support::{Answer, Receiver, until};
use serde_json::{Value, json};
use veriboot_wire::{Time, Verdict};
use world::{add, admin, tampered};

fn time(value: &Value) -> Time {
    Time::try_from(value.as_str().unwrap().to_owned()).unwrap()
}

#[test]
fn an_alertmanager_knows_what_fires_until_it_is_resolved() {
    let world = World::sqlite();
    let client = admin(&world);
    let folder = tempfile::tempdir().unwrap();
    let alertmanager = Alertmanager::start(folder.path());
    let url = alertmanager.url();
    add(
        &client,
        &json!({ "name": "am", "kind": "alertmanager", "settings": { "url": url, "allow_local": true } }),
    );
    let mut guest = tampered(&world, "web-0");

    let firing = until(|| alertmanager.alerts().pop(), || "a firing alert".into());
    let ours = world.open_alerts(&guest.vm_id()).pop().unwrap();
    let labels = &firing["labels"];
    assert_eq!(labels["alertname"], "vm-attestation-failed");
    assert_eq!(
        (&labels["vm"], &labels["vm_id"], &labels["group"]),
        (&json!("web-0"), &json!(guest.vm_id()), &json!("default"))
    );
    assert_eq!((&labels["reason"], &labels["severity"]), (&json!(ours.reason), &json!(ours.severity)));
    assert_eq!(firing["annotations"]["description"], ours.message);
    assert_eq!(firing["status"]["state"], "active");
    assert!(firing["generatorURL"].as_str().unwrap().ends_with(&ours.id));

    guest.boot(&Boot::default());
    assert_eq!(guest.attest().verdict, Verdict::Healthy);
    until(|| alertmanager.alerts().is_empty().then_some(()), || "a resolved alert".into());

    // It comes back as the same alert, and is told again every minute, so that it does not end by itself.
    guest.boot(&Boot { kernel: "vmlinuz-of-somebody".into(), ..Boot::default() });
    assert_eq!(guest.attest().verdict, Verdict::Unhealthy);
    let back = until(|| alertmanager.alerts().pop(), || "the alert again".into());
    assert_eq!(back["fingerprint"], firing["fingerprint"]);
    let updated = |alert: &Value| time(&alert["updatedAt"]);
    let first = updated(&back);
    world.pass_ms(61_000);
    until(
        || {
            alertmanager
                .alerts()
                .pop()
                .filter(|again| updated(again) > first && again["fingerprint"] == firing["fingerprint"])
        },
        || format!("a repetition; there is {:?}", alertmanager.alerts()),
    );
    assert_eq!(alertmanager.alerts().len(), 1);
}

/// What fires fires there, and what is resolved is, however far the clock of the service is from its own.
#[test]
fn an_alertmanager_with_another_clock_knows_what_fires() {
    let folder = tempfile::tempdir().unwrap();
    let alertmanager = Alertmanager::start(folder.path());
    let url = alertmanager.url();
    for (n, ours_ahead_s) in [-600, 600, -86_400, 86_400].into_iter().enumerate() {
        let world = World::sqlite();
        world.clock.advance_ms(ours_ahead_s * 1000);
        let client = admin(&world);
        add(
            &client,
            &json!({ "name": "am", "kind": "alertmanager", "settings": { "url": url, "allow_local": true } }),
        );
        let vm = format!("web-{n}");
        let mut guest = tampered(&world, &vm);
        let firing =
            until(|| alertmanager.firing(&vm), || format!("{vm} fires, our clock {ours_ahead_s} s ahead"));
        // Its clock is that of this machine, which says when it was updated.
        let now = time(&firing["updatedAt"]);
        let held = (time(&firing["endsAt"]).unix_ms() - now.unix_ms()) / 1000;
        assert!((290..=310).contains(&held), "{ours_ahead_s}: it ends in {held} s");
        let since = now.unix_ms() - time(&firing["startsAt"]).unix_ms();
        assert!((0..60_000).contains(&since), "{ours_ahead_s}: it began {since} ms ago");
        let target = client.get("/v1/notification-targets/am").json();
        let health = &target["health"];
        let ahead = health["clock_ahead_s"].as_i64().unwrap();
        assert!((ahead + ours_ahead_s).abs() <= 2, "{ours_ahead_s}: {health}");
        // Our clock is set while it fires: it fires on.
        world.clock.advance_ms(-ours_ahead_s * 1000 + 61_000);
        until(
            || alertmanager.firing(&vm).filter(|again| time(&again["updatedAt"]) > now),
            || format!("{vm} is told again, our clock {ours_ahead_s} s ahead before"),
        );
        world.clock.advance_ms(ours_ahead_s.max(0) * 1000);
        guest.boot(&Boot::default());
        assert_eq!(guest.attest().verdict, Verdict::Healthy);
        until(
            || alertmanager.firing(&vm).is_none().then_some(()),
            || format!("{vm} is resolved, our clock {ours_ahead_s} s ahead"),
        );
    }
}

/// Something before a healthy Alertmanager has a dead clock, and so has whatever answers for it from a cache.
#[test]
fn a_date_that_cannot_be_keeps_no_alert_back() {
    let (past, future) = ("Thu, 01 Jan 1970 00:00:07 GMT", "Fri, 31 Dec 2100 00:00:00 GMT");
    for (path, date) in [("", past), ("", future), ("/alerts", past), ("/alerts", future)] {
        let world = World::sqlite();
        let client = admin(&world);
        let receiver = Receiver::start(Answer::Dated { path, date });
        let settings = json!({ "url": receiver.url(), "allow_local": true });
        add(&client, &json!({ "name": "am", "kind": "alertmanager", "settings": settings }));
        let guest = tampered(&world, "web-0");
        let of_vm = || -> Vec<notify_support::Request> {
            let posts = receiver.requests().into_iter().filter(|request| request.path.ends_with("/alerts"));
            posts.filter(|request| String::from_utf8_lossy(&request.body).contains(&guest.vm_id())).collect()
        };
        let told =
            until(|| of_vm().first().cloned(), || format!("the alert, with the date {date} at {path:?}"));
        let asked =
            receiver.requests().into_iter().find(|request| request.path.ends_with("/status")).unwrap();
        assert_eq!(asked.header("cache-control"), "no-cache");
        let (ours, alert) = (world.clock.now(), told.json()[0].clone());
        let held = (time(&alert["endsAt"]).unix_ms() - ours.unix_ms()) / 1000;
        assert!((240..=300).contains(&held), "{date}: it ends in {held} s on our clock");
        // Taken is delivered: nothing fails, nothing is given up, and nothing is told again at once.
        let health = until(
            || {
                let health = client.get("/v1/notification-targets/am").json()["health"].clone();
                Some(health)
                    .filter(|health| health["waiting"] == 0 && health["last_delivered_at"].is_string())
            },
            || "the delivery".into(),
        );
        assert_eq!((&health["failures"], &health["dead"]), (&json!(0), &json!(0)), "{health}");
        assert_eq!(health["last_failed_at"], Value::Null, "{health}");
        assert!(health["clock_ahead_s"].as_i64().unwrap().abs() > 7 * 86_400, "{health}");
        let count = of_vm().len();
        std::thread::sleep(Duration::from_secs(2));
        assert_eq!(of_vm().len(), count, "{date}");
    }
}
