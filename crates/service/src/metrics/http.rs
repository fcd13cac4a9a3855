//! What is asked of the service, and what it answers.

use std::sync::atomic::{AtomicI64, AtomicU64};
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

use super::{Timer, timer};
use crate::problem::kinds;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    method: &'static str,
    route: String,
    status: u32,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RouteLabels {
    route: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RefusalLabels {
    code: &'static str,
}

#[derive(Clone, Debug)]
pub(super) struct Http {
    requests: Family<RequestLabels, Counter>,
    duration: Timer<RouteLabels>,
    refusals: Family<RefusalLabels, Counter>,
    in_flight: Gauge,
    connections: Gauge,
    connections_refused: Counter,
    panics: Counter,
}

impl Http {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let requests = Family::default();
        registry.register("http_requests", "Requests by route and status", requests.clone());
        let duration = timer();
        registry.register_with_unit(
            "http_request_duration",
            "Time from the request's headers to its answer, by route",
            Unit::Seconds,
            duration.clone(),
        );
        let refusals: Family<RefusalLabels, Counter> = Family::default();
        for kind in [&kinds::OVERLOADED, &kinds::DATABASE_BUSY] {
            drop(refusals.get_or_create(&RefusalLabels { code: kind.code }));
        }
        registry.register("http_refusals", "Refusals by code (docs/errors.md)", refusals.clone());
        let in_flight = Gauge::<i64, AtomicI64>::default();
        registry.register("http_requests_in_flight", "Requests being answered", in_flight.clone());
        let connections = Gauge::<i64, AtomicI64>::default();
        registry.register("connections", "Open connections", connections.clone());
        let connections_refused = Counter::<u64, AtomicU64>::default();
        registry.register(
            "connections_refused",
            "Connections closed because there were too many",
            connections_refused.clone(),
        );
        let panics = Counter::<u64, AtomicU64>::default();
        registry.register(
            "panics",
            "Requests that ended in a panic; each is a fault to report",
            panics.clone(),
        );
        Self { requests, duration, refusals, in_flight, connections, connections_refused, panics }
    }

    pub(super) fn answered(
        &self,
        method: &'static str,
        route: &str,
        status: u16,
        code: Option<&'static str>,
        took: Duration,
    ) {
        let labels = RequestLabels { method, route: route.to_owned(), status: u32::from(status) };
        self.requests.get_or_create(&labels).inc();
        self.duration.get_or_create(&RouteLabels { route: route.to_owned() }).observe(took.as_secs_f64());
        if let Some(code) = code {
            self.refusals.get_or_create(&RefusalLabels { code }).inc();
        }
    }

    pub(super) fn request(&self) -> GaugeGuard {
        GaugeGuard::new(&self.in_flight)
    }

    pub(super) fn connection(&self) -> GaugeGuard {
        GaugeGuard::new(&self.connections)
    }

    pub(super) fn connection_refused(&self) {
        self.connections_refused.inc();
    }

    pub(super) fn panicked(&self) {
        self.panics.inc();
    }
}

/// Lowers a gauge again when it is dropped.
#[derive(Debug)]
pub(crate) struct GaugeGuard(Gauge);

impl GaugeGuard {
    fn new(gauge: &Gauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for GaugeGuard {
    fn drop(&mut self) {
        self.0.dec();
    }
}
