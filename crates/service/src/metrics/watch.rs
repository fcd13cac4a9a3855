//! Who watched, and what silence came to.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};
use veriboot_store::heartbeats::OutageCause;
use veriboot_wire::Time;

use super::count;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CauseLabels {
    cause: &'static str,
}

#[derive(Clone, Debug)]
pub(super) struct Watch {
    heartbeats: Counter,
    outages: Family<CauseLabels, Counter>,
    outage_ended: Gauge,
    replicas: Gauge,
    disagreement_ms: Gauge,
    stale: Counter,
    left: Counter,
}

impl Watch {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let heartbeats = Counter::default();
        registry.register("heartbeats", "Signs of life that this replica wrote", heartbeats.clone());
        let outages = Family::default();
        registry.register(
            "outages",
            "Times in which nobody watched, as this replica saw their end, by cause",
            outages.clone(),
        );
        for cause in OutageCause::ALL {
            drop(outages.get_or_create(&CauseLabels { cause: cause.as_str() }));
        }
        let outage_ended = Gauge::default();
        registry.register_with_unit(
            "outage_ended",
            "End of the last outage, since 1970-01-01T00:00:00Z; 0 when there was none",
            Unit::Seconds,
            outage_ended.clone(),
        );
        let replicas = Gauge::default();
        registry.register(
            "replicas",
            "Replicas that wrote a sign of life in the last minutes",
            replicas.clone(),
        );
        let disagreement_ms = Gauge::default();
        registry.register(
            "clock_disagreement_milliseconds",
            "How far the wall clock of another replica is off; while it is not 0, no VM is called silent",
            disagreement_ms.clone(),
        );
        let stale = Counter::default();
        registry.register("vms_turned_stale", "VMs that this replica called silent", stale.clone());
        let left = Counter::default();
        registry.register(
            "vms_left",
            "Silent VMs that are no longer expected, because their inventory says that they left",
            left.clone(),
        );
        Self { heartbeats, outages, outage_ended, replicas, disagreement_ms, stale, left }
    }

    pub(super) fn beat(&self, outage: Option<OutageCause>, disagreement_ms: Option<i64>) {
        self.heartbeats.inc();
        if let Some(cause) = outage {
            self.outages.get_or_create(&CauseLabels { cause: cause.as_str() }).inc();
        }
        self.disagreement_ms.set(disagreement_ms.unwrap_or(0));
    }

    pub(super) fn silent(&self, stale: usize, left: usize) {
        self.stale.inc_by(u64::try_from(stale).unwrap_or(0));
        self.left.inc_by(u64::try_from(left).unwrap_or(0));
    }

    /// What the database says.
    pub(super) fn read(&self, replicas: u64, outage_ended: Option<Time>) {
        self.replicas.set(count(replicas));
        self.outage_ended.set(outage_ended.map_or(0, |at| at.unix_ms().div_euclid(1000)));
    }
}
