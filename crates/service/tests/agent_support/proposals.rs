//! Fleets that propose changes, and what operators answer.

use serde_json::{Value, json};
use veriboot_wire::Verdict;

use super::captured::Captured;
use super::operator::Operator;
use super::{Guest, World, raw};

/// What an operator asks about proposals.
pub trait Proposals {
    fn open(&self) -> Vec<Value>;
    fn only(&self) -> Value;
    fn approve(&self, proposal: &Value, more: Value) -> raw::Answer;
    fn reject(&self, proposal: &Value, comment: &str) -> raw::Answer;
    /// What a POST answers, whatever that is.
    fn try_post(&self, path: &str, body: &Value) -> raw::Answer;
}

impl Proposals for Operator {
    fn try_post(&self, path: &str, body: &Value) -> raw::Answer {
        self.send("POST", path, "", Some(body))
    }

    fn open(&self) -> Vec<Value> {
        self.get("/v1/proposals?state=open")["items"].as_array().unwrap().clone()
    }

    /// The only open proposal, with its details.
    fn only(&self) -> Value {
        let open = self.open();
        assert_eq!(open.len(), 1, "{open:#?}");
        self.get(&format!("/v1/proposals/{}", open[0]["id"].as_str().unwrap()))
    }

    fn approve(&self, proposal: &Value, more: Value) -> raw::Answer {
        let mut body = json!({ "expected_etag": proposal["etag"] });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        self.try_post(&format!("/v1/proposals/{}/approve", text(proposal, "id")), &body)
    }

    fn reject(&self, proposal: &Value, comment: &str) -> raw::Answer {
        let body = json!({ "expected_etag": proposal["etag"], "comment": comment });
        self.try_post(&format!("/v1/proposals/{}/reject", text(proposal, "id")), &body)
    }
}

/// The kernel of the update before, with the initrd that was there: what a new initrd brings along is signed by
/// nobody, and not proposed by default.
pub fn kernel_update() -> Captured {
    let initrd = |variant: &str| {
        let meta = veriboot_testkit::corpus::golden(variant).unwrap().meta;
        hex(meta["sha256"]["initrd"].as_str().unwrap())
    };
    let (old, new) = (initrd("secure-boot"), initrd("other-kernel"));
    Captured::named("other-kernel").with(|event| {
        if event.digest == new {
            event.digest = old.clone();
        }
    })
}

pub fn hex(text: &str) -> Vec<u8> {
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(text.get(at..at + 2).unwrap(), 16).unwrap())
        .collect()
}

pub fn text<'v>(value: &'v Value, member: &str) -> &'v str {
    value[member].as_str().unwrap_or_else(|| panic!("{member} in {value:#}"))
}

/// Members of the scale set `web` that booted Debian's kernel, all healthy.
pub fn fleet(world: &World, count: usize) -> Vec<Guest> {
    let token = world.join_token(Some("web"), 100);
    let boot = Captured::named("secure-boot");
    (0..count)
        .map(|n| {
            let mut guest = world.guest(&format!("web-{n}"), Some(&token));
            boot.boot(&guest);
            let receipt = guest.attest();
            assert_eq!(receipt.verdict, Verdict::Healthy, "{:#?}", receipt.findings);
            guest
        })
        .collect()
}

/// Reboots a guest into a captured boot, which must be healthy.
#[track_caller]
pub fn healthy(guest: &mut Guest, boot: &Captured) {
    boot.boot(guest);
    let receipt = guest.attest();
    assert_eq!(receipt.verdict, Verdict::Healthy, "{:#?}", receipt.findings);
    assert!(receipt.token.is_some());
}

pub fn vm_shown(operator: &Operator, guest: &Guest) -> Value {
    operator.get(&format!("/v1/vms/{}", guest.vm_id()))
}
