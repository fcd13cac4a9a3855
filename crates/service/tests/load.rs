//! Connections that only sit there, slow clients, too many requests, a graceful stop.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)] // a test that fails here says where

mod common;

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use common::TestServer;

fn impatient(connections: u32) -> TestServer {
    TestServer::builder()
        .config(move |c| {
            c.limits.connections = connections;
            c.limits.header_timeout_s = 1;
            c.limits.request_timeout_s = 2;
            c.limits.stop_timeout_s = 5;
        })
        .start()
}

/// Seconds until the server closed the connection.
fn closed_after(mut read: impl FnMut(&mut [u8]) -> std::io::Result<usize>) -> f64 {
    let started = Instant::now();
    let mut buffer = [0; 1024];
    loop {
        match read(&mut buffer) {
            Ok(0) => break,
            Ok(_) => {}
            Err(e) if matches!(e.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut) => {
                assert!(started.elapsed() < Duration::from_secs(20), "the connection stays open");
            }
            Err(_) => break,
        }
    }
    started.elapsed().as_secs_f64()
}

#[test]
fn silent_and_slow_connections_are_closed() {
    let server = impatient(64);
    // No TLS at all.
    let mut plain = TcpStream::connect(server.address()).unwrap();
    plain.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
    assert!(closed_after(|b| plain.read(b)) < 6.0);
    // TLS, then nothing; TLS, then half of the headers.
    for start in [&b""[..], b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-A"] {
        let mut stream = common::connect(&server);
        stream.write_all(start).unwrap();
        stream.flush().unwrap();
        assert!(closed_after(|b| stream.read(b)) < 8.0, "{start:?}");
    }
    // Headers that trickle in: something moves all the time, and still there is an end.
    let mut stream = common::connect(&server);
    let started = Instant::now();
    while stream.write_all(b"X").and_then(|()| stream.flush()).is_ok() {
        assert!(started.elapsed() < Duration::from_secs(20), "a request whose headers never end is kept");
        std::thread::sleep(Duration::from_millis(200));
    }
    // Headers, then a body that never comes.
    let mut stream = common::connect(&server);
    let token = server.admin_token();
    write!(stream, "POST /v1/join-tokens HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{{").unwrap();
    let mut reply = vec![0; 4096];
    let n = stream.read(&mut reply).unwrap();
    let reply = String::from_utf8_lossy(&reply[..n]).into_owned();
    assert!(reply.starts_with("HTTP/1.1 408") && reply.contains("\"timeout\""), "{reply}");
    assert_eq!(server.admin().get("/v1/join-tokens").json()["items"].as_array().unwrap().len(), 1);
}

#[test]
fn more_connections_than_allowed_are_closed_and_the_service_lives() {
    let server = impatient(16);
    let idle: Vec<_> = (0..200).map(|_| TcpStream::connect(server.address()).unwrap()).collect();
    std::thread::sleep(Duration::from_millis(2500));
    // The idle ones ran into their time-out; there is room again while they still exist.
    assert_eq!(server.anonymous().get("/healthz").status, 200);
    let metrics = server.anonymous().get("/metrics").text();
    let refused = metrics.lines().find(|l| l.starts_with("veriboot_connections_refused_total")).unwrap();
    assert!(refused.rsplit(' ').next().unwrap().parse::<u32>().unwrap() >= 150, "{refused}");
    drop(idle);
}

#[test]
fn a_stop_lets_requests_end_and_takes_no_new_ones() {
    let mut server = impatient(64);
    let (address, client) = (server.address(), server.admin());
    assert_eq!(client.get("/v1/vms").status, 200);
    // A request in flight: its body comes after the stop began.
    let mut stream = common::connect(&server);
    let token = server.admin_token().to_owned();
    let body = r#"{"group":"late"}"#;
    write!(stream, "POST /v1/join-tokens HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n", body.len()).unwrap();
    stream.flush().unwrap();
    std::thread::sleep(Duration::from_millis(300));
    let stopping = std::thread::spawn(move || {
        server.stop();
        server
    });
    std::thread::sleep(Duration::from_millis(300));
    stream.write_all(body.as_bytes()).unwrap();
    let mut reply = vec![0; 4096];
    let n = stream.read(&mut reply).unwrap();
    assert!(reply[..n].starts_with(b"HTTP/1.1 201"), "{}", String::from_utf8_lossy(&reply[..n]));
    let mut server = stopping.join().unwrap();
    assert!(TcpStream::connect(address).is_err(), "nobody listens any more");
    server.restart();
    let groups = server.admin().get("/v1/join-tokens").text();
    assert!(groups.contains("\"late\""), "an answered change is durable: {groups}");
}
