//! Which evidence is judged again after a baseline was accepted.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod agent_support;

use agent_support::World;
use agent_support::boot::Boot;
use veriboot_service::attest::reappraise;
use veriboot_wire::{Verdict, VmStatus};

/// The last attestation is the one of the VM's record: a clock that was set back leaves later times behind.
#[test]
fn the_last_evidence_is_judged_again_and_not_the_latest_by_time() {
    let world = World::sqlite();
    let mut guest = world.healthy_guest("web-0");
    let id = guest.vm_id();
    world.clock.step_ms(3_600_000);
    guest.boot(&Boot { cmdline: "init=/bin/sh".into(), ..Boot::default() });
    assert_eq!(guest.attest().verdict, Verdict::Unhealthy);
    world.clock.step_ms(-3_600_000);
    guest.boot(&Boot::default());
    assert_eq!(guest.attest().status, VmStatus::Healthy);
    let last = world.vm(&id);
    let again = world.block_on(reappraise(world.state(), &id)).unwrap();
    assert_eq!(again.verdict, Verdict::Healthy, "{:#?}", again.findings);
    assert_eq!(again.boot_id, last.current_boot_id);
    assert_eq!(world.vm(&id).status, VmStatus::Healthy);
}
