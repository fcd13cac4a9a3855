//! Which assessments there are: filters, orders, pages.

use veriboot_wire::{Assessment, AssessmentQuery, AssessmentSort, AssessmentStatus, Page, Severity};

use super::{COLUMNS, read};
use crate::StoreError;
use crate::page::{decode_cursor, encode_cursor, page, page_rows};
use crate::query::Select;
use crate::tx::{Tx, params};

/// A page of assessments, by [`AssessmentQuery::sort`]. `resource` is the id that the query's `vm` stands for.
pub fn list(
    tx: &mut dyn Tx,
    query: &AssessmentQuery,
    resource: Option<&str>,
) -> Result<Page<Assessment>, StoreError> {
    let limit = page_rows(query.limit);
    let sort = query.sort.unwrap_or_default();
    let group = match (&query.group, &query.scale_set) {
        (None, Some(scale_set)) => only_group_of(tx, scale_set)?,
        (group, _) => group.clone(),
    };
    let head = format!("SELECT {COLUMNS} FROM assessments");
    let mut select = Select::new(&head);
    // As text, so that the index of unhealthy ones is used.
    match query.status {
        Some(AssessmentStatus::Unhealthy) => {
            select.and("status = 'unhealthy'", &[]);
        }
        Some(AssessmentStatus::Healthy) => {
            select.and("status = 'healthy'", &[]);
        }
        Some(AssessmentStatus::NotApplicable) => {
            select.and("status = 'not-applicable'", &[]);
        }
        None => {}
    }
    match query.status {
        // Every resource has every check: along the index in the order of the list, one row in ten is of this check. The index
        // by check would give all of them, to be sorted. An expression keeps it from being taken.
        None => select.and_if("check_id || '' = ?", query.check.as_ref()),
        Some(_) => select.and_if("check_id = ?", query.check.as_ref()),
    };
    select
        .and_if("group_name = ?", group.as_ref())
        .and_if("scale_set = ?", query.scale_set.as_ref())
        .and_if("resource_id = ?", resource)
        .and_if("severity = ?", query.severity.map(Severity::as_str))
        .and_if("last_status_change_at >= ?", query.changed_since);
    match sort {
        AssessmentSort::Name => {
            let key: Option<[String; 4]> = decode_cursor("assessments", query.cursor.as_deref())?;
            if let Some([group, name, resource, check]) = &key {
                select.and(
                    "(group_name, name, resource_id, check_id) > (?, ?, ?, ?)",
                    params![group, name, resource, check],
                );
            }
            let rows = select.page(tx, " ORDER BY group_name, name, resource_id, check_id", limit)?;
            page(rows, limit, read, |a| {
                encode_cursor("assessments", &[&a.group, &a.name, &a.resource_id, &a.check])
            })
        }
        AssessmentSort::Changed => {
            let key: Option<[String; 3]> = decode_cursor("assessments-changed", query.cursor.as_deref())?;
            if let Some([at, resource, check]) = &key {
                let at: i64 = at.parse().map_err(|_| StoreError::BadCursor)?;
                select.and(
                    "(last_status_change_at, resource_id, check_id) < (?, ?, ?)",
                    params![at, resource, check],
                );
            }
            let order = " ORDER BY last_status_change_at DESC, resource_id DESC, check_id DESC";
            let rows = select.page(tx, order, limit)?;
            page(rows, limit, read, |a| {
                let at = a.last_status_change_at.unix_ms().to_string();
                encode_cursor("assessments-changed", &[&at, &a.resource_id, &a.check])
            })
        }
    }
}

/// The group of a scale set, when there is one group only with a scale set of this name: indexes begin with the group.
fn only_group_of(tx: &mut dyn Tx, scale_set: &str) -> Result<Option<String>, StoreError> {
    let sql = "SELECT group_name FROM vms WHERE scale_set = $1 UNION \
               SELECT group_name FROM inventory_vms WHERE scale_set = $1 LIMIT 2";
    let mut rows = tx.query(sql, params![scale_set])?;
    match (rows.pop(), rows.pop()) {
        (Some(only), None) => Ok(Some(only.columns().text()?)),
        _ => Ok(None),
    }
}
