//! A fleet out of one VM.

use veriboot_store::boots::{self, BootSeen};
use veriboot_store::vms::VmRow;
use veriboot_store::{Tx, attestations, new_id, vms};
use veriboot_wire::{Attestation, Time};

use super::World;

/// VMs that one transaction adds.
const BATCH: usize = 500;

/// What names go by from one VM to the next: they are in another order than the ids.
const STRIDE: usize = 7919;

/// Copies of a VM, `copy-0000000` and so on, in `sets` scale sets that have no baseline of their own: with its key and its
/// quote, and with records of their own. They came one after the other, set by set, a millisecond each.
pub fn copies(world: &World, vm: &VmRow, count: usize, sets: usize) {
    let last = world.attestations(&vm.id).remove(0);
    let boot = world.boots(&vm.id).remove(0);
    let of = last.id.clone();
    let evidence = world.read(move |tx| attestations::evidence(tx, &of)).expect("evidence is kept");
    let at = world.state().clock.now();
    assert!(!count.is_multiple_of(STRIDE), "each has a name of its own");
    for from in (0..count).step_by(BATCH) {
        let (vm, last, boot, evidence) = (vm.clone(), last.clone(), boot.clone(), evidence.clone());
        let work = move |tx: &mut dyn Tx| {
            for n in from..count.min(from + BATCH) {
                one(tx, (n, sets, count), at, (&vm, &last, &boot, &evidence))?;
            }
            Ok(())
        };
        world.write(work);
    }
}

fn one(
    tx: &mut dyn Tx,
    (n, sets, count): (usize, usize, usize),
    at: Time,
    (vm, last, boot, evidence): (&VmRow, &Attestation, &veriboot_wire::Boot, &attestations::Evidence),
) -> Result<(), veriboot_store::StoreError> {
    let at = at.plus_ms(n as i64 - count as i64);
    let (id, attestation) = (new_id(at), new_id(at));
    let row = VmRow {
        id: id.clone(),
        name: format!("copy-{:07}", n * STRIDE % count),
        scale_set: Some(format!("set-{:04}", n * sets / count)),
        ek_sha256: format!("{n:064x}"),
        current_boot_id: None,
        last_attestation_id: Some(attestation.clone()),
        ..vm.clone()
    };
    vms::insert(tx, &row)?;
    let boot = boots::record(
        tx,
        &BootSeen {
            vm_id: &id,
            at,
            reset_count: boot.reset_count,
            restart_count: boot.restart_count,
            log_sha256: boot.log_sha256.as_deref(),
            verdict: boot.verdict,
            components: &boot.components,
        },
    )?;
    let attested = Attestation { id: attestation, vm_id: id, boot_id: Some(boot.id), ..last.clone() };
    attestations::insert(tx, &attested, evidence)
}
