//! How the database is: latency, commits, errors, connections.

use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};
use veriboot_store::Observe;

use super::{Timer, histogram, timer};

/// Operations in one commit.
const GROUPS: [f64; 9] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0];

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OperationLabels {
    operation: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct QueueLabels {
    queue: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CodeLabels {
    code: &'static str,
}

#[derive(Debug)]
pub(super) struct Database {
    reads: Histogram,
    writes: Histogram,
    commit: Histogram,
    group: Histogram,
    errors: Family<CodeLabels, Counter>,
    repeats: Counter,
    connections: Gauge,
    queue: Family<QueueLabels, Gauge>,
}

impl Database {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let operations: Timer<OperationLabels> = timer();
        let [reads, writes] = ["read", "write"]
            .map(|operation| operations.get_or_create(&OperationLabels { operation }).clone());
        registry.register_with_unit(
            "store_operation",
            "Time from asking the database to its answer, with waiting; a write is durable then",
            Unit::Seconds,
            operations,
        );
        let commit = histogram();
        registry.register_with_unit(
            "store_commit",
            "Time of one transaction of the database with its commit, which may hold several operations",
            Unit::Seconds,
            commit.clone(),
        );
        let group = Histogram::new(GROUPS);
        registry.register("store_commit_operations", "Operations that one commit held", group.clone());
        let errors = Family::default();
        registry.register("store_errors", "Operations that the database failed, by code", errors.clone());
        for code in ["database-busy", "database-unavailable", "database-commit-unknown", "database-contended"]
        {
            drop(errors.get_or_create(&CodeLabels { code }));
        }
        let repeats = Counter::default();
        registry.register(
            "store_repeats",
            "Transactions that met another one and were run again (PostgreSQL)",
            repeats.clone(),
        );
        let connections = Gauge::default();
        registry.register("store_connections", "Open connections to the database", connections.clone());
        let queue = Family::default();
        registry.register("store_queue_depth", "Operations that wait for the database", queue.clone());
        Self { reads, writes, commit, group, errors, repeats, connections, queue }
    }

    /// What waits for a reader and for a writer.
    pub(super) fn read(&self, (reads, writes): (usize, usize)) {
        for (queue, depth) in [("read", reads), ("write", writes)] {
            let row = self.queue.get_or_create(&QueueLabels { queue }).clone();
            row.set(i64::try_from(depth).unwrap_or(i64::MAX));
        }
    }
}

impl Observe for Database {
    fn answered(&self, write: bool, took: Duration) {
        let operations = if write { &self.writes } else { &self.reads };
        operations.observe(took.as_secs_f64());
    }

    fn committed(&self, operations: usize, took: Duration) {
        self.commit.observe(took.as_secs_f64());
        self.group.observe(f64::from(u32::try_from(operations).unwrap_or(u32::MAX)));
    }

    fn failed(&self, code: &'static str) {
        self.errors.get_or_create(&CodeLabels { code }).inc();
    }

    fn repeated(&self) {
        self.repeats.inc();
    }

    fn connections(&self, opened: bool) {
        if opened {
            self.connections.inc();
        } else {
            self.connections.dec();
        }
    }
}
