//! SELECT texts with optional conditions. Only constant fragments become SQL; values are always parameters.

use crate::StoreError;
use crate::tx::{Param, Row, Tx};

/// A SELECT that grows by conditions.
pub(crate) struct Select<'a> {
    sql: String,
    params: Vec<Param<'a>>,
    joint: &'static str,
}

impl<'a> Select<'a> {
    /// `head` is everything before WHERE.
    pub(crate) fn new(head: &str) -> Self {
        Self { sql: head.to_owned(), params: Vec::new(), joint: " WHERE " }
    }

    /// Adds a condition; each `?` in it takes one of `values`.
    pub(crate) fn and(&mut self, condition: &'static str, values: &[Param<'a>]) -> &mut Self {
        self.sql.push_str(self.joint);
        self.joint = " AND ";
        self.text(condition, values)
    }

    /// Adds `condition` when there is a value.
    pub(crate) fn and_if(
        &mut self,
        condition: &'static str,
        value: Option<impl Into<Param<'a>>>,
    ) -> &mut Self {
        match value {
            Some(value) => self.and(condition, &[value.into()]),
            None => self,
        }
    }

    /// Adds text; each `?` in it takes one of `values`.
    pub(crate) fn text(&mut self, text: &'static str, values: &[Param<'a>]) -> &mut Self {
        let mut values = values.iter();
        for c in text.chars() {
            match (c, if c == '?' { values.next() } else { None }) {
                ('?', Some(value)) => {
                    self.params.push(*value);
                    self.sql.push('$');
                    self.sql.push_str(&self.params.len().to_string());
                }
                _ => self.sql.push(c),
            }
        }
        self
    }

    /// Runs it for one row more than a page of `limit` rows, in this order.
    pub(crate) fn page(
        &mut self,
        tx: &mut dyn Tx,
        order_by: &'static str,
        limit: i64,
    ) -> Result<Vec<Row>, StoreError> {
        self.text(order_by, &[]).text(" LIMIT ?", &[Param::Int(limit + 1)]);
        tx.query(&self.sql, &self.params)
    }
}
