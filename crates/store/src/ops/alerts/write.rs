//! How alerts are written: many rows at once.

use veriboot_wire::{Alert, AlertEvent, AlertState, Time};

use super::{AlertRaise, add_step, classes_of, is_open, rank, write_classes};
use crate::StoreError;
use crate::rows::{insert_selected, update_rows};
use crate::tx::{Tx, json, params};

/// SQL: the last healthy boot of a VM, which is a column of the statement.
macro_rules! last_healthy_boot {
    ($vm:literal) => {
        concat!(
            "(SELECT o.id FROM boots o WHERE o.vm_id = ",
            $vm,
            " AND o.verdict = 'healthy' ORDER BY o.first_attested_at DESC, o.id DESC LIMIT 1)"
        )
    };
}

/// A new alert.
pub(super) struct New<'a> {
    /// Its id.
    pub id: &'a str,
    /// What it is about.
    pub alert: &'a AlertRaise<'a>,
    /// The rule that dismisses it from the start.
    pub rule: Option<&'a str>,
    /// The incident that it joins.
    pub incident: Option<&'a str>,
    /// How its timeline begins.
    pub step: AlertEvent,
}

/// Inserts new alerts. That none of these VMs and reasons has an open one was seen by this transaction: where another
/// one opened one meanwhile, one of the two is repeated.
pub(super) fn insert_all(tx: &mut dyn Tx, new: &[New<'_>]) -> Result<(), StoreError> {
    struct Written<'a> {
        new: &'a New<'a>,
        findings: String,
        timeline: String,
        classes: String,
    }
    let rows = new
        .iter()
        .map(|new| {
            let findings = json(&new.alert.findings)?;
            let timeline = json(&[&new.step])?;
            Ok(Written { new, findings, timeline, classes: write_classes(&classes_of(new.alert.findings)) })
        })
        .collect::<Result<Vec<_>, StoreError>>()?;
    let head = "INSERT INTO alerts (id, vm_id, kind, title, reason, severity, severity_rank, state, is_open, component, \
         message, remediation, findings, attestation_id, raised, first_at, last_at, closed_at, timeline, classes, \
         suppressed_by, incident_id, boot_id, good_boot_id) ";
    let select = concat!(
        ":1, :2, :3, :4, :5, :6, :7, :8, :9, :10, :11, :12, :13, :14, 1, :15, :15, :16, :17, :18, :19, :20, \
         (SELECT t.boot_id FROM attestations t WHERE t.id = :14), ",
        last_healthy_boot!(":2")
    );
    let tail = " ON CONFLICT (vm_id, reason) WHERE is_open = 1 DO NOTHING";
    let inserted = insert_selected(tx, (head, select, tail), &[7, 9, 15, 16], &rows, |row| {
        let New { id, alert, rule, incident, step } = row.new;
        *params![
            *id,
            alert.vm_id,
            alert.kind,
            alert.title,
            alert.reason.as_str(),
            alert.severity.as_str(),
            rank(alert.severity),
            step.state.as_str(),
            is_open(step.state),
            alert.component,
            alert.message,
            alert.remediation,
            &row.findings,
            alert.attestation_id,
            alert.at,
            rule.map(|_| alert.at),
            &row.timeline,
            &row.classes,
            *rule,
            *incident,
        ]
    })?;
    if inserted == rows.len() as u64 { Ok(()) } else { Err(StoreError::Contended) }
}

/// What becomes of an alert that was there before.
pub(super) struct Next<'a> {
    /// As it was.
    pub before: &'a Alert,
    /// What describes its cause now.
    pub alert: &'a AlertRaise<'a>,
    /// Its state.
    pub state: AlertState,
    /// The rule that dismisses it now.
    pub suppressed_by: Option<&'a str>,
    /// Comes back after it was closed: the boot that it is held against is the last healthy one of now.
    pub again: bool,
    /// Whether the caller looks at something else by now.
    pub changed: bool,
    /// What it has shown so far, where that is another.
    pub shown: Option<String>,
    /// Another step of its timeline.
    pub step: Option<AlertEvent>,
    /// The incident that it is a member of, where that may be another.
    pub incident: Option<&'a str>,
}

/// Takes over what describes the cause, counts, and sets the state.
pub(super) fn describe_all(tx: &mut dyn Tx, next: &[Next<'_>]) -> Result<(), StoreError> {
    struct Written<'a> {
        next: &'a Next<'a>,
        findings: String,
        timeline: String,
        classes: String,
        closed_at: Option<Time>,
    }
    let rows = next
        .iter()
        .map(|next| {
            let mut timeline = next.before.timeline.clone();
            if let Some(step) = &next.step {
                add_step(&mut timeline, step.clone());
            }
            Ok(Written {
                next,
                findings: json(&next.alert.findings)?,
                timeline: json(&timeline)?,
                classes: write_classes(&classes_of(next.alert.findings)),
                closed_at: if is_open(next.state) { None } else { Some(next.alert.at) },
            })
        })
        .collect::<Result<Vec<_>, StoreError>>()?;
    let set = concat!(
        "UPDATE alerts SET title = :2, severity = :3, severity_rank = :4, component = :5, message = :6, \
         remediation = :7, findings = :8, attestation_id = :9, classes = :10, \
         boot_id = (SELECT t.boot_id FROM attestations t WHERE t.id = :9), \
         raised = raised + 1, last_at = :11, state = :12, is_open = :13, closed_at = :14, suppressed_by = :15, \
         timeline = :16, reopened = reopened + :17, revision = revision + :18, shown = COALESCE(:19, shown), \
         incident_id = COALESCE(:20, incident_id), good_boot_id = CASE WHEN :17 = 0 THEN good_boot_id \
         ELSE COALESCE(",
        last_healthy_boot!("alerts.vm_id"),
        ", good_boot_id) END"
    );
    update_rows(tx, (set, "id = :1"), &[4, 11, 13, 14, 17, 18], &rows, |row| {
        let Next { before, alert, state, suppressed_by, again, changed, shown, incident, .. } = row.next;
        *params![
            &before.id,
            alert.title,
            alert.severity.as_str(),
            rank(alert.severity),
            alert.component,
            alert.message,
            alert.remediation,
            &row.findings,
            alert.attestation_id,
            &row.classes,
            alert.at,
            state.as_str(),
            is_open(*state),
            row.closed_at,
            *suppressed_by,
            &row.timeline,
            *again,
            *changed,
            shown.as_ref(),
            *incident,
        ]
    })?;
    Ok(())
}

/// A failure that is counted on an alert that is dismissed and stays so.
pub(super) struct CountedDismissed<'a> {
    /// The alert.
    pub on: &'a str,
    /// The rule that dismisses it by now; the one before when there is none.
    pub rule: Option<&'a str>,
    /// The failure.
    pub alert: &'a AlertRaise<'a>,
}

/// Counts one more time on each of these.
pub(super) fn count_dismissed_all(
    tx: &mut dyn Tx,
    counted: &[CountedDismissed<'_>],
) -> Result<(), StoreError> {
    let rows = counted
        .iter()
        .map(|counted| Ok((counted, json(&counted.alert.findings)?)))
        .collect::<Result<Vec<_>, StoreError>>()?;
    let set = "UPDATE alerts SET raised = raised + 1, last_at = :3, attestation_id = :2, findings = :4, \
               suppressed_by = COALESCE(:5, suppressed_by)";
    update_rows(tx, (set, "id = :1 AND is_open = 0"), &[3], &rows, |(counted, findings)| {
        let CountedDismissed { on, rule, alert } = counted;
        *params![*on, alert.attestation_id, alert.at, findings, *rule]
    })?;
    Ok(())
}

/// Writes state, timeline and revision of these alerts.
pub(super) fn write_states(tx: &mut dyn Tx, alerts: &[&Alert]) -> Result<(), StoreError> {
    let rows = alerts
        .iter()
        .map(|alert| Ok((*alert, json(&alert.timeline)?)))
        .collect::<Result<Vec<_>, StoreError>>()?;
    let set = "UPDATE alerts SET state = :2, is_open = :3, closed_at = :4, timeline = :5, revision = :6";
    update_rows(tx, (set, "id = :1"), &[3, 4, 6], &rows, |(alert, timeline)| {
        let state = alert.state;
        *params![&alert.id, state.as_str(), is_open(state), alert.closed_at, timeline, alert.revision]
    })?;
    Ok(())
}

/// Writes the timelines of these alerts.
pub(super) fn write_timelines(tx: &mut dyn Tx, alerts: &[Alert]) -> Result<(), StoreError> {
    let rows = alerts
        .iter()
        .map(|alert| Ok((alert, json(&alert.timeline)?)))
        .collect::<Result<Vec<_>, StoreError>>()?;
    update_rows(tx, ("UPDATE alerts SET timeline = :2", "id = :1"), &[], &rows, |(alert, timeline)| {
        *params![&alert.id, timeline]
    })?;
    Ok(())
}
