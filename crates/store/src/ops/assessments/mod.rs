//! Assessments: what became of each check on each VM and inventory item.
//!
//! A row is written when its outcome becomes another one, and never otherwise. Name, group and scale set stand in each
//! row, so that lists are filtered, ordered and counted by index.

mod counts;
mod inputs;
mod list;
mod scores;
mod sets;
mod sweeps;

use veriboot_wire::{Assessment, AssessmentStatus, Time};

use crate::StoreError;
use crate::rows::{insert_rows, query_in, update_rows};
use crate::tx::{Row, Tx, params};

pub use counts::{
    CheckStatus, SetCount, causes, counts, counts_by_group, counts_of_set, set_counts, sets_page,
};
pub use inputs::{
    ItemInputs, VmInputs, inputs_after, inputs_of, inputs_of_all, items_of_vms, put_log_facts,
    read_along_indexes, set_contradicted, set_keys,
};
pub use list::list;
pub use scores::{NewPoint, Point, points, purge_points, put_points};
pub use sets::{
    DueSet, SetAssessment, SetOutcome, due_sets, evaluated, mark_all_sets, mark_set_of, mark_sets,
    put_set_assessments, remove_set_assessment, set_assessments, set_outcomes,
};
pub use sweeps::{Phase, Sweep, advance, claim, enqueue, latest, pending};

const COLUMNS: &str = "resource_id, check_id, kind, name, group_name, scale_set, severity, status, cause, description, \
     first_evaluated_at, last_status_change_at";

fn read(row: Row) -> Result<Assessment, StoreError> {
    let mut c = row.columns();
    Ok(Assessment {
        resource_id: c.text()?,
        check: c.text()?,
        resource_kind: c.word()?,
        name: c.text()?,
        group: c.text()?,
        scale_set: c.opt_text()?,
        severity: c.word()?,
        status: c.word()?,
        cause: c.opt_text()?,
        description: c.text()?,
        first_evaluated_at: c.time()?,
        last_status_change_at: c.time()?,
    })
}

/// All assessments of one resource, by check.
pub fn of_resource(tx: &mut dyn Tx, resource_id: &str) -> Result<Vec<Assessment>, StoreError> {
    let sql = format!("SELECT {COLUMNS} FROM assessments WHERE resource_id = $1 ORDER BY check_id");
    tx.query(&sql, params![resource_id])?.into_iter().map(read).collect()
}

/// All assessments of these resources, ordered by resource and check.
pub fn of_resources(tx: &mut dyn Tx, ids: &[&str]) -> Result<Vec<Assessment>, StoreError> {
    let head = format!("SELECT {COLUMNS} FROM assessments WHERE resource_id");
    let found = query_in(tx, &head, "", &[], ids)?.into_iter().map(read);
    let mut found = found.collect::<Result<Vec<_>, StoreError>>()?;
    found.sort_by(|a, b| (&a.resource_id, &a.check).cmp(&(&b.resource_id, &b.check)));
    Ok(found)
}

/// Writes assessments, new ones and changed ones. When a check was first made stays as it is.
pub fn put(tx: &mut dyn Tx, rows: &[&Assessment]) -> Result<(), StoreError> {
    let head = format!("INSERT INTO assessments ({COLUMNS}) ");
    let tail = " ON CONFLICT (resource_id, check_id) DO UPDATE SET kind = excluded.kind, name = excluded.name, \
         group_name = excluded.group_name, scale_set = excluded.scale_set, severity = excluded.severity, \
         status = excluded.status, cause = excluded.cause, description = excluded.description, \
         last_status_change_at = excluded.last_status_change_at";
    insert_rows(tx, &head, tail, rows, |a| {
        *params![
            &a.resource_id,
            &a.check,
            a.resource_kind.as_str(),
            &a.name,
            &a.group,
            a.scale_set.as_deref(),
            a.severity.as_str(),
            a.status.as_str(),
            a.cause.as_deref(),
            &a.description,
            a.first_evaluated_at,
            a.last_status_change_at,
        ]
    })?;
    Ok(())
}

/// An assessment that comes out differently, of a resource that is still called what it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Turned<'a> {
    /// How it comes out.
    pub is: &'a Assessment,
    /// Its status before.
    pub was: AssessmentStatus,
    /// Since when it had that.
    pub since: Time,
}

/// Writes what became of assessments that are stored, and gives how many of them still were what they were before; the others
/// stay as they are. Of name, group, scale set and kind nothing is written, nor are the indexes by them.
pub fn turn(tx: &mut dyn Tx, rows: &[Turned<'_>]) -> Result<u64, StoreError> {
    let set = "UPDATE assessments SET severity = :3, status = :4, cause = :5, description = :6, \
               last_status_change_at = :7";
    let stands = "resource_id = :1 AND check_id = :2 AND status = :8 AND last_status_change_at = :9";
    update_rows(tx, (set, stands), &[7, 9], rows, |Turned { is, was, since }| {
        *params![
            &is.resource_id,
            &is.check,
            is.severity.as_str(),
            is.status.as_str(),
            is.cause.as_deref(),
            &is.description,
            is.last_status_change_at,
            was.as_str(),
            *since,
        ]
    })
}

/// Removes what is known about a resource that is no longer one, and says how many assessments that were.
pub fn remove(tx: &mut dyn Tx, resource_id: &str) -> Result<u64, StoreError> {
    mark_set_of(tx, resource_id)?;
    tx.execute("DELETE FROM assessments WHERE resource_id = $1", params![resource_id])
}

/// Removes assessments by checks that this version does not have.
pub fn remove_unknown_checks(tx: &mut dyn Tx, known: &[&str]) -> Result<u64, StoreError> {
    let mut removed = 0;
    for check in counts::checks(tx)? {
        if !known.contains(&check.as_str()) {
            removed += tx.execute("DELETE FROM assessments WHERE check_id = $1", params![&check])?;
        }
    }
    Ok(removed)
}
