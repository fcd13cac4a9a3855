//! What is judged again: the VM, its last attestation, and the evidence of that.

use std::collections::HashMap;

use veriboot_store::judges::Judges;
use veriboot_store::{StoreError, Tx, assessments, attestations, judges, vms};
use veriboot_wire::{Attestation, FactState};

use super::ReappraiseError;
use crate::AppState;

/// What is judged again.
pub(in crate::attest) struct Stored {
    pub vm: vms::VmRow,
    pub last: Attestation,
    pub evidence: attestations::Evidence,
    /// What judges the VM now.
    pub judges: Judges,
}

/// Of one VM.
pub(in crate::attest) async fn stored(state: &AppState, vm_id: &str) -> Result<Stored, ReappraiseError> {
    let id = vm_id.to_owned();
    let found = state.store.read(move |tx| all(tx, &[id.as_str()])).await?;
    found.into_iter().next().unwrap_or(Err(ReappraiseError::UnknownVm))
}

/// Of VMs, in the order of their ids; a few statements for all of them.
pub(super) fn all(tx: &mut dyn Tx, ids: &[&str]) -> Result<Vec<Result<Stored, ReappraiseError>>, StoreError> {
    assessments::read_along_indexes(tx)?;
    let mut vms: HashMap<String, vms::VmRow> =
        vms::by_ids(tx, ids)?.into_iter().map(|vm| (vm.id.clone(), vm)).collect();
    let vms: Vec<Option<vms::VmRow>> = ids.iter().map(|id| vms.remove(*id)).collect();
    // The last one by the VM's record, not by time: a clock that was set back leaves later times behind.
    let last: Vec<&str> = vms.iter().flatten().filter_map(|vm| vm.last_attestation_id.as_deref()).collect();
    let mut attested: HashMap<String, (Attestation, attestations::Evidence)> =
        attestations::with_evidence(tx, &last)?
            .into_iter()
            .map(|(attestation, evidence)| (attestation.id.clone(), (attestation, evidence)))
            .collect();
    let places: Vec<_> = vms.iter().flatten().map(vms::VmRow::place).collect();
    let mut judges = judges::for_vms(tx, &places)?.into_iter();
    let found = vms.into_iter().map(|vm| {
        let vm = vm.ok_or(ReappraiseError::UnknownVm)?;
        let judges = judges.next().unwrap_or_default();
        let last = vm.last_attestation_id.as_ref().and_then(|last| attested.remove(last));
        let (last, evidence) = last.ok_or(ReappraiseError::NoEvidence)?;
        // A quote that was not believed when it came (by its counters too) is not believed later.
        if evidence.ak_public != vm.ak_public || last.facts.quote != FactState::Valid {
            return Err(ReappraiseError::NoEvidence);
        }
        Ok(Stored { vm, last, evidence, judges })
    });
    Ok(found.collect())
}
