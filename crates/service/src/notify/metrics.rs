//! What the notifications count.

use std::sync::atomic::AtomicI64;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use veriboot_store::deliveries::Depth;
use veriboot_wire::TargetKind;

use super::Full;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    kind: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabels {
    kind: &'static str,
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CauseLabels {
    cause: &'static str,
}

/// Counters of notifications by kind of target; clones count into the same numbers.
#[derive(Clone, Debug, Default)]
pub(crate) struct NotifyMetrics {
    notifications: Family<OutcomeLabels, Counter>,
    waiting: Family<Labels, Gauge>,
    dead: Family<Labels, Gauge>,
    clock_skew: Family<Labels, Gauge>,
    streams: Gauge<i64, AtomicI64>,
    streams_refused: Family<CauseLabels, Counter>,
}

impl NotifyMetrics {
    pub(crate) fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        registry.register(
            "notifications",
            "Notifications by kind of target: delivered, failed (attempts), dead (given up)",
            metrics.notifications.clone(),
        );
        registry.register(
            "outbox_waiting",
            "Events that wait to be told, by kind of target",
            metrics.waiting.clone(),
        );
        registry.register(
            "outbox_dead",
            "Events that were given up, by kind of target",
            metrics.dead.clone(),
        );
        registry.register(
            "notification_clock_skew_seconds",
            "How far a clock of a target is away from ours at most, by kind of target; only Alertmanagers are asked",
            metrics.clock_skew.clone(),
        );
        registry.register("event_streams", "Open streams of events", metrics.streams.clone());
        registry.register(
            "event_streams_refused",
            "Streams of events that were refused: the token had its share, or all of them were open",
            metrics.streams_refused.clone(),
        );
        for full in [Full::OfToken, Full::All] {
            metrics.refused(full).inc_by(0);
        }
        for kind in TargetKind::ALL {
            for outcome in ["delivered", "failed", "dead"] {
                metrics.count(*kind, outcome, 0);
            }
        }
        metrics
    }

    fn count(&self, kind: TargetKind, outcome: &'static str, by: usize) {
        let labels = OutcomeLabels { kind: kind.as_str(), outcome };
        self.notifications.get_or_create(&labels).inc_by(u64::try_from(by).unwrap_or(u64::MAX));
    }

    /// An attempt was noted.
    pub(super) fn attempted(&self, kind: TargetKind, delivered: usize, failed: bool, dead: usize) {
        self.count(kind, "delivered", delivered);
        self.count(kind, "failed", usize::from(failed));
        self.count(kind, "dead", dead);
    }

    /// Shows how the outbox is.
    pub(crate) fn depths(&self, depths: &[Depth]) {
        for depth in depths {
            let labels = Labels { kind: depth.kind.as_str() };
            let number = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
            self.waiting.get_or_create(&labels).set(number(depth.waiting));
            self.dead.get_or_create(&labels).set(number(depth.dead));
            self.clock_skew.get_or_create(&labels).set(number(depth.clock_skew_ms / 1000));
        }
    }

    fn refused(&self, full: Full) -> impl std::ops::Deref<Target = Counter> + '_ {
        let cause = match full {
            Full::OfToken => "token",
            Full::All => "all",
        };
        self.streams_refused.get_or_create(&CauseLabels { cause })
    }

    /// A stream was refused.
    pub(super) fn stream_refused(&self, full: Full) {
        self.refused(full).inc();
    }

    pub(super) fn streams(&self) -> &Gauge<i64, AtomicI64> {
        &self.streams
    }
}
