//! What judges a VM: its baseline and its profile.
//!
//! Every attestation asks twice, before it judges and in the transaction that records the outcome.

use std::collections::{BTreeMap, BTreeSet};

use veriboot_wire::ScopeKind;

use super::baselines::{self, CurrentBaseline};
use super::profiles::{self, AssignedProfile};
use crate::place::most_specific;
use crate::rows::query_in;
use crate::tx::{Backend, Tx, params};
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

/// [`for_vm`] for many, in their order, with a few statements for all of them.
pub fn for_vms(tx: &mut dyn Tx, places: &[Place<'_>]) -> Result<Vec<Judges>, StoreError> {
    let mut baselines = BTreeMap::new();
    let mut profiles = BTreeMap::new();
    for ((group, kind), ids) in asked(places) {
        let ids: Vec<&str> = ids.into_iter().collect();
        let head = "SELECT scope_id, id, name, version FROM baselines WHERE is_current = 1 AND scope_kind = $1 \
                    AND scope_group = $2 AND scope_id";
        for row in query_in(tx, head, "", params![kind.as_str(), group], &ids)? {
            let mut c = row.columns();
            let (scope_id, id, name, version) = (c.text()?, c.text()?, c.text()?, c.u32()?);
            let reference = format!("{name}@{version}");
            baselines.insert((group, kind, scope_id), CurrentBaseline { id, reference, scope: kind });
        }
        let head = "SELECT a.scope_id, a.profile, p.id, p.version FROM profile_assignments a \
                    LEFT JOIN profiles p ON p.name = a.profile AND p.is_current = 1 \
                    WHERE a.scope_kind = $1 AND a.scope_group = $2 AND a.scope_id";
        for row in query_in(tx, head, "", params![kind.as_str(), group], &ids)? {
            let mut c = row.columns();
            let (scope_id, name, version) = (c.text()?, c.text()?, c.opt_text()?.zip(c.opt_u32()?));
            profiles.insert((group, kind, scope_id), AssignedProfile { name, version });
        }
    }
    let judges = |place: &Place<'_>| Judges {
        baseline: place.scopes().find_map(|s| baselines.get(&(place.group, s.kind, s.id)).cloned()),
        profile: place.scopes().find_map(|s| profiles.get(&(place.group, s.kind, s.id)).cloned()),
    };
    Ok(places.iter().map(judges).collect())
}

/// The scopes that these places are in, each once: ids by group and kind.
fn asked<'a>(places: &[Place<'a>]) -> BTreeMap<(&'a str, ScopeKind), BTreeSet<&'a str>> {
    let mut asked: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
    for place in places {
        for (kind, id) in [
            (ScopeKind::Vm, Some(place.vm_id)),
            (ScopeKind::ScaleSet, place.scale_set),
            (ScopeKind::Image, place.image),
            (ScopeKind::Group, Some("")),
        ] {
            asked.entry((place.group, kind)).or_default().extend(id);
        }
    }
    asked
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
