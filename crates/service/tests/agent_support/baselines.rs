//! Documents of baselines, and members of a scale set that they judge.

use serde_json::{Value, json};
use veriboot_appraisal::Baseline;
use veriboot_eventlog::HashAlg;
use veriboot_store::Tx;
use veriboot_wire::VmStatus;

use super::boot::Boot;
use super::{Guest, World};

pub fn other() -> Boot {
    Boot { kernel: "vmlinuz-6.1.0-41".into(), ..Boot::default() }
}

/// The document that this guest's present log teaches.
pub fn learned(guest: &Guest) -> String {
    let report = veriboot_appraisal::examine(&guest.log());
    Baseline::learn(&report, HashAlg::Sha256).unwrap().to_json().unwrap()
}

pub fn scale_set(name: &str) -> Value {
    json!({ "kind": "scale-set", "group": "default", "id": name })
}

pub fn apply(scope: &Value, document: &str, expected: Option<u32>) -> Value {
    json!({ "scope": scope, "document": document, "format": "json", "expected_version": expected, "comment": "why" })
}

/// Runs SQL behind the service's back.
pub fn meddle(world: &World, sql: &'static str) {
    world.write(move |tx: &mut dyn Tx| tx.execute(sql, &[]));
}

/// Two members of one scale set; the first one's boot is the baseline, the second boots something else.
pub fn members(world: &World) -> [Guest; 2] {
    let token = world.join_token(Some("web"), 2);
    let mut first = world.guest("web-0", Some(&token));
    assert_eq!(first.attest().status, VmStatus::Healthy);
    let mut second = world.guest("web-1", Some(&token));
    second.boot(&other());
    assert_eq!(second.attest().status, VmStatus::Unhealthy);
    [first, second]
}
