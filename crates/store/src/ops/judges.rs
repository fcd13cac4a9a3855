//! What judges a VM: its baseline and its profile, in one look-up.
//!
//! Every attestation asks twice, before it judges and in the transaction that records the outcome.

use super::baselines::CurrentBaseline;
use super::profiles::AssignedProfile;
use crate::place::most_specific;
use crate::tx::{Tx, query_one};
use crate::{Place, StoreError};

/// What judges a VM, without content. Two that are equal judge the same.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Judges {
    /// The baseline of the VM, else of its scale set, else of its image, else of its group.
    pub baseline: Option<CurrentBaseline>,
    /// The profile that is assigned to one of these; `None` leaves it to the service's configuration.
    pub profile: Option<AssignedProfile>,
}

/// Which baseline and which profile judge a VM now.
pub fn for_vm(tx: &mut dyn Tx, place: Place<'_>) -> Result<Judges, StoreError> {
    let sql = format!(
        "SELECT b.id, b.name, b.version, b.scope_kind, a.profile, p.id, p.version FROM (SELECT 1 AS one) AS always \
         LEFT JOIN ({}) AS b ON 1 = 1 LEFT JOIN ({}) AS a ON 1 = 1 \
         LEFT JOIN profiles p ON p.name = a.profile AND p.is_current = 1",
        most_specific("baselines", "id, name, version, scope_kind", " AND is_current = 1"),
        most_specific("profile_assignments", "profile", "")
    );
    let Some(row) = query_one(tx, &sql, &place.params())? else { return Ok(Judges::default()) };
    let mut c = row.columns();
    let (id, name, version, scope) = (c.opt_text()?, c.opt_text()?, c.opt_u32()?, c.opt_word()?);
    let baseline = match (id, name, version, scope) {
        (Some(id), Some(name), Some(version), Some(scope)) => {
            Some(CurrentBaseline { id, reference: format!("{name}@{version}"), scope })
        }
        _ => None,
    };
    let (profile, id, version) = (c.opt_text()?, c.opt_text()?, c.opt_u32()?);
    let profile = profile.map(|name| AssignedProfile { name, version: id.zip(version) });
    Ok(Judges { baseline, profile })
}
