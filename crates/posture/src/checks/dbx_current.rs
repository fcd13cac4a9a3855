//! Whether dbx revokes what it has revoked for long everywhere else.

use veriboot_wire::{PostureReferences, counted};

use super::with_log;
use crate::references::dated;
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
    let (is, asked, current) = match vm.arch {
        "aarch64" => {
            let wanted = references.dbx_entries_aarch64;
            let is = format!("dbx has {}", counted(entries, "entry"));
            (is, format!("{} entries", dated("dbx_entries_aarch64", u64::from(wanted))), entries >= wanted)
        }
        _ => {
            let wanted = references.dbx_revision.as_str();
            let revision = log.dbx_revision.as_deref();
            let is = match revision {
                Some(revision) => {
                    format!("dbx is Microsoft's revision of {revision}, or has what that revokes")
                }
                None => format!(
                    "dbx has {} and is older than Microsoft's revision of 2024-03-01",
                    counted(entries, "entry")
                ),
            };
            (is, format!("the revision of {wanted}"), revision >= Some(wanted))
        }
    };
    match entries {
        0 | 1 => Outcome::unhealthy(
            "dbx-empty",
            format!(
                "dbx revokes nothing: loaders with known holes are accepted. Asked for is at least {asked}."
            ),
        ),
        _ if current => Outcome::healthy(format!("{is}. Asked for is at least {asked}.")),
        _ => Outcome::unhealthy(
            "dbx-old",
            format!("{is}: loaders with known holes are accepted. Asked for is at least {asked}."),
        ),
    }
}
