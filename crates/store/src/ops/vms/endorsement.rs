//! What came of the endorsement certificate of a VM's TPM.

use serde::{Deserialize, Serialize};
use veriboot_wire::{FactState, Time};

use crate::StoreError;
use crate::tx::{Tx, json, params};

/// Whether the endorsement certificate of a TPM is believed, and by what that was decided.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endorsement {
    /// `valid`: it leads to a trusted root. `invalid`: it did, and was revoked or has expired. `unknown`: nothing shows it.
    pub state: FactState,
    /// Why it is not valid, or what was tolerated, in a sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// Id of what was trusted then.
    pub trust: String,
    /// When.
    pub at: Time,
}

impl Endorsement {
    /// Why the fact is what it is: `None` when the fact has another cause, such as firmware that went back.
    pub fn why(&self, fact: FactState) -> Option<&str> {
        self.detail.as_deref().filter(|_| self.state == fact)
    }
}

/// Notes it beside the VM.
pub fn set_endorsement(tx: &mut dyn Tx, id: &str, endorsement: &Endorsement) -> Result<bool, StoreError> {
    let changed =
        tx.execute("UPDATE vms SET endorsement = $2 WHERE id = $1", params![id, &json(endorsement)?])?;
    Ok(changed == 1)
}
