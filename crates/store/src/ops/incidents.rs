//! Incidents: open alerts of members of one scale set with reason and cause in common.
//!
//! Joining and leaving touch one row, whatever the number of members: an alert is a member by its own row, and the
//! incident counts who ever joined. Many that join at once are added at once.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use veriboot_wire::{
    AlertState, Incident, IncidentMember, IncidentQuery, IncidentSort, IncidentState, Page, Time, counted,
    techniques,
};

use super::alerts::{AlertRaise, cause, classes_of, read_classes, write_classes};
use super::events;
use crate::StoreError;
use crate::hash::sha256_hex;
use crate::page::{decode_time_cursor, encode_cursor, page, page_rows};
use crate::query::Select;
use crate::rows::{insert_rows, query_in, update_rows};
use crate::tx::{Row, Tx, json as to_json, params, query_one};

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
        etag: None,
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

/// An alert that is open from now on, or stays so.
pub(crate) struct Joining<'a> {
    /// What it is about.
    pub alert: &'a AlertRaise<'a>,
    /// The incident that its row names.
    pub member_of: Option<&'a str>,
    /// Group and scale set of a VM that joins the incident of its cause. VMs of no scale set have no incidents.
    pub place: Option<(&'a str, &'a str)>,
}

/// What joining came to. Alerts are not written by it.
pub(crate) struct Joined<'a> {
    /// The incident that each is a member of, for those that join; and of no other.
    pub of: Vec<Option<String>>,
    /// For [`tell_all`], once the alerts are written.
    pub told: Vec<Told>,
    /// For [`settle_all`], once the alerts are written: incidents that were left for others.
    pub left: Vec<(&'a str, Time)>,
}

/// Something to tell of an incident.
pub(crate) struct Told {
    kind: &'static str,
    id: String,
    at: Time,
}

/// Makes open alerts members of the incidents of their causes. An incident of a cause that was closed within the window
/// of [`AlertRaise::reopen_window_s`] is opened again.
pub(crate) fn join_all<'a>(tx: &mut dyn Tx, joining: &[Joining<'a>]) -> Result<Joined<'a>, StoreError> {
    let keys: Vec<Option<String>> = joining
        .iter()
        .map(|joining| joining.place.map(|(group, scale_set)| cause_key(joining.alert, group, scale_set)))
        .collect();
    let distinct: BTreeSet<&str> = keys.iter().flatten().map(String::as_str).collect();
    let since = joining.iter().filter_map(|joining| reopened_since(joining.alert)).min();
    let mut known = latest_of(tx, &distinct, since)?;
    let mut joined = Joined { of: Vec::with_capacity(joining.len()), told: Vec::new(), left: Vec::new() };
    let mut grown: BTreeMap<&str, Growth<'_>> = BTreeMap::new();
    for (joining, key) in joining.iter().zip(&keys) {
        let (Some(key), Some(place)) = (key, joining.place) else {
            joined.of.push(None);
            continue;
        };
        let alert = joining.alert;
        let growth = grown.entry(key).or_insert_with(|| Growth::of(known.remove(key), alert, place));
        if joining.member_of != Some(growth.id.as_str()) {
            growth.joined += 1;
            growth.last_at = alert.at;
            joined.left.extend(joining.member_of.map(|left| (left, alert.at)));
        }
        joined.of.push(Some(growth.id.clone()));
    }
    let (new, there): (Vec<_>, Vec<_>) = grown.into_iter().partition(|(_, growth)| growth.is_new);
    insert_all(tx, &new)?;
    let there: Vec<_> = there.into_iter().filter(|(_, growth)| growth.opened || growth.joined > 0).collect();
    let set = "UPDATE incidents SET is_open = 1, closed_at = NULL, members = members + :2, last_at = :3";
    update_rows(tx, (set, "id = :1"), &[2, 3], &there, |(_, growth)| {
        *params![&growth.id, growth.joined, growth.last_at]
    })?;
    for (_, growth) in new.into_iter().chain(there) {
        joined.told.extend(growth.told());
    }
    Ok(joined)
}

/// An incident that was closed at this time or later is opened again by a failure of its cause.
fn reopened_since(alert: &AlertRaise<'_>) -> Option<Time> {
    (alert.reopen_window_s > 0).then(|| alert.at.plus_s(-i64::from(alert.reopen_window_s)))
}

/// The incident of a cause, and who joins it.
struct Growth<'a> {
    id: String,
    is_new: bool,
    /// Whether it is opened by this, for the first time or again.
    opened: bool,
    /// Who ever joined before.
    before: u64,
    /// Who joins now.
    joined: u64,
    last_at: Time,
    /// The first one that joins.
    alert: &'a AlertRaise<'a>,
    place: (&'a str, &'a str),
}

impl<'a> Growth<'a> {
    fn of(known: Option<Known>, alert: &'a AlertRaise<'a>, place: (&'a str, &'a str)) -> Self {
        let oldest = reopened_since(alert);
        let holds = |known: &Known| match known.closed_at {
            Some(closed) => oldest.is_some_and(|oldest| closed >= oldest),
            None => true,
        };
        let (id, before, is_new, opened) = match known.filter(holds) {
            Some(known) => (known.id, known.members, false, known.closed_at.is_some()),
            None => (crate::new_id(alert.at), 0, true, true),
        };
        Self { id, is_new, opened, before, joined: 0, last_at: alert.at, alert, place }
    }

    fn told(self) -> Option<Told> {
        // Told whenever it has doubled: a roll-out to 500 VMs is told nine times, and less often when many join at once.
        let doubled = self.before.saturating_add(1).next_power_of_two().max(2);
        let kind = match () {
            () if self.opened => "incident.opened",
            () if self.before.saturating_add(self.joined) >= doubled => "incident.grown",
            () => return None,
        };
        Some(Told { kind, id: self.id, at: self.last_at })
    }
}

/// An incident as far as those who may join it ask.
struct Known {
    id: String,
    /// `None` for one that is open.
    closed_at: Option<Time>,
    members: u64,
}

impl Known {
    fn read(row: Row) -> Result<(String, Self), StoreError> {
        let mut c = row.columns();
        Ok((c.text()?, Self { id: c.text()?, closed_at: c.opt_time()?, members: c.u64()? }))
    }
}

/// The open incident of each cause, else the one that was closed last, at `since` or later.
fn latest_of(
    tx: &mut dyn Tx,
    keys: &BTreeSet<&str>,
    since: Option<Time>,
) -> Result<BTreeMap<String, Known>, StoreError> {
    let head = "SELECT cause_key, id, closed_at, members FROM incidents WHERE";
    let all: Vec<&str> = keys.iter().copied().collect();
    let mut known: BTreeMap<String, Known> = BTreeMap::new();
    for row in query_in(tx, &format!("{head} is_open = 1 AND cause_key"), "", &[], &all)? {
        let (key, found) = Known::read(row)?;
        known.insert(key, found);
    }
    let missing: Vec<&str> = all.into_iter().filter(|key| !known.contains_key(*key)).collect();
    if let (Some(since), false) = (since, missing.is_empty()) {
        let head = format!("{head} is_open = 0 AND closed_at >= $1 AND cause_key");
        for row in query_in(tx, &head, "", params![since], &missing)? {
            let (key, found) = Known::read(row)?;
            let newer =
                known.get(&key).is_none_or(|last| (last.closed_at, &last.id) < (found.closed_at, &found.id));
            if newer {
                known.insert(key, found);
            }
        }
    }
    Ok(known)
}

fn insert_all(tx: &mut dyn Tx, new: &[(&str, Growth<'_>)]) -> Result<(), StoreError> {
    let rows = new
        .iter()
        .map(|(key, growth)| {
            let findings = growth.alert.findings;
            let mut codes: Vec<&str> = findings.iter().map(|f| f.code.as_str()).collect();
            codes.sort_unstable();
            codes.dedup();
            Ok((*key, growth, to_json(&codes)?, write_classes(&classes_of(findings))))
        })
        .collect::<Result<Vec<_>, StoreError>>()?;
    let head = "INSERT INTO incidents (id, cause_key, kind, title, reason, severity, is_open, group_name, scale_set, \
                message, component, codes, classes, members, first_at, last_at, closed_at) ";
    insert_rows(tx, head, "", &rows, |(key, growth, codes, classes)| {
        let Growth { id, alert, place: (group, scale_set), joined, last_at, .. } = growth;
        *params![
            id,
            *key,
            alert.kind,
            alert.title,
            alert.reason.as_str(),
            alert.severity.as_str(),
            true,
            *group,
            *scale_set,
            alert.message,
            alert.component,
            codes,
            classes,
            *joined,
            alert.at,
            *last_at,
            None::<Time>,
        ]
    })?;
    Ok(())
}

/// Closes an incident that has no open alert any more. `true` when it did.
pub(crate) fn settle(tx: &mut dyn Tx, id: &str, now: Time) -> Result<bool, StoreError> {
    Ok(settle_all(tx, &[(id, now)])? > 0)
}

/// Closes those of these incidents that have no open alert any more, and says how many that were.
pub(crate) fn settle_all(tx: &mut dyn Tx, left: &[(&str, Time)]) -> Result<usize, StoreError> {
    // The last time that one is named is the one at which it was left by all.
    let left: BTreeMap<&str, Time> = left.iter().copied().collect();
    let ids: Vec<&str> = left.keys().copied().collect();
    let head = "SELECT i.id FROM incidents i WHERE i.is_open = 1 \
                AND NOT EXISTS (SELECT 1 FROM alerts a WHERE a.incident_id = i.id AND a.is_open = 1) AND i.id";
    let closed = query_in(tx, head, "", &[], &ids)?
        .into_iter()
        .map(|row| {
            let id = row.columns().text()?;
            let at = left.get(id.as_str()).copied();
            let at = at.ok_or_else(|| StoreError::corrupt("an incident that nobody asked for"))?;
            Ok(Told { kind: "incident.closed", id, at })
        })
        .collect::<Result<Vec<_>, StoreError>>()?;
    let set = "UPDATE incidents SET is_open = 0, closed_at = :2";
    update_rows(tx, (set, "id = :1"), &[2], &closed, |told| *params![&told.id, told.at])?;
    tell_all(tx, &closed)?;
    Ok(closed.len())
}

/// Incidents that a VM's open alerts are members of.
pub(crate) fn of_vm(tx: &mut dyn Tx, vm_id: &str) -> Result<Vec<String>, StoreError> {
    let sql = "SELECT DISTINCT incident_id FROM alerts WHERE vm_id = $1 AND is_open = 1 AND incident_id IS NOT NULL";
    tx.query(sql, params![vm_id])?.into_iter().map(|row| row.columns().text()).collect()
}

/// Appends events about incidents as they are stored by now, in this order.
pub(crate) fn tell_all(tx: &mut dyn Tx, told: &[Told]) -> Result<(), StoreError> {
    if told.is_empty() {
        return Ok(());
    }
    let ids: Vec<&str> = told.iter().map(|told| told.id.as_str()).collect();
    let rows = query_in(tx, &format!("SELECT {COLUMNS} FROM incidents i WHERE i.id"), "", &[], &ids)?;
    let stored = rows.into_iter().map(|row| read(row).map(|incident| (incident.id.clone(), incident)));
    let stored: BTreeMap<String, Incident> = stored.collect::<Result<_, _>>()?;
    let told = told
        .iter()
        .map(|told| {
            let incident = stored.get(&told.id);
            let incident =
                incident.ok_or_else(|| StoreError::failed("an incident that was just written is gone"))?;
            Ok((told, incident, data(incident)?))
        })
        .collect::<Result<Vec<_>, StoreError>>()?;
    let events: Vec<events::NewEvent<'_>> = told
        .iter()
        .map(|(told, incident, data)| events::NewEvent {
            at: told.at,
            kind: told.kind,
            severity: incident.severity,
            group: Some(&incident.group),
            scale_set: Some(&incident.scale_set),
            vm_id: None,
            vm_name: None,
            subject: Some(&incident.id),
            data,
        })
        .collect();
    events::append_all(tx, &events)?;
    Ok(())
}

/// What an event about an incident says: the incident, and how many it concerns in its message.
fn data(incident: &Incident) -> Result<Value, StoreError> {
    let vms = counted(incident.members, "VM");
    let message = format!("{vms} of {}: {}", incident.scale_set, incident.message);
    let mut data = serde_json::to_value(incident).map_err(StoreError::failed)?;
    if let Some(members) = data.as_object_mut() {
        members.insert("message".to_owned(), json!(message));
    }
    Ok(data)
}

/// The incident with this id.
pub fn by_id(tx: &mut dyn Tx, id: &str) -> Result<Option<Incident>, StoreError> {
    query_one(tx, &format!("SELECT {COLUMNS} FROM incidents i WHERE i.id = $1"), params![id])?
        .map(read)
        .transpose()
}

/// SHA-256 over its alerts and their states, hex: another one when one of them came, went or moved on.
pub fn state_of_members(tx: &mut dyn Tx, id: &str) -> Result<String, StoreError> {
    let sql = "SELECT id, revision FROM alerts WHERE incident_id = $1 ORDER BY id";
    let mut text = String::new();
    for row in tx.query(sql, params![id])? {
        let mut c = row.columns();
        text.push_str(&c.text()?);
        text.push('@');
        text.push_str(&c.u64()?.to_string());
        text.push('\n');
    }
    Ok(sha256_hex(text.as_bytes()))
}

/// A page of incidents, by [`IncidentQuery::sort`].
pub fn list(tx: &mut dyn Tx, query: &IncidentQuery) -> Result<Page<Incident>, StoreError> {
    let sort = query.sort.unwrap_or(IncidentSort::Newest);
    let (name, behind, order) = match sort {
        IncidentSort::Newest => {
            ("incidents", "(i.first_at, i.id) < (?, ?)", " ORDER BY i.first_at DESC, i.id DESC")
        }
        IncidentSort::Active => {
            ("incidents-active", "(i.last_at, i.id) < (?, ?)", " ORDER BY i.last_at DESC, i.id DESC")
        }
    };
    let key = decode_time_cursor(name, query.cursor.as_deref())?;
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
        select.and(behind, params![*time, id]);
    }
    let rows = select.page(tx, order, limit)?;
    page(rows, limit, read, |i| {
        let at = if sort == IncidentSort::Newest { i.first_at } else { i.last_at };
        encode_cursor(name, &[&at.unix_ms().to_string(), &i.id])
    })
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
