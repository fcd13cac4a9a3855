//! Targets of a service that agents report to, and a VM that something is told of.
#![allow(
    dead_code,
    clippy::unwrap_used,
    reason = "not every test needs all of it, and a test fails by panicking"
)]

use serde_json::{Value, json};
use veriboot_wire::Verdict;

use crate::agent_support::boot::Boot;
use crate::agent_support::{Guest, World};
use crate::common::Client;

const TARGETS: &str = "/v1/notification-targets";

/// The API, in the name of an admin.
pub fn admin(world: &World) -> Client {
    let secret = veriboot_service::auth::new_secret("vbt_").unwrap();
    let hash = veriboot_service::auth::secret_hash(&secret);
    let now = world.clock.now();
    world.write(move |tx| {
        let token = veriboot_store::api_tokens::ApiTokenRow {
            id: veriboot_store::new_id(now),
            name: format!("test-{}", now.unix_ms()),
            role: veriboot_store::api_tokens::Role::Admin,
            created_at: now,
            created_by: "test".into(),
            expires_at: None,
            revoked: false,
        };
        veriboot_store::api_tokens::insert(tx, &token, &hash)
    });
    Client::new(&world.url(), &world.ca_file(), Some(&secret))
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
