//! Events as pages and as a stream that is resumed.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::io::{BufRead as _, BufReader, Write as _};
use std::time::{Duration, Instant};

use common::TestServer;
use serde_json::{Value, json};
use veriboot_service::notify;
use veriboot_store::events::{self, NewEvent};
use veriboot_wire::Severity;

fn happen(server: &TestServer, kind: &str, severity: Severity, group: &str) -> u64 {
    let (kind, group) = (kind.to_owned(), group.to_owned());
    let now = server.clock().now();
    server
        .block_on(server.state().store.write(move |tx| {
            let data = json!({});
            let event = NewEvent {
                at: now,
                kind: &kind,
                severity,
                group: Some(&group),
                scale_set: None,
                vm_id: None,
                vm_name: None,
                subject: None,
                data: &data,
            };
            events::append(tx, &event)?;
            Ok(events::bounds(tx)?.newest)
        }))
        .unwrap()
}

/// A stream that is read line by line.
struct Stream(BufReader<rustls::StreamOwned<rustls::ClientConnection, std::net::TcpStream>>);

impl Stream {
    fn open(server: &TestServer, query: &str, last: Option<u64>) -> Self {
        Self::open_as(server, server.admin_token(), query, last)
    }

    fn open_as(server: &TestServer, token: &str, query: &str, last: Option<u64>) -> Self {
        let mut stream = common::connect(server);
        stream.sock.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let last = last.map(|id| format!("last-event-id: {id}\r\n")).unwrap_or_default();
        write!(
            stream,
            "GET /v1/events{query} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\n{last}\r\n"
        )
        .unwrap();
        Self(BufReader::new(stream))
    }

    /// The next line of the body that begins so, without its beginning; chunk sizes and all else are passed over.
    fn line(&mut self, beginning: &str) -> String {
        loop {
            let mut line = String::new();
            assert_ne!(self.0.read_line(&mut line).unwrap(), 0, "the stream ended");
            if let Some(rest) = line.strip_prefix(beginning) {
                return rest.trim().to_owned();
            }
        }
    }

    fn begin(&mut self) -> u64 {
        assert_eq!(self.line("content-type: "), "text/event-stream");
        self.line("id:").parse().unwrap()
    }

    fn event(&mut self) -> Value {
        serde_json::from_str(&self.line("data:")).unwrap()
    }
}

#[test]
fn a_stream_tells_what_is_asked_for_and_goes_on_where_it_broke() {
    let server = TestServer::start();
    let first = happen(&server, "vm.enrolled", Severity::Info, "a");
    let mut all = Stream::open(&server, "", None);
    assert_eq!(all.begin(), first);
    let mut some = Stream::open(&server, "?kind=alert.*&severity=medium&group=b", None);
    some.begin();
    let low = happen(&server, "alert.opened", Severity::Low, "b");
    let other = happen(&server, "alert.opened", Severity::High, "a");
    let wanted = happen(&server, "alert.opened", Severity::High, "b");
    for sequence in [low, other, wanted] {
        let event = all.event();
        assert_eq!(event["sequence"], sequence);
    }
    assert_eq!(some.event()["sequence"], wanted);
    drop((all, some));

    let missed = happen(&server, "vm.deleted", Severity::Info, "a");
    let mut again = Stream::open(&server, "", Some(other));
    again.begin();
    assert_eq!(again.event()["sequence"], wanted);
    assert_eq!(again.event()["sequence"], missed);
    let mut from_start = Stream::open(&server, "?after=0", None);
    assert_eq!((from_start.begin(), from_start.event()["sequence"].clone()), (0, json!(first)));
    // A number from another database: the stream begins with what comes next.
    let mut ahead = Stream::open(&server, "?after=1000000", None);
    assert_eq!(ahead.begin(), missed);
    assert!(server.admin().get("/metrics").text().contains("veriboot_event_streams"));
}

#[test]
fn a_gap_is_told() {
    let server = TestServer::builder().config(|c| c.notifications.retention_s = 86_400).start();
    let old = happen(&server, "vm.enrolled", Severity::Info, "a");
    happen(&server, "vm.enrolled", Severity::Info, "a");
    server.clock().advance_ms(2 * 86_400_000);
    let new = happen(&server, "vm.enrolled", Severity::Info, "a");
    assert_eq!(server.block_on(notify::sweep(server.state())).unwrap(), 2);
    let mut stream = Stream::open(&server, "", Some(old - 1));
    stream.begin();
    assert_eq!(stream.line("event:"), "gap");
    assert_eq!(stream.event(), json!({ "after": old - 1, "oldest": new }));
    assert_eq!(stream.event()["sequence"], new);
}

#[test]
fn a_silent_stream_says_that_it_lives_and_ends_with_the_service() {
    let mut server = TestServer::start();
    let mut stream = Stream::open(&server, "?kind=alert.*", None);
    stream.begin();
    let asked = Instant::now();
    stream.line(": alive");
    assert!(asked.elapsed() < Duration::from_secs(19));
    // The service does not wait for somebody who only listens.
    let asked = Instant::now();
    server.stop();
    assert!(asked.elapsed() < Duration::from_secs(10), "{:?}", asked.elapsed());
}

#[test]
fn streams_are_bounded() {
    let server = TestServer::builder().config(|c| c.limits.streams_per_token = 256).start();
    let mut open: Vec<Stream> = (0..256).map(|_| Stream::open(&server, "", None)).collect();
    for stream in &mut open {
        stream.begin();
    }
    let refused = server.with_scope("viewer").get("/v1/events");
    assert_eq!((refused.status, refused.code().as_str()), (429, "too-many"));
    assert_eq!(server.admin().get("/v1/events?format=json").status, 200);
    drop(open.pop());
    // Its place is free once the service sees that it is gone.
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        happen(&server, "vm.enrolled", Severity::Info, "a");
        let mut next = Stream::open(&server, "", None);
        let mut status = String::new();
        next.0.read_line(&mut status).unwrap();
        if status.contains("200") {
            break;
        }
        assert!(Instant::now() < deadline, "{status}");
        std::thread::sleep(Duration::from_millis(300));
    }
}

#[test]
fn one_token_does_not_take_all_streams() {
    let server = TestServer::builder().config(|c| c.limits.streams_per_token = 3).start();
    let mut open: Vec<Stream> = (0..3).map(|_| Stream::open(&server, "", None)).collect();
    for stream in &mut open {
        stream.begin();
    }
    let refused = server.admin().get("/v1/events");
    assert_eq!((refused.status, refused.code().as_str()), (429, "too-many-streams"));
    assert!(refused.header("retry-after").is_some());
    // Somebody else still has room, and pages are no streams.
    assert_eq!(server.admin().get("/v1/events?format=json").status, 200);
    let metrics = server.admin().get("/metrics").text();
    assert!(metrics.contains("veriboot_event_streams 3"), "{metrics}");
    assert!(metrics.contains(r#"veriboot_event_streams_refused_total{cause="token"} 1"#), "{metrics}");
    let mut other = Stream::open_as(&server, &server.secret("viewer"), "", None);
    other.begin();
}

#[test]
fn pages_and_bad_questions() {
    let server = TestServer::start();
    for _ in 0..3 {
        happen(&server, "vm.enrolled", Severity::Info, "a");
    }
    let admin = server.admin();
    let page = admin.get("/v1/events?format=json&limit=2").json();
    assert_eq!(page["items"].as_array().unwrap().len(), 2);
    let next =
        admin.get(&format!("/v1/events?format=json&cursor={}", page["next_cursor"].as_str().unwrap())).json();
    assert_eq!(next["items"].as_array().unwrap().len(), 1);
    assert_eq!(server.with_scope("viewer").get("/v1/events?format=json").status, 200);
    for (query, code) in [
        ("?format=xml", "invalid-query"),
        ("?limit=5", "invalid-query"),
        ("?format=json&limit=0", "invalid-query"),
        ("?format=json&kind=nothing.*", "invalid-query"),
        ("?format=json&cursor=zz", "invalid-cursor"),
        ("?format=json&severity=bad", "invalid-query"),
        ("?format=json&unknown=1", "invalid-query"),
    ] {
        let refused = admin.get(&format!("/v1/events{query}"));
        assert_eq!((refused.status, refused.code().as_str()), (400, code), "{query}");
    }
    assert_eq!(server.anonymous().get("/v1/events").code(), "unauthenticated");
}
