//! A fleet out of one VM.

use veriboot_store::boots::{self, BootSeen};
use veriboot_store::vms::VmRow;
use veriboot_store::{Tx, attestations, new_id, vms};
use veriboot_wire::{Attestation, Time};

use super::World;

/// VMs that one transaction adds.
const BATCH: usize = 500;

/// Copies of a VM, `copy-0000000` and so on, in `sets` scale sets that have no baseline of their own: with its key and its
/// quote, and with records of their own.
pub fn copies(world: &World, vm: &VmRow, count: usize, sets: usize) {
    let last = world.attestations(&vm.id).remove(0);
    let boot = world.boots(&vm.id).remove(0);
    let of = last.id.clone();
    let evidence = world.read(move |tx| attestations::evidence(tx, &of)).expect("evidence is kept");
    let at = world.state().clock.now();
    for from in (0..count).step_by(BATCH) {
        let (vm, last, boot, evidence) = (vm.clone(), last.clone(), boot.clone(), evidence.clone());
        let work = move |tx: &mut dyn Tx| {
            for n in from..count.min(from + BATCH) {
                one(tx, (n, sets), at, (&vm, &last, &boot, &evidence))?;
            }
            Ok(())
        };
        world.write(work);
    }
}

fn one(
    tx: &mut dyn Tx,
    (n, sets): (usize, usize),
    at: Time,
    (vm, last, boot, evidence): (&VmRow, &Attestation, &veriboot_wire::Boot, &attestations::Evidence),
) -> Result<(), veriboot_store::StoreError> {
    let (id, attestation) = (new_id(at), new_id(at));
    let row = VmRow {
        id: id.clone(),
        name: format!("copy-{n:07}"),
        scale_set: Some(format!("set-{:04}", n % sets)),
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
