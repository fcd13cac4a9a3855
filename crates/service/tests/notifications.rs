//! Notifications from the change to the receiver: webhooks, the outbox, the API of targets.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod common;
mod notify_support;
#[path = "notify_support/outbox.rs"]
mod outbox;

use std::io::Write as _;
use std::process::{Command, Stdio};

use common::TestServer;
use notify_support::{Answer, BROKEN, OK, Receiver, until};
use outbox::{add, enrolled, happen, happen_saying, health, pass, webhook};
use serde_json::{Value, json};
use veriboot_service::notify;
use veriboot_store::targets;
use veriboot_wire::Severity;

#[test]
fn an_hour_of_500_loses_nothing_and_keeps_the_order() {
    let server = TestServer::start();
    let receiver = Receiver::start(BROKEN);
    add(&server, &webhook("hook", &receiver));
    let mut wanted = vec![enrolled(&server), enrolled(&server)];
    receiver.wait_for(1);
    for _ in 0..60 {
        pass(&server, 60_000);
        wanted.push(enrolled(&server));
    }
    let tried = receiver.requests();
    assert!((8..40).contains(&tried.len()), "{} attempts within an hour", tried.len());
    // It is the first event that is tried, and its id never changes, while the time and with it the signature do.
    assert!(
        tried
            .iter()
            .all(|r| r.sequence() == wanted[0] && r.header("webhook-id") == tried[0].header("webhook-id"))
    );
    assert_ne!(tried[0].header("webhook-timestamp"), tried.last().unwrap().header("webhook-timestamp"));
    let sick = health(&server, "hook");
    assert_eq!(sick["waiting"], wanted.len());
    assert!(sick["last_error"].as_str().unwrap().contains("500"), "{sick}");

    receiver.answer(OK);
    server.clock().advance_ms(16 * 60_000);
    let all = receiver.wait_for(tried.len() + wanted.len());
    let told: Vec<u64> = all[tried.len()..].iter().map(notify_support::Request::sequence).collect();
    assert_eq!(told, wanted);
    until(|| (health(&server, "hook")["waiting"] == 0).then_some(()), || "an empty outbox".into());
    assert_eq!(health(&server, "hook")["failures"], 0);
    let metrics = server.admin().get("/metrics").text();
    assert!(
        metrics.contains(&format!(
            r#"veriboot_notifications_total{{kind="webhook",outcome="delivered"}} {}"#,
            wanted.len()
        )),
        "{metrics}"
    );
    assert!(metrics.contains(r#"veriboot_outbox_waiting{kind="webhook"} 0"#));
}

#[test]
fn a_clock_that_was_ahead_keeps_nobody_from_being_told() {
    let server = TestServer::start();
    let receiver = Receiver::start(BROKEN);
    add(&server, &webhook("hook", &receiver));
    server.clock().step_ms(86_400_000);
    let event = enrolled(&server);
    until(|| (health(&server, "hook")["failures"] == 1).then_some(()), || "a failure".into());
    receiver.answer(OK);
    server.clock().step_ms(-86_400_000);
    let told = receiver.wait_for(2);
    assert_eq!(told[1].sequence(), event);
}

#[test]
fn a_clock_that_is_set_a_year_ahead_and_back_loses_nothing() {
    let mut server = TestServer::start();
    let receiver = Receiver::start(BROKEN);
    add(&server, &webhook("hook", &receiver));
    let year = 366 * 86_400_000;
    let mut wanted = vec![enrolled(&server)];
    // From the database: a certificate that is made while the clock is ahead is not good yet for the test's client.
    let sick = |server: &TestServer| {
        let health = server.state().store.read(|tx| {
            let row = targets::by_name(tx, "hook")?.unwrap();
            targets::health(tx, &row.id)
        });
        server.block_on(health).unwrap()
    };
    until(|| (sick(&server).failures > 0).then_some(()), || "a failure".into());
    let check = |server: &TestServer, waiting: u64| {
        // Before the step was seen, and after.
        for _ in 0..2 {
            let failures = sick(server).failures;
            pass(server, 16 * 60_000);
            until(|| (sick(server).failures > failures).then_some(()), || "another failure".into());
            assert_eq!(server.block_on(notify::sweep(server.state())).unwrap(), 0);
            let sick = sick(server);
            assert_eq!((sick.dead, sick.waiting), (0, waiting));
            server.block_on(veriboot_service::silence::sweep(server.state())).unwrap();
        }
    };
    server.clock().step_ms(year);
    check(&server, 1);
    wanted.push(enrolled(&server));
    server.clock().step_ms(-year);
    check(&server, 2);
    // Set while the service is down.
    for step in [year, -year] {
        server.stop();
        server.clock().step_ms(step);
        server.restart();
        check(&server, 2);
    }
    receiver.answer(OK);
    let before = receiver.requests().len();
    server.clock().advance_ms(16 * 60_000);
    let told = receiver.wait_for(before + 2);
    let taken: Vec<u64> = told.iter().rev().take(2).rev().map(notify_support::Request::sequence).collect();
    assert_eq!(taken, wanted);
    let page = server.admin().get("/v1/events?format=json").json();
    assert_eq!(page["items"].as_array().unwrap().len(), 2);
}

#[test]
fn what_waits_survives_a_restart() {
    let mut server = TestServer::start();
    let receiver = Receiver::start(BROKEN);
    add(&server, &webhook("hook", &receiver));
    let wanted = [enrolled(&server), enrolled(&server)];
    receiver.wait_for(1);
    server.restart();
    receiver.answer(OK);
    server.clock().advance_ms(60_000);
    let told = until(
        || {
            let taken: Vec<u64> = receiver.requests().iter().map(notify_support::Request::sequence).collect();
            taken.ends_with(&wanted).then_some(taken)
        },
        || "both events".into(),
    );
    assert!(told.len() >= 3);
}

/// The function of docs/notifications.md, run by Python over a message as it came.
fn documented_check(
    message: &notify_support::Request,
    body: &[u8],
    secret: &str,
    now: i64,
    twice: bool,
) -> String {
    let document = include_str!("../../../docs/notifications.md");
    let code = document.split("```python\n").nth(1).unwrap().split("```").next().unwrap();
    let script = format!(
        "{code}\nimport json, sys\nm = json.load(sys.stdin)\nseen = set()\nfor _ in range({}):\n    verify(m['headers'], \
         bytes.fromhex(m['body']), m['secret'], seen, {now})\nprint('genuine')\n",
        1 + u8::from(twice)
    );
    let headers: serde_json::Map<String, Value> =
        message.headers.iter().map(|(name, value)| (name.clone(), value.clone().into())).collect();
    let input = json!({ "headers": headers, "body": hex::encode(body), "secret": secret });
    let mut python = Command::new("python3")
        .args(["-c", &script])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    python.stdin.take().unwrap().write_all(input.to_string().as_bytes()).unwrap();
    let out = python.wait_with_output().unwrap();
    String::from_utf8_lossy(&if out.status.success() { out.stdout } else { out.stderr }).into_owned()
}

#[test]
fn a_receiver_can_check_a_webhook_as_documented() {
    let server = TestServer::start();
    let receiver = Receiver::start(OK);
    let made = add(&server, &webhook("hook", &receiver));
    let secret = made["signing_secret"].as_str().unwrap().to_owned();
    let sequence = happen(&server, "alert.opened", Severity::High, Some("prod"));
    let message = receiver.wait_for(1).remove(0);
    let trace: Vec<&str> = message.header("traceparent").split('-').collect();
    assert_eq!(trace.iter().map(|part| part.len()).collect::<Vec<_>>(), [2, 32, 16, 2], "{trace:?}");
    assert_eq!((trace[0], trace[3]), ("00", "00"), "nobody records");
    let cloud = message.json();
    assert_eq!(message.header("content-type"), "application/cloudevents+json; charset=utf-8");
    assert_eq!(cloud["specversion"], "1.0");
    assert_eq!(cloud["type"], "veriboot.alert.opened");
    assert_eq!(cloud["source"], server.state().public_url);
    assert_eq!(cloud["id"], message.header("webhook-id"));
    assert_eq!(cloud["data"]["sequence"], sequence);
    assert_eq!(cloud["data"]["group"], "prod");
    for attribute in cloud.as_object().unwrap().keys() {
        assert!(attribute.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit()), "{attribute}");
    }

    let sent: i64 = message.header("webhook-timestamp").parse().unwrap();
    let check = |body: &[u8], secret: &str, now, twice| documented_check(&message, body, secret, now, twice);
    assert_eq!(check(&message.body, &secret, sent + 10, false), "genuine\n");
    assert!(check(&message.body, &secret, sent + 301, false).contains("too old"));
    assert!(check(&message.body, &secret, sent, true).contains("seen already"));
    let mut other = message.body.clone();
    *other.last_mut().unwrap() ^= 1;
    assert!(check(&other, &secret, sent, false).contains("the signature is wrong"));
    let another = format!("whsec_{}", "A".repeat(32));
    assert!(check(&message.body, &another, sent, false).contains("the signature is wrong"));
}

#[test]
fn a_slow_target_holds_nobody_else() {
    let server = TestServer::start();
    let (slow, quick) = (Receiver::start(Answer::Nothing), Receiver::start(OK));
    add(&server, &webhook("slow", &slow));
    add(&server, &webhook("quick", &quick));
    let wanted: Vec<u64> = (0..3).map(|_| enrolled(&server)).collect();
    slow.wait_for(1);
    let told: Vec<u64> = quick.wait_for(3).iter().map(notify_support::Request::sequence).collect();
    assert_eq!(told, wanted);
    assert_eq!(slow.requests().len(), 1);
}

#[test]
fn what_a_receiver_refuses_is_given_up_and_can_be_replayed() {
    let server = TestServer::start();
    let receiver = Receiver::start(Answer::Say("HTTP/1.1 400 Bad Request\r\n"));
    add(&server, &webhook("hook", &receiver));
    let refused = enrolled(&server);
    receiver.wait_for(1);
    for count in 2..=5 {
        until(
            || (health(&server, "hook")["failures"] == count - 1).then_some(()),
            || "a noted failure".into(),
        );
        server.clock().advance_ms(16 * 60_000);
        receiver.wait_for(count);
    }
    until(|| (health(&server, "hook")["dead"] == 1).then_some(()), || "a dead letter".into());
    // What comes after it is told.
    receiver.answer(OK);
    let next = enrolled(&server);
    server.clock().advance_ms(16 * 60_000);
    assert_eq!(receiver.wait_for(6)[5].sequence(), next);
    let dead = server.admin().get("/v1/notification-deliveries?state=dead&target=hook").json();
    assert_eq!(dead["items"].as_array().unwrap().len(), 1);
    assert_eq!(dead["items"][0]["event"]["sequence"], refused);
    assert_eq!(dead["items"][0]["attempts"], 5);
    assert_eq!(dead["items"][0]["last_error"], "the receiver answered 400");
    assert!(server.admin().get("/metrics").text().contains("veriboot_dead_letters 1"));

    for none in [0, refused + 1000, u64::MAX] {
        let replayed =
            server.admin().post("/v1/notification-deliveries/replay", &json!({ "sequence": none }));
        assert_eq!((replayed.status, replayed.json()["queued"].clone()), (200, json!(0)), "{none}");
    }
    let replayed = server
        .with_scope("operator")
        .post("/v1/notification-deliveries/replay", &json!({ "target": "hook" }));
    assert_eq!((replayed.status, replayed.json()["queued"].clone()), (200, json!(1)));
    assert_eq!(receiver.wait_for(7)[6].sequence(), refused);
    assert_eq!(server.admin().post("/v1/notification-deliveries/replay", &json!({})).json()["queued"], 0);
    assert_eq!(
        server.admin().post("/v1/notification-deliveries/replay", &json!({ "target": "x" })).status,
        404
    );
    let unknown = server.admin().get("/v1/notification-deliveries?target=x");
    assert_eq!((unknown.status, unknown.code().as_str()), (404, "not-found"));
}

/// Sequence numbers of what came in one request of many events.
fn together(request: &notify_support::Request) -> Vec<u64> {
    let sequence = |one: &Value| {
        one["data"]["sequence"].as_u64().or_else(|| one["metadata"]["sequence"].as_u64()).unwrap()
    };
    request.json().as_array().unwrap().iter().map(sequence).collect()
}

#[test]
fn one_refused_event_takes_no_other_with_it() {
    for digest in [false, true] {
        let server = TestServer::start();
        let receiver = Receiver::start(BROKEN);
        let settings = json!({ "url": receiver.url(), "allow_local": true });
        let target = match digest {
            false => json!({ "name": "t", "kind": "ocsf", "settings": settings }),
            true => {
                json!({ "name": "t", "kind": "webhook", "settings": settings, "route": { "digest_s": 60 } })
            }
        };
        add(&server, &target);
        let mut wanted = Vec::new();
        for n in 0..40 {
            let message = if n == 17 { "poison" } else { "harmless" };
            wanted.push(happen_saying(&server, "alert.opened", Severity::High, Some("prod"), message));
        }
        let poison = wanted.remove(17);
        server.clock().advance_ms(61_000);
        until(|| (health(&server, "t")["failures"] != 0).then_some(()), || "a failure".into());
        let before = receiver.requests().len();
        receiver.answer(Answer::Refuse("poison"));
        let attempts = || {
            let all = server.admin().get("/v1/notification-deliveries").json();
            let of = |d: &&Value| d["event"]["sequence"] == poison;
            all["items"].as_array().unwrap().iter().find(of).unwrap()["attempts"].as_u64().unwrap()
        };
        let before_refusals = attempts();
        for count in 1..=5 {
            assert_eq!(health(&server, "t")["dead"], 0);
            server.clock().advance_ms(16 * 60_000);
            until(|| (attempts() == before_refusals + count).then_some(()), || "another attempt".into());
        }
        assert_eq!(health(&server, "t")["dead"], 1);
        server.clock().advance_ms(16 * 60_000);
        until(|| (health(&server, "t")["waiting"] == 0).then_some(()), || "an empty outbox".into());
        let dead = server.admin().get("/v1/notification-deliveries?state=dead").json();
        assert_eq!(dead["items"].as_array().unwrap().len(), 1);
        assert_eq!(dead["items"][0]["event"]["sequence"], poison);
        let taken: Vec<u64> = receiver.requests()[before..]
            .iter()
            .map(together)
            .filter(|t| !t.contains(&poison))
            .flatten()
            .collect();
        assert_eq!(taken, wanted, "once each, in their order");
    }
}

#[test]
fn what_nobody_takes_for_a_day_is_given_up() {
    let server = TestServer::start();
    let receiver = Receiver::start(BROKEN);
    add(&server, &webhook("hook", &receiver));
    enrolled(&server);
    receiver.wait_for(1);
    until(|| (health(&server, "hook")["failures"] == 1).then_some(()), || "a noted failure".into());
    pass(&server, 23 * 3_600_000);
    until(|| (health(&server, "hook")["failures"] == 2).then_some(()), || "another attempt".into());
    assert_eq!(health(&server, "hook")["dead"], 0);
    server.clock().advance_ms(3_600_000);
    until(|| (health(&server, "hook")["dead"] == 1).then_some(()), || "a dead letter".into());
    assert_eq!(health(&server, "hook")["waiting"], 0);
}

#[test]
fn a_receiver_that_asks_for_time_gets_it_and_redirects_lead_nowhere() {
    let server = TestServer::start();
    let receiver = Receiver::start(Answer::Say("HTTP/1.1 503 Busy\r\nRetry-After: 1800\r\n"));
    add(&server, &webhook("hook", &receiver));
    enrolled(&server);
    receiver.wait_for(1);
    until(|| (health(&server, "hook")["failures"] == 1).then_some(()), || "a noted failure".into());
    pass(&server, 1_700_000);
    assert_eq!(receiver.requests().len(), 1);
    let elsewhere = Receiver::start(OK);
    let location: &'static str = Box::leak(
        format!("HTTP/1.1 307 Temporary Redirect\r\nLocation: {}\r\n", elsewhere.url()).into_boxed_str(),
    );
    receiver.answer(Answer::Say(location));
    server.clock().advance_ms(101_000);
    receiver.wait_for(2);
    until(
        || {
            health(&server, "hook")["last_error"]
                .as_str()
                .filter(|e| e.contains("redirects are not followed"))
                .map(drop)
        },
        || "a refused redirect".into(),
    );
    assert!(elsewhere.requests().is_empty());
}

#[test]
fn routes_and_digests_are_kept() {
    let server = TestServer::start();
    let receiver = Receiver::start(OK);
    let mut target = webhook("hook", &receiver);
    target["route"] =
        json!({ "min_severity": "medium", "groups": ["prod"], "kinds": ["alert.*"], "digest_s": 600 });
    add(&server, &target);
    let wanted: Vec<u64> =
        (0..3).map(|_| happen(&server, "alert.opened", Severity::High, Some("prod"))).collect();
    happen(&server, "alert.opened", Severity::Low, Some("prod"));
    happen(&server, "alert.opened", Severity::High, Some("test"));
    happen(&server, "vm.enrolled", Severity::High, Some("prod"));
    pass(&server, 590_000);
    assert!(receiver.requests().is_empty());
    server.clock().advance_ms(12_000);
    let digest = receiver.wait_for(1).remove(0);
    assert_eq!(digest.header("content-type"), "application/cloudevents-batch+json; charset=utf-8");
    let told: Vec<u64> =
        digest.json().as_array().unwrap().iter().map(|e| e["data"]["sequence"].as_u64().unwrap()).collect();
    assert_eq!(told, wanted);
}
