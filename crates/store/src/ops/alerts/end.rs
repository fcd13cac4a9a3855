//! What the end of a cause does to alerts: open ones are resolved, dismissed ones are remembered no longer.

use veriboot_wire::{AlertReason, Time};

use super::{auto_resolve, forget_dismissals};
use crate::StoreError;
use crate::tx::Tx;

/// Causes of a VM that ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended<'a> {
    /// The VM; distinct in one call.
    pub vm_id: &'a str,
    /// What ended.
    pub reasons: &'a [AlertReason],
    /// How, for the timeline.
    pub comment: &'a str,
    /// When.
    pub at: Time,
}

/// Resolves the open alerts of these VMs and reasons, in the name of the service, and gives their ids, VM by VM.
pub fn resolve_all(tx: &mut dyn Tx, ended: &[Ended<'_>]) -> Result<Vec<Vec<String>>, StoreError> {
    ended.iter().map(|e| auto_resolve(tx, e.vm_id, e.reasons, e.comment, e.at)).collect()
}

/// [`forget_dismissals`] for many VMs.
pub fn forget_all(tx: &mut dyn Tx, ended: &[Ended<'_>]) -> Result<(), StoreError> {
    ended.iter().try_for_each(|e| forget_dismissals(tx, e.vm_id, e.reasons, e.comment, e.at))
}
