//! Classes of change (SPEC section 5): what a profile does with each.

use serde::{Deserialize, Serialize};
use veriboot_wire::{ChangeAction, ChangeClass};

/// What a profile does with changes of a class.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChangeRule {
    /// Fail, propose or accept.
    pub action: ChangeAction,
    /// Whether only changes count that authorities admitted which the baseline already trusts; others fail.
    #[serde(default = "yes")]
    pub signed: bool,
}

const fn yes() -> bool {
    true
}

impl ChangeRule {
    /// Fails.
    pub const FAIL: Self = Self { action: ChangeAction::Fail, signed: true };

    /// What happens with a class when the profile does not speak of it: proposed where a signature, or the direction of
    /// the change, shows that it is an update.
    pub const fn default_for(class: ChangeClass) -> Self {
        match class {
            ChangeClass::KernelUpdate
            | ChangeClass::BootloaderUpdate
            | ChangeClass::ShimUpdate
            | ChangeClass::SbatUpdate
            | ChangeClass::DbxUpdate => Self { action: ChangeAction::Propose, signed: true },
            _ => Self::FAIL,
        }
    }
}
