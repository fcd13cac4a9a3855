//! What judging its last evidence again changes about a VM: nothing that only its agent can bring.

use veriboot_wire::{Facts, ScopeKind, VmStatus};

use super::VmRow;
use crate::StoreError;
use crate::rows::update_rows;
use crate::tx::{Param, Tx, json, params};

/// What judging a VM again came to.
#[derive(Clone, Debug, PartialEq)]
pub struct JudgedAgain<'a> {
    /// The VM as it was read in this transaction.
    pub before: &'a VmRow,
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
    let (moved, stay): (Vec<_>, Vec<_>) = vms.iter().zip(&facts).partition(|(vm, _)| vm.moves());
    let set = "UPDATE vms SET facts = :2, last_attestation_id = :3, baseline = :4, baseline_scope = :5, profile = :6, \
               posture_key = :7, status_detail = :8";
    update_rows(tx, (set, "id = :1"), &[], &stay, |(vm, facts)| vm.columns(facts))?;
    let set = format!("{set}, status = :9, boot_key = :10");
    update_rows(tx, (&set, "id = :1"), &[], &moved, |(vm, facts)| {
        let [id, facts, attestation, baseline, scope, profile, posture, detail] = vm.columns(facts);
        let (status, boot_key) = (vm.status.as_str().into(), vm.boot_key.into());
        [id, facts, attestation, baseline, scope, profile, posture, detail, status, boot_key]
    })?;
    Ok(())
}

impl<'a> JudgedAgain<'a> {
    /// Whether it is found at another place of the indexes by status and by boot. SQLite writes those whose columns are named,
    /// whether they are others or not.
    fn moves(&self) -> bool {
        self.status != self.before.status || self.boot_key != self.before.boot_key.as_deref()
    }

    fn columns(&self, facts: &'a str) -> [Param<'a>; 8] {
        *params![
            &self.before.id,
            facts,
            self.attestation_id,
            self.baseline,
            self.baseline_scope.map(ScopeKind::as_str),
            self.profile,
            self.posture_key,
            self.status_detail,
        ]
    }
}
