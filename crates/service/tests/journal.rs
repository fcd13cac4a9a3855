//! What an operator reads in the log at its default level.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod agent_support;

use std::io::Write;
use std::sync::{Arc, Mutex};

use agent_support::boot::Boot;
use agent_support::{World, code};
use serde_json::Value;
use veriboot_service::silence;
use veriboot_wire::VmStatus;

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Lines {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }

    /// Lines with this message.
    fn with(&self, message: &str) -> Vec<Value> {
        let lines = self.text();
        let lines = lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        lines.filter(|line| line["fields"]["message"] == message).collect()
    }

    /// The only line with this message.
    #[track_caller]
    fn one(&self, message: &str) -> Value {
        let mut lines = self.with(message);
        assert_eq!(lines.len(), 1, "{message}: {lines:#?}\n{}", self.text());
        lines.remove(0)
    }
}

#[test]
fn the_log_tells_what_happened_to_vms_and_no_secret() {
    let lines = Lines::default();
    let writer = lines.clone();
    tracing_subscriber::fmt()
        .json()
        .with_max_level(tracing::Level::INFO)
        .with_writer(move || writer.clone())
        .init();
    let world = World::sqlite();
    let token = world.join_token(None, 1);
    let mut guest = world.guest("web-0", Some(&token));
    guest.attest();
    let id = guest.vm_id();
    let about = |line: &Value| {
        let fields = &line["fields"];
        assert_eq!(
            (&fields["vm"], &fields["name"], &fields["group"]),
            (&id.as_str().into(), &"web-0".into(), &"default".into())
        );
        fields.clone()
    };
    let enrolled = lines.one("VM enrolled");
    about(&enrolled);
    assert!(enrolled["span"]["request_id"].is_string(), "{enrolled}");
    assert_eq!(about(&lines.one("first verdict"))["status"], "healthy");
    assert_eq!(about(&lines.one("baseline learned"))["baseline"], "vm/default/web-0@1");

    // What stays as it is makes no line, however often it is attested.
    let before = lines.text().len();
    guest.attest();
    assert_eq!(lines.text().len(), before, "{}", lines.text());

    guest.boot(&Boot { cmdline: "init=/bin/sh".into(), ..Boot::default() });
    guest.attest();
    guest.attest();
    let changed = about(&lines.one("status changed"));
    assert_eq!((&changed["before"], &changed["status"]), (&"healthy".into(), &"unhealthy".into()));
    assert_eq!(about(&lines.one("alert raised"))["reason"], "baseline-deviation");
    guest.boot(&Boot::default());
    assert_eq!(guest.attest().status, VmStatus::Healthy);
    let alert = &world.alerts(&id)[0].id;
    assert_eq!(about(&lines.one("alert resolved"))["alert"], alert.as_str());

    let old = guest.agent_token();
    guest.lose_state();
    guest.attest();
    about(&lines.one("VM enrolled again"));
    guest.agent.report_fault("tpm-busy", "x").unwrap();
    guest.agent.report_fault("tpm-busy", "x").unwrap();
    assert_eq!(about(&lines.one("agent reports a fault"))["code"], "tpm-busy");
    world.pass_ms(3_600_000);
    assert_eq!(world.block_on(silence::sweep(world.state())).unwrap(), 1);
    about(&lines.one("VM is stale, alert raised"));

    // A stranger is told of, and cannot fill the log.
    let mut stranger = world.guest("evil", Some("vbj_none"));
    for _ in 0..30 {
        assert_eq!(code(&stranger.agent.attest_once().unwrap_err()), "join-token-unknown");
    }
    let refused = lines.with("an agent was refused");
    assert_eq!(refused.len(), 20);
    assert_eq!(
        (&refused[0]["level"], &refused[0]["fields"]["code"]),
        (&"WARN".into(), &"join-token-unknown".into())
    );

    for secret in [&token, &old, &guest.agent_token()] {
        assert!(!lines.text().contains(secret.as_str()), "a secret is in the log");
    }
}
