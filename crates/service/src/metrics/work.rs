//! What waits: queues of background work, counted in the database when somebody asks.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};
use veriboot_store::deliveries::Depth;
use veriboot_store::{StoreError, Tx, assessments, incidents, monitoring, reappraisals, reappraise_queue};
use veriboot_wire::Time;

use super::count;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct QueueLabels {
    queue: &'static str,
}

#[derive(Clone, Debug)]
pub(super) struct Work {
    reappraisals_pending: Gauge,
    pending: Family<QueueLabels, Gauge>,
    incidents_open: Gauge,
    outbox_age: Gauge,
    dead_letters: Gauge,
}

/// What waits.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Waiting {
    /// VMs to judge again after their baseline or profile changed.
    reappraisals: u64,
    /// VMs to judge again after a decision.
    members: u64,
    /// VMs that take a change of the monitoring switch.
    monitoring: u64,
    /// Rounds over all checks after something that they rest on changed.
    posture: u64,
    /// Incidents that have open alerts.
    incidents: u64,
}

impl Waiting {
    pub(super) fn read(tx: &mut dyn Tx) -> Result<Self, StoreError> {
        Ok(Self {
            reappraisals: reappraisals::pending(tx)?.0,
            members: reappraise_queue::pending(tx)?,
            monitoring: monitoring::pending(tx)?,
            posture: assessments::pending(tx)?,
            incidents: incidents::open_count(tx)?,
        })
    }
}

impl Work {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let reappraisals_pending = Gauge::default();
        registry.register(
            "reappraisals_pending",
            "VMs that wait to be judged again after their baseline or profile changed",
            reappraisals_pending.clone(),
        );
        let pending = Family::default();
        registry.register("work_pending", "What waits for background work, by queue", pending.clone());
        let incidents_open = Gauge::default();
        registry.register(
            "incidents_open",
            "Incidents of scale sets that have open alerts",
            incidents_open.clone(),
        );
        let outbox_age = Gauge::default();
        registry.register_with_unit(
            "outbox_age",
            "How long the oldest notification that is due waits to be delivered",
            Unit::Seconds,
            outbox_age.clone(),
        );
        let dead_letters = Gauge::default();
        registry.register(
            "dead_letters",
            "Notifications that were given up; `veriboot notify deliveries --dead` lists them",
            dead_letters.clone(),
        );
        Self { reappraisals_pending, pending, incidents_open, outbox_age, dead_letters }
    }

    /// How the outbox of notifications is at `now`.
    pub(super) fn outbox(&self, depths: &[Depth], now: Time) {
        let oldest = depths.iter().filter_map(|depth| depth.oldest_waiting_at).min();
        let age = oldest.map_or(0, |at| now.unix_ms().saturating_sub(at.unix_ms()).max(0));
        self.outbox_age.set(age / 1000);
        self.dead_letters.set(count(depths.iter().map(|depth| depth.dead).sum()));
    }

    /// What the database says.
    pub(super) fn read(&self, waiting: Waiting) {
        self.reappraisals_pending.set(count(waiting.reappraisals));
        self.incidents_open.set(count(waiting.incidents));
        let queues = [
            ("reappraisal", waiting.reappraisals),
            ("decision", waiting.members),
            ("monitoring", waiting.monitoring),
            ("posture", waiting.posture),
        ];
        for (queue, depth) in queues {
            self.pending.get_or_create(&QueueLabels { queue }).set(count(depth));
        }
    }
}
