//! What becomes of a failure: a new alert, one more count, an alert that comes back, or one that a rule dismisses.

use veriboot_wire::{Alert, AlertEvent, AlertReason, AlertState, Finding, Severity, Time};

use super::news::news;
use super::{
    SERVICE, add_step, by_id, cause, classes_of, is_open, is_remembered, latest_for, rank, write_classes,
};
use crate::StoreError;
use crate::ops::{events, incidents, suppressions};
use crate::tx::{Tx, json, params, query_one};

/// Failures of one cause are counted on one suppressed alert for at least this long, seconds.
const SUPPRESSED_TOGETHER_S: u32 = 86_400;

/// An alert to raise.
#[derive(Clone, Debug, PartialEq)]
pub struct AlertRaise<'a> {
    /// The VM.
    pub vm_id: &'a str,
    /// Stable type id: one of [`veriboot_wire::ALERT_TYPES`].
    pub kind: &'a str,
    /// Headline for people.
    pub title: &'a str,
    /// Why.
    pub reason: AlertReason,
    /// How much it matters.
    pub severity: Severity,
    /// The component that changed, in plain words.
    pub component: Option<&'a str>,
    /// One sentence: what happened.
    pub message: &'a str,
    /// What to do.
    pub remediation: &'a str,
    /// Findings behind it.
    pub findings: &'a [Finding],
    /// The attestation behind it.
    pub attestation_id: Option<&'a str>,
    /// An alert of the same cause that was resolved at most this long ago is opened again, seconds.
    pub reopen_window_s: u32,
    /// When.
    pub at: Time,
}

/// What a raise did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Became {
    /// A new alert.
    Opened,
    /// The alert was open already.
    Counted,
    /// An alert that was closed is open again.
    Reopened,
    /// A rule dismissed it, and had not dismissed this one before.
    Suppressed,
    /// It was counted on an alert that is dismissed, by somebody or by a rule.
    CountedDismissed,
}

/// What became of a raise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Raised {
    /// The alert.
    pub id: String,
    /// How often it was raised by now; 1 for a new one.
    pub count: u64,
    /// What was done.
    pub became: Became,
}

/// Raises an alert, in this order:
/// 1. An alert that somebody dismissed stands for its very findings until its cause ended: it is counted there.
/// 2. A suppression rule that matches dismisses it, unless somebody works on it.
/// 3. An open one is counted, and takes over everything that describes the cause; its state stays. What it did not show
///    before is told, and stands in its timeline.
/// 4. One of the same cause that was closed by a rule that holds no more, or resolved not long ago, is opened again.
/// 5. Else it is new.
///
/// In a scale set an open alert joins the incident of its cause. What is more than a count is an event.
pub fn raise(tx: &mut dyn Tx, alert: &AlertRaise<'_>) -> Result<Raised, StoreError> {
    let latest = latest_for(tx, alert.vm_id, alert.reason)?;
    if let Some(dismissed) = latest.as_ref().filter(|a| is_remembered(a))
        && seen(&dismissed.findings) == seen(alert.findings)
    {
        return count_dismissed(tx, dismissed, None, alert);
    }
    let place = query_one(tx, "SELECT group_name, scale_set FROM vms WHERE id = $1", params![alert.vm_id])?;
    let (group, scale_set) = match place {
        Some(row) => {
            let mut c = row.columns();
            (c.text()?, c.opt_text()?)
        }
        None => return Err(StoreError::failed("an alert about a VM that is not there")),
    };
    let subject = suppressions::Subject {
        kind: alert.kind,
        reason: alert.reason,
        findings: alert.findings,
        vm_id: alert.vm_id,
        scale_set: scale_set.as_deref(),
        group: &group,
    };
    let rule = suppressions::matching(tx, &subject, alert.at)?;
    let recent = |latest: &Alert, window_s: u32| {
        let closed = latest.closed_at.unwrap_or(latest.last_at).max(latest.last_at);
        closed >= alert.at.plus_s(-i64::from(window_s)) && cause(&latest.findings) == cause(alert.findings)
    };
    if let Some(rule) = rule {
        let dismissed = format!("suppression rule {}: {}", rule.id, rule.why);
        match latest {
            Some(open) if open.state == AlertState::InProgress => {
                return count(tx, &open, alert, &place_of(&group, scale_set.as_deref()));
            }
            Some(open) if open.state == AlertState::Active => {
                return suppress_open(tx, open, alert, &rule.id, &dismissed);
            }
            Some(latest)
                if latest.suppressed_by.is_some()
                    && recent(&latest, alert.reopen_window_s.max(SUPPRESSED_TOGETHER_S)) =>
            {
                return count_dismissed(tx, &latest, Some(&rule.id), alert);
            }
            _ => {
                return insert(
                    tx,
                    alert,
                    Some((&rule.id, &dismissed)),
                    &place_of(&group, scale_set.as_deref()),
                );
            }
        }
    }
    let place = place_of(&group, scale_set.as_deref());
    match latest {
        Some(open) if is_open(open.state) => count(tx, &open, alert, &place),
        Some(closed)
            if (closed.suppressed_by.is_some() || closed.state == AlertState::Resolved)
                && alert.reopen_window_s > 0
                && recent(&closed, alert.reopen_window_s) =>
        {
            let why = match &closed.suppressed_by {
                Some(rule) => {
                    format!("suppression rule {rule} does not hold any more, and the cause is still there")
                }
                None => "it came back".to_owned(),
            };
            reopen(tx, closed, alert, &why, &place)
        }
        _ => insert(tx, alert, None, &place),
    }
}

fn place_of<'a>(group: &'a str, scale_set: Option<&'a str>) -> incidents::Members<'a> {
    incidents::Members { group, scale_set }
}

/// What makes a failure the very same one as before, digests included.
fn seen(findings: &[Finding]) -> std::collections::BTreeSet<(&str, Option<&str>, Option<&str>)> {
    findings.iter().map(|f| (f.code.as_str(), f.component.as_deref(), f.seen.as_deref())).collect()
}

/// Counts one more time on an alert that is dismissed and stays so.
fn count_dismissed(
    tx: &mut dyn Tx,
    dismissed: &Alert,
    rule: Option<&str>,
    alert: &AlertRaise<'_>,
) -> Result<Raised, StoreError> {
    let findings = json(&alert.findings)?;
    tx.execute(
        "UPDATE alerts SET raised = raised + 1, last_at = $3, attestation_id = $2, findings = $4, \
         suppressed_by = COALESCE($5, suppressed_by) WHERE id = $1 AND is_open = 0",
        params![&dismissed.id, alert.attestation_id, alert.at, &findings, rule],
    )?;
    Ok(Raised { id: dismissed.id.clone(), count: dismissed.count + 1, became: Became::CountedDismissed })
}

/// State of an alert after [`describe`].
struct Next<'a> {
    state: AlertState,
    closed_at: Option<Time>,
    suppressed_by: Option<&'a str>,
    /// Comes back after it was closed: the boot that it is held against is the last healthy one of now.
    again: bool,
    /// Whether the caller looks at something else by now.
    changed: bool,
    /// What it has shown so far, where that is another.
    shown: Option<&'a str>,
}

/// Takes over what describes the cause, counts, and sets the state.
fn describe(
    tx: &mut dyn Tx,
    before: &Alert,
    alert: &AlertRaise<'_>,
    next: &Next<'_>,
    step: Option<AlertEvent>,
) -> Result<(), StoreError> {
    let mut timeline = before.timeline.clone();
    if let Some(step) = step {
        add_step(&mut timeline, step);
    }
    let (findings, timeline) = (json(&alert.findings)?, json(&timeline)?);
    let classes = write_classes(&classes_of(alert.findings));
    let good_boot = match next.again {
        true => good_boot(tx, alert.vm_id)?,
        false => None,
    };
    tx.execute(
        "UPDATE alerts SET title = $2, severity = $3, severity_rank = $4, component = $5, message = $6, \
         remediation = $7, findings = $8, attestation_id = $9, classes = $10, \
         boot_id = (SELECT t.boot_id FROM attestations t WHERE t.id = $9), \
         good_boot_id = COALESCE($11, good_boot_id), raised = raised + 1, last_at = $12, state = $13, is_open = $14, \
         closed_at = $15, suppressed_by = $16, timeline = $17, reopened = reopened + $18, revision = revision + $19, \
         shown = COALESCE($20, shown) WHERE id = $1",
        params![
            &before.id,
            alert.title,
            alert.severity.as_str(),
            rank(alert.severity),
            alert.component,
            alert.message,
            alert.remediation,
            &findings,
            alert.attestation_id,
            &classes,
            good_boot.as_ref(),
            alert.at,
            next.state.as_str(),
            is_open(next.state),
            next.closed_at,
            next.suppressed_by,
            &timeline,
            next.again,
            next.changed,
            next.shown,
        ],
    )?;
    Ok(())
}

/// The VM's last healthy boot.
fn good_boot(tx: &mut dyn Tx, vm_id: &str) -> Result<Option<String>, StoreError> {
    let sql = "SELECT id FROM boots WHERE vm_id = $1 AND verdict = 'healthy' \
               ORDER BY first_attested_at DESC, id DESC LIMIT 1";
    query_one(tx, sql, params![vm_id])?.map(|row| row.columns().text()).transpose()
}

fn count(
    tx: &mut dyn Tx,
    open: &Alert,
    alert: &AlertRaise<'_>,
    place: &incidents::Members<'_>,
) -> Result<Raised, StoreError> {
    let other_cause = cause(&open.findings) != cause(alert.findings);
    let news = news(tx, open, alert.findings)?;
    let comment = news.as_ref().and_then(|news| news.comment.as_deref());
    let next = Next {
        state: open.state,
        closed_at: None,
        suppressed_by: None,
        again: false,
        changed: other_cause || comment.is_some(),
        shown: news.as_ref().map(|news| news.shown.as_str()),
    };
    let step = comment.map(|comment| step(alert.at, open.state, Some(comment)));
    describe(tx, open, alert, &next, step)?;
    if other_cause {
        incidents::join(tx, &open.id, open.incident_id.as_deref(), alert, place)?;
    }
    if comment.is_some() {
        told(tx, &open.id, "alert.changed", alert.at)?;
    }
    Ok(Raised { id: open.id.clone(), count: open.count + 1, became: Became::Counted })
}

fn suppress_open(
    tx: &mut dyn Tx,
    open: Alert,
    alert: &AlertRaise<'_>,
    rule: &str,
    why: &str,
) -> Result<Raised, StoreError> {
    let next = Next {
        state: AlertState::Dismissed,
        closed_at: Some(alert.at),
        suppressed_by: Some(rule),
        again: false,
        changed: true,
        shown: None,
    };
    describe(tx, &open, alert, &next, Some(step(alert.at, AlertState::Dismissed, Some(why))))?;
    if let Some(incident) = &open.incident_id {
        incidents::settle(tx, incident, alert.at)?;
    }
    told(tx, &open.id, "alert.suppressed", alert.at)?;
    Ok(Raised { id: open.id, count: open.count + 1, became: Became::Suppressed })
}

fn reopen(
    tx: &mut dyn Tx,
    closed: Alert,
    alert: &AlertRaise<'_>,
    why: &str,
    place: &incidents::Members<'_>,
) -> Result<Raised, StoreError> {
    // Told anew, from the beginning.
    let next = Next {
        state: AlertState::Active,
        closed_at: None,
        suppressed_by: None,
        again: true,
        changed: true,
        shown: Some("[]"),
    };
    describe(tx, &closed, alert, &next, Some(step(alert.at, AlertState::Active, Some(why))))?;
    incidents::join(tx, &closed.id, closed.incident_id.as_deref(), alert, place)?;
    told(tx, &closed.id, "alert.reopened", alert.at)?;
    Ok(Raised { id: closed.id, count: closed.count + 1, became: Became::Reopened })
}

/// A new alert; dismissed from the start when a rule says so. Two writers that open at once agree on one.
fn insert(
    tx: &mut dyn Tx,
    alert: &AlertRaise<'_>,
    rule: Option<(&str, &str)>,
    place: &incidents::Members<'_>,
) -> Result<Raised, StoreError> {
    let state = if rule.is_some() { AlertState::Dismissed } else { AlertState::Active };
    let timeline = json(&[step(alert.at, state, rule.map(|(_, why)| why))])?;
    let findings = json(&alert.findings)?;
    let classes = write_classes(&classes_of(alert.findings));
    let good_boot = good_boot(tx, alert.vm_id)?;
    let id = crate::new_id(alert.at);
    let row = query_one(
        tx,
        "INSERT INTO alerts (id, vm_id, kind, title, reason, severity, severity_rank, state, is_open, component, message, \
         remediation, findings, attestation_id, raised, first_at, last_at, closed_at, timeline, classes, suppressed_by, \
         good_boot_id, boot_id) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, 1, $15, $15, $16, $17, \
         $18, $19, $20, (SELECT t.boot_id FROM attestations t WHERE t.id = $14)) \
         ON CONFLICT (vm_id, reason) WHERE is_open = 1 DO UPDATE SET raised = alerts.raised + 1, \
         last_at = excluded.last_at RETURNING id, raised",
        params![
            &id,
            alert.vm_id,
            alert.kind,
            alert.title,
            alert.reason.as_str(),
            alert.severity.as_str(),
            rank(alert.severity),
            state.as_str(),
            is_open(state),
            alert.component,
            alert.message,
            alert.remediation,
            &findings,
            alert.attestation_id,
            alert.at,
            rule.map(|_| alert.at),
            &timeline,
            &classes,
            rule.map(|(id, _)| id),
            good_boot.as_ref(),
        ],
    )?;
    let mut c = row.ok_or_else(|| StoreError::failed("upsert of an alert gave no row"))?.columns();
    let (stored, count) = (c.text()?, c.u64()?);
    if stored != id {
        return Ok(Raised { id: stored, count, became: Became::Counted });
    }
    let became = if rule.is_some() { Became::Suppressed } else { Became::Opened };
    if rule.is_none() {
        incidents::join(tx, &id, None, alert, place)?;
    }
    told(tx, &id, if rule.is_some() { "alert.suppressed" } else { "alert.opened" }, alert.at)?;
    Ok(Raised { id, count, became })
}

fn step(at: Time, state: AlertState, comment: Option<&str>) -> AlertEvent {
    AlertEvent { at, state, by: SERVICE.to_owned(), comment: comment.map(str::to_owned) }
}

fn told(tx: &mut dyn Tx, id: &str, kind: &str, at: Time) -> Result<(), StoreError> {
    let alert = by_id(tx, id)?.ok_or_else(|| StoreError::failed("an alert that was just written is gone"))?;
    events::append_alert(tx, kind, &alert, at)?;
    Ok(())
}
