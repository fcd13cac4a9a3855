//! Prometheus metrics. Labels are closed sets (routes, codes, verdicts, reasons); there are none per VM.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64};
use std::time::Duration;

use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};
use veriboot_store::{baselines, proposals, reappraisals};
use veriboot_wire::{AlertReason, ScopeKind, Verdict, VmStatus};

use crate::{ApiError, AppState};

/// Latency buckets, seconds.
const BUCKETS: [f64; 13] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0];

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

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct VerdictLabels {
    verdict: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReasonLabels {
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StatusLabels {
    status: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ClassLabels {
    class: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ScopeLabels {
    scope: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct QueueLabels {
    queue: &'static str,
}

/// Everything that the service counts. Clones count into the same numbers.
#[derive(Clone, Debug)]
pub struct Metrics {
    registry: Arc<Registry>,
    requests: Family<RequestLabels, Counter>,
    duration: Family<RouteLabels, Histogram, fn() -> Histogram>,
    refusals: Family<RefusalLabels, Counter>,
    attestations: Family<VerdictLabels, Counter>,
    appraisal: Histogram,
    alerts_raised: Family<ReasonLabels, Counter>,
    alerts_open: Family<ReasonLabels, Gauge>,
    proposals_open: Family<ClassLabels, Gauge>,
    baselines: Family<ScopeLabels, Gauge>,
    reappraisals_pending: Gauge,
    vms: Family<StatusLabels, Gauge>,
    in_flight: Gauge,
    connections: Gauge,
    connections_refused: Counter,
    panics: Counter,
    queue: Family<QueueLabels, Gauge>,
    certificate_expires: Gauge<i64, AtomicI64>,
}

fn histogram() -> Histogram {
    Histogram::new(BUCKETS)
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("veriboot");
        let requests = Family::default();
        registry.register("http_requests", "Requests by route and status", requests.clone());
        let duration = Family::<RouteLabels, Histogram, fn() -> Histogram>::new_with_constructor(histogram);
        registry.register_with_unit(
            "http_request_duration",
            "Time from the request's headers to its answer, by route",
            Unit::Seconds,
            duration.clone(),
        );
        let refusals = Family::default();
        registry.register("http_refusals", "Refusals by code (docs/errors.md)", refusals.clone());
        let attestations = Family::default();
        registry.register("attestations", "Appraised evidence by verdict", attestations.clone());
        let appraisal = histogram();
        registry.register_with_unit(
            "appraisal_duration",
            "Time from decoded evidence to the committed verdict",
            Unit::Seconds,
            appraisal.clone(),
        );
        let alerts_raised = Family::default();
        registry.register("alerts_raised", "Alerts raised by reason", alerts_raised.clone());
        let alerts_open = Family::default();
        registry.register(
            "alerts_open",
            "Alerts that are active or in progress, by reason",
            alerts_open.clone(),
        );
        let proposals_open = Family::default();
        registry.register(
            "proposals_open",
            "Proposals that wait for a decision, by class of change; one with several classes counts in each",
            proposals_open.clone(),
        );
        let baselines = Family::default();
        registry.register("baselines", "Baselines that judge, by kind of scope", baselines.clone());
        let reappraisals_pending = Gauge::<i64, AtomicI64>::default();
        registry.register(
            "reappraisals_pending",
            "VMs that wait to be judged again after their baseline or profile changed",
            reappraisals_pending.clone(),
        );
        let vms = Family::default();
        registry.register("vms", "VMs by status", vms.clone());
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
        let queue = Family::default();
        registry.register("store_queue_depth", "Operations that wait for the database", queue.clone());
        let certificate_expires = Gauge::default();
        registry.register_with_unit(
            "tls_certificate_expires",
            "End of the server certificate's validity, since 1970-01-01T00:00:00Z",
            Unit::Seconds,
            certificate_expires.clone(),
        );
        for verdict in Verdict::ALL {
            attestations_row(&attestations, *verdict);
        }
        for reason in AlertReason::ALL {
            alerts_raised_row(&alerts_raised, *reason);
        }
        Self {
            registry: Arc::new(registry),
            requests,
            duration,
            refusals,
            attestations,
            appraisal,
            alerts_raised,
            alerts_open,
            proposals_open,
            baselines,
            reappraisals_pending,
            vms,
            in_flight,
            connections,
            connections_refused,
            panics,
            queue,
            certificate_expires,
        }
    }
}

fn attestations_row(family: &Family<VerdictLabels, Counter>, verdict: Verdict) -> Counter {
    family.get_or_create(&VerdictLabels { verdict: verdict.as_str() }).clone()
}

fn alerts_raised_row(family: &Family<ReasonLabels, Counter>, reason: AlertReason) -> Counter {
    family.get_or_create(&ReasonLabels { reason: reason.as_str() }).clone()
}

impl Metrics {
    /// Evidence was appraised and the outcome is committed; `took` is from decoded request to commit.
    pub fn attested(&self, verdict: Verdict, took: Duration) {
        attestations_row(&self.attestations, verdict).inc();
        self.appraisal.observe(took.as_secs_f64());
    }

    /// An alert was raised for the first time or again.
    pub fn alert_raised(&self, reason: AlertReason) {
        alerts_raised_row(&self.alerts_raised, reason).inc();
    }

    /// A request was answered. `route` is the template (`/v1/vms/{vm}`), never the path.
    pub(crate) fn answered(
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

    /// One more request is being answered, until the guard is dropped.
    pub(crate) fn request(&self) -> GaugeGuard {
        GaugeGuard::new(&self.in_flight)
    }

    /// One more connection is open, until the guard is dropped.
    pub(crate) fn connection(&self) -> GaugeGuard {
        GaugeGuard::new(&self.connections)
    }

    pub(crate) fn connection_refused(&self) {
        self.connections_refused.inc();
    }

    pub(crate) fn panicked(&self) {
        self.panics.inc();
    }

    pub(crate) fn certificate(&self, expires_at: veriboot_wire::Time) {
        self.certificate_expires.set(expires_at.unix_ms().div_euclid(1000));
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

/// Metrics for Prometheus
///
/// Text in the OpenMetrics format. Counts only, nothing about single VMs.
#[utoipa::path(get, path = "/metrics", tag = "health", security(()),
    responses((status = 200, description = "OpenMetrics text", body = String, content_type = "application/openmetrics-text")))]
pub(crate) async fn show(State(state): State<AppState>) -> Result<Response, ApiError> {
    let metrics = &state.metrics;
    let counts = crate::api::summary::counts(&state).await?;
    for status in VmStatus::ALL {
        let count = counts.by_status.get(status.as_str()).copied().unwrap_or(0);
        let row = metrics.vms.get_or_create(&StatusLabels { status: status.as_str() }).clone();
        row.set(i64::try_from(count).unwrap_or(i64::MAX));
    }
    for reason in AlertReason::ALL {
        let count = counts.open_alerts_by_reason.get(reason.as_str()).copied().unwrap_or(0);
        let row = metrics.alerts_open.get_or_create(&ReasonLabels { reason: reason.as_str() }).clone();
        row.set(i64::try_from(count).unwrap_or(i64::MAX));
    }
    for (class, count) in state.read(|tx| Ok(proposals::open_by_class(tx)?)).await? {
        let row = metrics.proposals_open.get_or_create(&ClassLabels { class: class.as_str() }).clone();
        row.set(i64::try_from(count).unwrap_or(i64::MAX));
    }
    let (by_scope, (waiting, _)) =
        state.read(|tx| Ok((baselines::counts_by_scope(tx)?, reappraisals::pending(tx)?))).await?;
    for scope in ScopeKind::ALL {
        let row = metrics.baselines.get_or_create(&ScopeLabels { scope: scope.as_str() }).clone();
        row.set(i64::try_from(by_scope.get(scope).copied().unwrap_or(0)).unwrap_or(i64::MAX));
    }
    metrics.reappraisals_pending.set(i64::try_from(waiting).unwrap_or(i64::MAX));
    let (reads, writes) = state.store.queue_depths();
    for (queue, depth) in [("read", reads), ("write", writes)] {
        let row = metrics.queue.get_or_create(&QueueLabels { queue }).clone();
        row.set(i64::try_from(depth).unwrap_or(i64::MAX));
    }
    let mut body = String::new();
    text::encode(&mut body, &metrics.registry).map_err(ApiError::internal)?;
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    Ok(([(header::CONTENT_TYPE, kind)], body).into_response())
}
