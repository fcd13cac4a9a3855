//! Events of a transaction that are appended together at its end.

use super::{Written, write};
use crate::StoreError;
use crate::tx::{Backend, Param, Row, Tx};

/// Runs `work`, whose events are held back and appended together when it is done, in their order. They are
/// written in bulk, and nobody waits for it before its end. It cannot read what it appends.
pub fn hold<T>(
    tx: &mut dyn Tx,
    work: impl FnOnce(&mut dyn Tx) -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    let mut holding = Holding { tx, held: Held::default() };
    let done = work(&mut holding)?;
    let Holding { tx, held } = holding;
    match tx.held() {
        Some(outer) => outer.add(held.0),
        None => write(tx, &held.0)?,
    }
    Ok(done)
}

/// Events that wait for the end of their transaction.
#[derive(Debug, Default)]
pub struct Held(Vec<Written>);

impl Held {
    pub(super) fn add(&mut self, events: Vec<Written>) {
        self.0.extend(events);
    }
}

/// A transaction whose events wait.
struct Holding<'t> {
    tx: &'t mut dyn Tx,
    held: Held,
}

impl Tx for Holding<'_> {
    fn backend(&self) -> Backend {
        self.tx.backend()
    }

    fn execute(&mut self, sql: &str, params: &[Param<'_>]) -> Result<u64, StoreError> {
        self.tx.execute(sql, params)
    }

    fn query(&mut self, sql: &str, params: &[Param<'_>]) -> Result<Vec<Row>, StoreError> {
        self.tx.query(sql, params)
    }

    fn held(&mut self) -> Option<&mut Held> {
        Some(&mut self.held)
    }
}
