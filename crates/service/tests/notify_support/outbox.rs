//! Events, targets and time for tests of the outbox.
#![allow(
    dead_code,
    clippy::unwrap_used,
    reason = "not every test needs all of it, and a test fails by panicking"
)]

use serde_json::{Value, json};
use veriboot_service::notify;
use veriboot_store::events::{self, NewEvent};
use veriboot_wire::Severity;

use crate::common::TestServer;
use crate::notify_support::Receiver;

pub const TARGETS: &str = "/v1/notification-targets";

/// Something that happened.
pub fn happen(server: &TestServer, kind: &str, severity: Severity, group: Option<&str>) -> u64 {
    happen_saying(server, kind, severity, group, "something happened")
}

pub fn happen_saying(
    server: &TestServer,
    kind: &str,
    severity: Severity,
    group: Option<&str>,
    message: &str,
) -> u64 {
    let (kind, group, message) = (kind.to_owned(), group.map(str::to_owned), message.to_owned());
    let now = server.clock().now();
    server
        .block_on(server.state().store.write(move |tx| {
            let data = json!({ "message": message });
            let event = NewEvent {
                at: now,
                kind: &kind,
                severity,
                group: group.as_deref(),
                scale_set: None,
                vm_id: Some("vm-1"),
                vm_name: Some("web-0"),
                subject: None,
                data: &data,
            };
            events::append(tx, &event)?;
            Ok(events::bounds(tx)?.newest)
        }))
        .unwrap()
}

pub fn enrolled(server: &TestServer) -> u64 {
    happen(server, "vm.enrolled", Severity::Info, Some("default"))
}

#[track_caller]
pub fn add(server: &TestServer, target: &Value) -> Value {
    let made = server.admin().post(TARGETS, target);
    assert_eq!(made.status, 201, "{}", made.text());
    made.json()
}

pub fn webhook(name: &str, receiver: &Receiver) -> Value {
    json!({ "name": name, "kind": "webhook", "settings": { "url": receiver.url(), "allow_local": true } })
}

pub fn health(server: &TestServer, name: &str) -> Value {
    server.admin().get(&format!("{TARGETS}/{name}")).json()["health"].clone()
}

/// Lets time pass and tells everybody whose turn it is.
pub fn pass(server: &TestServer, ms: i64) {
    server.clock().advance_ms(ms);
    server.block_on(notify::pass(server.state())).unwrap();
}
