//! What judging its last evidence again changes about a VM: nothing that only its agent can bring.

use veriboot_wire::{Facts, ScopeKind, VmStatus};

use crate::StoreError;
use crate::rows::write_rows;
use crate::tx::{Tx, json, params};

/// What judging a VM again came to.
#[derive(Clone, Debug, PartialEq)]
pub struct JudgedAgain<'a> {
    /// The VM.
    pub vm_id: &'a str,
    /// The attestation that judging again is stored as.
    pub attestation_id: &'a str,
    /// Health from now on.
    pub status: VmStatus,
    /// One sentence that explains the status.
    pub status_detail: Option<&'a str>,
    /// The separate facts.
    pub facts: &'a Facts,
    /// Baseline that judged, as `name@version`.
    pub baseline: Option<&'a str>,
    /// What that baseline applies to.
    pub baseline_scope: Option<ScopeKind>,
    /// Profile that judged, as `name@version`.
    pub profile: &'a str,
    /// SHA-256 over everything that is enforced of its present boot, hex.
    pub boot_key: Option<&'a str>,
    /// Hash over what its assessments rest on from now on.
    pub posture_key: Option<&'a str>,
}

/// Writes what judging VMs again came to. Times, deadlines, faults and what the agent said stay as they are: nothing becomes
/// fresher.
pub fn judged_again(tx: &mut dyn Tx, vms: &[JudgedAgain<'_>]) -> Result<(), StoreError> {
    let facts = vms.iter().map(|vm| json(vm.facts)).collect::<Result<Vec<_>, _>>()?;
    let rows: Vec<(&JudgedAgain<'_>, String)> = vms.iter().zip(facts).collect();
    let head = "UPDATE vms SET status = it.column2, status_detail = it.column3, facts = it.column4, \
                last_attestation_id = it.column5, baseline = it.column6, baseline_scope = it.column7, \
                profile = it.column8, boot_key = it.column9, posture_key = it.column10 FROM (";
    write_rows(tx, head, ") AS it WHERE vms.id = it.column1", &rows, |(vm, facts)| {
        *params![
            vm.vm_id,
            vm.status.as_str(),
            vm.status_detail,
            facts,
            vm.attestation_id,
            vm.baseline,
            vm.baseline_scope.map(ScopeKind::as_str),
            vm.profile,
            vm.boot_key,
            vm.posture_key,
        ]
    })?;
    Ok(())
}
