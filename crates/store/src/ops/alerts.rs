//! Alerts: at most one is open per VM and reason, guaranteed by a partial unique index.

use veriboot_wire::{Alert, AlertEvent, AlertQuery, AlertReason, AlertState, Finding, Page, Severity, Time};

use crate::StoreError;
use crate::page::{decode_time_cursor, encode_cursor, page, page_rows};
use crate::query::Select;
use crate::tx::{Row, Tx, json, params, query_one};

/// The oldest steps of a longer timeline are dropped.
const MAX_TIMELINE: usize = 200;
/// Who changes an alert when nobody does.
const SERVICE: &str = "service";

/// An alert to raise.
#[derive(Clone, Debug, PartialEq)]
pub struct AlertRaise<'a> {
    /// The VM.
    pub vm_id: &'a str,
    /// Stable type id: [`veriboot_wire::ALERT_ATTESTATION_FAILED`].
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
    /// When.
    pub at: Time,
}

/// What became of a raise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Raised {
    /// The open alert.
    pub id: String,
    /// How often it was raised by now; 1 for a new one.
    pub count: u64,
}

/// What became of a change of state.
#[derive(Clone, Debug, PartialEq)]
pub enum Changed {
    /// It is in the new state.
    Done(Box<Alert>),
    /// There is no such alert.
    Unknown,
    /// It is resolved or dismissed, which is final. A new cause raises a new alert.
    Closed(Box<Alert>),
}

const SELECT: &str = "SELECT a.id, a.kind, a.title, a.reason, a.severity, a.state, a.vm_id, v.name, v.group_name, \
     v.scale_set, a.component, a.message, a.remediation, a.findings, a.attestation_id, a.raised, a.first_at, \
     a.last_at, a.closed_at, a.timeline FROM alerts a JOIN vms v ON v.id = a.vm_id";

fn read(row: Row) -> Result<Alert, StoreError> {
    let mut c = row.columns();
    Ok(Alert {
        id: c.text()?,
        kind: c.text()?,
        title: c.text()?,
        reason: c.word()?,
        severity: c.word()?,
        state: c.word()?,
        vm_id: c.text()?,
        vm_name: c.text()?,
        group: c.text()?,
        scale_set: c.opt_text()?,
        component: c.opt_text()?,
        message: c.text()?,
        remediation: c.text()?,
        findings: c.json()?,
        attestation_id: c.opt_text()?,
        count: c.u64()?,
        first_at: c.time()?,
        last_at: c.time()?,
        closed_at: c.opt_time()?,
        timeline: c.json()?,
    })
}

fn is_open(state: AlertState) -> bool {
    matches!(state, AlertState::Active | AlertState::InProgress)
}

/// Opens an alert, or counts one more time on the open one of this VM and reason and takes over everything that
/// describes the cause. State and timeline of an open alert stay.
pub fn raise(tx: &mut dyn Tx, alert: &AlertRaise<'_>) -> Result<Raised, StoreError> {
    let findings = json(&alert.findings)?;
    let opened =
        AlertEvent { at: alert.at, state: AlertState::Active, by: SERVICE.to_owned(), comment: None };
    let timeline = json(&[opened])?;
    let id = crate::new_id(alert.at);
    let row = query_one(
        tx,
        "INSERT INTO alerts (id, vm_id, kind, title, reason, severity, state, is_open, component, message, \
         remediation, findings, attestation_id, raised, first_at, last_at, closed_at, timeline) \
         VALUES ($1, $2, $3, $4, $5, $6, 'active', 1, $7, $8, $9, $10, $11, 1, $12, $12, NULL, $13) \
         ON CONFLICT (vm_id, reason) WHERE is_open = 1 DO UPDATE SET title = excluded.title, \
         severity = excluded.severity, component = excluded.component, message = excluded.message, \
         remediation = excluded.remediation, findings = excluded.findings, \
         attestation_id = excluded.attestation_id, raised = alerts.raised + 1, last_at = excluded.last_at \
         RETURNING id, raised",
        params![
            &id,
            alert.vm_id,
            alert.kind,
            alert.title,
            alert.reason.as_str(),
            alert.severity.as_str(),
            alert.component,
            alert.message,
            alert.remediation,
            &findings,
            alert.attestation_id,
            alert.at,
            &timeline,
        ],
    )?;
    let mut c = row.ok_or_else(|| StoreError::failed("upsert of an alert gave no row"))?.columns();
    Ok(Raised { id: c.text()?, count: c.u64()? })
}

/// The alert with this id.
pub fn by_id(tx: &mut dyn Tx, id: &str) -> Result<Option<Alert>, StoreError> {
    query_one(tx, &format!("{SELECT} WHERE a.id = $1"), params![id])?.map(read).transpose()
}

/// The open alert of this VM and reason.
pub fn open_for(tx: &mut dyn Tx, vm_id: &str, reason: AlertReason) -> Result<Option<Alert>, StoreError> {
    let sql = format!("{SELECT} WHERE a.vm_id = $1 AND a.reason = $2 AND a.is_open = 1");
    query_one(tx, &sql, params![vm_id, reason.as_str()])?.map(read).transpose()
}

/// The newest alert of this VM and reason, open or not.
pub fn latest_for(tx: &mut dyn Tx, vm_id: &str, reason: AlertReason) -> Result<Option<Alert>, StoreError> {
    let sql =
        format!("{SELECT} WHERE a.vm_id = $1 AND a.reason = $2 ORDER BY a.first_at DESC, a.id DESC LIMIT 1");
    query_one(tx, &sql, params![vm_id, reason.as_str()])?.map(read).transpose()
}

/// A page of alerts, newest first (by the time that they were first raised).
pub fn list(tx: &mut dyn Tx, query: &AlertQuery) -> Result<Page<Alert>, StoreError> {
    let key = decode_time_cursor("alerts", query.cursor.as_deref())?;
    let limit = page_rows(query.limit);
    let mut select = Select::new(SELECT);
    select
        .and_if("a.state = ?", query.state.map(AlertState::as_str))
        .and_if("a.is_open = ?", query.open)
        .and_if("a.reason = ?", query.reason.map(AlertReason::as_str))
        .and_if("a.vm_id = ?", query.vm.as_ref())
        .and_if("v.group_name = ?", query.group.as_ref());
    if let Some((time, id)) = &key {
        select.and("(a.first_at, a.id) < (?, ?)", params![*time, id]);
    }
    let rows = select.page(tx, " ORDER BY a.first_at DESC, a.id DESC", limit)?;
    page(rows, limit, read, |a| encode_cursor("alerts", &[&a.first_at.unix_ms().to_string(), &a.id]))
}

/// Counts one more time on a closed alert, which stays closed.
pub fn count_again(
    tx: &mut dyn Tx,
    id: &str,
    attestation_id: Option<&str>,
    now: Time,
) -> Result<(), StoreError> {
    tx.execute(
        "UPDATE alerts SET raised = raised + 1, last_at = $3, attestation_id = $2 WHERE id = $1 AND is_open = 0",
        params![id, attestation_id, now],
    )?;
    Ok(())
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
        alert.timeline.push(AlertEvent {
            at: now,
            state: AlertState::Dismissed,
            by: SERVICE.to_owned(),
            comment: Some(comment.to_owned()),
        });
        let timeline = json(&alert.timeline)?;
        tx.execute("UPDATE alerts SET timeline = $2 WHERE id = $1", params![&alert.id, &timeline])?;
    }
    Ok(())
}

/// Whether somebody dismissed the alert and its cause was not seen to end since.
pub fn is_remembered(alert: &Alert) -> bool {
    alert.state == AlertState::Dismissed && alert.timeline.last().is_some_and(|step| step.by != SERVICE)
}

/// Alerts of a VM that are active or in progress.
pub fn open_count(tx: &mut dyn Tx, vm_id: &str) -> Result<u32, StoreError> {
    let sql = "SELECT COUNT(*) FROM alerts WHERE vm_id = $1 AND is_open = 1";
    query_one(tx, sql, params![vm_id])?.map_or(Ok(0), |row| row.columns().u32())
}

/// Number of open alerts by reason, of one group or of all.
pub fn open_counts_by_reason(
    tx: &mut dyn Tx,
    group: Option<&str>,
) -> Result<Vec<(AlertReason, u64)>, StoreError> {
    let mut select = Select::new("SELECT a.reason, COUNT(*) FROM alerts a JOIN vms v ON v.id = a.vm_id");
    select.and("a.is_open = 1", &[]).and_if("v.group_name = ?", group);
    let rows = select.page(tx, " GROUP BY a.reason ORDER BY a.reason", 100)?;
    rows.into_iter()
        .map(|row| {
            let mut c = row.columns();
            Ok((c.word()?, c.u64()?))
        })
        .collect()
}

/// Moves an open alert to another state and notes who did it and why.
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
    alert.timeline.push(AlertEvent {
        at: now,
        state: to,
        by: by.to_owned(),
        comment: comment.map(str::to_owned),
    });
    let surplus = alert.timeline.len().saturating_sub(MAX_TIMELINE);
    alert.timeline.drain(..surplus);
    alert.state = to;
    alert.closed_at = if is_open(to) { None } else { Some(now) };
    let timeline = json(&alert.timeline)?;
    tx.execute(
        "UPDATE alerts SET state = $2, is_open = $3, closed_at = $4, timeline = $5 WHERE id = $1",
        params![id, to.as_str(), is_open(to), alert.closed_at, &timeline],
    )?;
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
