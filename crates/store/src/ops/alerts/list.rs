//! Which alerts there are: filters, orders, pages, counts.

use veriboot_wire::{Alert, AlertQuery, AlertReason, AlertSort, AlertState, Page};

use super::{SELECT, rank, read};
use crate::StoreError;
use crate::page::{decode_cursor, encode_cursor, page, page_rows};
use crate::query::Select;
use crate::tx::{Tx, params, query_one};

/// What a filter holds, in the form of parameters that live as long as the query.
struct Filter {
    class: Option<String>,
}

impl Filter {
    fn of(query: &AlertQuery) -> Self {
        Self { class: query.class.map(|class| format!("%,{class},%")) }
    }

    fn apply<'a>(&'a self, query: &'a AlertQuery, select: &mut Select<'a>) {
        select
            .and_if("a.state = ?", query.state.map(AlertState::as_str))
            .and_if("a.kind = ?", query.kind.as_ref())
            .and_if("a.reason = ?", query.reason.map(AlertReason::as_str))
            .and_if("a.severity_rank >= ?", query.severity.map(rank))
            .and_if("a.classes LIKE ?", self.class.as_ref())
            .and_if("a.vm_id = ?", query.vm.as_ref())
            // An expression, so that alerts are read in their order, rather than those of every VM of the group, and sorted.
            .and_if("v.group_name || '' = ?", query.group.as_ref())
            .and_if("v.scale_set = ?", query.scale_set.as_ref())
            .and_if("a.incident_id = ?", query.incident.as_ref())
            .and_if("a.suppressed_by = ?", query.suppressed_by.as_ref())
            .and_if("a.last_at >= ?", query.since);
        // In words of the indexes of those that are open: a plan does not look at parameters.
        match query.open {
            Some(true) => select.and("a.is_open = 1", &[]),
            Some(false) => select.and("a.is_open = 0", &[]),
            None => select,
        };
        match query.suppressed {
            Some(true) => select.and("a.suppressed_by IS NOT NULL", &[]),
            Some(false) => select.and("a.suppressed_by IS NULL", &[]),
            None => select,
        };
    }
}

/// A page of alerts, in the order that is asked for; newest first (by the time that they were first raised) otherwise.
pub fn list(tx: &mut dyn Tx, query: &AlertQuery) -> Result<Page<Alert>, StoreError> {
    let limit = page_rows(query.limit);
    let filter = Filter::of(query);
    let sort = query.sort.unwrap_or(AlertSort::Newest);
    let key = After::decode(sort, query.cursor.as_deref())?;
    let mut select = Select::new(SELECT);
    filter.apply(query, &mut select);
    match (&key, sort) {
        (None, _) => &mut select,
        (Some(after), AlertSort::Newest) => {
            select.and("(a.first_at, a.id) < (?, ?)", params![after.first_at, &after.id])
        }
        (Some(after), AlertSort::Severity) => select.and(
            "(a.severity_rank, a.first_at, a.id) < (?, ?, ?)",
            params![after.number, after.first_at, &after.id],
        ),
        (Some(after), AlertSort::Count) => select.and(
            "(a.raised, a.first_at, a.id) < (?, ?, ?)",
            params![after.number, after.first_at, &after.id],
        ),
    };
    let order = match sort {
        AlertSort::Newest => " ORDER BY a.first_at DESC, a.id DESC",
        AlertSort::Severity => " ORDER BY a.severity_rank DESC, a.first_at DESC, a.id DESC",
        AlertSort::Count => " ORDER BY a.raised DESC, a.first_at DESC, a.id DESC",
    };
    let rows = select.page(tx, order, limit)?;
    page(rows, limit, read, |alert| After::encode(sort, alert))
}

/// Where the last page ended. Lists of other orders have cursors of other names.
struct After {
    number: i64,
    first_at: i64,
    id: String,
}

impl After {
    const fn tag(sort: AlertSort) -> &'static str {
        match sort {
            AlertSort::Newest => "alerts",
            AlertSort::Severity => "alerts-by-severity",
            AlertSort::Count => "alerts-by-count",
        }
    }

    fn decode(sort: AlertSort, cursor: Option<&str>) -> Result<Option<Self>, StoreError> {
        let Some([number, time, id]) = decode_cursor::<3>(Self::tag(sort), cursor)? else { return Ok(None) };
        let int = |text: String| text.parse().map_err(|_| StoreError::BadCursor);
        Ok(Some(Self { number: int(number)?, first_at: int(time)?, id }))
    }

    fn encode(sort: AlertSort, alert: &Alert) -> String {
        let number = match sort {
            AlertSort::Newest => 0,
            AlertSort::Severity => rank(alert.severity),
            AlertSort::Count => alert.count.cast_signed(),
        };
        let time = alert.first_at.unix_ms().to_string();
        encode_cursor(Self::tag(sort), &[&number.to_string(), &time, &alert.id])
    }
}

/// An open alert, as far as a bulk action asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenAlert {
    /// Its id.
    pub id: String,
    /// Name of its VM.
    pub vm_name: String,
    /// Its reason.
    pub reason: AlertReason,
}

/// Up to `limit` open alerts that a filter finds, oldest first.
pub fn open_ids(tx: &mut dyn Tx, query: &AlertQuery, limit: u32) -> Result<Vec<OpenAlert>, StoreError> {
    let filter = Filter::of(query);
    let mut select = Select::new("SELECT a.id, v.name, a.reason FROM alerts a JOIN vms v ON v.id = a.vm_id");
    select.and("a.is_open = 1", &[]);
    filter.apply(query, &mut select);
    let rows = select.page(tx, " ORDER BY a.first_at, a.id", i64::from(limit).saturating_sub(1))?;
    rows.into_iter()
        .map(|row| {
            let mut c = row.columns();
            Ok(OpenAlert { id: c.text()?, vm_name: c.text()?, reason: c.word()? })
        })
        .collect()
}

/// Alerts of a VM that are active or in progress.
pub fn open_count(tx: &mut dyn Tx, vm_id: &str) -> Result<u32, StoreError> {
    let sql = "SELECT COUNT(*) FROM alerts WHERE vm_id = $1 AND is_open = 1";
    query_one(tx, sql, params![vm_id])?.map_or(Ok(0), |row| row.columns().u32())
}

/// Number of open alerts by reason, of one group or of all.
pub fn open_counts_by_reason(
    tx: &mut dyn Tx,
    group: Option<&str>,
) -> Result<Vec<(AlertReason, u64)>, StoreError> {
    let mut select = Select::new("SELECT a.reason, COUNT(*) FROM alerts a JOIN vms v ON v.id = a.vm_id");
    select.and("a.is_open = 1", &[]).and_if("v.group_name = ?", group);
    let rows = select.page(tx, " GROUP BY a.reason ORDER BY a.reason", 100)?;
    rows.into_iter()
        .map(|row| {
            let mut c = row.columns();
            Ok((c.word()?, c.u64()?))
        })
        .collect()
}
