//! VMs of a scope that are judged again after what they are held against changed.
//!
//! One row stands for all VMs of a scope and remembers how far it came, so that asking costs the same for one VM and for
//! a million. A replica claims it for a while; when that replica dies, another goes on where it stopped.

use veriboot_wire::{Page, Reappraisal, Scope, ScopeKind, Time};

use super::claims::Work;
use crate::page::{decode_time_cursor, encode_cursor, page, page_rows};
use crate::query::Select;
use crate::tx::{Columns, Row, Tx, params, query_one};
use crate::{StoreError, new_id};

/// Work to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NewReappraisal<'a> {
    /// Whose VMs are judged again.
    pub scope: &'a Scope,
    /// What changed, in a few words.
    pub because: &'a str,
    /// Also VMs that the same baseline and profile judged last.
    pub always: bool,
    /// Who changed it.
    pub created_by: &'a str,
    /// When.
    pub created_at: Time,
}

/// A claimed piece of work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claimed {
    /// What is to be done.
    pub reappraisal: Reappraisal,
    /// Also VMs that the same baseline and profile judged last.
    pub always: bool,
    /// Id of the last VM that was looked at; empty at the beginning.
    pub after_id: String,
}

/// What a part of the work came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// VMs looked at.
    pub done: u64,
    /// VMs whose verdict is another one now.
    pub turned: u64,
    /// VMs that could not be judged again.
    pub failed: u64,
}

impl Progress {
    /// Adds another part.
    pub fn add(&mut self, other: Self) {
        self.done += other.done;
        self.turned += other.turned;
        self.failed += other.failed;
    }
}

/// Finished ones that are kept.
const KEPT: u32 = 1000;

const REAPPRAISALS: Work = Work { table: "reappraisals", order: " ORDER BY created_at, id" };

const COLUMNS: &str = "id, scope_kind, scope_group, scope_id, because, created_at, created_by, vms, done, turned, failed, \
     finished_at";

fn read_columns(c: &mut Columns) -> Result<Reappraisal, StoreError> {
    Ok(Reappraisal {
        id: c.text()?,
        scope: Scope { kind: c.word()?, group: c.text()?, id: c.text()? },
        because: c.text()?,
        created_at: c.time()?,
        created_by: c.text()?,
        vms: c.u64()?,
        done: c.u64()?,
        turned: c.u64()?,
        failed: c.u64()?,
        finished_at: c.opt_time()?,
    })
}

fn read(row: Row) -> Result<Reappraisal, StoreError> {
    read_columns(&mut row.columns())
}

/// Asks for the VMs of a scope to be judged again.
pub fn enqueue(tx: &mut dyn Tx, new: &NewReappraisal<'_>) -> Result<Reappraisal, StoreError> {
    // Old ones go where new ones come.
    REAPPRAISALS.forget_finished(tx, KEPT)?;
    let vms = count(tx, new.scope)?;
    let reappraisal = Reappraisal {
        id: new_id(new.created_at),
        scope: new.scope.clone(),
        because: new.because.to_owned(),
        created_at: new.created_at,
        created_by: new.created_by.to_owned(),
        vms,
        done: 0,
        turned: 0,
        failed: 0,
        finished_at: (vms == 0).then_some(new.created_at),
    };
    tx.execute(
        &format!(
            "INSERT INTO reappraisals ({COLUMNS}, always, after_id, claimed_until) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 0, 0, 0, $9, $10, '', 0)"
        ),
        params![
            &reappraisal.id,
            new.scope.kind.as_str(),
            &new.scope.group,
            &new.scope.id,
            new.because,
            new.created_at,
            new.created_by,
            vms,
            reappraisal.finished_at,
            new.always,
        ],
    )?;
    Ok(reappraisal)
}

/// The one with this id.
pub fn by_id(tx: &mut dyn Tx, id: &str) -> Result<Option<Reappraisal>, StoreError> {
    let sql = format!("SELECT {COLUMNS} FROM reappraisals WHERE id = $1");
    query_one(tx, &sql, params![id])?.map(read).transpose()
}

/// A page of them, newest first.
pub fn list(
    tx: &mut dyn Tx,
    limit: Option<u32>,
    cursor: Option<&str>,
) -> Result<Page<Reappraisal>, StoreError> {
    let key = decode_time_cursor("reappraisals", cursor)?;
    let limit = page_rows(limit);
    let head = format!("SELECT {COLUMNS} FROM reappraisals");
    let mut select = Select::new(&head);
    if let Some((time, id)) = &key {
        select.and("(created_at, id) < (?, ?)", params![*time, id]);
    }
    let rows = select.page(tx, " ORDER BY created_at DESC, id DESC", limit)?;
    page(rows, limit, read, |r| encode_cursor("reappraisals", &[&r.created_at.unix_ms().to_string(), &r.id]))
}

/// Claims the oldest unfinished one that nobody works on, or `only` this one, until `until`. Two callers never have one
/// at the same time.
pub fn claim(
    tx: &mut dyn Tx,
    only: Option<&str>,
    by: &str,
    now: Time,
    until: Time,
) -> Result<Option<Claimed>, StoreError> {
    let columns = format!("{COLUMNS}, always, after_id");
    let Some(row) = REAPPRAISALS.claim(tx, &columns, only, by, now, until)? else { return Ok(None) };
    let mut c = row.columns();
    Ok(Some(Claimed { reappraisal: read_columns(&mut c)?, always: c.bool()?, after_id: c.text()? }))
}

/// How far a claimed one came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step<'a> {
    /// Id of the last VM that was looked at.
    pub after_id: &'a str,
    /// What that came to.
    pub progress: Progress,
    /// Keeps the claim until then.
    pub until: Time,
    /// Ends it.
    pub finished_at: Option<Time>,
}

/// Notes a step. `false` when somebody else has it by now: nothing was noted then.
pub fn advance(tx: &mut dyn Tx, id: &str, by: &str, step: &Step<'_>) -> Result<bool, StoreError> {
    let sql = "UPDATE reappraisals SET after_id = $3, done = done + $4, turned = turned + $5, failed = failed + $6, \
               claimed_until = $7, finished_at = $8 WHERE id = $1 AND claimed_by = $2 AND finished_at IS NULL";
    let Progress { done, turned, failed } = step.progress;
    let params = params![id, by, step.after_id, done, turned, failed, step.until, step.finished_at];
    Ok(tx.execute(sql, params)? == 1)
}

/// A VM of a scope.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VmInScope {
    /// Its id.
    pub id: String,
    /// Its name: where a page ends.
    pub name: String,
}

/// `head` for the VMs of a scope.
pub(super) fn in_scope<'a>(head: &str, scope: &'a Scope) -> Select<'a> {
    let mut select = Select::new(head);
    select.and("group_name = ?", params![&scope.group]);
    match scope.kind {
        ScopeKind::Vm => {
            select.and("id = ?", params![&scope.id]);
        }
        ScopeKind::ScaleSet => {
            select.and("scale_set = ?", params![&scope.id]);
        }
        ScopeKind::Image => {
            select.and("image = ?", params![&scope.id]);
        }
        ScopeKind::Group => {}
    }
    select
}

/// VMs of a scope, ordered by name, from the first one behind `after_name` on.
pub fn vms_after(
    tx: &mut dyn Tx,
    scope: &Scope,
    after_name: &str,
    limit: u32,
) -> Result<Vec<VmInScope>, StoreError> {
    let mut select = in_scope("SELECT id, name FROM vms", scope);
    select.and("name > ?", params![after_name]);
    // `page` reads one row more than it is told.
    select
        .page(tx, " ORDER BY name", i64::from(limit).saturating_sub(1))?
        .into_iter()
        .map(|row| {
            let mut c = row.columns();
            Ok(VmInScope { id: c.text()?, name: c.text()? })
        })
        .collect()
}

/// Ids of the VMs of a scope in their order, from the first one behind `after_id` on.
pub fn ids_after(
    tx: &mut dyn Tx,
    scope: &Scope,
    after_id: &str,
    limit: u32,
) -> Result<Vec<String>, StoreError> {
    let mut select = in_scope("SELECT id FROM vms", scope);
    let order = match scope.kind {
        // An expression, so that the few VMs of a set are sorted, rather than all of its group read in their order.
        ScopeKind::ScaleSet => {
            select.and("id || '' > ?", params![after_id]);
            " ORDER BY id || ''"
        }
        ScopeKind::Group | ScopeKind::Image | ScopeKind::Vm => {
            select.and("id > ?", params![after_id]);
            " ORDER BY id"
        }
    };
    let rows = select.page(tx, order, i64::from(limit).saturating_sub(1))?;
    rows.into_iter().map(|row| row.columns().text()).collect()
}

/// Number of VMs in a scope.
pub fn count(tx: &mut dyn Tx, scope: &Scope) -> Result<u64, StoreError> {
    let rows = in_scope("SELECT COUNT(*) FROM vms", scope).page(tx, "", 0)?;
    rows.into_iter().next().map_or(Ok(0), |row| row.columns().u64())
}

/// VMs that wait to be judged again, and how many pieces of work they are.
pub fn pending(tx: &mut dyn Tx) -> Result<(u64, u64), StoreError> {
    let sql = "SELECT COUNT(*), CAST(COALESCE(SUM(vms - done), 0) AS BIGINT) FROM reappraisals WHERE finished_at IS NULL";
    let Some(row) = query_one(tx, sql, &[])? else { return Ok((0, 0)) };
    let mut c = row.columns();
    let (pieces, vms) = (c.u64()?, c.int()?);
    Ok((u64::try_from(vms).unwrap_or(0), pieces))
}
