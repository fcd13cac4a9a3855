//! Spans of requests and stages reach a collector, and a collector that is not there costs nothing but spans.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod agent_support;
mod common;

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use agent_support::World;
use serde_json::Value;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use veriboot_service::{TracesConfig, traces};

/// Takes requests of OTLP over HTTP and gives their bodies.
fn collector() -> (String, Receiver<(String, Value)>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (mut stream, sender) = (stream.unwrap(), sender.clone());
            std::thread::spawn(move || {
                let mut reader = BufReader::new(stream.try_clone().unwrap());
                loop {
                    let mut head = String::new();
                    while reader.read_line(&mut head).unwrap_or(0) > 0 && !head.ends_with("\r\n\r\n") {}
                    let head = head.to_ascii_lowercase();
                    let Some(length) = head.lines().find_map(|line| line.strip_prefix("content-length: "))
                    else {
                        return;
                    };
                    let mut body = vec![0; length.parse().unwrap()];
                    reader.read_exact(&mut body).unwrap();
                    let line = head.lines().next().unwrap().to_owned();
                    sender.send((line, serde_json::from_slice(&body).unwrap())).unwrap();
                    let answer =
                        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}";
                    stream.write_all(answer.as_bytes()).unwrap();
                }
            });
        }
    });
    (endpoint, receiver)
}

fn text<'a>(span: &'a Value, attribute: &str) -> Option<&'a str> {
    let attributes = span["attributes"].as_array().unwrap();
    attributes.iter().find(|a| a["key"] == attribute)?["value"]["stringValue"].as_str()
}

#[test]
fn an_attestation_is_a_trace() {
    let (endpoint, received) = collector();
    let config = TracesConfig { otlp_endpoint: Some(endpoint), ..TracesConfig::default() };
    tracing_subscriber::registry().with(traces::layer(&config).unwrap()).init();
    let world = World::sqlite();
    let name = "secret-name";
    let guest = world.healthy_guest(name);
    // A caller's trace goes on here; what is no trace does not.
    let client = common::Client::new(&world.url(), &world.ca_file(), None);
    let (trace, caller) = ("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7");
    for told in [format!("00-{trace}-{caller}-01"), format!("00-{trace}-{caller}-01-x")] {
        let asked = ureq::http::Request::builder()
            .method("GET")
            .uri(format!("{}/healthz", world.url()))
            .header("traceparent", told);
        assert_eq!(client.run(asked.body(()).unwrap()).status, 200);
    }
    let of_caller = |spans: &[Value]| spans.iter().filter(|s| s["traceId"] == trace).count();

    let mut spans: Vec<Value> = Vec::new();
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(30)
        && (!spans.iter().any(|span| span["name"] == "store") || of_caller(&spans) == 0)
    {
        let Ok((line, body)) = received.recv_timeout(Duration::from_secs(10)) else { break };
        assert_eq!(line, "post /v1/traces http/1.1");
        assert!(!body.to_string().contains(name) && !body.to_string().contains(&guest.agent_token()));
        let resource = &body["resourceSpans"][0];
        assert_eq!(text(&resource["resource"], "service.name"), Some("veriboot"));
        spans.extend(resource["scopeSpans"][0]["spans"].as_array().unwrap().iter().cloned());
    }
    assert_eq!(of_caller(&spans), 1);
    let joined = spans.iter().find(|s| s["traceId"] == trace).unwrap();
    assert_eq!((&joined["parentSpanId"], &joined["kind"]), (&caller.into(), &2.into()));
    let store = spans.iter().find(|span| span["name"] == "store").expect("the transaction is a span");
    let request =
        spans.iter().find(|span| span["spanId"] == store["parentSpanId"]).expect("and has a request");
    assert_eq!(request["kind"], 2);
    assert_eq!(text(request, "http.request.method"), Some("POST"));
    assert!(text(request, "request_id").is_some());
    let route = text(request, "http.route").unwrap();
    assert_eq!(request["name"], format!("POST {route}"));
    assert!(route.starts_with("/v1/agent/"), "{route}");
    let of_trace: Vec<&Value> = spans.iter().filter(|span| span["traceId"] == request["traceId"]).collect();
    for stage in ["decode", "log", "appraisal", "quote", "store"] {
        let span = of_trace.iter().find(|span| span["name"] == stage).unwrap_or_else(|| panic!("{stage}"));
        let time = |name: &str| span[name].as_str().unwrap().parse::<u64>().unwrap();
        assert!(time("startTimeUnixNano") <= time("endTimeUnixNano"));
        assert_eq!(span["spanId"].as_str().unwrap().len(), 16);
    }
    assert_eq!(request["traceId"].as_str().unwrap().len(), 32);
}

#[test]
fn a_collector_that_is_gone_delays_nobody() {
    // A port where nobody listens.
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let config =
        TracesConfig { otlp_endpoint: Some(format!("http://127.0.0.1:{port}")), ..TracesConfig::default() };
    let subscriber = tracing_subscriber::registry().with(traces::layer(&config).unwrap());
    tracing::subscriber::with_default(subscriber, || {
        let start = Instant::now();
        for _ in 0..100_000 {
            let span = tracing::info_span!(target: "veriboot_service::middleware", "request", route = "/x");
            drop(span.entered());
        }
        assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
    });
}

#[test]
fn only_urls_are_endpoints() {
    let config = TracesConfig { otlp_endpoint: Some("127.0.0.1:4317".into()), one_in: 1 };
    let error = traces::layer::<tracing_subscriber::Registry>(&config).err().unwrap();
    assert_eq!(error.code(), "config-invalid");
    let none = traces::layer::<tracing_subscriber::Registry>(&TracesConfig::default()).unwrap();
    assert!(none.is_none());
}
