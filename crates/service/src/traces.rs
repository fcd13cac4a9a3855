//! Spans of requests and of the stages of attestations, exported as OTLP over HTTP with JSON bodies (OTLP 1.x, "JSON
//! Protobuf Encoding"), where `traces.otlp_endpoint` is set.
//!
//! The layer takes only the spans of this service's requests and stages. A span that ends goes into a bounded queue, and
//! a thread of its own sends what is there; when the collector is slow or gone, spans are dropped and counted. Nothing
//! that answers an agent ever waits for a collector.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

use serde_json::{Map, Value, json};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Metadata, Subscriber};
use tracing_subscriber::layer::{Context, Filter, Layer};
use tracing_subscriber::registry::LookupSpan;

use crate::metrics::Stage;
use crate::traceparent::Traceparent;
use crate::{ConfigError, TracesConfig, tls};

/// Target of the spans of stages.
const STAGES: &str = "veriboot_service::stage";
/// Target and name of the span of a request ([`crate::middleware`]).
const REQUESTS: &str = "veriboot_service::middleware";
/// Target of the spans of notifications.
const NOTIFICATIONS: &str = "veriboot_service::notification";
/// Spans that wait to be sent.
const QUEUE: usize = 8192;
/// Spans in one request to the collector.
const BATCH: usize = 512;
/// How long a span waits for others.
const WAIT: Duration = Duration::from_secs(2);
/// How long the collector may take to answer.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Attributes of a span.
const MAX_ATTRIBUTES: usize = 16;
/// Longest text of an attribute.
const MAX_CHARS: usize = 256;
/// `SPAN_KIND_INTERNAL`.
const INTERNAL: u8 = 1;
/// `SPAN_KIND_SERVER`.
const SERVER: u8 = 2;
/// `SPAN_KIND_CLIENT`.
const CLIENT: u8 = 3;

/// Spans that were dropped since they were counted last.
static DROPPED: AtomicU64 = AtomicU64::new(0);

/// Spans that were dropped since the last call.
pub(crate) fn take_dropped() -> u64 {
    DROPPED.swap(0, Ordering::Relaxed)
}

/// The span of a stage. It exists only where somebody takes spans of this target.
pub(crate) fn stage_span(stage: Stage) -> tracing::Span {
    match stage {
        Stage::Decode => tracing::debug_span!(target: STAGES, "decode"),
        Stage::Quote => tracing::debug_span!(target: STAGES, "quote"),
        Stage::Log => tracing::debug_span!(target: STAGES, "log"),
        Stage::Appraisal => tracing::debug_span!(target: STAGES, "appraisal"),
        Stage::Store => tracing::debug_span!(target: STAGES, "store"),
    }
}

/// The span of a message to a notification target, a trace of its own, and what tells the receiver which. It is marked as
/// recorded where somebody takes such spans.
pub(crate) fn notification_span(kind: &'static str) -> (tracing::Span, Traceparent) {
    let mut own = Traceparent { trace: random(), span: random(), sampled: true };
    let id = own.to_string();
    let span =
        tracing::debug_span!(target: NOTIFICATIONS, parent: None, "notification", kind, traceparent = id);
    own.sampled = !span.is_disabled();
    (span, own)
}

/// The layer that exports, or `None` where no endpoint is set.
///
/// # Errors
/// [`ConfigError`] when the endpoint is no URL, or the thread cannot be started.
pub fn layer<S>(config: &TracesConfig) -> Result<Option<impl Layer<S> + Send + Sync + use<S>>, ConfigError>
where
    S: Subscriber + for<'s> LookupSpan<'s>,
{
    let Some(endpoint) = &config.otlp_endpoint else { return Ok(None) };
    let url = check_endpoint(endpoint)?;
    let invalid = |reason: String| ConfigError::Value { setting: "traces.otlp_endpoint", reason };
    let (sender, receiver) = sync_channel(QUEUE);
    std::thread::Builder::new()
        .name("traces".into())
        .spawn(move || export(&url, &receiver))
        .map_err(|e| invalid(format!("the thread that exports traces does not start: {e}")))?;
    let one_in = u64::from(config.one_in.max(1));
    Ok(Some(Exporting { sender, one_in, requests: AtomicU64::new(0) }.with_filter(Ours)))
}

/// The URL to which traces of this endpoint go.
///
/// # Errors
/// [`ConfigError::Value`] when it is no URL.
pub(crate) fn check_endpoint(endpoint: &str) -> Result<String, ConfigError> {
    endpoint_url(endpoint).ok_or_else(|| ConfigError::Value {
        setting: "traces.otlp_endpoint",
        reason: "must be http://HOST[:PORT] or https://HOST[:PORT]".to_owned(),
    })
}

/// Where the collector takes traces.
fn endpoint_url(endpoint: &str) -> Option<String> {
    let base = endpoint.trim_end_matches('/');
    let uri: ureq::http::Uri = base.parse().ok()?;
    let known =
        matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some_and(|h| !h.is_empty());
    let path = if uri.path().ends_with("/v1/traces") { "" } else { "/v1/traces" };
    known.then(|| format!("{base}{path}"))
}

/// Takes spans of requests and stages only, and no events.
struct Ours;

impl<S> Filter<S> for Ours {
    fn enabled(&self, meta: &Metadata<'_>, _: &Context<'_, S>) -> bool {
        meta.is_span()
            && (matches!(meta.target(), STAGES | NOTIFICATIONS)
                || (meta.target() == REQUESTS && meta.name() == "request"))
    }
}

struct Exporting {
    sender: SyncSender<Ended>,
    one_in: u64,
    requests: AtomicU64,
}

/// What is known of a span while it lasts.
struct Running {
    trace: [u8; 16],
    id: [u8; 8],
    parent: Option<[u8; 8]>,
    started: i64,
    kind: u8,
    attributes: Attributed,
}

/// A span that ended.
struct Ended {
    name: &'static str,
    span: Running,
    ended: i64,
}

#[derive(Default)]
struct Attributed {
    fields: Vec<(&'static str, Value)>,
    traceparent: Option<Traceparent>,
}

impl Attributed {
    fn add(&mut self, field: &Field, value: Value) {
        if self.fields.len() < MAX_ATTRIBUTES {
            self.fields.push((field.name(), value));
        }
    }

    fn text(&mut self, field: &Field, text: &str) {
        let text: String = text.chars().take(MAX_CHARS).collect();
        self.add(field, json!({ "stringValue": text }));
    }
}

impl Visit for Attributed {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.text(field, &format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "traceparent" {
            self.traceparent = Traceparent::read(value.as_bytes());
        } else {
            self.text(field, value);
        }
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.add(field, json!({ "intValue": value.to_string() }));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.add(field, json!({ "intValue": value.to_string() }));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.add(field, json!({ "boolValue": value }));
    }
}

impl<S> Layer<S> for Exporting
where
    S: Subscriber + for<'s> LookupSpan<'s>,
{
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        let kind = match attributes.metadata().target() {
            REQUESTS => SERVER,
            NOTIFICATIONS => CLIENT,
            _ => INTERNAL,
        };
        let mut recorded = Attributed::default();
        attributes.record(&mut recorded);
        let told = recorded.traceparent;
        let parent = span.parent().and_then(|parent| {
            parent.extensions().get::<Running>().map(|running| (running.trace, running.id))
        });
        // One request in so many is traced, with all of its stages, whatever its caller wants; a stage outside of a
        // request is not. A notification has the ids that its receiver is told.
        let chosen = || self.requests.fetch_add(1, Ordering::Relaxed).is_multiple_of(self.one_in);
        let (trace, id, parent) = match (parent, kind, told) {
            (Some((trace, parent)), ..) => (trace, random(), Some(parent)),
            (None, CLIENT, Some(own)) => (own.trace, own.span, None),
            (None, SERVER, told) if chosen() => {
                (told.map_or_else(random, |caller| caller.trace), random(), told.map(|caller| caller.span))
            }
            _ => return,
        };
        let running = Running { trace, id, parent, started: unix_ns(), kind, attributes: recorded };
        span.extensions_mut().insert(running);
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        if let Some(span) = context.span(id)
            && let Some(running) = span.extensions_mut().get_mut::<Running>()
        {
            values.record(&mut running.attributes);
        }
    }

    fn on_close(&self, id: Id, context: Context<'_, S>) {
        let Some(span) = context.span(&id) else { return };
        let Some(running) = span.extensions_mut().remove::<Running>() else { return };
        let ended = Ended { name: span.name(), span: running, ended: unix_ns() };
        if self.sender.try_send(ended).is_err() {
            DROPPED.fetch_add(1, Ordering::Relaxed);
        }
    }
}

fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0_u8; N];
    // An id of zeros is invalid: the collector drops the span, nothing else happens.
    let _ = getrandom::fill(&mut bytes);
    bytes
}

/// Nanoseconds since 1970-01-01T00:00:00Z, for spans alone: no decision rests on it.
fn unix_ns() -> i64 {
    crate::clock::machine_us().saturating_mul(1000)
}

/// Sends what comes until nobody sends any more.
fn export(url: &str, receiver: &Receiver<Ended>) {
    let agent = client();
    let mut failing = false;
    loop {
        let (batch, open) = next(receiver);
        if !batch.is_empty() {
            let spans = batch.len();
            let sent = send(&agent, url, &body(batch));
            if let Err(error) = &sent {
                DROPPED.fetch_add(u64::try_from(spans).unwrap_or(0), Ordering::Relaxed);
                if !failing {
                    tracing::warn!(url, error, "traces are not taken by the collector; spans are dropped");
                }
            } else if failing {
                tracing::info!(url, "traces are taken again");
            }
            failing = sent.is_err();
        }
        if !open {
            return;
        }
    }
}

/// Waits for a span, and a little for those that follow; `false` when there will be no more.
fn next(receiver: &Receiver<Ended>) -> (Vec<Ended>, bool) {
    let Ok(first) = receiver.recv() else { return (Vec::new(), false) };
    let mut batch = vec![first];
    while batch.len() < BATCH {
        match receiver.recv_timeout(WAIT) {
            Ok(ended) => batch.push(ended),
            Err(RecvTimeoutError::Timeout) => break,
            Err(RecvTimeoutError::Disconnected) => return (batch, false),
        }
    }
    (batch, true)
}

fn client() -> ureq::Agent {
    let roots = rustls_native_certs::load_native_certs().certs;
    let roots: Vec<_> =
        roots.iter().map(|root| ureq::tls::Certificate::from_der(root.as_ref()).to_owned()).collect();
    let tls = ureq::tls::TlsConfig::builder()
        .root_certs(ureq::tls::RootCerts::Specific(std::sync::Arc::new(roots)))
        .unversioned_rustls_crypto_provider(tls::install_provider())
        .build();
    ureq::Agent::config_builder()
        .tls_config(tls)
        .max_redirects(0)
        .timeout_global(Some(TIMEOUT))
        .build()
        .into()
}

fn send(agent: &ureq::Agent, url: &str, body: &Value) -> Result<(), String> {
    agent.post(url).send_json(body).map(|_| ()).map_err(|e| e.to_string())
}

/// `ExportTraceServiceRequest` in JSON: ids in hex, 64-bit numbers as texts.
fn body(batch: Vec<Ended>) -> Value {
    let spans: Vec<Value> = batch.into_iter().map(span).collect();
    json!({
        "resourceSpans": [{
            "resource": { "attributes": [
                { "key": "service.name", "value": { "stringValue": "veriboot" } },
                { "key": "service.version", "value": { "stringValue": env!("CARGO_PKG_VERSION") } },
            ] },
            "scopeSpans": [{ "scope": { "name": "veriboot-service" }, "spans": spans }],
        }],
    })
}

fn span(ended: Ended) -> Value {
    let Ended { name, span, ended } = ended;
    let Running { trace, id, parent, started, kind, attributes } = span;
    let text = |name: &str| {
        let field = attributes.fields.iter().find(|(key, _)| *key == name);
        field.and_then(|(_, value)| value.get("stringValue")).and_then(Value::as_str)
    };
    let name = match (kind, text("method"), text("route")) {
        (SERVER, Some(method), Some(route)) => format!("{method} {route}"),
        _ => name.to_owned(),
    };
    let attributes: Vec<Value> = attributes
        .fields
        .into_iter()
        .map(|(key, value)| {
            let key = match key {
                "method" => "http.request.method",
                "route" => "http.route",
                "status" => "http.response.status_code",
                other => other,
            };
            json!({ "key": key, "value": value })
        })
        .collect();
    let mut span = Map::new();
    span.insert("traceId".into(), hex::encode(trace).into());
    span.insert("spanId".into(), hex::encode(id).into());
    if let Some(parent) = parent {
        span.insert("parentSpanId".into(), hex::encode(parent).into());
    }
    span.insert("name".into(), name.into());
    span.insert("kind".into(), kind.into());
    span.insert("startTimeUnixNano".into(), started.to_string().into());
    span.insert("endTimeUnixNano".into(), ended.max(started).to_string().into());
    span.insert("attributes".into(), attributes.into());
    Value::Object(span)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_that_nobody_takes_are_counted() {
        use tracing_subscriber::layer::SubscriberExt as _;
        // A port where nobody listens.
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let endpoint = Some(format!("http://127.0.0.1:{port}"));
        let config = TracesConfig { otlp_endpoint: endpoint, one_in: 2 };
        let subscriber = tracing_subscriber::registry().with(layer(&config).unwrap());
        tracing::subscriber::with_default(subscriber, || {
            for _ in 0..100 {
                let request = tracing::info_span!(target: REQUESTS, "request", route = "/x");
                let _request = request.entered();
                drop(stage_span(Stage::Store).entered());
            }
        });
        let (start, mut dropped) = (std::time::Instant::now(), 0);
        while dropped < 100 && start.elapsed() < Duration::from_secs(30) {
            std::thread::sleep(Duration::from_millis(50));
            dropped += take_dropped();
        }
        assert_eq!(dropped, 100, "one request in two, each with its stage");
    }

    #[test]
    fn a_request_goes_on_in_its_callers_trace_and_a_notification_has_the_ids_that_it_tells() {
        use tracing_subscriber::layer::SubscriberExt as _;
        let (sender, ended) = sync_channel(16);
        let exporting = Exporting { sender, one_in: 2, requests: AtomicU64::new(0) }.with_filter(Ours);
        let caller = Traceparent { trace: [7; 16], span: [8; 8], sampled: true };
        let told = tracing::subscriber::with_default(tracing_subscriber::registry().with(exporting), || {
            for parent in [Some(caller.to_string()), Some(caller.to_string()), Some("00-nonsense".to_owned())]
            {
                let request = tracing::info_span!(target: REQUESTS, "request", traceparent = parent);
                let _request = request.entered();
                drop(stage_span(Stage::Store).entered());
            }
            let (span, told) = notification_span("webhook");
            drop(span.entered());
            told
        });
        assert!(told.sampled);
        let ended: Vec<Ended> = ended.try_iter().collect();
        let names: Vec<&str> = ended.iter().map(|ended| ended.name).collect();
        assert_eq!(names, ["store", "request", "store", "request", "notification"], "one request in two");
        let spans: Vec<&Running> = ended.iter().map(|ended| &ended.span).collect();
        assert_eq!(
            (spans[1].trace, spans[1].parent, spans[1].kind),
            (caller.trace, Some(caller.span), SERVER)
        );
        assert_ne!(spans[1].id, caller.span);
        assert_eq!((spans[0].trace, spans[0].parent), (caller.trace, Some(spans[1].id)));
        assert!(spans[3].trace != caller.trace && spans[3].parent.is_none());
        assert_eq!((spans[4].trace, spans[4].id, spans[4].kind), (told.trace, told.span, CLIENT));
        assert!(ended.into_iter().all(|ended| !span(ended).to_string().contains("traceparent")));
        // Where nobody takes spans nothing says that one is recorded.
        assert!(!notification_span("webhook").1.sampled);
    }

    #[test]
    fn endpoints_are_urls() {
        let traces = |endpoint| endpoint_url(endpoint);
        assert_eq!(traces("http://127.0.0.1:4318").unwrap(), "http://127.0.0.1:4318/v1/traces");
        assert_eq!(traces("https://otel.example/").unwrap(), "https://otel.example/v1/traces");
        assert_eq!(traces("http://otel/a/v1/traces").unwrap(), "http://otel/a/v1/traces");
        for bad in ["127.0.0.1:4318", "grpc://otel:4317", "http://", "", "http://a b"] {
            assert_eq!(traces(bad), None, "{bad}");
        }
    }
}
