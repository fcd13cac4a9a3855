//! Notifications to what is in use: a mail server, syslog over TLS, OCSF.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod agent_support;
mod common;
mod notify_support;
#[path = "notify_support/world.rs"]
mod world;

use std::io::{BufRead as _, BufReader, Read as _};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{Receiver as Channel, channel};
use std::time::Duration;

use agent_support::World;
use agent_support::boot::Boot;
use notify_support::{OK, Receiver, Running, free_port, until};
use serde_json::{Value, json};
use world::{add, admin, tampered, test};

/// Certificate and key of a server on 127.0.0.1, signed by itself.
struct Tls {
    certificate: rcgen::Certificate,
    key: rcgen::KeyPair,
    folder: tempfile::TempDir,
}

impl Tls {
    fn new() -> Self {
        let key = rcgen::KeyPair::generate().unwrap();
        let names = vec!["127.0.0.1".to_owned(), "localhost".to_owned()];
        let certificate = rcgen::CertificateParams::new(names).unwrap().self_signed(&key).unwrap();
        let tls = Self { certificate, key, folder: tempfile::tempdir().unwrap() };
        std::fs::write(tls.file("cert.pem"), tls.certificate.pem()).unwrap();
        std::fs::write(tls.file("key.pem"), tls.key.serialize_pem()).unwrap();
        tls
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

#[test]
fn events_follow_a_vm_and_steady_state_adds_none() {
    let world = World::sqlite();
    let client = admin(&world);
    let receiver = Receiver::start(OK);
    let settings = json!({ "url": receiver.url(), "allow_local": true });
    add(&client, &json!({ "name": "hook", "kind": "webhook", "settings": settings }));
    let mut guest = world.healthy_guest("web-0");
    guest.attest();
    guest.attest();
    let kinds = |from: usize| -> Vec<String> {
        let page = client.get("/v1/events?format=json&limit=1000").json();
        page["items"].as_array().unwrap()[from..]
            .iter()
            .map(|e| e["kind"].as_str().unwrap().to_owned())
            .collect()
    };
    let healthy = kinds(0);
    for kind in ["vm.enrolled", "vm.status-changed", "baseline.changed"] {
        assert_eq!(healthy.iter().filter(|k| *k == kind).count(), 1, "{kind} in {healthy:?}");
    }
    for _ in 0..3 {
        guest.attest();
    }
    assert_eq!(kinds(0), healthy, "attestations that change nothing append nothing");
    guest.boot(&Boot { kernel: "vmlinuz-of-somebody".into(), ..Boot::default() });
    guest.attest();
    guest.attest();
    let after = kinds(healthy.len());
    for kind in ["vm.status-changed", "alert.opened"] {
        assert_eq!(after.iter().filter(|k| *k == kind).count(), 1, "{kind} in {after:?}");
    }
    let told = receiver.wait_for(healthy.len() + after.len());
    let mut sequences: Vec<u64> = told.iter().map(notify_support::Request::sequence).collect();
    let all: Vec<u64> = (1..=u64::try_from(told.len()).unwrap()).collect();
    assert_eq!(sequences, all);
    sequences.dedup();
    let status = told
        .iter()
        .map(notify_support::Request::json)
        .find(|e| e["data"]["data"]["after"] == "unhealthy")
        .unwrap();
    assert_eq!(status["data"]["data"]["before"], "healthy");
    assert_eq!((&status["data"]["vm_name"], &status["severity"]), (&json!("web-0"), &json!("medium")));
}

#[test]
fn two_replicas_tell_every_event_once_and_in_order() {
    let Some(world) = World::postgres() else { return };
    let client = admin(&world);
    let receiver = Receiver::start(OK);
    let settings = json!({ "url": receiver.url(), "allow_local": true });
    add(&client, &json!({ "name": "hook", "kind": "webhook", "settings": settings }));
    let replica = world.replica();
    for n in 0..60 {
        let store = if n % 2 == 0 { &world.state().store } else { &replica.state().store };
        let now = world.clock.now();
        let appended = store.write(move |tx| {
            let data = json!({});
            let event = veriboot_store::events::NewEvent {
                at: now,
                kind: "vm.enrolled",
                severity: veriboot_wire::Severity::Info,
                group: None,
                scale_set: None,
                vm_id: None,
                vm_name: None,
                subject: None,
                data: &data,
            };
            veriboot_store::events::append(tx, &event)
        });
        world.block_on(appended).unwrap();
    }
    let told: Vec<u64> = receiver.wait_for(60).iter().map(notify_support::Request::sequence).collect();
    assert_eq!(told, (1..=60).collect::<Vec<u64>>());
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(receiver.requests().len(), 60, "nothing is told twice");
}

/// A real mail server; its messages come one by one.
fn mail_server(tls: &Tls, mode: &str) -> (Running, u16, Channel<Value>) {
    let port = free_port();
    let mut child = Command::new("/usr/bin/python3")
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/notify_support/smtp.py"))
        .arg(port.to_string())
        .args([tls.file("cert.pem"), tls.file("key.pem")])
        .arg(mode)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    let running = Running(child);
    assert_eq!(
        lines.next().as_deref(),
        Some("ready"),
        "python3-aiosmtpd is installed: scripts/packages.sh test"
    );
    let (send, messages) = channel();
    std::thread::spawn(move || {
        for line in lines {
            let _ = send.send(serde_json::from_str(&line).unwrap());
        }
    });
    (running, port, messages)
}

fn mail(name: &str, port: u16, tls: &Tls, mode: &str) -> Value {
    json!({
        "name": name, "kind": "email",
        "settings": {
            "host": "localhost", "port": port, "tls": mode, "username": "veriboot", "from": "Veriboot <veriboot@example.com>",
            "to": ["ops@example.com", "Ann <ann@example.com>"], "ca": tls.certificate.pem(), "allow_local": true,
        },
        "secrets": { "password": "open sesame" },
        "route": { "kinds": ["alert.*"] },
    })
}

#[test]
fn mail_goes_out_by_starttls_and_by_tls_and_never_in_clear() {
    let world = World::sqlite();
    let client = admin(&world);
    let tls = Tls::new();
    let (_starttls, port, messages) = mail_server(&tls, "starttls");
    let (_tls, tls_port, tls_messages) = mail_server(&tls, "tls");
    let (_plain, plain_port, plain_messages) = mail_server(&tls, "plain");
    add(&client, &mail("mail", port, &tls, "starttls"));
    add(&client, &mail("tls", tls_port, &tls, "tls"));
    let guest = tampered(&world, "web-0");
    let ours = world.open_alerts(&guest.vm_id()).pop().unwrap();
    for messages in [&messages, &tls_messages] {
        let message = messages.recv_timeout(Duration::from_secs(20)).unwrap();
        assert_eq!((&message["tls"], &message["user"]), (&json!(true), &json!("veriboot")));
        assert_eq!(message["from"], "veriboot@example.com");
        assert_eq!(message["to"], json!(["ops@example.com", "ann@example.com"]));
        // Without the soft line breaks of quoted-printable.
        let text = message["text"].as_str().unwrap().replace("=\r\n", "").replace("=\n", "");
        for part in
            ["Subject: [veriboot] medium: web-0: ", "Message-ID: <", "alert.opened", &ours.id, "What to do:"]
        {
            assert!(text.contains(part), "{part} is missing in {text}");
        }
    }
    // A server without STARTTLS, a wrong password, a certificate of somebody else: told, and nothing sent.
    add(&client, &mail("plain", plain_port, &tls, "starttls"));
    assert_eq!(test(&client, "plain")["delivered"], false);
    let mut wrong = mail("wrong", port, &tls, "starttls");
    wrong["secrets"]["password"] = "guess".into();
    add(&client, &wrong);
    assert!(test(&client, "wrong")["error"].as_str().unwrap().contains("535"));
    let mut stranger = mail("stranger", port, &tls, "starttls");
    stranger["settings"].as_object_mut().unwrap().remove("ca");
    add(&client, &stranger);
    assert!(test(&client, "stranger")["error"].as_str().unwrap().contains("ertificate"));
    assert!(plain_messages.recv_timeout(Duration::from_millis(200)).is_err());
    assert_eq!(test(&client, "mail")["delivered"], true);
    let tested = messages.recv_timeout(Duration::from_secs(20)).unwrap();
    assert!(tested["text"].as_str().unwrap().contains("This is a test"), "{tested}");
}

/// A syslog server over TLS, or without; the whole of each connection comes at once.
fn syslog_server(tls: Option<&Tls>) -> (u16, Channel<Vec<u8>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (send, connections) = channel();
    let config = tls.map(|tls| {
        let key = rustls_pki_types::PrivatePkcs8KeyDer::from(tls.key.serialize_der()).into();
        let config = rustls::ServerConfig::builder_with_provider(veriboot_service::tls::install_provider())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![tls.certificate.der().clone()], key);
        Arc::new(config.unwrap())
    });
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let mut bytes = Vec::new();
            match &config {
                Some(config) => {
                    let connection = rustls::ServerConnection::new(config.clone()).unwrap();
                    let _ = rustls::StreamOwned::new(connection, stream).read_to_end(&mut bytes);
                }
                None => {
                    let _ = { stream }.read_to_end(&mut bytes);
                }
            }
            let _ = send.send(bytes);
        }
    });
    (port, connections)
}

/// Messages by their octet counts.
fn frames(mut bytes: &[u8]) -> Vec<String> {
    let mut found = Vec::new();
    while !bytes.is_empty() {
        let space = bytes.iter().position(|b| *b == b' ').unwrap();
        let length: usize = std::str::from_utf8(&bytes[..space]).unwrap().parse().unwrap();
        found.push(String::from_utf8(bytes[space + 1..=space + length].to_vec()).unwrap());
        bytes = &bytes[space + 1 + length..];
    }
    found
}

#[test]
fn syslog_goes_out_by_tls_and_by_tcp() {
    let world = World::sqlite();
    let client = admin(&world);
    let tls = Tls::new();
    let (port, connections) = syslog_server(Some(&tls));
    let (plain_port, plain) = syslog_server(None);
    let settings =
        json!({ "host": "127.0.0.1", "port": port, "ca": tls.certificate.pem(), "allow_local": true });
    add(&client, &json!({ "name": "tls", "kind": "syslog", "settings": settings }));
    let settings = json!({ "host": "127.0.0.1", "port": plain_port, "tls": "none", "allow_local": true });
    add(&client, &json!({ "name": "tcp", "kind": "syslog", "settings": settings }));
    let guest = world.healthy_guest("web-0");
    let count = client.get("/v1/events?format=json").json()["items"].as_array().unwrap().len();
    for connections in [&connections, &plain] {
        let mut messages = Vec::new();
        while messages.len() < count {
            messages.extend(frames(&connections.recv_timeout(Duration::from_secs(20)).unwrap()));
        }
        assert_eq!(messages.len(), count);
        let first = messages.iter().find(|m| m.contains(" vm.enrolled ")).unwrap();
        assert!(first.starts_with("<38>1 20"), "{first}");
        assert!(first.contains(&format!("vm=\"web-0\" vm_id=\"{}\"", guest.vm_id())), "{first}");
        assert!(first.contains("] \u{feff}web-0: "), "{first}");
    }
    // Somebody else's certificate.
    let settings = json!({ "host": "127.0.0.1", "port": port, "allow_local": true });
    add(&client, &json!({ "name": "stranger", "kind": "syslog", "settings": settings }));
    assert_eq!(test(&client, "stranger")["delivered"], false);
}

#[test]
fn ocsf_goes_to_a_file_that_may_be_rotated_and_by_http() {
    let world = World::sqlite();
    let client = admin(&world);
    let receiver = Receiver::start(OK);
    let settings = json!({ "url": receiver.url(), "allow_local": true });
    let secrets = json!({ "authorization": "Splunk token" });
    add(
        &client,
        &json!({ "name": "http", "kind": "ocsf", "settings": settings, "secrets": secrets, "route": { "kinds": ["alert.*"] } }),
    );
    let route = json!({ "kinds": ["alert.*"] });
    add(
        &client,
        &json!({ "name": "file", "kind": "ocsf", "settings": { "file": "findings.jsonl" }, "route": route }),
    );
    let route = json!({ "kinds": ["assessment.*"] });
    add(
        &client,
        &json!({ "name": "compliance", "kind": "ocsf", "settings": { "file": "compliance.jsonl" }, "route": route }),
    );
    let mut guest = tampered(&world, "web-0");
    let export = world.state().config.data_dir.join("export");
    let file = export.join("findings.jsonl");
    let read = |file: &Path| -> Vec<Value> {
        let text = std::fs::read_to_string(file).unwrap_or_default();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    let written = until(|| Some(read(&file)).filter(|lines| !lines.is_empty()), || "a finding".into());
    assert_eq!((&written[0]["class_uid"], &written[0]["activity_id"]), (&json!(2004), &json!(1)));
    let compliance = export.join("compliance.jsonl");
    let assessed =
        until(|| Some(read(&compliance)).filter(|lines| !lines.is_empty()), || "an assessment".into());
    assert!(assessed.iter().all(|finding| finding["class_uid"] == 2003), "{assessed:#?}");
    use std::os::unix::fs::PermissionsExt as _;
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&export), mode(&file)), (0o700, 0o600));

    let rotated = export.join("findings.jsonl.1");
    std::fs::rename(&file, &rotated).unwrap();
    guest.boot(&Boot::default());
    guest.attest();
    let closed =
        until(|| Some(read(&file)).filter(|lines| !lines.is_empty()), || "a finding in a new file".into());
    assert_eq!((&closed[0]["activity_id"], &closed[0]["status"]), (&json!(3), &json!("Resolved")));
    assert_eq!(closed[0]["finding_info"]["uid"], written[0]["finding_info"]["uid"]);
    assert_eq!(read(&rotated), written);

    let posted = receiver.wait_for(2);
    assert_eq!(posted[0].header("authorization"), "Splunk token");
    assert_eq!(posted[0].json(), json!(written));
}
