//! Alerts that people or the service move on.

use veriboot_wire::{Alert, AlertEvent, AlertState, Time};

use super::tell::tell;
use super::write::write_states;
use super::{add_step, by_id, is_open};
use crate::StoreError;
use crate::ops::incidents;
use crate::tx::Tx;

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
    move_all(tx, &mut [(&mut alert, step)])?;
    Ok(Changed::Done(Box::new(alert)))
}

/// Moves open alerts on, each by one step.
pub(super) fn move_all(tx: &mut dyn Tx, moves: &mut [(&mut Alert, AlertEvent)]) -> Result<(), StoreError> {
    for (alert, step) in &mut *moves {
        add_step(&mut alert.timeline, step.clone());
        alert.state = step.state;
        alert.closed_at = if is_open(step.state) { None } else { Some(step.at) };
        alert.revision += 1;
    }
    let moved: Vec<(&Alert, Time)> = moves.iter().map(|(alert, step)| (&**alert, step.at)).collect();
    let alerts: Vec<&Alert> = moved.iter().map(|(alert, _)| *alert).collect();
    write_states(tx, &alerts)?;
    let told: Vec<_> = moved.iter().map(|(alert, at)| (kind(alert.state), *alert, *at)).collect();
    tell(tx, &told)?;
    let closed = moved.iter().filter(|(alert, _)| !is_open(alert.state));
    let left: Vec<(&str, Time)> =
        closed.filter_map(|(alert, at)| Some((alert.incident_id.as_deref()?, *at))).collect();
    incidents::settle_all(tx, &left)?;
    Ok(())
}

/// What a move to this state is told as.
const fn kind(to: AlertState) -> &'static str {
    match to {
        AlertState::Active => "alert.reopened",
        AlertState::InProgress => "alert.acknowledged",
        AlertState::Resolved => "alert.resolved",
        AlertState::Dismissed => "alert.dismissed",
    }
}
