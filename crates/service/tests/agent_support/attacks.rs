//! What attacks over the wire have in common.

use veriboot_store::vms;
use veriboot_wire::{LogEvidence, Receipt};

use super::boot::sha256;
use super::{Guest, World};

/// Sends evidence with a log of this content, for a fresh challenge.
pub fn attest_with_log(guest: &mut Guest, log: &[u8]) -> Receipt {
    let mut evidence = guest.evidence();
    evidence.log = Some(LogEvidence { sha256: hex::encode(sha256(log)), content: Some(log.into()) });
    guest.submit(&evidence).expect("appraised")
}

/// Asserts that nothing about a VM changed but what asking for challenges changes: nothing.
#[track_caller]
pub fn assert_untouched(world: &World, before: &vms::VmRow) {
    assert_eq!(&world.vm(&before.id), before);
}
