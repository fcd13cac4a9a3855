//! Prometheus metrics. Labels are closed sets (routes, codes, verdicts, reasons); there are none per VM.
//!
//! One file per question: [`http`] (what is asked of the service), [`attestation`] (what evidence came to, and where the
//! time went), [`watch`] (who watched), [`database`] (how the database is), [`fleet`] and [`work`] (what is, and what
//! waits: read from the database when asked). docs/metrics.md is made from what is registered here.

mod attestation;
mod database;
mod fleet;
mod http;
mod inventory;
mod page;
mod watch;
mod work;

use std::sync::Arc;
use std::sync::atomic::AtomicI64;
use std::time::Duration;

use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};
use veriboot_store::heartbeats::OutageCause;
use veriboot_wire::{AlertReason, Verdict};

use crate::ApiError;
pub use attestation::{Stage, Stages};
pub(crate) use http::GaugeGuard;
pub(crate) use page::{__path_show, show};

/// Latency buckets, seconds.
const BUCKETS: [f64; 16] = [
    0.000_05, 0.0001, 0.000_25, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5,
    10.0,
];

type Timer<L> = Family<L, Histogram, fn() -> Histogram>;

fn histogram() -> Histogram {
    Histogram::new(BUCKETS)
}

fn timer<L: Clone + std::hash::Hash + Eq>() -> Timer<L> {
    Family::new_with_constructor(histogram)
}

/// A gauge's value for a count.
fn count(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// Everything that the service counts. Clones count into the same numbers.
#[derive(Clone, Debug)]
pub struct Metrics {
    registry: Arc<Registry>,
    http: http::Http,
    attestation: attestation::Attestations,
    fleet: fleet::Fleet,
    inventory: inventory::Inventory,
    watch: watch::Watch,
    work: work::Work,
    pub(crate) notify: crate::notify::NotifyMetrics,
    database: Arc<database::Database>,
    traces_dropped: Counter,
    certificate_expires: Gauge<i64, AtomicI64>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct BuildLabels {
    version: &'static str,
    arch: &'static str,
    os: &'static str,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("veriboot");
        let build = BuildLabels {
            version: env!("CARGO_PKG_VERSION"),
            arch: std::env::consts::ARCH,
            os: std::env::consts::OS,
        };
        registry.register("build", "Which build this is", Info::new(build));
        let http = http::Http::register(&mut registry);
        let attestation = attestation::Attestations::register(&mut registry);
        let fleet = fleet::Fleet::register(&mut registry);
        let inventory = inventory::Inventory::register(&mut registry);
        let watch = watch::Watch::register(&mut registry);
        let work = work::Work::register(&mut registry);
        let notify = crate::notify::NotifyMetrics::register(&mut registry);
        let database = Arc::new(database::Database::register(&mut registry));
        let traces_dropped = Counter::default();
        registry.register(
            "traces_dropped",
            "Spans that were not exported: the collector was slow or not there",
            traces_dropped.clone(),
        );
        let certificate_expires = Gauge::default();
        registry.register_with_unit(
            "tls_certificate_expires",
            "End of the server certificate's validity, since 1970-01-01T00:00:00Z",
            Unit::Seconds,
            certificate_expires.clone(),
        );
        Self {
            registry: Arc::new(registry),
            http,
            attestation,
            fleet,
            inventory,
            watch,
            work,
            notify,
            database,
            traces_dropped,
            certificate_expires,
        }
    }
}

impl Metrics {
    /// Evidence was appraised and the outcome is committed; `took` is from decoded request to commit.
    pub fn attested(&self, verdict: Verdict, reasons: &[AlertReason], took: Duration) {
        self.attestation.attested(verdict, reasons, took);
    }

    /// A log was examined: so many of its events were known from earlier logs, and so many are worth to be known.
    pub(crate) fn remembered(&self, known: usize, new: usize) {
        self.attestation.remembered(known, new);
    }

    /// Events that are in memory, and the bytes that they take.
    pub(crate) fn memo(&self, events: usize, bytes: usize) {
        self.attestation.memo(events, bytes);
    }

    /// Where the time of attestations goes.
    pub fn stages(&self) -> &Stages {
        self.attestation.stages()
    }

    /// An alert was raised for the first time or again.
    pub fn alert_raised(&self, reason: AlertReason) {
        self.attestation.alert_raised(reason);
    }

    /// An alert was dismissed by a suppression rule when it was raised.
    pub fn alert_suppressed(&self, reason: AlertReason) {
        self.attestation.alert_suppressed(reason);
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
        self.http.answered(method, route, status, code, took);
    }

    /// One more request is being answered, until the guard is dropped.
    pub(crate) fn request(&self) -> GaugeGuard {
        self.http.request()
    }

    /// One more connection is open, until the guard is dropped.
    pub(crate) fn connection(&self) -> GaugeGuard {
        self.http.connection()
    }

    pub(crate) fn connection_refused(&self) {
        self.http.connection_refused();
    }

    pub(crate) fn panicked(&self) {
        self.http.panicked();
    }

    /// This replica beat; the beat ended an outage, or found clocks that disagree by so many milliseconds.
    pub(crate) fn beat(&self, outage: Option<OutageCause>, disagreement_ms: Option<i64>) {
        self.watch.beat(outage, disagreement_ms);
    }

    /// VMs turned stale, or left by their inventory.
    pub(crate) fn silent(&self, stale: usize, left: usize) {
        self.watch.silent(stale, left);
    }

    /// What counts for the database.
    pub fn observer(&self) -> Arc<dyn veriboot_store::Observe> {
        self.database.clone()
    }

    pub(crate) fn certificate(&self, expires_at: veriboot_wire::Time) {
        self.certificate_expires.set(expires_at.unix_ms().div_euclid(1000));
    }

    /// All of it as OpenMetrics text.
    fn text(&self) -> Result<String, ApiError> {
        let mut body = String::new();
        text::encode(&mut body, &self.registry).map_err(ApiError::internal)?;
        Ok(body)
    }
}

#[cfg(test)]
mod tests;
