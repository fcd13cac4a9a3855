//! Events: what happened, in the order in which it was committed, without gaps.
//!
//! [`append`] runs in the transaction of the change, and writes there whom it is to be told: a change and its
//! notifications are committed together or not at all.

mod held;

pub use held::{Held, hold};

use veriboot_wire::{
    Alert, AlertReason, Event, EventQuery, Page, Route, Routed, Scope, ScopeKind, Severity, TargetKind, Time,
    alert_of, kind_matches,
};

use super::ages::Old;
use crate::StoreError;
use crate::page::{decode_cursor, encode_cursor, page_rows};
use crate::rows::insert_rows;
use crate::tx::{Row, Tx, json, params, query_one};

/// An event to append.
#[derive(Clone, Debug, PartialEq)]
pub struct NewEvent<'a> {
    /// When.
    pub at: Time,
    /// What: one of [`veriboot_wire::EVENT_KINDS`].
    pub kind: &'a str,
    /// How much it matters to somebody on call.
    pub severity: Severity,
    /// Group that it concerns; `None` when it concerns all.
    pub group: Option<&'a str>,
    /// Scale set that it concerns.
    pub scale_set: Option<&'a str>,
    /// VM that it concerns.
    pub vm_id: Option<&'a str>,
    /// Name of that VM or item.
    pub vm_name: Option<&'a str>,
    /// Id of the thing that changed.
    pub subject: Option<&'a str>,
    /// Details by kind, an object; `message` is one sentence for people. Never secrets.
    pub data: &'a serde_json::Value,
}

const COLUMNS: &str = "sequence, at, kind, severity, group_name, scale_set, vm_id, vm_name, subject, data";

pub(super) fn read_columns(c: &mut crate::Columns) -> Result<Event, StoreError> {
    Ok(Event {
        sequence: c.u64()?,
        at: c.time()?,
        kind: c.text()?,
        severity: c.word()?,
        group: c.opt_text()?,
        scale_set: c.opt_text()?,
        vm_id: c.opt_text()?,
        vm_name: c.opt_text()?,
        subject: c.opt_text()?,
        data: c.json()?,
    })
}

fn read(row: Row) -> Result<Event, StoreError> {
    read_columns(&mut row.columns())
}

/// Appends an event and queues it for every target that is to be told. Writers that append at once are put in a row:
/// whoever sees an event sees all those before it.
pub fn append(tx: &mut dyn Tx, event: &NewEvent<'_>) -> Result<(), StoreError> {
    append_all(tx, std::slice::from_ref(event))
}

/// [`append`] for many events, in their order.
///
/// From here to the end of the transaction nobody else appends: transactions with many events append them last, which
/// [`hold`] does.
pub fn append_all(tx: &mut dyn Tx, events: &[NewEvent<'_>]) -> Result<(), StoreError> {
    let events = events.iter().map(Written::of).collect::<Result<Vec<_>, _>>()?;
    match tx.held() {
        Some(held) => held.add(events),
        None => write(tx, &events)?,
    }
    Ok(())
}

/// An event as it is stored.
#[derive(Debug)]
struct Written {
    at: Time,
    kind: String,
    severity: Severity,
    group: Option<String>,
    scale_set: Option<String>,
    vm_id: Option<String>,
    vm_name: Option<String>,
    subject: Option<String>,
    data: String,
    /// Whether it is about an alert that is a member of an incident.
    of_member: bool,
    /// Type and reason of the alert or incident that it is about.
    alert: Option<(String, AlertReason)>,
}

impl Written {
    fn of(event: &NewEvent<'_>) -> Result<Self, StoreError> {
        let of_member = event.kind.starts_with("alert.")
            && event.data.get("incident_id").is_some_and(serde_json::Value::is_string);
        Ok(Self {
            at: event.at,
            kind: event.kind.to_owned(),
            severity: event.severity,
            group: event.group.map(str::to_owned),
            scale_set: event.scale_set.map(str::to_owned),
            vm_id: event.vm_id.map(str::to_owned),
            vm_name: event.vm_name.map(str::to_owned),
            subject: event.subject.map(str::to_owned),
            data: json(event.data)?,
            of_member,
            alert: alert_of(event.kind, event.data).map(|(kind, reason)| (kind.to_owned(), reason)),
        })
    }
}

fn write(tx: &mut dyn Tx, events: &[Written]) -> Result<(), StoreError> {
    if events.is_empty() {
        return Ok(());
    }
    let sql = "UPDATE event_counter SET newest = newest + $1 WHERE id = 1 RETURNING newest";
    let count = events.len() as u64;
    let row = query_one(tx, sql, params![count])?
        .ok_or_else(|| StoreError::corrupt("the counter of events is missing"))?;
    let newest = row.columns().u64()?;
    let first = newest.saturating_sub(count).saturating_add(1);
    let numbered: Vec<(u64, &Written)> = (first..).zip(events).collect();
    let head = format!("INSERT INTO events ({COLUMNS}) ");
    insert_rows(tx, &head, "", &numbered, |(sequence, event)| {
        *params![
            *sequence,
            event.at,
            &event.kind,
            event.severity.as_str(),
            event.group.as_deref(),
            event.scale_set.as_deref(),
            event.vm_id.as_deref(),
            event.vm_name.as_deref(),
            event.subject.as_deref(),
            &event.data
        ]
    })?;
    queue(tx, &numbered)
}

/// What an event about an alert says: the alert without its timeline and with the codes of its findings only. The
/// notifications read it.
pub fn alert_data(alert: &Alert) -> Result<serde_json::Value, StoreError> {
    let mut data = serde_json::to_value(alert).map_err(StoreError::failed)?;
    if let Some(members) = data.as_object_mut() {
        members.remove("timeline");
        let codes: Vec<&str> = alert.findings.iter().map(|finding| finding.code.as_str()).collect();
        members.insert("findings".to_owned(), codes.into());
    }
    Ok(data)
}

/// A scope in words.
pub(super) fn scope_words(scope: &Scope) -> String {
    let Scope { kind, group, id } = scope;
    match kind {
        ScopeKind::Group => format!("group {group}"),
        ScopeKind::ScaleSet => format!("scale set {id} in group {group}"),
        ScopeKind::Image => format!("image {id} in group {group}"),
        ScopeKind::Vm => format!("VM {id} in group {group}"),
    }
}

/// Appends an event about a scope, or about everything.
pub(super) fn append_scope(
    tx: &mut dyn Tx,
    kind: &str,
    severity: Severity,
    scope: Option<&Scope>,
    subject: &str,
    data: &serde_json::Value,
    at: Time,
) -> Result<(), StoreError> {
    let of = |wanted: ScopeKind| scope.filter(|scope| scope.kind == wanted).map(|scope| scope.id.as_str());
    let vm_id = of(ScopeKind::Vm);
    let vm_name = match vm_id {
        Some(id) => super::vms::by_id(tx, id)?.map(|vm| vm.name),
        None => None,
    };
    let event = NewEvent {
        at,
        kind,
        severity,
        group: scope.map(|scope| scope.group.as_str()),
        scale_set: of(ScopeKind::ScaleSet),
        vm_id,
        vm_name: vm_name.as_deref(),
        subject: Some(subject),
        data,
    };
    append(tx, &event)
}

/// Queues events for the targets whose route takes them.
fn queue(tx: &mut dyn Tx, events: &[(u64, &Written)]) -> Result<(), StoreError> {
    let rows =
        tx.query("SELECT id, kind, route FROM notification_targets WHERE enabled = 1 ORDER BY id", &[])?;
    let mut targets = Vec::with_capacity(rows.len());
    for row in rows {
        let mut c = row.columns();
        targets.push((c.text()?, c.word::<TargetKind>()?, c.json::<Route>()?));
    }
    let mut wanted: Vec<(&str, u64, Time)> = Vec::new();
    for (sequence, event) in events {
        let told = targets.iter().filter(|(_, kind, route)| is_told(*kind, route, event));
        wanted.extend(told.map(|(id, _, _)| (id.as_str(), *sequence, event.at)));
    }
    let head = "INSERT INTO deliveries (target_id, sequence, queued_at, state, attempts) ";
    insert_rows(tx, head, "", &wanted, |(id, sequence, at)| *params![*id, *sequence, *at, "waiting", 0_u32])?;
    Ok(())
}

/// Whether a target is told of an event.
fn is_told(kind: TargetKind, route: &Route, event: &Written) -> bool {
    let routed = Routed {
        kind: &event.kind,
        severity: event.severity,
        group: event.group.as_deref(),
        alert: event.alert.as_ref().map(|(kind, reason)| (kind.as_str(), *reason)),
    };
    if !kind.speaks_of(&event.kind) || !route.takes(&routed) {
        return false;
    }
    // People are told of an incident, and not of each of its members, and so is who asks for it.
    let incident = Routed { kind: "incident.opened", ..routed };
    let grouped = route.grouped || kind == TargetKind::Email;
    !(event.of_member && grouped && route.takes(&incident))
}

/// Which events somebody wants.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Kinds, as in [`Route::kinds`]; all when empty.
    pub kinds: Vec<String>,
    /// Only this group.
    pub group: Option<String>,
    /// Only this severity and above.
    pub severity: Option<Severity>,
    /// Only this VM.
    pub vm_id: Option<String>,
}

impl Wanted {
    /// What a query asks for.
    pub fn of(query: &EventQuery) -> Self {
        let kinds = query.kind.as_deref().unwrap_or_default().split(',');
        Self {
            kinds: kinds.map(str::trim).filter(|kind| !kind.is_empty()).map(str::to_owned).collect(),
            group: query.group.clone(),
            severity: query.severity,
            vm_id: query.vm.clone(),
        }
    }

    /// Whether an event is wanted.
    pub fn takes(&self, event: &Event) -> bool {
        (self.kinds.is_empty() || self.kinds.iter().any(|pattern| kind_matches(pattern, &event.kind)))
            && self.group.as_ref().is_none_or(|group| event.group.as_ref() == Some(group))
            && self.severity.is_none_or(|severity| event.severity >= severity)
            && self.vm_id.as_ref().is_none_or(|vm| event.vm_id.as_ref() == Some(vm))
    }
}

/// Events that one look at the table for a page or a stream reads at most.
const LOOK: u32 = 1000;

/// A page of wanted events, oldest first. A page may hold fewer rows than asked for and still not be the last one: one
/// call reads a bounded number of events.
pub fn list(tx: &mut dyn Tx, query: &EventQuery) -> Result<Page<Event>, StoreError> {
    let key: Option<[String; 1]> = decode_cursor("events", query.cursor.as_deref())?;
    let after = match &key {
        Some([sequence]) => sequence.parse().map_err(|_| StoreError::BadCursor)?,
        None => query.after.unwrap_or(0),
    };
    let limit = usize::try_from(page_rows(query.limit)).unwrap_or(usize::MAX);
    let wanted = Wanted::of(query);
    let looked = self::after(tx, after, LOOK)?;
    let full = looked.len() >= usize::try_from(LOOK).unwrap_or(usize::MAX);
    let seen = looked.last().map(|event| event.sequence);
    let mut items: Vec<Event> = looked.into_iter().filter(|event| wanted.takes(event)).collect();
    let more = items.len() > limit;
    items.truncate(limit);
    let last = if more { items.last().map(|event| event.sequence) } else { seen.filter(|_| full) };
    let next_cursor = last.map(|sequence| encode_cursor("events", &[&sequence.to_string()]));
    Ok(Page { items, next_cursor })
}

/// Up to `limit` events after this sequence number, oldest first.
pub fn after(tx: &mut dyn Tx, sequence: u64, limit: u32) -> Result<Vec<Event>, StoreError> {
    let sql = format!("SELECT {COLUMNS} FROM events WHERE sequence > $1 ORDER BY sequence LIMIT $2");
    let sequence = i64::try_from(sequence).unwrap_or(i64::MAX);
    tx.query(&sql, params![sequence, limit])?.into_iter().map(read).collect()
}

/// What there is of events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bounds {
    /// Oldest event that is still there, or the next one to come.
    pub oldest: u64,
    /// Newest event that ever was; 0 before the first.
    pub newest: u64,
}

/// The oldest and the newest event.
pub fn bounds(tx: &mut dyn Tx) -> Result<Bounds, StoreError> {
    let sql = "SELECT newest, (SELECT MIN(sequence) FROM events) FROM event_counter WHERE id = 1";
    let row =
        query_one(tx, sql, &[])?.ok_or_else(|| StoreError::corrupt("the counter of events is missing"))?;
    let mut c = row.columns();
    let newest = c.u64()?;
    Ok(Bounds { oldest: c.opt_u64()?.unwrap_or(newest.saturating_add(1)), newest })
}

/// Events that one look for old ones reads at once.
const PURGE_LOOK: u32 = 1000;
/// How often it reads on behind events of unknown age.
const MAX_LOOKS: usize = 20;

/// Forgets up to `limit` old events that nobody is still to be told, oldest first, with what is noted of their delivery;
/// gives how many they were.
pub fn purge(tx: &mut dyn Tx, old: &Old, limit: u32) -> Result<u64, StoreError> {
    let sql = "SELECT MIN(sequence) FROM deliveries WHERE state <> 'delivered'";
    let unsettled = query_one(tx, sql, &[])?.map(|row| row.columns().opt_int()).transpose()?.flatten();
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    // A prefix of the sequence goes, so that what is left has no gaps. Its order is that of time, whatever the clock said.
    let (mut last, mut read, mut gone) = (None, -1, 0);
    for _ in 0..MAX_LOOKS {
        let sql = "SELECT sequence, at FROM events WHERE sequence > $1 ORDER BY sequence LIMIT $2";
        let rows = tx.query(sql, params![read, PURGE_LOOK])?;
        let more = rows.len() >= PURGE_LOOK as usize;
        let mut young = false;
        for row in rows {
            let mut c = row.columns();
            let (sequence, at) = (c.int()?, c.time()?);
            let is_old = old.is(at);
            young =
                is_old == Some(false) || unsettled.is_some_and(|first| sequence >= first) || gone == limit;
            if young {
                break;
            }
            gone += 1;
            read = sequence;
            if is_old.is_some() {
                last = Some(sequence);
            }
        }
        if young || !more {
            break;
        }
    }
    let Some(last) = last else { return Ok(0) };
    tx.execute("DELETE FROM deliveries WHERE sequence <= $1", params![last])?;
    tx.execute("DELETE FROM events WHERE sequence <= $1", params![last])
}
