//! Incidents: open alerts of members of one scale set with reason and cause in common.
//!
//! Joining and leaving touch one row, whatever the number of members: an alert is a member by its own row, and the
//! incident counts who ever joined.

use serde_json::json;
use veriboot_wire::{
    AlertState, Incident, IncidentMember, IncidentQuery, IncidentState, Page, Time, counted, techniques,
};

use super::alerts::{AlertRaise, cause, classes_of, read_classes, write_classes};
use super::events;
use crate::StoreError;
use crate::hash::sha256_hex;
use crate::page::{decode_time_cursor, encode_cursor, page, page_rows};
use crate::query::Select;
use crate::tx::{Row, Tx, json as to_json, params, query_one};

/// Where the members of an incident belong.
#[derive(Clone, Copy, Debug)]
pub struct Members<'a> {
    /// Group.
    pub group: &'a str,
    /// Scale set; VMs of none have no incidents.
    pub scale_set: Option<&'a str>,
}

const COLUMNS: &str = "i.id, i.kind, i.title, i.reason, i.severity, i.is_open, i.group_name, i.scale_set, i.message, \
     i.component, i.codes, i.classes, i.members, i.first_at, i.last_at, i.closed_at, \
     (SELECT COUNT(*) FROM alerts a WHERE a.incident_id = i.id AND a.is_open = 1)";

fn read(row: Row) -> Result<Incident, StoreError> {
    let mut c = row.columns();
    let mut incident = Incident {
        id: c.text()?,
        kind: c.text()?,
        title: c.text()?,
        reason: c.word()?,
        severity: c.word()?,
        state: if c.bool()? { IncidentState::Open } else { IncidentState::Closed },
        group: c.text()?,
        scale_set: c.text()?,
        message: c.text()?,
        component: c.opt_text()?,
        codes: c.json()?,
        classes: read_classes(&c.text()?)?,
        techniques: Vec::new(),
        members: c.u64()?,
        first_at: c.time()?,
        last_at: c.time()?,
        closed_at: c.opt_time()?,
        open: c.u64()?,
        alerts: String::new(),
    };
    incident.techniques = techniques(incident.reason, &incident.classes);
    incident.alerts = format!("/v1/alerts?incident={}", incident.id);
    Ok(incident)
}

/// SHA-256 over everything that members of one incident have in common, hex. Each part is preceded by its length.
fn cause_key(alert: &AlertRaise<'_>, group: &str, scale_set: &str) -> String {
    let mut bytes = b"veriboot-incident-v1".to_vec();
    let mut put = |text: &str| {
        bytes.extend(u64::try_from(text.len()).unwrap_or(u64::MAX).to_be_bytes());
        bytes.extend(text.as_bytes());
    };
    for text in [group, scale_set, alert.kind, alert.reason.as_str()] {
        put(text);
    }
    for (code, component, class) in cause(alert.findings) {
        put(code);
        put(component.unwrap_or_default());
        put(class.map_or("", |class| class.as_str()));
    }
    sha256_hex(&bytes)
}

/// Makes an open alert a member of the incident of its cause, and of no other; `member_of` is what its row says. An
/// incident of this cause that was closed within the window of [`AlertRaise::reopen_window_s`] is opened again.
pub(crate) fn join(
    tx: &mut dyn Tx,
    alert_id: &str,
    member_of: Option<&str>,
    alert: &AlertRaise<'_>,
    place: &Members<'_>,
) -> Result<(), StoreError> {
    let Some(scale_set) = place.scale_set else { return Ok(()) };
    let key = cause_key(alert, place.group, scale_set);
    let (id, opened) = match find(tx, &key, alert)? {
        Some(found) => found,
        None => (insert(tx, &key, alert, place.group, scale_set)?, true),
    };
    let mut members = None;
    if member_of != Some(id.as_str()) {
        let sql = "UPDATE incidents SET members = members + 1, last_at = $2 WHERE id = $1 RETURNING members";
        let row = query_one(tx, sql, params![&id, alert.at])?;
        members = row.map(|row| row.columns().u64()).transpose()?;
        tx.execute("UPDATE alerts SET incident_id = $2 WHERE id = $1", params![alert_id, &id])?;
        if let Some(left) = member_of {
            settle(tx, left, alert.at)?;
        }
    }
    if opened {
        tell(tx, &id, "incident.opened", alert.at)?;
    } else if members.is_some_and(|count| count > 1 && count.is_power_of_two()) {
        // Told whenever it has doubled: a roll-out to 500 VMs is told nine times.
        tell(tx, &id, "incident.grown", alert.at)?;
    }
    Ok(())
}

/// The open incident of this cause, else the one that was closed last, opened again; and whether it was opened.
fn find(tx: &mut dyn Tx, key: &str, alert: &AlertRaise<'_>) -> Result<Option<(String, bool)>, StoreError> {
    let sql = "SELECT id FROM incidents WHERE cause_key = $1 AND is_open = 1";
    if let Some(row) = query_one(tx, sql, params![key])? {
        return Ok(Some((row.columns().text()?, false)));
    }
    if alert.reopen_window_s == 0 {
        return Ok(None);
    }
    let oldest = alert.at.plus_s(-i64::from(alert.reopen_window_s));
    let sql = "UPDATE incidents SET is_open = 1, closed_at = NULL, last_at = $3 WHERE id = (SELECT r.id FROM incidents r \
               WHERE r.cause_key = $1 AND r.closed_at >= $2 ORDER BY r.closed_at DESC, r.id DESC LIMIT 1) RETURNING id";
    let row = query_one(tx, sql, params![key, oldest, alert.at])?;
    row.map(|row| Ok((row.columns().text()?, true))).transpose()
}

fn insert(
    tx: &mut dyn Tx,
    key: &str,
    alert: &AlertRaise<'_>,
    group: &str,
    scale_set: &str,
) -> Result<String, StoreError> {
    let id = crate::new_id(alert.at);
    let mut codes: Vec<&str> = alert.findings.iter().map(|f| f.code.as_str()).collect();
    codes.sort_unstable();
    codes.dedup();
    let (codes, classes) = (to_json(&codes)?, write_classes(&classes_of(alert.findings)));
    tx.execute(
        "INSERT INTO incidents (id, cause_key, kind, title, reason, severity, is_open, group_name, scale_set, message, \
         component, codes, classes, members, first_at, last_at, closed_at) \
         VALUES ($1, $2, $3, $4, $5, $6, 1, $7, $8, $9, $10, $11, $12, 0, $13, $13, NULL)",
        params![
            &id,
            key,
            alert.kind,
            alert.title,
            alert.reason.as_str(),
            alert.severity.as_str(),
            group,
            scale_set,
            alert.message,
            alert.component,
            &codes,
            &classes,
            alert.at,
        ],
    )?;
    Ok(id)
}

/// Closes an incident that has no open alert any more. `true` when it did.
pub(crate) fn settle(tx: &mut dyn Tx, id: &str, now: Time) -> Result<bool, StoreError> {
    let closed = tx.execute(
        "UPDATE incidents SET is_open = 0, closed_at = $2 WHERE id = $1 AND is_open = 1 \
         AND NOT EXISTS (SELECT 1 FROM alerts a WHERE a.incident_id = $1 AND a.is_open = 1)",
        params![id, now],
    )?;
    if closed == 1 {
        tell(tx, id, "incident.closed", now)?;
    }
    Ok(closed == 1)
}

/// Incidents that a VM's open alerts are members of.
pub(crate) fn of_vm(tx: &mut dyn Tx, vm_id: &str) -> Result<Vec<String>, StoreError> {
    let sql = "SELECT DISTINCT incident_id FROM alerts WHERE vm_id = $1 AND is_open = 1 AND incident_id IS NOT NULL";
    tx.query(sql, params![vm_id])?.into_iter().map(|row| row.columns().text()).collect()
}

fn tell(tx: &mut dyn Tx, id: &str, kind: &str, at: Time) -> Result<(), StoreError> {
    let incident =
        by_id(tx, id)?.ok_or_else(|| StoreError::failed("an incident that was just written is gone"))?;
    let count = incident.members;
    let vms = counted(count, "VM");
    let message = format!("{vms} of {}: {}", incident.scale_set, incident.message);
    let mut data = serde_json::to_value(&incident).map_err(StoreError::failed)?;
    if let Some(members) = data.as_object_mut() {
        members.insert("message".to_owned(), json!(message));
    }
    let event = events::NewEvent {
        at,
        kind,
        severity: incident.severity,
        group: Some(&incident.group),
        scale_set: Some(&incident.scale_set),
        vm_id: None,
        vm_name: None,
        subject: Some(&incident.id),
        data: &data,
    };
    events::append(tx, &event)?;
    Ok(())
}

/// The incident with this id.
pub fn by_id(tx: &mut dyn Tx, id: &str) -> Result<Option<Incident>, StoreError> {
    query_one(tx, &format!("SELECT {COLUMNS} FROM incidents i WHERE i.id = $1"), params![id])?
        .map(read)
        .transpose()
}

/// A page of incidents, newest first.
pub fn list(tx: &mut dyn Tx, query: &IncidentQuery) -> Result<Page<Incident>, StoreError> {
    let key = decode_time_cursor("incidents", query.cursor.as_deref())?;
    let class = query.class.map(|class| format!("%,{class},%"));
    let limit = page_rows(query.limit);
    let mut select = Select::new(&format!("SELECT {COLUMNS} FROM incidents i"));
    select
        .and_if("i.is_open = ?", query.state.map(|state| state == IncidentState::Open))
        .and_if("i.reason = ?", query.reason.map(|reason| reason.as_str()))
        .and_if("i.classes LIKE ?", class.as_ref())
        .and_if("i.group_name = ?", query.group.as_ref())
        .and_if("i.scale_set = ?", query.scale_set.as_ref())
        .and_if("i.first_at >= ?", query.since);
    if let Some((time, id)) = &key {
        select.and("(i.first_at, i.id) < (?, ?)", params![*time, id]);
    }
    let rows = select.page(tx, " ORDER BY i.first_at DESC, i.id DESC", limit)?;
    page(rows, limit, read, |i| encode_cursor("incidents", &[&i.first_at.unix_ms().to_string(), &i.id]))
}

/// A page of the alerts of an incident, by the first time that they were raised.
pub fn members(
    tx: &mut dyn Tx,
    id: &str,
    limit: Option<u32>,
    cursor: Option<&str>,
) -> Result<Page<IncidentMember>, StoreError> {
    let key = decode_time_cursor("incident-members", cursor)?;
    let limit = page_rows(limit);
    let mut select = Select::new(
        "SELECT a.id, a.vm_id, v.name, a.state, a.raised, a.first_at, a.last_at FROM alerts a \
         JOIN vms v ON v.id = a.vm_id",
    );
    select.and("a.incident_id = ?", params![id]);
    if let Some((time, id)) = &key {
        select.and("(a.first_at, a.id) > (?, ?)", params![*time, id]);
    }
    let rows = select.page(tx, " ORDER BY a.first_at, a.id", limit)?;
    let read = |row: Row| {
        let mut c = row.columns();
        Ok(IncidentMember {
            alert_id: c.text()?,
            vm_id: c.text()?,
            vm_name: c.text()?,
            state: c.word::<AlertState>()?,
            count: c.u64()?,
            first_at: c.time()?,
            last_at: c.time()?,
        })
    };
    page(rows, limit, read, |m| {
        encode_cursor("incident-members", &[&m.first_at.unix_ms().to_string(), &m.alert_id])
    })
}

/// Incidents that are open.
pub fn open_count(tx: &mut dyn Tx) -> Result<u64, StoreError> {
    let sql = "SELECT COUNT(*) FROM incidents WHERE is_open = 1";
    query_one(tx, sql, &[])?.map_or(Ok(0), |row| row.columns().u64())
}
