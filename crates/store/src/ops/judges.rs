//! What judges a VM: its baseline and its profile.
//!
//! Every attestation asks twice, before it judges and in the transaction that records the outcome.

use super::baselines::{self, CurrentBaseline};
use super::profiles::{self, AssignedProfile};
use crate::place::most_specific;
use crate::tx::{Backend, Tx};
use crate::{Place, StoreError};

/// What judges a VM, without content. Two that are equal judge the same.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Judges {
    /// The baseline of the VM, else of its scale set, else of its image, else of its group.
    pub baseline: Option<CurrentBaseline>,
    /// The profile that is assigned to one of these; `None` leaves it to the service's configuration.
    pub profile: Option<AssignedProfile>,
}

/// Which baseline and which profile judge a VM now. On PostgreSQL, where a round trip is most of what it costs, with one
/// statement; on SQLite with two, which together are a sixth of one (`cargo bench -p veriboot-store --bench judges`).
pub fn for_vm(tx: &mut dyn Tx, place: Place<'_>) -> Result<Judges, StoreError> {
    match tx.backend() {
        Backend::Postgres => together(tx, place),
        Backend::Sqlite => Ok(Judges {
            baseline: baselines::current_id_for_vm(tx, place)?,
            profile: profiles::assigned_for(tx, place)?,
        }),
    }
}

fn together(tx: &mut dyn Tx, place: Place<'_>) -> Result<Judges, StoreError> {
    let sql = format!(
        "SELECT 'baseline', b.name, b.id, b.version, b.scope_kind FROM ({}) AS b UNION ALL \
         SELECT 'profile', a.profile, p.id, p.version, NULL FROM ({}) AS a \
         LEFT JOIN profiles p ON p.name = a.profile AND p.is_current = 1",
        most_specific("baselines", "id, name, version, scope_kind", " AND is_current = 1"),
        most_specific("profile_assignments", "profile", "")
    );
    let mut judges = Judges::default();
    for row in tx.query(&sql, &place.params())? {
        let mut c = row.columns();
        let (what, name, version) = (c.text()?, c.text()?, c.opt_text()?.zip(c.opt_u32()?));
        match (what.as_str(), version) {
            ("profile", version) => judges.profile = Some(AssignedProfile { name, version }),
            (_, Some((id, version))) => {
                let reference = format!("{name}@{version}");
                judges.baseline = Some(CurrentBaseline { id, reference, scope: c.word()? });
            }
            (_, None) => return Err(StoreError::corrupt("a baseline without a version")),
        }
    }
    Ok(judges)
}
