//! Whether dbx has the entries that it has had for long everywhere else.

use veriboot_wire::{PostureReferences, counted};

use super::with_log;
use crate::{Outcome, ResourceFacts};

pub(crate) fn assess(facts: &ResourceFacts<'_>, references: &PostureReferences) -> Outcome {
    let (vm, log) = match with_log(facts) {
        Ok(found) => found,
        Err(outcome) => return outcome,
    };
    let Some(entries) = log.dbx_entries else {
        return Outcome::not_applicable("dbx-not-measured", "The event log has no dbx that could be read.");
    };
    // Who trusts nobody else's certificates need not revoke what these signed.
    if log
        .microsoft_keys
        .is_some_and(|keys| !keys.uefi_2011 && !keys.uefi_2023 && !keys.windows_2011 && !keys.windows_2023)
    {
        return Outcome::not_applicable(
            "own-keys",
            "db has none of Microsoft's certificates: what Microsoft's list revokes does not start here anyway.",
        );
    }
    let wanted = match vm.arch {
        "aarch64" => references.dbx_entries_aarch64,
        _ => references.dbx_entries_x86_64,
    };
    match entries {
        0 | 1 => Outcome::unhealthy(
            "dbx-empty",
            format!(
                "dbx revokes nothing; a current one has {} or more: loaders with known holes are accepted.",
                counted(wanted, "entry")
            ),
        ),
        _ if entries < wanted => Outcome::unhealthy(
            "dbx-old",
            format!(
                "dbx has {}; a current one has {wanted} or more: loaders with known holes are accepted.",
                counted(entries, "entry")
            ),
        ),
        _ => {
            Outcome::healthy(format!("dbx has {} ({wanted} or more are current).", counted(entries, "entry")))
        }
    }
}
