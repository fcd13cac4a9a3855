//! `veriboot notify` and `veriboot watch` against a real service.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod serve;

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use serde_json::{Value, json};

/// `veriboot serve`, which may be ended and started again in one place; ends when dropped.
struct Service {
    running: Option<serve::Service>,
    folder: PathBuf,
    port: u16,
    admin_token: String,
}

impl Service {
    fn start(folder: &Path) -> Self {
        let port = serve::free_port();
        let running = serve::Service::start_at(folder, port);
        let admin_token = running.admin_token().to_owned();
        Self { running: Some(running), folder: folder.to_owned(), port, admin_token }
    }

    fn serve(&mut self) {
        self.running = Some(serve::Service::start_at(&self.folder, self.port));
    }

    fn kill(&mut self) {
        self.running = None;
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_veriboot"));
        command
            .args(arguments)
            .current_dir(&self.folder)
            .env("VERIBOOT_SERVER", format!("https://127.0.0.1:{}", self.port))
            .env("VERIBOOT_CA", self.folder.join("data/ca.pem"))
            .env("VERIBOOT_TOKEN", &self.admin_token)
            .env("VERIBOOT_CLI_CONFIG", self.folder.join("none"))
            .env("COLUMNS", "200")
            .stdin(Stdio::null());
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// What a command says that ends with this code, both streams.
    #[track_caller]
    fn ends(&self, arguments: &[&str], code: i32) -> String {
        let out = self.run(arguments);
        let said = String::from_utf8_lossy(&out.stdout).into_owned() + &String::from_utf8_lossy(&out.stderr);
        assert_eq!(out.status.code(), Some(code), "{arguments:?}\n{said}");
        said
    }

    #[track_caller]
    fn says(&self, arguments: &[&str], parts: &[&str]) -> String {
        let said = self.ends(arguments, 0);
        for part in parts {
            assert!(said.contains(part), "{part:?} is missing after {arguments:?}\n{said}");
        }
        said
    }

    /// Something happens: a profile is stored under this name.
    fn happen(&self, name: &str) {
        let file = self.folder.join(format!("{name}.json"));
        let built_in = self.run(&["profile", "show", "measured-only", "--json"]);
        let shown: Value = serde_json::from_slice(&built_in.stdout).unwrap();
        let mut document = shown["document"].clone();
        document["name"] = name.into();
        std::fs::write(&file, document.to_string()).unwrap();
        self.ends(&["profile", "set", name, file.to_str().unwrap()], 0);
    }
}

/// Bodies of requests that were answered with 204.
fn receiver() -> (u16, Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (send, bodies) = channel();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let mut reader = BufReader::new(stream.try_clone().unwrap());
            let mut length = 0;
            loop {
                let mut line = String::new();
                if reader.read_line(&mut line).unwrap_or(0) == 0 || line.trim().is_empty() {
                    break;
                }
                if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                    length = value.trim().parse().unwrap();
                }
            }
            let mut body = vec![0; length];
            reader.read_exact(&mut body).unwrap();
            stream.write_all(b"HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n").unwrap();
            send.send(String::from_utf8(body).unwrap()).unwrap();
        }
    });
    (port, bodies)
}

#[test]
fn targets_are_made_tested_changed_and_removed() {
    let folder = tempfile::tempdir().unwrap();
    let service = Service::start(folder.path());
    let (port, bodies) = receiver();
    let url = format!("http://127.0.0.1:{port}/hook");
    service.says(&["notify", "target", "list"], &["no notification targets"]);
    let refused = service.ends(&["notify", "target", "add", "ops", "--kind", "webhook", "--url", &url], 4);
    assert!(refused.contains("give --allow-local"), "{refused}");
    let add = [
        "notify",
        "target",
        "add",
        "ops",
        "--kind",
        "webhook",
        "--url",
        &url,
        "--allow-local",
        "--event",
        "profile.*",
    ];
    service.says(&add, &["whsec_", "shown this once", "profile.*", "veriboot notify test ops"]);
    service.says(&["notify", "test", "ops"], &["ops took the test message"]);
    assert!(bodies.recv_timeout(Duration::from_secs(10)).unwrap().contains("notification.test"));
    service.happen("mine");
    let told = bodies.recv_timeout(Duration::from_secs(10)).unwrap();
    assert!(told.contains("veriboot.profile.changed"), "{told}");
    service.says(&["notify", "deliveries"], &["delivered", "profile.changed"]);

    std::fs::write(folder.path().join("secret"), "Bearer abc\n").unwrap();
    let update = [
        "notify",
        "target",
        "update",
        "ops",
        "--min-severity",
        "high",
        "--all-events",
        "--digest",
        "10m",
        "--authorization-file",
        "secret",
    ];
    let said =
        service.says(&update, &["high and above", "a digest every 600 s", "signing_secret, authorization"]);
    assert!(said.contains("events           all"), "{said}");
    service.says(
        &["notify", "target", "update", "ops", "--immediate", "--disable"],
        &["at once", "high and above"],
    );
    service.says(&["notify", "target", "list"], &["ops", "webhook", "off"]);
    let shown = service.run(&["notify", "target", "show", "ops", "--json"]);
    let shown: Value = serde_json::from_slice(&shown.stdout).unwrap();
    assert_eq!((&shown["enabled"], &shown["revision"]), (&json!(false), &json!(3)));

    service.says(&["notify", "target", "update", "ops", "--url", "http://127.0.0.1:1/"], &[]);
    let failed = service.ends(&["notify", "test", "ops"], 1);
    assert!(failed.contains("ops was not told"), "{failed}");
    service.says(&["notify", "deliveries", "--dead"], &["nothing was given up"]);
    service.says(&["notify", "replay"], &["nothing was given up that could be told again"]);
    service.says(&["notify", "target", "remove", "ops"], &["removed"]);
    let unknown = service.ends(&["notify", "deliveries", "--target", "nope"], 4);
    assert!(unknown.contains("there is no such notification target"), "{unknown}");
    let unknown = service.ends(&["notify", "target", "show", "ops"], 4);
    assert!(unknown.contains("veriboot notify target list"), "{unknown}");
    assert!(
        service
            .ends(&["notify", "target", "update", "ops", "--password-file", "none"], 4)
            .contains("not-found")
    );
    let missing = ["notify", "target", "add", "x", "--kind", "email", "--password-file", "none"];
    assert!(service.ends(&missing, 2).contains("cannot-read-file"));
}

#[test]
fn watch_goes_on_after_the_service_was_killed() {
    let folder = tempfile::tempdir().unwrap();
    let mut service = Service::start(folder.path());
    let mut watch = service
        .command(&["watch", "--json", "--kind", "profile.*", "--count", "3", "--after", "0"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let (send, lines) = channel();
    let stdout = watch.stdout.take().unwrap();
    std::thread::spawn(move || {
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            let _ = send.send(serde_json::from_str::<Value>(&line).unwrap());
        }
    });
    let next = || lines.recv_timeout(Duration::from_secs(30)).unwrap();
    service.happen("one");
    let first = next();
    assert_eq!((&first["kind"], &first["subject"]), (&json!("profile.changed"), &json!("one")));
    service.kill();
    service.serve();
    service.happen("two");
    service.happen("three");
    assert_eq!((next()["subject"].clone(), next()["subject"].clone()), (json!("two"), json!("three")));
    assert!(watch.wait().unwrap().success());

    let said = service.ends(&["watch", "--after", "0", "--count", "1", "--kind", "profile.*"], 0);
    assert!(said.contains("info     profile.changed") && said.contains("profile one@1 was stored"), "{said}");
    assert!(service.ends(&["watch", "--kind", "nothing"], 4).contains("invalid-query"));
    service.kill();
    assert!(service.ends(&["watch"], 3).contains("cannot-connect"));
}
