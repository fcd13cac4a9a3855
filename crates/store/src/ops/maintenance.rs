//! Maintenance windows: times in which VMs may be silent.

use veriboot_wire::{Maintenance, MaintenanceQuery, MaintenanceState, Page, Scope, Time};

use crate::page::{decode_time_cursor, encode_cursor, page, page_rows};
use crate::query::Select;
use crate::tx::{Row, Tx, params, query_one};
use crate::{Place, StoreError};

/// Windows that may be planned or active at a time.
const MAX_WINDOWS: i64 = 10_000;

/// A window to declare.
#[derive(Clone, Copy, Debug)]
pub struct NewWindow<'a> {
    /// Which VMs; an image is none that a window can have.
    pub scope: &'a Scope,
    /// Name of the VM, for a window of one.
    pub vm_name: Option<&'a str>,
    /// When it begins.
    pub from: Time,
    /// When it ends.
    pub until: Time,
    /// Why.
    pub comment: &'a str,
    /// Who declares it.
    pub by: &'a str,
    /// When.
    pub now: Time,
}

/// A window that covers a VM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Window {
    /// Its id.
    pub id: String,
    /// When the window ends or was ended.
    pub ends_at: Time,
    /// Until when silence of this VM is no alert: one silence limit after the end.
    pub silent_until: Time,
}

const COLUMNS: &str = "id, scope_kind, scope_group, scope_id, vm_name, starts_at, ends_at, comment, created_by, \
     created_at, ended_by, ended_at";

fn read(row: Row, now: Time) -> Result<Maintenance, StoreError> {
    let mut c = row.columns();
    let mut window = Maintenance {
        id: c.text()?,
        scope: Scope { kind: c.word()?, group: c.text()?, id: c.text()? },
        vm_name: c.opt_text()?,
        state: MaintenanceState::Active,
        from: c.time()?,
        until: c.time()?,
        comment: c.text()?,
        created_by: c.text()?,
        created_at: c.time()?,
        ended_by: c.opt_text()?,
        ended_at: c.opt_time()?,
        vms: None,
        revision: 0,
    };
    window.revision = if window.ended_at.is_some() { 2 } else { 1 };
    window.state = if window.until <= now || window.ended_at.is_some() {
        MaintenanceState::Over
    } else if window.from > now {
        MaintenanceState::Planned
    } else {
        MaintenanceState::Active
    };
    Ok(window)
}

/// The window that allows a VM of this place to be silent at `now`, the one that ends last.
pub fn covers(
    tx: &mut dyn Tx,
    place: Place<'_>,
    silence_limit_s: u32,
    now: Time,
) -> Result<Option<Window>, StoreError> {
    let limit_s = i64::from(silence_limit_s);
    // One that was ended before it began keeps its plan, and covers nothing.
    let sql = "SELECT id, ends_at FROM (\
               SELECT id, ends_at FROM maintenance_windows WHERE scope_kind = 'vm' AND scope_group = $1 AND scope_id = $2 \
               AND ends_at > $4 AND starts_at <= $5 AND (ended_at IS NULL OR ended_at >= starts_at) UNION ALL \
               SELECT id, ends_at FROM maintenance_windows WHERE scope_kind = 'scale-set' AND scope_group = $1 AND \
               scope_id = $3 AND ends_at > $4 AND starts_at <= $5 AND (ended_at IS NULL OR ended_at >= starts_at) UNION ALL \
               SELECT id, ends_at FROM maintenance_windows WHERE scope_kind = 'group' AND scope_group = $1 AND \
               scope_id = '' AND ends_at > $4 AND starts_at <= $5 AND (ended_at IS NULL OR ended_at >= starts_at)) AS found ORDER BY ends_at DESC, id LIMIT 1";
    let row =
        query_one(tx, sql, params![place.group, place.vm_id, place.scale_set, now.plus_s(-limit_s), now])?;
    let Some(row) = row else { return Ok(None) };
    let mut c = row.columns();
    let (id, ends_at) = (c.text()?, c.time()?);
    Ok(Some(Window { id, ends_at, silent_until: ends_at.plus_s(limit_s) }))
}

/// Declares a window.
///
/// # Errors
/// [`StoreError::Limit`] when there are too many that are not over.
pub fn declare(tx: &mut dyn Tx, new: &NewWindow<'_>) -> Result<Maintenance, StoreError> {
    let sql = "SELECT COUNT(*) FROM maintenance_windows WHERE ends_at > $1 AND ended_at IS NULL";
    let running = query_one(tx, sql, params![new.now])?.map_or(Ok(0), |row| row.columns().int())?;
    if running >= MAX_WINDOWS {
        return Err(StoreError::Limit { what: "maintenance windows" });
    }
    let id = crate::new_id(new.now);
    let sql = format!(
        "INSERT INTO maintenance_windows ({COLUMNS}) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, NULL, NULL) \
         RETURNING {COLUMNS}"
    );
    let row = query_one(
        tx,
        &sql,
        params![
            &id,
            new.scope.kind.as_str(),
            &new.scope.group,
            &new.scope.id,
            new.vm_name,
            new.from,
            new.until,
            new.comment,
            new.by,
            new.now
        ],
    )?;
    read(row.ok_or_else(|| StoreError::failed("an insert gave no row"))?, new.now)
}

/// The window with this id.
pub fn by_id(tx: &mut dyn Tx, id: &str, now: Time) -> Result<Option<Maintenance>, StoreError> {
    let sql = format!("SELECT {COLUMNS} FROM maintenance_windows WHERE id = $1");
    query_one(tx, &sql, params![id])?.map(|row| read(row, now)).transpose()
}

/// Ends a window before its time; one that has not begun never does, and keeps its plan. `None` when it is over or not there.
pub fn end(tx: &mut dyn Tx, id: &str, by: &str, now: Time) -> Result<Option<Maintenance>, StoreError> {
    let sql = format!(
        "UPDATE maintenance_windows SET ended_at = $2, ended_by = $3, \
         ends_at = CASE WHEN starts_at > $2 THEN ends_at ELSE $2 END \
         WHERE id = $1 AND ends_at > $2 AND ended_at IS NULL RETURNING {COLUMNS}"
    );
    query_one(tx, &sql, params![id, now, by])?.map(|row| read(row, now)).transpose()
}

/// A page of windows, the one that was declared last first.
pub fn list(tx: &mut dyn Tx, query: &MaintenanceQuery, now: Time) -> Result<Page<Maintenance>, StoreError> {
    let key = decode_time_cursor("maintenance", query.cursor.as_deref())?;
    let limit = page_rows(query.limit);
    let mut select = Select::new(&format!("SELECT {COLUMNS} FROM maintenance_windows"));
    select.and_if("scope_group = ?", query.group.as_ref());
    match query.state {
        Some(MaintenanceState::Planned) => {
            select.and("ended_at IS NULL AND ends_at > ? AND starts_at > ?", params![now, now])
        }
        Some(MaintenanceState::Active) => {
            select.and("ended_at IS NULL AND ends_at > ? AND starts_at <= ?", params![now, now])
        }
        Some(MaintenanceState::Over) => select.and("(ends_at <= ? OR ended_at IS NOT NULL)", params![now]),
        None => &mut select,
    };
    if let Some((time, id)) = &key {
        select.and("(created_at, id) < (?, ?)", params![*time, id]);
    }
    let rows = select.page(tx, " ORDER BY created_at DESC, id DESC", limit)?;
    let cursor =
        |w: &Maintenance| encode_cursor("maintenance", &[&w.created_at.unix_ms().to_string(), &w.id]);
    page(rows, limit, |row| read(row, now), cursor)
}
