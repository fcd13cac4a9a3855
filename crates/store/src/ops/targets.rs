//! Notification targets: who is told, of what, and how telling them goes.

use veriboot_wire::{Page, Route, TargetHealth, TargetKind, TargetSecrets, TargetSettings, Time};

use crate::StoreError;
use crate::page::{decode_cursor, encode_cursor, page, page_rows};
use crate::query::Select;
use crate::tx::{Row, Tx, json, params, query_one};

/// Targets that there can be: every event looks at each.
pub const MAX_TARGETS: u64 = 64;

/// One target, with its secrets.
#[derive(Clone, Debug, PartialEq)]
pub struct TargetRow {
    /// UUIDv7.
    pub id: String,
    /// Unique.
    pub name: String,
    /// How it is told.
    pub kind: TargetKind,
    /// Whether it is told anything.
    pub enabled: bool,
    /// Where and how.
    pub settings: TargetSettings,
    /// What only the sender may know.
    pub secrets: TargetSecrets,
    /// What it is told.
    pub route: Route,
    /// Counts changes, from 1.
    pub revision: u64,
    /// When it was made.
    pub created_at: Time,
    /// Who made it.
    pub created_by: String,
    /// Last change.
    pub changed_at: Time,
}

const COLUMNS: &str =
    "id, name, kind, enabled, settings, secrets, route, revision, created_at, created_by, changed_at";

fn read(row: Row) -> Result<TargetRow, StoreError> {
    let mut c = row.columns();
    Ok(TargetRow {
        id: c.text()?,
        name: c.text()?,
        kind: c.word()?,
        enabled: c.bool()?,
        settings: c.json()?,
        secrets: c.json()?,
        route: c.json()?,
        revision: c.u64()?,
        created_at: c.time()?,
        created_by: c.text()?,
        changed_at: c.time()?,
    })
}

fn digest_ms(route: &Route) -> i64 {
    i64::from(route.digest_s.unwrap_or(0)) * 1000
}

/// When the open alerts are next told again; only an Alertmanager needs that.
fn first_repeat(target: &TargetRow) -> Option<Time> {
    (target.kind == TargetKind::Alertmanager && target.enabled).then_some(target.changed_at)
}

/// Adds a target. [`crate::Constraint::TargetName`] when the name is taken, [`StoreError::Limit`] when there are
/// [`MAX_TARGETS`].
pub fn insert(tx: &mut dyn Tx, target: &TargetRow) -> Result<(), StoreError> {
    let count = query_one(tx, "SELECT COUNT(*) FROM notification_targets", &[])?;
    if count.map_or(Ok(0), |row| row.columns().u64())? >= MAX_TARGETS {
        return Err(StoreError::Limit { what: "notification targets" });
    }
    let (settings, secrets, route) = (json(&target.settings)?, json(&target.secrets)?, json(&target.route)?);
    let sql = format!(
        "INSERT INTO notification_targets ({COLUMNS}, digest_ms) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)"
    );
    tx.execute(
        &sql,
        params![
            &target.id,
            &target.name,
            target.kind.as_str(),
            target.enabled,
            &settings,
            &secrets,
            &route,
            target.revision,
            target.created_at,
            &target.created_by,
            target.changed_at,
            digest_ms(&target.route),
        ],
    )?;
    tx.execute(
        "INSERT INTO target_state (target_id, claimed_by, claimed_until, next_at, failures, repeat_at) \
         VALUES ($1, '', 0, 0, 0, $2)",
        params![&target.id, first_repeat(target)],
    )?;
    Ok(())
}

/// Stores what may change of a target, which is then told anew without waiting: somebody may have mended it.
pub fn update(tx: &mut dyn Tx, target: &TargetRow) -> Result<(), StoreError> {
    let (settings, secrets, route) = (json(&target.settings)?, json(&target.secrets)?, json(&target.route)?);
    tx.execute(
        "UPDATE notification_targets SET enabled = $2, settings = $3, secrets = $4, route = $5, revision = $6, \
         changed_at = $7, digest_ms = $8 WHERE id = $1",
        params![
            &target.id,
            target.enabled,
            &settings,
            &secrets,
            &route,
            target.revision,
            target.changed_at,
            digest_ms(&target.route),
        ],
    )?;
    tx.execute(
        "UPDATE target_state SET next_at = 0, failures = 0, repeat_at = $2, clock_ahead_ms = NULL WHERE target_id = $1",
        params![&target.id, first_repeat(target)],
    )?;
    Ok(())
}

/// The target with this name.
pub fn by_name(tx: &mut dyn Tx, name: &str) -> Result<Option<TargetRow>, StoreError> {
    let sql = format!("SELECT {COLUMNS} FROM notification_targets WHERE name = $1");
    query_one(tx, &sql, params![name])?.map(read).transpose()
}

/// The target with this id.
pub fn by_id(tx: &mut dyn Tx, id: &str) -> Result<Option<TargetRow>, StoreError> {
    let sql = format!("SELECT {COLUMNS} FROM notification_targets WHERE id = $1");
    query_one(tx, &sql, params![id])?.map(read).transpose()
}

/// A page of targets, by name.
pub fn list(
    tx: &mut dyn Tx,
    limit: Option<u32>,
    cursor: Option<&str>,
) -> Result<Page<TargetRow>, StoreError> {
    let key: Option<[String; 1]> = decode_cursor("targets", cursor)?;
    let limit = page_rows(limit);
    let head = format!("SELECT {COLUMNS} FROM notification_targets");
    let mut select = Select::new(&head);
    if let Some([name]) = &key {
        select.and("name > ?", params![name]);
    }
    let rows = select.page(tx, " ORDER BY name", limit)?;
    page(rows, limit, read, |target| encode_cursor("targets", &[&target.name]))
}

/// Removes a target with everything that it was to be told.
pub fn delete(tx: &mut dyn Tx, id: &str) -> Result<(), StoreError> {
    for sql in [
        "DELETE FROM deliveries WHERE target_id = $1",
        "DELETE FROM target_state WHERE target_id = $1",
        "DELETE FROM notification_targets WHERE id = $1",
    ] {
        tx.execute(sql, params![id])?;
    }
    Ok(())
}

/// How telling a target goes.
pub fn health(tx: &mut dyn Tx, id: &str) -> Result<TargetHealth, StoreError> {
    let mut health = TargetHealth::default();
    let sql = "SELECT state, COUNT(*), MIN(queued_at) FROM deliveries WHERE target_id = $1 AND state <> 'delivered' \
               GROUP BY state";
    for row in tx.query(sql, params![id])? {
        let mut c = row.columns();
        let (state, count, oldest) = (c.text()?, c.u64()?, c.opt_time()?);
        match state.as_str() {
            "waiting" => (health.waiting, health.oldest_waiting_at) = (count, oldest),
            _ => health.dead = count,
        }
    }
    let sql = "SELECT failures, next_at, last_delivered_at, last_failed_at, last_error, clock_ahead_ms FROM target_state \
               WHERE target_id = $1";
    if let Some(row) = query_one(tx, sql, params![id])? {
        let mut c = row.columns();
        health.failures = c.u64()?;
        health.next_attempt_at = c.opt_time()?.filter(|_| health.failures > 0);
        health.last_delivered_at = c.opt_time()?;
        health.last_failed_at = c.opt_time()?;
        health.last_error = c.opt_text()?;
        health.clock_ahead_s = c.opt_int()?.map(|ms| ms / 1000);
    }
    Ok(health)
}
