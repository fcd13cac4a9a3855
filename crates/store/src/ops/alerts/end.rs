//! What the end of a cause does to alerts: open ones are resolved, dismissed ones are remembered no longer.

use std::collections::BTreeMap;

use veriboot_wire::{Alert, AlertEvent, AlertReason, AlertState, Time};

use super::change::move_all;
use super::write::write_timelines;
use super::{SELECT, SERVICE, add_step, is_remembered, latest_of, read};
use crate::StoreError;
use crate::rows::query_in;
use crate::tx::{Backend, Tx};

/// Causes that ended on a VM.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended<'a> {
    /// The VM. One may be there more than once, with other reasons.
    pub vm_id: &'a str,
    /// What ended.
    pub reasons: &'a [AlertReason],
    /// How, for the timeline.
    pub comment: &'a str,
    /// When.
    pub at: Time,
}

impl Ended<'_> {
    fn step(&self, state: AlertState) -> AlertEvent {
        AlertEvent { at: self.at, state, by: SERVICE.to_owned(), comment: Some(self.comment.to_owned()) }
    }
}

/// Resolves the open alerts of a VM with these reasons, in the name of the service, and gives their ids.
pub fn auto_resolve(
    tx: &mut dyn Tx,
    vm_id: &str,
    reasons: &[AlertReason],
    comment: &str,
    now: Time,
) -> Result<Vec<String>, StoreError> {
    let resolved = resolve_all(tx, &[Ended { vm_id, reasons, comment, at: now }])?;
    Ok(resolved.into_iter().flatten().collect())
}

/// [`auto_resolve`] for many VMs: the ids for each entry. One statement where nothing is open; a number that does not
/// grow with the VMs otherwise.
pub fn resolve_all(tx: &mut dyn Tx, ended: &[Ended<'_>]) -> Result<Vec<Vec<String>>, StoreError> {
    if ended.is_empty() {
        return Ok(Vec::new());
    }
    let mut vms: Vec<&str> = ended.iter().map(|ended| ended.vm_id).collect();
    vms.sort_unstable();
    vms.dedup();
    // An expression, so that no index of all open alerts is read for the sake of a few VMs: PostgreSQL keeps the plan that it
    // made while none was open. SQLite takes the right one.
    let head = match tx.backend() {
        Backend::Postgres => "SELECT vm_id, reason, id FROM alerts WHERE is_open + 0 = 1 AND vm_id",
        Backend::Sqlite => "SELECT vm_id, reason, id FROM alerts WHERE is_open = 1 AND vm_id",
    };
    let mut open: BTreeMap<(String, AlertReason), String> = BTreeMap::new();
    for row in query_in(tx, head, "", &[], &vms)? {
        let mut c = row.columns();
        open.insert((c.text()?, c.word()?), c.text()?);
    }
    let ids: Vec<Vec<String>> = ended
        .iter()
        .map(|ended| {
            let of = |reason: &AlertReason| open.remove(&(ended.vm_id.to_owned(), *reason));
            ended.reasons.iter().filter_map(of).collect()
        })
        .collect();
    let wanted: Vec<&str> = ids.iter().flatten().map(String::as_str).collect();
    let rows = query_in(tx, &format!("{SELECT} WHERE a.id"), "", &[], &wanted)?;
    let alerts = rows.into_iter().map(|row| read(row).map(|alert| (alert.id.clone(), alert)));
    let mut alerts: BTreeMap<String, Alert> = alerts.collect::<Result<_, _>>()?;
    let mut found: Vec<Vec<Alert>> =
        ids.iter().map(|ids| ids.iter().filter_map(|id| alerts.remove(id)).collect()).collect();
    let steps = ended.iter().map(|ended| ended.step(AlertState::Resolved));
    let mut moves: Vec<(&mut Alert, AlertEvent)> = found
        .iter_mut()
        .zip(steps)
        .flat_map(|(alerts, step)| alerts.iter_mut().map(move |alert| (alert, step.clone())))
        .collect();
    if !moves.is_empty() {
        move_all(tx, &mut moves)?;
    }
    Ok(ids)
}

/// Notes in the newest alert of each of these reasons, when it is dismissed, that its cause has ended: its
/// [`is_remembered`] is over. State and times stay.
pub fn forget_dismissals(
    tx: &mut dyn Tx,
    vm_id: &str,
    reasons: &[AlertReason],
    comment: &str,
    now: Time,
) -> Result<(), StoreError> {
    forget_all(tx, &[Ended { vm_id, reasons, comment, at: now }])
}

/// [`forget_dismissals`] for many VMs: one look per reason, and one statement that writes.
pub fn forget_all(tx: &mut dyn Tx, ended: &[Ended<'_>]) -> Result<(), StoreError> {
    let pairs: Vec<(&str, AlertReason)> = ended
        .iter()
        .flat_map(|ended| ended.reasons.iter().map(move |reason| (ended.vm_id, *reason)))
        .collect();
    let mut latest = latest_of(tx, &pairs)?;
    let mut forgotten = Vec::new();
    for ended in ended {
        for reason in ended.reasons {
            let alert = latest.remove(&(ended.vm_id.to_owned(), *reason));
            let Some(mut alert) = alert.filter(is_remembered) else { continue };
            add_step(&mut alert.timeline, ended.step(AlertState::Dismissed));
            forgotten.push(alert);
        }
    }
    write_timelines(tx, &forgotten)
}
