//! What the store tells whoever measures it. Called on the threads of the store and of its callers: an observer counts,
//! and does nothing that waits.

use std::time::Duration;

/// Counts what the store does.
pub trait Observe: Send + Sync {
    /// An operation was answered after `took`, from its request to the durable commit.
    fn answered(&self, write: bool, took: Duration) {
        let _ = (write, took);
    }

    /// Operations were committed together: one fsync, or one COMMIT, that took so long.
    fn committed(&self, operations: usize, took: Duration) {
        let _ = (operations, took);
    }

    /// An operation failed with this code ([`crate::StoreError::code`]).
    fn failed(&self, code: &'static str) {
        let _ = code;
    }

    /// A transaction met another one and is run again.
    fn repeated(&self) {}

    /// A connection was opened, or one was closed.
    fn connections(&self, opened: bool) {
        let _ = opened;
    }
}

/// Counts nothing.
#[derive(Debug)]
pub(crate) struct Nobody;

impl Observe for Nobody {}
