//! Starting and stopping: first start, restart, own certificate, faults of the surroundings.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)] // a test that fails here says where

mod common;

use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use common::{Client, TestServer};
use serde_json::json;
use veriboot_service::{Clock, Config, ServeOptions, Server};

#[test]
fn first_start_makes_what_is_needed_and_tells_it_once() {
    let mut server = TestServer::start();
    let first = server.announcement().first_start.clone().unwrap();
    let token = first.admin_token.unwrap();
    assert!(token.starts_with("vbt_") && token.len() == 47, "{token}");
    assert!(first.install.contains("--join-token vbj_"), "{}", first.install);
    let text = server.announcement().to_string();
    let sha256 = server.announcement().ca_sha256.clone().unwrap();
    assert!(text.contains(&token) && text.contains(&format!("sha256:{sha256}")), "{text}");
    let as_json: serde_json::Value =
        serde_json::from_str(&serde_json::to_string(server.announcement()).unwrap()).unwrap();
    assert_eq!(as_json["first_start"]["admin_token"], token);
    // The fingerprint is the one that openssl shows of the file.
    let shown = Command::new("openssl")
        .args(["x509", "-noout", "-fingerprint", "-sha256", "-in"])
        .arg(server.ca_file())
        .output()
        .unwrap();
    let shown = String::from_utf8(shown.stdout).unwrap().to_lowercase().replace(':', "");
    assert!(shown.contains(&sha256), "{shown} {sha256}");

    for name in ["ca.key", "tls.key"] {
        let mode = std::fs::metadata(server.ca_file().with_file_name(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
    // Only the hash is stored.
    server.stop();
    for entry in std::fs::read_dir(server.ca_file().parent().unwrap()).unwrap() {
        let bytes = std::fs::read(entry.unwrap().path()).unwrap();
        assert!(!bytes.windows(token.len()).any(|w| w == token.as_bytes()));
    }
    server.restart();
    assert!(server.announcement().first_start.is_none());
    assert!(!server.announcement().to_string().contains("vbt_"));
    assert_eq!(server.admin().get("/v1/version").status, 200);
}

#[test]
fn restart_keeps_everything() {
    let mut server = TestServer::start();
    let operator = server.with_scope("operator");
    let made = operator.post("/v1/join-tokens", &json!({ "group": "web", "uses": 7 })).json();
    let key = std::fs::read(server.ca_file().with_file_name("tls.key")).unwrap();
    let entries = server.admin().get("/v1/audit").json()["items"].as_array().unwrap().len();
    server.restart();
    let tokens = operator.get("/v1/join-tokens").json();
    assert!(tokens["items"].as_array().unwrap().iter().any(|t| t["id"] == made["id"] && t["uses_left"] == 7));
    assert_eq!(server.admin().get("/v1/audit").json()["items"].as_array().unwrap().len(), entries);
    assert_eq!(server.admin().get("/v1/audit/verify").json()["intact"], true);
    assert_eq!(std::fs::read(server.ca_file().with_file_name("tls.key")).unwrap(), key);
}

#[test]
fn the_leaf_is_renewed_and_ca_and_key_stay() {
    let mut server = TestServer::start();
    let ca = std::fs::read(server.ca_file()).unwrap();
    let leaf_file = server.ca_file().with_file_name("tls.pem");
    let (leaf, pin) = (std::fs::read(&leaf_file).unwrap(), server.state().identity.pin.clone());
    server.restart();
    assert_eq!(std::fs::read(&leaf_file).unwrap(), leaf, "a fresh leaf is kept");
    server.clock().step_ms(61 * 86_400_000);
    server.restart();
    assert_ne!(std::fs::read(&leaf_file).unwrap(), leaf, "60 days later it is made again");
    assert_eq!(std::fs::read(server.ca_file()).unwrap(), ca);
    assert_eq!(server.state().identity.pin, pin, "a pinned key survives the renewal");
    let leaf = std::fs::read(&leaf_file).unwrap();
    server.restart_with(|c| c.tls.names = vec!["veriboot.example".into(), "192.0.2.7".into()]);
    assert_ne!(std::fs::read(&leaf_file).unwrap(), leaf, "other names, another leaf");
    let shown = Command::new("openssl")
        .args(["x509", "-noout", "-ext", "subjectAltName,extendedKeyUsage", "-in"])
        .arg(&leaf_file)
        .output()
        .unwrap();
    let shown = String::from_utf8(shown.stdout).unwrap();
    for part in ["DNS:veriboot.example", "IP Address:192.0.2.7", "DNS:localhost", "TLS Web Server"] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    let verified = Command::new("openssl")
        .args(["verify", "-no_check_time", "-CAfile"])
        .arg(server.ca_file())
        .arg(&leaf_file)
        .output()
        .unwrap();
    assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stderr));
}

#[test]
fn own_certificates_are_used_and_bad_ones_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let make = |arguments: &[&str]| {
        let made = Command::new("openssl").current_dir(folder.path()).args(arguments).output().unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    };
    make(&[
        "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=ca", "-keyout", "ca.key", "-out",
        "ca.pem",
    ]);
    make(&[
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-subj",
        "/CN=own",
        "-CA",
        "ca.pem",
        "-CAkey",
        "ca.key",
        "-addext",
        "basicConstraints=critical,CA:FALSE",
        "-addext",
        "subjectAltName=IP:127.0.0.1",
        "-keyout",
        "own.key",
        "-out",
        "own.pem",
    ]);
    make(&["genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", "other.key"]);
    let (cert, key, ca) = (path("own.pem"), path("own.key"), path("ca.pem"));
    let server = TestServer::builder()
        .config(move |c| {
            c.tls.ca = Some(ca);
            c.tls.cert = Some(cert);
            c.tls.key = Some(key);
        })
        .start();
    let client = Client::new(&server.url(), &path("ca.pem"), Some(server.admin_token()));
    assert_eq!(client.get("/v1/version").status, 200);
    assert_eq!(client.get("/ca.pem").body, std::fs::read(path("ca.pem")).unwrap());
    assert!(!server.ca_file().exists(), "no CA is made beside an own certificate");

    std::fs::write(path("garbage.pem"), "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
        .unwrap();
    std::fs::write(path("empty.pem"), "").unwrap();
    for (cert, key) in [
        ("garbage.pem", "own.key"),
        ("empty.pem", "own.key"),
        ("none.pem", "own.key"),
        ("own.pem", "none.key"),
        ("own.pem", "empty.pem"),
        ("own.pem", "own.pem"),
        ("own.pem", "other.key"),
    ] {
        let (c, k) = (path(cert), path(key));
        let error = TestServer::builder()
            .config(move |config| {
                config.tls.cert = Some(c);
                config.tls.key = Some(k);
            })
            .try_start()
            .err()
            .unwrap_or_else(|| panic!("{cert} {key} was accepted"));
        assert_eq!(error.code(), "certificate-unusable", "{cert} {key}: {error}");
        assert!(error.hint().is_some());
    }
}

fn start(config: Config, options: &ServeOptions) -> Result<(), veriboot_service::StartError> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let server = Server::start(config, Clock::system(), options).await?;
        server.stop().await;
        Ok(())
    })
}

#[test]
fn faults_of_the_surroundings_are_named() {
    let server = TestServer::start();
    let folder = tempfile::tempdir().unwrap();
    let config = |data: &str| Config {
        listen: "127.0.0.1:0".parse().unwrap(),
        data_dir: folder.path().join(data),
        ..Config::default()
    };
    let check = |config: Config, code: &str| {
        let error = start(config, &ServeOptions::default()).unwrap_err();
        assert_eq!(error.code(), code, "{error}");
        assert!(error.hint().is_some(), "{code} has no hint");
        error.to_string()
    };
    let text = check(Config { listen: server.address(), ..config("a") }, "port-in-use");
    assert!(text.contains(&server.address().to_string()), "{text}");
    assert!(!folder.path().join("a/veriboot.db").exists(), "a start that cannot listen touches no database");
    check(Config { listen: "192.0.2.1:1".parse().unwrap(), ..config("b") }, "listen-failed");
    let data_dir = server.ca_file().parent().unwrap().to_owned();
    check(Config { data_dir, ..config("c") }, "data-dir-in-use");
    std::fs::write(folder.path().join("file"), "x").unwrap();
    check(config("file/below"), "data-dir-unusable");
    check(config("file"), "data-dir-unusable");
    let database = Some("postgres://nobody@127.0.0.1:1/none".to_owned());
    check(Config { database, ..config("d") }, "database-unavailable");
    check(Config { agent_binary: Some(folder.path().join("file")), ..config("e") }, "agent-binary-unusable");
    check(Config { agent_binary: Some(folder.path().join("none")), ..config("e") }, "agent-binary-unusable");
    check(Config { interval_s: 0, ..config("f") }, "config-invalid");

    start(config("g"), &ServeOptions::default()).unwrap();
    let key = folder.path().join("g/ca.key");
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o644)).unwrap();
    let text = check(config("g"), "key-exposed");
    assert!(text.contains("ca.key"), "{text}");
}

#[test]
fn the_admin_token_can_go_to_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("admin.token");
    let config = |data: &str| Config {
        listen: "127.0.0.1:0".parse().unwrap(),
        data_dir: folder.path().join(data),
        ..Config::default()
    };
    let options = ServeOptions { json: true, admin_token_file: Some(file.clone()) };
    start(config("a"), &options).unwrap();
    let token = std::fs::read_to_string(&file).unwrap();
    assert!(token.starts_with("vbt_") && token.ends_with('\n'));
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    // Later starts leave the file alone.
    start(config("a"), &options).unwrap();
    assert_eq!(std::fs::read_to_string(&file).unwrap(), token);
    // A first start never overwrites what is there, and makes no token that nobody is told.
    let error = start(config("b"), &options).unwrap_err();
    assert_eq!(error.code(), "token-file-unwritable");
    std::fs::remove_file(&file).unwrap();
    start(config("b"), &options).unwrap();
    assert_ne!(std::fs::read_to_string(&file).unwrap(), token);
}

#[test]
fn a_database_that_goes_away_is_said_and_comes_back() {
    if veriboot_testkit::postgres::Postgres::shared().unwrap().is_none() {
        return;
    }
    let mut postgres = veriboot_testkit::postgres::Postgres::start().unwrap();
    let mut server = TestServer::builder().database(&postgres.database().unwrap()).start();
    let admin = server.admin();
    assert_eq!(admin.get("/readyz").status, 200);
    postgres.stop();
    for path in ["/readyz", "/v1/vms"] {
        let reply = admin.get(path);
        assert_eq!(
            (reply.status, reply.code().as_str()),
            (503, "database-unavailable"),
            "{path}: {}",
            reply.text()
        );
        assert!(reply.header("retry-after").is_some());
        for secret in ["127.0.0.1:", "only for tests", "postgres"] {
            assert!(!reply.text().contains(secret), "{}", reply.text());
        }
    }
    assert_eq!(admin.get("/healthz").status, 200, "the process is alive");
    postgres.start_server().unwrap();
    assert_eq!(admin.get("/readyz").status, 200);
    // A restart finds everything, first of all that it is not the first start.
    server.restart();
    assert!(server.announcement().first_start.is_none());
    assert_eq!(server.admin().get("/v1/audit/verify").json()["intact"], true);
}
