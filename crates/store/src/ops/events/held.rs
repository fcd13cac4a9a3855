//! Events of a transaction that are appended together at its end.

use veriboot_wire::{Severity, Time};

use super::{NewEvent, append_all};
use crate::StoreError;
use crate::tx::{Backend, Param, Row, Tx};

/// Runs `work`, whose events are held back and appended together when it is done, in their order. Work that appends many
/// costs a few statements for all of them, and nobody waits for it before its end. It cannot read what it appends.
pub fn hold<T>(
    tx: &mut dyn Tx,
    work: impl FnOnce(&mut dyn Tx) -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    let mut holding = Holding { tx, held: Held::default() };
    let done = work(&mut holding)?;
    let Holding { tx, held } = holding;
    let events: Vec<NewEvent<'_>> = held.0.iter().map(OwnedEvent::event).collect();
    append_all(tx, &events)?;
    Ok(done)
}

/// Events that wait for the end of their transaction.
#[derive(Debug, Default)]
pub struct Held(Vec<OwnedEvent>);

impl Held {
    pub(super) fn add(&mut self, events: &[NewEvent<'_>]) {
        self.0.extend(events.iter().map(OwnedEvent::of));
    }
}

/// A [`NewEvent`] that outlives what it was made of.
#[derive(Debug)]
struct OwnedEvent {
    at: Time,
    kind: String,
    severity: Severity,
    group: Option<String>,
    scale_set: Option<String>,
    vm_id: Option<String>,
    vm_name: Option<String>,
    subject: Option<String>,
    data: serde_json::Value,
}

impl OwnedEvent {
    fn of(event: &NewEvent<'_>) -> Self {
        Self {
            at: event.at,
            kind: event.kind.to_owned(),
            severity: event.severity,
            group: event.group.map(str::to_owned),
            scale_set: event.scale_set.map(str::to_owned),
            vm_id: event.vm_id.map(str::to_owned),
            vm_name: event.vm_name.map(str::to_owned),
            subject: event.subject.map(str::to_owned),
            data: event.data.clone(),
        }
    }

    fn event(&self) -> NewEvent<'_> {
        NewEvent {
            at: self.at,
            kind: &self.kind,
            severity: self.severity,
            group: self.group.as_deref(),
            scale_set: self.scale_set.as_deref(),
            vm_id: self.vm_id.as_deref(),
            vm_name: self.vm_name.as_deref(),
            subject: self.subject.as_deref(),
            data: &self.data,
        }
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
