//! What evidence came to, and where the time went.

use std::future::Future;
use std::time::{Duration, Instant};

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};
use tracing::Instrument as _;
use tracing::span::EnteredSpan;
use veriboot_wire::{AlertReason, Verdict};

use super::{Timer, count, histogram, timer};
use crate::traces::stage_span;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct VerdictLabels {
    verdict: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReasonLabels {
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabels {
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StageLabels {
    stage: &'static str,
}

/// A part of the work on evidence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Shapes and sizes of what the agent sent.
    Decode,
    /// The quote held against the enrolled key.
    Quote,
    /// The event log: parsed and replayed, or found by its digest.
    Log,
    /// Baseline, profile and verdict; with the quote.
    Appraisal,
    /// The one transaction, to its durable commit.
    Store,
}

impl Stage {
    /// Every stage, in their order.
    pub const ALL: [Self; 5] = [Self::Decode, Self::Quote, Self::Log, Self::Appraisal, Self::Store];

    /// The word in metrics and traces.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Decode => "decode",
            Self::Quote => "quote",
            Self::Log => "log",
            Self::Appraisal => "appraisal",
            Self::Store => "store",
        }
    }
}

/// Measures stages of attestations, in a histogram and as spans of traces. Clones measure into the same numbers.
#[derive(Clone, Debug)]
pub struct Stages([Histogram; Stage::ALL.len()]);

impl Default for Stages {
    fn default() -> Self {
        Self(Stage::ALL.map(|_| histogram()))
    }
}

impl Stages {
    fn of(timer: &Timer<StageLabels>) -> Self {
        Self(Stage::ALL.map(|stage| timer.get_or_create(&StageLabels { stage: stage.as_str() }).clone()))
    }

    fn took(&self, stage: Stage, took: Duration) {
        if let Some(histogram) = self.0.get(stage as usize) {
            histogram.observe(took.as_secs_f64());
        }
    }

    /// Measures until the guard is dropped; not over an `await`.
    pub(crate) fn enter(&self, stage: Stage) -> Timing<'_> {
        Timing { stages: self, stage, started: Instant::now(), _span: stage_span(stage).entered() }
    }

    /// Measures a future.
    pub(crate) async fn run<F: Future>(&self, stage: Stage, work: F) -> F::Output {
        let started = Instant::now();
        let output = work.instrument(stage_span(stage)).await;
        self.took(stage, started.elapsed());
        output
    }
}

/// A stage in progress.
#[derive(Debug)]
pub(crate) struct Timing<'s> {
    stages: &'s Stages,
    stage: Stage,
    started: Instant,
    _span: EnteredSpan,
}

impl Drop for Timing<'_> {
    fn drop(&mut self) {
        self.stages.took(self.stage, self.started.elapsed());
    }
}

#[derive(Clone, Debug)]
pub(super) struct Attestations {
    verdicts: Family<VerdictLabels, Counter>,
    failures: Family<ReasonLabels, Counter>,
    whole: Histogram,
    stages: Stages,
    alerts_raised: Family<ReasonLabels, Counter>,
    alerts_suppressed: Family<ReasonLabels, Counter>,
    known_events: Counter,
    new_events: Counter,
    memo_events: Gauge,
    memo_bytes: Gauge,
}

impl Attestations {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let verdicts: Family<VerdictLabels, Counter> = Family::default();
        registry.register("attestations", "Appraised evidence by verdict", verdicts.clone());
        let failures: Family<ReasonLabels, Counter> = Family::default();
        registry.register(
            "attestation_failures",
            "Evidence that was refused, by reason; one attestation can have several",
            failures.clone(),
        );
        let whole = histogram();
        registry.register_with_unit(
            "appraisal_duration",
            "Time from decoded evidence to the committed verdict",
            Unit::Seconds,
            whole.clone(),
        );
        let stage: Timer<StageLabels> = timer();
        let stages = Stages::of(&stage);
        registry.register_with_unit(
            "attestation_stage",
            "Time of the parts of an attestation; the appraisal has the quote in it",
            Unit::Seconds,
            stage,
        );
        let alerts_raised: Family<ReasonLabels, Counter> = Family::default();
        registry.register("alerts_raised", "Alerts raised by reason", alerts_raised.clone());
        let alerts_suppressed: Family<ReasonLabels, Counter> = Family::default();
        registry.register(
            "alerts_suppressed",
            "Alerts that a suppression rule dismissed when they were raised, by reason",
            alerts_suppressed.clone(),
        );
        let events: Family<OutcomeLabels, Counter> = Family::default();
        registry.register(
            "log_events",
            "Events of new event logs that the memo keeps: known from earlier logs, or new",
            events.clone(),
        );
        let [known_events, new_events] =
            ["known", "new"].map(|outcome| events.get_or_create(&OutcomeLabels { outcome }).clone());
        let (memo_events, memo_bytes) = (Gauge::default(), Gauge::default());
        registry.register("memo_events", "Events of earlier event logs in memory", memo_events.clone());
        registry.register_with_unit(
            "memo",
            "Memory for events of earlier event logs",
            Unit::Bytes,
            memo_bytes.clone(),
        );
        for verdict in Verdict::ALL {
            drop(verdicts.get_or_create(&VerdictLabels { verdict: verdict.as_str() }));
        }
        for reason in AlertReason::ALL {
            drop(alerts_raised.get_or_create(&ReasonLabels { reason: reason.as_str() }));
            drop(alerts_suppressed.get_or_create(&ReasonLabels { reason: reason.as_str() }));
            drop(failures.get_or_create(&ReasonLabels { reason: reason.as_str() }));
        }
        Self {
            verdicts,
            failures,
            whole,
            stages,
            alerts_raised,
            alerts_suppressed,
            known_events,
            new_events,
            memo_events,
            memo_bytes,
        }
    }

    pub(super) fn attested(&self, verdict: Verdict, reasons: &[AlertReason], took: Duration) {
        self.verdicts.get_or_create(&VerdictLabels { verdict: verdict.as_str() }).inc();
        for reason in reasons {
            self.failures.get_or_create(&ReasonLabels { reason: reason.as_str() }).inc();
        }
        self.whole.observe(took.as_secs_f64());
    }

    pub(super) fn alert_raised(&self, reason: AlertReason) {
        self.alerts_raised.get_or_create(&ReasonLabels { reason: reason.as_str() }).inc();
    }

    pub(super) fn alert_suppressed(&self, reason: AlertReason) {
        self.alerts_suppressed.get_or_create(&ReasonLabels { reason: reason.as_str() }).inc();
    }

    pub(super) fn remembered(&self, known: usize, new: usize) {
        self.known_events.inc_by(known as u64);
        self.new_events.inc_by(new as u64);
    }

    pub(super) fn memo(&self, events: usize, bytes: usize) {
        self.memo_events.set(count(events as u64));
        self.memo_bytes.set(count(bytes as u64));
    }

    pub(super) fn stages(&self) -> &Stages {
        &self.stages
    }
}
