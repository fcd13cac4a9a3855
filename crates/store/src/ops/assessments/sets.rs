//! What checks come to for whole scale sets.
//!
//! A change of a member's assessment marks its set, in its transaction. Whoever looks at a set that is marked counts its members
//! in a snapshot and notes the result only while no member changed since: of two that look at once, none writes over what is newer.

use std::collections::BTreeSet;

use veriboot_wire::{AssessmentStatus, Time};

use crate::StoreError;
use crate::rows::insert_rows;
use crate::tx::{Row, Tx, params};

/// A scale set, some of whose members changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DueSet {
    /// Group.
    pub group: String,
    /// Name.
    pub scale_set: String,
    /// How often assessments of its members changed so far.
    pub changes: u64,
}

/// Members with one outcome of one check, for one cause.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetOutcome {
    /// Id of the check.
    pub check: String,
    /// Outcome.
    pub status: AssessmentStatus,
    /// Why; absent where it is healthy.
    pub cause: Option<String>,
    /// Members with it.
    pub count: u64,
}

/// What a check comes to for a set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetAssessment {
    /// Group.
    pub group: String,
    /// Name.
    pub scale_set: String,
    /// Id of the check.
    pub check: String,
    /// Outcome.
    pub status: AssessmentStatus,
    /// The most frequent cause of members that are unhealthy.
    pub cause: Option<String>,
    /// First time that it was looked at.
    pub first_evaluated_at: Time,
    /// Last time that the status became another one.
    pub last_status_change_at: Time,
}

/// Notes that assessments of members of these sets (group and name) changed.
pub fn mark_sets(tx: &mut dyn Tx, sets: &BTreeSet<(&str, &str)>) -> Result<(), StoreError> {
    let sets: Vec<&(&str, &str)> = sets.iter().collect();
    let head = "INSERT INTO set_postures (group_name, scale_set, changes, evaluated) ";
    let tail = " ON CONFLICT (group_name, scale_set) DO UPDATE SET changes = set_postures.changes + 1";
    insert_rows(tx, head, tail, &sets, |(group, set)| *params![*group, *set, 1_u64, 0_u64])?;
    Ok(())
}

/// Notes that assessments of this resource go, or change: those of its set.
pub fn mark_set_of(tx: &mut dyn Tx, resource_id: &str) -> Result<(), StoreError> {
    let sql = "UPDATE set_postures SET changes = changes + 1 WHERE (group_name, scale_set) IN \
               (SELECT group_name, scale_set FROM assessments WHERE resource_id = $1 AND scale_set IS NOT NULL)";
    tx.execute(sql, params![resource_id])?;
    Ok(())
}

/// Has every set looked at: what was not marked, by an older version for example, is found then.
pub fn mark_all_sets(tx: &mut dyn Tx) -> Result<(), StoreError> {
    tx.execute("UPDATE set_postures SET changes = changes + 1", &[])?;
    Ok(())
}

/// Sets that are to be looked at, from the first one behind `after` (group and name) on in the order of their names, at most
/// `limit`.
pub fn due_sets(tx: &mut dyn Tx, after: (&str, &str), limit: u32) -> Result<Vec<DueSet>, StoreError> {
    let sql = "SELECT group_name, scale_set, changes FROM set_postures WHERE changes <> evaluated \
               AND (group_name, scale_set) > ($1, $2) ORDER BY group_name, scale_set LIMIT $3";
    tx.query(sql, params![after.0, after.1, limit])?
        .into_iter()
        .map(|row| {
            let mut c = row.columns();
            Ok(DueSet { group: c.text()?, scale_set: c.text()?, changes: c.u64()? })
        })
        .collect()
}

/// What became of each check on the members of a set, by check, status and cause.
pub fn set_outcomes(tx: &mut dyn Tx, group: &str, set: &str) -> Result<Vec<SetOutcome>, StoreError> {
    let sql = "SELECT check_id, status, cause, COUNT(*) FROM assessments WHERE group_name = $1 AND scale_set = $2 \
               GROUP BY check_id, status, cause ORDER BY check_id, status, cause";
    tx.query(sql, params![group, set])?
        .into_iter()
        .map(|row| {
            let mut c = row.columns();
            Ok(SetOutcome { check: c.text()?, status: c.word()?, cause: c.opt_text()?, count: c.u64()? })
        })
        .collect()
}

/// Notes that a set was looked at as it is. `false` when a member changed since, or somebody was faster: nothing of it may be
/// written then.
pub fn evaluated(tx: &mut dyn Tx, set: &DueSet) -> Result<bool, StoreError> {
    let sql = "UPDATE set_postures SET evaluated = $3 WHERE group_name = $1 AND scale_set = $2 AND changes = $3 \
               AND evaluated <> $3";
    Ok(tx.execute(sql, params![&set.group, &set.scale_set, set.changes])? == 1)
}

fn read(row: Row) -> Result<SetAssessment, StoreError> {
    let mut c = row.columns();
    Ok(SetAssessment {
        group: c.text()?,
        scale_set: c.text()?,
        check: c.text()?,
        status: c.word()?,
        cause: c.opt_text()?,
        first_evaluated_at: c.time()?,
        last_status_change_at: c.time()?,
    })
}

/// What checks came to for the sets from `first` to `last` (group and name, both included), ordered by group, set and check.
pub fn set_assessments(
    tx: &mut dyn Tx,
    first: (&str, &str),
    last: (&str, &str),
) -> Result<Vec<SetAssessment>, StoreError> {
    let sql = "SELECT group_name, scale_set, check_id, status, cause, first_evaluated_at, last_status_change_at \
               FROM set_assessments WHERE (group_name, scale_set) >= ($1, $2) AND (group_name, scale_set) <= ($3, $4) \
               ORDER BY group_name, scale_set, check_id";
    tx.query(sql, params![first.0, first.1, last.0, last.1])?.into_iter().map(read).collect()
}

/// Writes what checks come to. When one was first looked at stays as it is.
pub fn put_set_assessments(tx: &mut dyn Tx, rows: &[&SetAssessment]) -> Result<(), StoreError> {
    let head = "INSERT INTO set_assessments (group_name, scale_set, check_id, status, cause, first_evaluated_at, \
                last_status_change_at) ";
    let tail = " ON CONFLICT (group_name, scale_set, check_id) DO UPDATE SET status = excluded.status, \
                cause = excluded.cause, last_status_change_at = excluded.last_status_change_at";
    insert_rows(tx, head, tail, rows, |a| {
        *params![
            &a.group,
            &a.scale_set,
            &a.check,
            a.status.as_str(),
            a.cause.as_deref(),
            a.first_evaluated_at,
            a.last_status_change_at,
        ]
    })?;
    Ok(())
}

/// Forgets what a check came to for a set: no member has it any more.
pub fn remove_set_assessment(tx: &mut dyn Tx, is: &SetAssessment) -> Result<(), StoreError> {
    let sql = "DELETE FROM set_assessments WHERE group_name = $1 AND scale_set = $2 AND check_id = $3";
    tx.execute(sql, params![&is.group, &is.scale_set, &is.check])?;
    Ok(())
}
