//! Notification targets: what is shown of them and to whom, and where they must not be.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod common;
mod notify_support;
#[path = "notify_support/outbox.rs"]
mod outbox;

use common::{Client, Reply, TestServer};
use notify_support::{Answer, BROKEN, OK, Receiver, until};
use outbox::{TARGETS, add, enrolled, health, pass, webhook};
use serde_json::{Value, json};

fn patch(client: &Client, name: &str, body: &Value) -> Reply {
    client.send(
        "PATCH",
        &format!("{TARGETS}/{name}"),
        Some("application/json"),
        &serde_json::to_vec(body).unwrap(),
    )
}

#[test]
fn targets_are_resources_whose_secrets_are_never_shown() {
    let server = TestServer::start();
    let admin = server.admin();
    let secret = format!("whsec_{}", "QUJDREVG".repeat(4));
    let target = json!({
        "name": "ops", "kind": "webhook", "settings": { "url": "https://hooks.example.com/x" },
        "secrets": { "signing_secret": secret, "authorization": "Bearer very-secret" }, "enabled": false,
    });
    let made = admin.post(TARGETS, &target);
    assert_eq!((made.status, made.header("etag")), (201, Some("\"1\"")), "{}", made.text());
    assert_eq!(made.json()["secrets"], json!(["signing_secret", "authorization"]));
    assert!(made.json().get("signing_secret").is_none());
    assert_eq!(admin.post(TARGETS, &target).code(), "name-in-use");
    assert_eq!(server.with_scope("operator").post(TARGETS, &target).code(), "forbidden");

    let mut everything = String::new();
    let changed = patch(
        &admin,
        "ops",
        &json!({ "secrets": { "authorization": "" }, "route": { "min_severity": "high" } }),
    );
    assert_eq!((changed.status, changed.header("etag")), (200, Some("\"2\"")), "{}", changed.text());
    assert_eq!(changed.json()["secrets"], json!(["signing_secret"]));
    assert_eq!(changed.json()["route"]["min_severity"], "high");
    assert_eq!(changed.json()["settings"]["url"], "https://hooks.example.com/x");
    everything += &changed.text();
    everything += &admin.get(TARGETS).text();
    everything += &server.with_scope("viewer").get(&format!("{TARGETS}/ops")).text();
    let audit = admin.get("/v1/audit").text();
    for action in ["notification-target.create", "notification-target.change"] {
        assert!(audit.contains(action), "{action}");
    }
    everything += &audit;
    for word in ["very-secret", "QUJDREVG"] {
        assert!(!everything.contains(word), "{word} is shown: {everything}");
    }

    let stale = ureq::http::Request::builder()
        .method("DELETE")
        .uri(format!("{}{TARGETS}/ops", server.url()))
        .header("if-match", "\"1\"")
        .header("authorization", format!("Bearer {}", server.admin_token()));
    assert_eq!(admin.run(stale.body(()).unwrap()).code(), "precondition-failed");
    assert_eq!(admin.delete(&format!("{TARGETS}/ops")).status, 204);
    assert_eq!(admin.delete(&format!("{TARGETS}/ops")).code(), "not-found");
    assert_eq!(patch(&admin, "ops", &json!({})).code(), "not-found");
    assert!(admin.get("/v1/audit").text().contains("notification-target.remove"));
}

#[test]
fn what_a_receiver_repeats_and_paths_of_urls_are_for_admins() {
    let server = TestServer::start();
    let receiver = Receiver::start(Answer::Echo(0));
    let url = format!("http://127.0.0.1:{}/services/T0/path-of-secrets?key=key-of-secrets", receiver.port);
    add(
        &server,
        &json!({
            "name": "chat", "kind": "webhook", "settings": { "url": url, "allow_local": true },
            "secrets": { "authorization": "Bearer token-of-secrets" },
        }),
    );
    assert_eq!(patch(&server.admin(), "chat", &json!({ "enabled": true })).status, 200);
    enrolled(&server);
    until(|| (health(&server, "chat")["failures"] != 0).then_some(()), || "a failure".into());
    let admin = server.admin();
    assert_eq!(admin.get(&format!("{TARGETS}/chat")).json()["settings"]["url"], url);
    let mut everything = String::new();
    // Where a secret is cut by what is read, no part of it is told either.
    for spaces in [0, 150, 380, 1000, 16_384 - 60, 16_384 - 20] {
        receiver.answer(Answer::Echo(spaces));
        let tested = server.with_scope("operator").post(&format!("{TARGETS}/chat/test"), &json!({})).json();
        assert_eq!(tested["delivered"], false);
        assert!(tested["error"].as_str().unwrap().chars().count() <= 401, "{tested}");
        everything += &tested.to_string();
    }
    for scope in ["viewer", "operator"] {
        let client = server.with_scope(scope);
        for path in [TARGETS, &format!("{TARGETS}/chat"), "/v1/notification-deliveries", "/v1/audit"] {
            everything += &client.get(path).text();
        }
    }
    assert!(everything.contains(&format!("http://127.0.0.1:{}/…", receiver.port)), "{everything}");
    assert!(everything.contains("the receiver answered 400: ***"), "{everything}");
    for word in ["path-of", "key-of", "token-of"] {
        assert!(!everything.contains(word), "{word} is shown: {everything}");
    }
    let shown = format!("http://127.0.0.1:{}/…", receiver.port);
    let back = patch(&admin, "chat", &json!({ "settings": { "url": shown, "allow_local": true } }));
    assert_eq!((back.status, back.code().as_str()), (400, "invalid-value"));
}

#[test]
fn local_addresses_need_a_setting_of_their_own_whatever_name_they_have() {
    let server = TestServer::start();
    let receiver = Receiver::start(OK);
    let with = |url: &str| json!({ "name": "x", "kind": "webhook", "settings": { "url": url } });
    for url in [
        receiver.url().as_str(),
        "http://169.254.169.254/latest",
        "http://[::ffff:127.0.0.1]/",
        "file:///etc/passwd",
    ] {
        let refused = server.admin().post(TARGETS, &with(url));
        assert_eq!((refused.status, refused.code().as_str()), (400, "invalid-value"), "{url}");
    }
    // Not told apart from a name before it is looked up: refused when the connection is made.
    add(&server, &with(&format!("http://127.1:{}/", receiver.port)));
    let tested = server.admin().post(&format!("{TARGETS}/x/test"), &json!({})).json();
    assert_eq!(tested["delivered"], false);
    assert!(tested["error"].as_str().unwrap().contains("allow_local"), "{tested}");
    assert!(receiver.requests().is_empty());
    let settings = json!({ "url": format!("http://127.1:{}/", receiver.port), "allow_local": true });
    assert_eq!(patch(&server.admin(), "x", &json!({ "settings": settings })).status, 200);
    let tested = server.with_scope("operator").post(&format!("{TARGETS}/x/test"), &json!({})).json();
    assert_eq!(tested["delivered"], true, "{tested}");
    assert_eq!(receiver.requests()[0].json()["type"], "veriboot.notification.test");
    assert_eq!(
        server.with_scope("viewer").post(&format!("{TARGETS}/x/test"), &json!({})).code(),
        "forbidden"
    );
    assert!(server.admin().get("/v1/audit").text().contains("notification-target.test"));
}

#[test]
fn a_target_that_is_switched_off_is_told_nothing() {
    let server = TestServer::start();
    let receiver = Receiver::start(OK);
    add(&server, &webhook("hook", &receiver));
    assert_eq!(patch(&server.admin(), "hook", &json!({ "enabled": false })).status, 200);
    enrolled(&server);
    pass(&server, 60_000);
    assert_eq!(patch(&server.admin(), "hook", &json!({ "enabled": true })).status, 200);
    let told = enrolled(&server);
    assert_eq!(receiver.wait_for(1)[0].sequence(), told);
}

#[test]
fn an_alertmanager_that_cannot_be_told_is_known_before_the_first_alert() {
    let server = TestServer::start();
    let receiver = Receiver::start(BROKEN);
    let settings = json!({ "url": receiver.url(), "allow_local": true });
    add(&server, &json!({ "name": "am", "kind": "alertmanager", "settings": settings }));
    pass(&server, 60_000);
    let requests = receiver.wait_for(2);
    assert!(requests[0].body.is_empty(), "it is asked what time it is there");
    assert_eq!(requests[1].body, b"[]");
    until(
        || (health(&server, "am")["failures"] == 1).then_some(()),
        || format!("a failing target: {}", health(&server, "am")),
    );
    receiver.answer(OK);
    pass(&server, 120_000);
    until(
        || (health(&server, "am")["failures"] == 0).then_some(()),
        || format!("a target that works: {}", health(&server, "am")),
    );
}
