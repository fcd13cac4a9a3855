//! Work on the VMs of a scope that is a row of its table until it is finished: whoever claims it has it for a while.

use veriboot_wire::Time;

use crate::StoreError;
use crate::query::Select;
use crate::tx::{Row, Tx, params, query_one};

/// No claim lasts so long, seconds: one that does was made by a clock that was ahead, and holds nothing up.
const NO_CLAIM_S: i64 = 3600;

/// A claim that ends after this time was made by a clock that was ahead; `until` is the end of one that is made now.
pub(crate) fn ahead(until: Time) -> Time {
    until.plus_s(NO_CLAIM_S)
}

/// A table of work.
pub(super) struct Work {
    /// The table, with `id`, `claimed_by`, `claimed_until` and `finished_at`.
    pub table: &'static str,
    /// Order in which it is done: ` ORDER BY …`.
    pub order: &'static str,
}

impl Work {
    /// Claims the first unfinished one that nobody works on, or `only` this one, until `until`, and gives `columns` of it.
    /// Two callers never have one at the same time.
    pub fn claim(
        &self,
        tx: &mut dyn Tx,
        columns: &str,
        only: Option<&str>,
        by: &str,
        now: Time,
        until: Time,
    ) -> Result<Option<Row>, StoreError> {
        let head = format!("SELECT id FROM {}", self.table);
        let mut select = Select::new(&head);
        select
            .and("finished_at IS NULL", &[])
            .and("(claimed_until <= ? OR claimed_until > ?)", params![now, ahead(until)])
            .and_if("id = ?", only);
        let Some(row) = select.page(tx, self.order, 0)?.into_iter().next() else {
            return Ok(None);
        };
        let id = row.columns().text()?;
        let sql = format!(
            "UPDATE {} SET claimed_by = $2, claimed_until = $3 WHERE id = $1 RETURNING {columns}",
            self.table
        );
        query_one(tx, &sql, params![&id, by, until])
    }

    /// Forgets what is finished but the newest `kept`: ids are ordered by time.
    pub fn forget_finished(&self, tx: &mut dyn Tx, kept: u32) -> Result<(), StoreError> {
        let table = self.table;
        let sql = format!(
            "DELETE FROM {table} WHERE finished_at IS NOT NULL AND id <= \
             (SELECT id FROM {table} ORDER BY id DESC LIMIT 1 OFFSET $1)"
        );
        tx.execute(&sql, params![kept])?;
        Ok(())
    }
}
