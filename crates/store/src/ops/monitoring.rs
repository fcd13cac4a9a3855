//! Where integrity monitoring is on: settings of scopes, of which the most specific one wins, and the work of taking a
//! change to the VMs of its scope. A scope without a setting takes the next less specific one; without any, it is on.

use veriboot_wire::{MonitoringSetting, MonitoringSwitch, Page, Scope, ScopeKind, Time};

use super::claims::Work;
use super::reappraisals::in_scope;
use crate::page::{decode_cursor, encode_cursor, page, page_rows};
use crate::place::most_specific;
use crate::query::Select;
use crate::tx::{Columns, Row, Tx, params, query_one};
use crate::{Place, StoreError, new_id};

/// Finished switches that are kept.
const KEPT: u32 = 200;

const COLUMNS: &str = "scope_kind, scope_group, scope_id, enabled, comment, set_at, set_by, revision";

fn scope(c: &mut Columns) -> Result<Scope, StoreError> {
    Ok(Scope { kind: c.word()?, group: c.text()?, id: c.text()? })
}

fn read(row: Row) -> Result<MonitoringSetting, StoreError> {
    let mut c = row.columns();
    Ok(MonitoringSetting {
        vm_name: None,
        scope: scope(&mut c)?,
        enabled: c.bool()?,
        comment: c.opt_text()?,
        set_at: c.time()?,
        set_by: c.text()?,
        revision: c.u64()?,
    })
}

/// The setting of exactly this scope.
pub fn of_scope(tx: &mut dyn Tx, scope: &Scope) -> Result<Option<MonitoringSetting>, StoreError> {
    let sql = format!(
        "SELECT {COLUMNS} FROM monitoring WHERE scope_kind = $1 AND scope_group = $2 AND scope_id = $3"
    );
    query_one(tx, &sql, params![scope.kind.as_str(), &scope.group, &scope.id])?.map(read).transpose()
}

/// The setting that holds at this place: the one of the most specific scope; `None` where nobody has set anything.
pub fn for_place(tx: &mut dyn Tx, place: Place<'_>) -> Result<Option<MonitoringSetting>, StoreError> {
    let sql = most_specific("monitoring", COLUMNS, "");
    query_one(tx, &sql, &place.params())?.map(read).transpose()
}

/// The setting that a scope takes: its own, else that of its group; for a VM use [`for_place`].
pub fn for_scope(tx: &mut dyn Tx, scope: &Scope) -> Result<Option<MonitoringSetting>, StoreError> {
    if let Some(own) = of_scope(tx, scope)? {
        return Ok(Some(own));
    }
    of_scope(tx, &Scope { kind: ScopeKind::Group, group: scope.group.clone(), id: String::new() })
}

/// A page of settings, ordered by group, kind and id.
pub fn list(
    tx: &mut dyn Tx,
    group: Option<&str>,
    limit: Option<u32>,
    cursor: Option<&str>,
) -> Result<Page<MonitoringSetting>, StoreError> {
    let key: Option<[String; 3]> = decode_cursor("monitoring", cursor)?;
    let limit = page_rows(limit);
    let head = format!("SELECT {COLUMNS} FROM monitoring");
    let mut select = Select::new(&head);
    select.and_if("scope_group = ?", group);
    if let Some([group, kind, id]) = &key {
        select.and("(scope_group, scope_kind, scope_id) > (?, ?, ?)", params![group, kind, id]);
    }
    let rows = select.page(tx, " ORDER BY scope_group, scope_kind, scope_id", limit)?;
    page(rows, limit, read, |s| {
        encode_cursor("monitoring", &[&s.scope.group, s.scope.kind.as_str(), &s.scope.id])
    })
}

/// Sets a scope; its revision goes up by one.
pub fn set(
    tx: &mut dyn Tx,
    scope: &Scope,
    enabled: bool,
    comment: Option<&str>,
    by: &str,
    at: Time,
) -> Result<(), StoreError> {
    let sql = format!(
        "INSERT INTO monitoring ({COLUMNS}) VALUES ($1, $2, $3, $4, $5, $6, $7, 1) \
         ON CONFLICT (scope_kind, scope_group, scope_id) DO UPDATE SET enabled = excluded.enabled, \
         comment = excluded.comment, set_at = excluded.set_at, set_by = excluded.set_by, \
         revision = monitoring.revision + 1"
    );
    let (kind, group, id) = (scope.kind.as_str(), &scope.group, &scope.id);
    tx.execute(&sql, params![kind, group, id, enabled, comment, at, by])?;
    Ok(())
}

/// Removes the setting of a scope. `false` when there was none.
pub fn remove(tx: &mut dyn Tx, scope: &Scope) -> Result<bool, StoreError> {
    let sql = "DELETE FROM monitoring WHERE scope_kind = $1 AND scope_group = $2 AND scope_id = $3";
    Ok(tx.execute(sql, params![scope.kind.as_str(), &scope.group, &scope.id])? == 1)
}

/// VMs of a scope: all, and those whose monitoring is on.
pub fn count(tx: &mut dyn Tx, scope: &Scope) -> Result<(u64, u64), StoreError> {
    let mut select =
        in_scope("SELECT COUNT(*), CAST(COALESCE(SUM(monitoring), 0) AS BIGINT) FROM vms", scope);
    let Some(row) = select.page(tx, "", 0)?.into_iter().next() else { return Ok((0, 0)) };
    let mut c = row.columns();
    Ok((c.u64()?, c.u64()?))
}

const SWITCHES: Work = Work { table: "monitoring_switches", order: " ORDER BY asked_at, id" };

const SWITCH: &str =
    "id, scope_kind, scope_group, scope_id, asked_at, asked_by, vms, done, switched, finished_at";

fn read_switch(c: &mut Columns) -> Result<MonitoringSwitch, StoreError> {
    Ok(MonitoringSwitch {
        id: c.text()?,
        scope: scope(c)?,
        asked_at: c.time()?,
        asked_by: c.text()?,
        vms: c.u64()?,
        done: c.u64()?,
        switched: c.u64()?,
        finished_at: c.opt_time()?,
    })
}

/// Asks for the VMs of a scope to take what their settings say by now.
pub fn ask(tx: &mut dyn Tx, scope: &Scope, by: &str, at: Time) -> Result<MonitoringSwitch, StoreError> {
    SWITCHES.forget_finished(tx, KEPT)?;
    let vms = super::reappraisals::count(tx, scope)?;
    let switch = MonitoringSwitch {
        id: new_id(at),
        scope: scope.clone(),
        asked_at: at,
        asked_by: by.to_owned(),
        vms,
        done: 0,
        switched: 0,
        finished_at: (vms == 0).then_some(at),
    };
    let sql = format!(
        "INSERT INTO monitoring_switches ({SWITCH}, after_name, claimed_until) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, 0, 0, $8, '', 0)"
    );
    let (kind, group, id) = (scope.kind.as_str(), &scope.group, &scope.id);
    tx.execute(&sql, params![&switch.id, kind, group, id, at, by, vms, switch.finished_at])?;
    Ok(switch)
}

/// A switch that the caller works on, and the name that it came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimedSwitch {
    /// The switch.
    pub switch: MonitoringSwitch,
    /// Name of the last VM that was looked at.
    pub after_name: String,
}

/// Claims the oldest unfinished switch that nobody works on, or `only` this one, until `until`.
pub fn claim(
    tx: &mut dyn Tx,
    only: Option<&str>,
    by: &str,
    now: Time,
    until: Time,
) -> Result<Option<ClaimedSwitch>, StoreError> {
    let columns = format!("{SWITCH}, after_name");
    let Some(row) = SWITCHES.claim(tx, &columns, only, by, now, until)? else { return Ok(None) };
    let mut c = row.columns();
    Ok(Some(ClaimedSwitch { switch: read_switch(&mut c)?, after_name: c.text()? }))
}

/// What a step came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SwitchStep<'a> {
    /// Name of the last VM that was looked at.
    pub after_name: &'a str,
    /// VMs that were looked at.
    pub done: u64,
    /// VMs whose monitoring changed.
    pub switched: u64,
    /// Keeps the claim until then.
    pub until: Time,
    /// Ends it.
    pub finished_at: Option<Time>,
}

/// Notes a step in the transaction that did it. `false` when somebody else has the switch by now.
pub fn advance(tx: &mut dyn Tx, id: &str, by: &str, step: &SwitchStep<'_>) -> Result<bool, StoreError> {
    let sql = "UPDATE monitoring_switches SET after_name = $3, done = done + $4, switched = switched + $5, \
               claimed_until = $6, finished_at = $7 WHERE id = $1 AND claimed_by = $2 AND finished_at IS NULL";
    let SwitchStep { after_name, done, switched, until, finished_at } = *step;
    Ok(tx.execute(sql, params![id, by, after_name, done, switched, until, finished_at])? == 1)
}

/// The switch with this id.
pub fn switch_by_id(tx: &mut dyn Tx, id: &str) -> Result<Option<MonitoringSwitch>, StoreError> {
    let sql = format!("SELECT {SWITCH} FROM monitoring_switches WHERE id = $1");
    query_one(tx, &sql, params![id])?.map(|row| read_switch(&mut row.columns())).transpose()
}

/// The unfinished switch of exactly this scope that was asked for last.
pub fn open_switch(tx: &mut dyn Tx, scope: &Scope) -> Result<Option<MonitoringSwitch>, StoreError> {
    let sql = format!(
        "SELECT {SWITCH} FROM monitoring_switches WHERE finished_at IS NULL AND scope_kind = $1 \
         AND scope_group = $2 AND scope_id = $3 ORDER BY asked_at DESC, id DESC LIMIT 1"
    );
    query_one(tx, &sql, params![scope.kind.as_str(), &scope.group, &scope.id])?
        .map(|row| read_switch(&mut row.columns()))
        .transpose()
}

/// VMs that wait for a switch.
pub fn pending(tx: &mut dyn Tx) -> Result<u64, StoreError> {
    let sql = "SELECT CAST(COALESCE(SUM(vms - done), 0) AS BIGINT) FROM monitoring_switches WHERE finished_at IS NULL";
    let waiting = query_one(tx, sql, &[])?.map_or(Ok(0), |row| row.columns().int())?;
    Ok(u64::try_from(waiting).unwrap_or(0))
}
