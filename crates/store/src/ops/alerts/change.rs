//! Alerts that people or the service move on.

use veriboot_wire::{Alert, AlertEvent, AlertReason, AlertState, Time};

use super::{SERVICE, add_step, by_id, is_open, is_remembered, latest_for};
use crate::StoreError;
use crate::ops::{events, incidents};
use crate::tx::{Tx, json, params};

/// What became of a change of state.
#[derive(Clone, Debug, PartialEq)]
pub enum Changed {
    /// It is in the new state.
    Done(Box<Alert>),
    /// There is no such alert.
    Unknown,
    /// It is resolved or dismissed, which nobody changes by hand.
    Closed(Box<Alert>),
}

/// Moves an open alert to another state and notes who did it and why. The last one of an incident closes that too.
pub fn change_state(
    tx: &mut dyn Tx,
    id: &str,
    to: AlertState,
    by: &str,
    comment: Option<&str>,
    now: Time,
) -> Result<Changed, StoreError> {
    let Some(mut alert) = by_id(tx, id)? else { return Ok(Changed::Unknown) };
    if !is_open(alert.state) {
        return Ok(Changed::Closed(Box::new(alert)));
    }
    let step = AlertEvent { at: now, state: to, by: by.to_owned(), comment: comment.map(str::to_owned) };
    add_step(&mut alert.timeline, step);
    alert.state = to;
    alert.closed_at = if is_open(to) { None } else { Some(now) };
    alert.revision += 1;
    let timeline = json(&alert.timeline)?;
    tx.execute(
        "UPDATE alerts SET state = $2, is_open = $3, closed_at = $4, timeline = $5, revision = $6 WHERE id = $1",
        params![id, to.as_str(), is_open(to), alert.closed_at, &timeline, alert.revision],
    )?;
    let kind = match to {
        AlertState::Active => "alert.reopened",
        AlertState::InProgress => "alert.acknowledged",
        AlertState::Resolved => "alert.resolved",
        AlertState::Dismissed => "alert.dismissed",
    };
    events::append_alert(tx, kind, &alert, now)?;
    if let (false, Some(incident)) = (is_open(to), &alert.incident_id) {
        incidents::settle(tx, incident, now)?;
    }
    Ok(Changed::Done(Box::new(alert)))
}

/// Resolves the open alerts of a VM with these reasons, in the name of the service, and gives their ids.
pub fn auto_resolve(
    tx: &mut dyn Tx,
    vm_id: &str,
    reasons: &[AlertReason],
    comment: &str,
    now: Time,
) -> Result<Vec<String>, StoreError> {
    let rows = tx.query("SELECT id, reason FROM alerts WHERE vm_id = $1 AND is_open = 1", params![vm_id])?;
    let mut resolved = Vec::new();
    for row in rows {
        let mut c = row.columns();
        let (id, reason) = (c.text()?, c.word::<AlertReason>()?);
        if reasons.contains(&reason) {
            change_state(tx, &id, AlertState::Resolved, SERVICE, Some(comment), now)?;
            resolved.push(id);
        }
    }
    Ok(resolved)
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
    for reason in reasons {
        let Some(mut alert) = latest_for(tx, vm_id, *reason)?.filter(is_remembered) else { continue };
        let step = AlertEvent {
            at: now,
            state: AlertState::Dismissed,
            by: SERVICE.to_owned(),
            comment: Some(comment.to_owned()),
        };
        add_step(&mut alert.timeline, step);
        let timeline = json(&alert.timeline)?;
        tx.execute("UPDATE alerts SET timeline = $2 WHERE id = $1", params![&alert.id, &timeline])?;
    }
    Ok(())
}
