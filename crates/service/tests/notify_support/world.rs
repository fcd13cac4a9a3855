//! Targets of a service that agents report to, and a VM that something is told of.
#![allow(
    dead_code,
    clippy::unwrap_used,
    reason = "not every test needs all of it, and a test fails by panicking"
)]

use serde_json::{Value, json};
use veriboot_store::api_tokens::Role;
use veriboot_wire::Verdict;

use crate::agent_support::boot::Boot;
use crate::agent_support::operator::Operator;
use crate::agent_support::{Guest, World};
use crate::common::Client;

const TARGETS: &str = "/v1/notification-targets";

/// The API, in the name of an admin.
pub fn admin(world: &World) -> Client {
    let admin = Operator::with_role(world, "test-admin", Role::Admin);
    Client::new(&world.url(), &world.ca_file(), Some(admin.token()))
}

#[track_caller]
pub fn add(client: &Client, target: &Value) {
    let made = client.post(TARGETS, target);
    assert_eq!(made.status, 201, "{}", made.text());
}

#[track_caller]
pub fn test(client: &Client, name: &str) -> Value {
    let tested = client.post(&format!("{TARGETS}/{name}/test"), &json!({}));
    assert_eq!(tested.status, 200, "{}", tested.text());
    tested.json()
}

/// A healthy VM boots another kernel.
pub fn tampered(world: &World, name: &str) -> Guest {
    let mut guest = world.healthy_guest(name);
    guest.boot(&Boot { kernel: "vmlinuz-of-somebody".into(), ..Boot::default() });
    assert_eq!(guest.attest().verdict, Verdict::Unhealthy);
    guest
}
