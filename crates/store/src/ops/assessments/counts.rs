//! How often checks came out which way. The fleet and its groups are counted from the index by check alone, scale sets from their
//! rows: an index of them that has the status would be written with every assessment that turns.

use veriboot_wire::{AssessmentStatus, CauseCount, Page};

use crate::StoreError;
use crate::page::{decode_cursor, encode_cursor, page, page_rows};
use crate::query::Select;
use crate::tx::{Tx, params};

/// Causes of one check that are counted; there are fewer.
const MAX_CAUSES: i64 = 100;
/// Rows of one count: checks by outcomes, and those by groups.
const MAX_COUNTS: i64 = 1_000_000;

/// Resources with one outcome of one check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckStatus {
    /// Group; empty where groups are not told apart.
    pub group: String,
    /// Id of the check.
    pub check: String,
    /// Outcome.
    pub status: AssessmentStatus,
    /// Resources with it.
    pub count: u64,
}

/// Members of a scale set with one outcome of one check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetCount {
    /// Name of the scale set.
    pub scale_set: String,
    /// The count, with its group.
    pub count: CheckStatus,
}

/// Outcomes of each check, of the fleet or of one group or scale set.
pub fn counts(
    tx: &mut dyn Tx,
    group: Option<&str>,
    scale_set: Option<&str>,
) -> Result<Vec<CheckStatus>, StoreError> {
    if let (Some(group), None) = (group, scale_set) {
        return counts_of_group(tx, group);
    }
    let mut select = Select::new("SELECT '', check_id, status, COUNT(*) FROM assessments");
    select.and_if("group_name = ?", group).and_if("scale_set = ?", scale_set);
    read(&mut select, tx, " GROUP BY check_id, status ORDER BY check_id, status")
}

/// Check by check: the index by check holds the resources of one group together only below a check and a status.
fn counts_of_group(tx: &mut dyn Tx, group: &str) -> Result<Vec<CheckStatus>, StoreError> {
    let mut counts = Vec::new();
    for check in checks(tx)? {
        let mut select = Select::new("SELECT '', check_id, status, COUNT(*) FROM assessments");
        select
            .and("check_id = ?", params![&check])
            .and("status IN ('healthy', 'not-applicable', 'unhealthy')", &[])
            .and("group_name = ?", params![group]);
        counts.extend(read(&mut select, tx, " GROUP BY check_id, status ORDER BY check_id, status")?);
    }
    Ok(counts)
}

/// Checks that there are assessments of, in their order: one look into the index by check for each.
pub(super) fn checks(tx: &mut dyn Tx) -> Result<Vec<String>, StoreError> {
    let sql = "WITH RECURSIVE found (check_id) AS (SELECT MIN(check_id) FROM assessments UNION ALL \
               SELECT (SELECT MIN(a.check_id) FROM assessments a WHERE a.check_id > found.check_id) FROM found \
               WHERE found.check_id IS NOT NULL) SELECT check_id FROM found WHERE check_id IS NOT NULL";
    tx.query(sql, &[])?.into_iter().map(|row| row.columns().text()).collect()
}

/// Outcomes of each check in each group.
pub fn counts_by_group(tx: &mut dyn Tx) -> Result<Vec<CheckStatus>, StoreError> {
    let mut select = Select::new("SELECT group_name, check_id, status, COUNT(*) FROM assessments");
    read(&mut select, tx, " GROUP BY check_id, status, group_name ORDER BY check_id, status, group_name")
}

fn read(
    select: &mut Select<'_>,
    tx: &mut dyn Tx,
    order: &'static str,
) -> Result<Vec<CheckStatus>, StoreError> {
    select
        .page(tx, order, MAX_COUNTS)?
        .into_iter()
        .map(|row| {
            let mut c = row.columns();
            Ok(CheckStatus { group: c.text()?, check: c.text()?, status: c.word()?, count: c.u64()? })
        })
        .collect()
}

/// Why a check does not hold, most frequent first.
pub fn causes(
    tx: &mut dyn Tx,
    check: &str,
    group: Option<&str>,
    scale_set: Option<&str>,
) -> Result<Vec<CauseCount>, StoreError> {
    let mut select = Select::new("SELECT cause, COUNT(*) FROM assessments");
    select
        .and("check_id = ?", params![check])
        .and("status = 'unhealthy'", &[])
        .and("cause IS NOT NULL", &[])
        .and_if("group_name = ?", group)
        .and_if("scale_set = ?", scale_set);
    let rows = select.page(tx, " GROUP BY cause ORDER BY COUNT(*) DESC, cause", MAX_CAUSES)?;
    rows.into_iter()
        .map(|row| {
            let mut c = row.columns();
            Ok(CauseCount { cause: c.text()?, count: c.u64()? })
        })
        .collect()
}

/// A page of names of scale sets with assessments, as group and name, in this order.
pub fn sets_page(
    tx: &mut dyn Tx,
    group: Option<&str>,
    limit: Option<u32>,
    cursor: Option<&str>,
) -> Result<Page<(String, String)>, StoreError> {
    let key: Option<[String; 2]> = decode_cursor("set-postures", cursor)?;
    let limit = page_rows(limit);
    let mut select = Select::new("SELECT group_name, scale_set FROM assessments");
    select.and("scale_set IS NOT NULL", &[]).and_if("group_name = ?", group);
    if let Some([group, name]) = &key {
        select.and("(group_name, scale_set) > (?, ?)", params![group, name]);
    }
    let rows = select.page(tx, " GROUP BY group_name, scale_set ORDER BY group_name, scale_set", limit)?;
    let read = |row: crate::tx::Row| {
        let mut c = row.columns();
        Ok((c.text()?, c.text()?))
    };
    page(rows, limit, read, |(group, name)| encode_cursor("set-postures", &[group, name]))
}

/// Outcomes of each check in the scale sets from `first` to `last` (group and name, both included).
pub fn set_counts(
    tx: &mut dyn Tx,
    first: (&str, &str),
    last: (&str, &str),
) -> Result<Vec<SetCount>, StoreError> {
    let sql = "SELECT group_name, scale_set, check_id, status, COUNT(*) FROM assessments \
               WHERE scale_set IS NOT NULL AND (group_name, scale_set) >= ($1, $2) \
               AND (group_name, scale_set) <= ($3, $4) GROUP BY group_name, scale_set, check_id, status \
               ORDER BY group_name, scale_set, check_id, status";
    tx.query(sql, params![first.0, first.1, last.0, last.1])?
        .into_iter()
        .map(|row| {
            let mut c = row.columns();
            let group = c.text()?;
            let scale_set = c.text()?;
            let count = CheckStatus { group, check: c.text()?, status: c.word()?, count: c.u64()? };
            Ok(SetCount { scale_set, count })
        })
        .collect()
}

/// Outcomes of each check in one scale set.
pub fn counts_of_set(tx: &mut dyn Tx, group: &str, name: &str) -> Result<Vec<SetCount>, StoreError> {
    set_counts(tx, (group, name), (group, name))
}
