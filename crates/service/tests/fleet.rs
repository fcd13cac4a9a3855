//! VMs, boots, attestations, alerts and baselines over the API, on both databases. What agents bring is written to
//! the store directly; end to end over a TPM is another test's work.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)] // a test that fails here says where

mod common;

use std::collections::BTreeMap;

use common::{Reply, TestServer};
use serde_json::{Value, json};
use veriboot_store::alerts::AlertRaise;
use veriboot_store::attestations::Evidence;
use veriboot_store::boots::BootSeen;
use veriboot_store::vms::{AfterAttestation, BootPosition, VmRow};
use veriboot_store::{StoreError, alerts, attestations, boots, logs, new_id, vms};
use veriboot_wire::{
    AlertReason, Attestation, FactState, Facts, Finding, MachineInfo, Severity, Verdict, VmStatus,
};

const GOOD: &[u8] = include_bytes!("../../testkit/corpus/secure-boot/eventlog.bin");
const OTHER_CMDLINE: &[u8] = include_bytes!("../../testkit/corpus/cmdline/eventlog.bin");

fn refused(reply: Reply, status: u16, code: &str) {
    assert_eq!((reply.status, reply.code().as_str()), (status, code), "{}", reply.text());
}

/// A VM that never attested.
fn vm(server: &TestServer, name: &str, group: &str, scale_set: Option<&str>) -> String {
    let now = server.clock().now();
    let row = VmRow {
        name: name.into(),
        group: group.into(),
        scale_set: scale_set.map(Into::into),
        machine: MachineInfo { hostname: "<script>".into(), ..MachineInfo::default() },
        ek_sha256: sha256(format!("{group}/{name}").as_bytes()),
        ek_public: vec![1],
        ak_public: vec![2],
        ak_name: vec![0, 0x0b],
        agent_token_sha256: format!("{group}/{name}").into_bytes(),
        interval_s: 300,
        silence_limit_s: 900,
        ..VmRow::enrolling(new_id(now), now)
    };
    let id = row.id.clone();
    server.block_on(server.state().store.write(move |tx| vms::insert(tx, &row))).unwrap();
    id
}

fn sha256(bytes: &[u8]) -> String {
    hex::encode(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes))
}

/// An attestation of a boot with this log, and its alert when it has a failing finding. Gives attestation and boot.
fn attest(
    server: &TestServer,
    vm: &str,
    reset_count: u32,
    log: &'static [u8],
    failing: Option<Finding>,
) -> (String, String) {
    let now = server.clock().now();
    let vm = vm.to_owned();
    let work = move |tx: &mut dyn veriboot_store::Tx| -> Result<(String, String), StoreError> {
        let digest = sha256(log);
        logs::put_if_absent(tx, &digest, log, now)?;
        let verdict = if failing.is_some() { Verdict::Unhealthy } else { Verdict::Healthy };
        let components = BTreeMap::from([("kernel".to_owned(), "linux".to_owned())]);
        let seen = BootSeen {
            vm_id: &vm,
            reset_count,
            restart_count: 0,
            log_sha256: Some(&digest),
            at: now,
            verdict,
            components: &components,
        };
        let boot = boots::record(tx, &seen)?;
        let valid = FactState::Valid;
        let log_fact = match failing.as_ref().and_then(|f| f.reason) {
            Some(AlertReason::LogMismatch) => FactState::Invalid,
            _ => valid,
        };
        let facts = Facts { secure_boot: valid, vtpm: valid, quote: valid, log: log_fact, ..Facts::UNKNOWN };
        let attestation = Attestation {
            id: new_id(now),
            vm_id: vm.clone(),
            boot_id: Some(boot.id.clone()),
            at: now,
            verdict,
            facts,
            findings: failing.clone().into_iter().collect(),
            baseline: None,
            baseline_scope: None,
            profile: None,
            log_sha256: Some(digest.clone()),
        };
        let evidence = Evidence {
            ak_public: b"ak".to_vec(),
            quote: b"quote".to_vec(),
            signature: b"signature".to_vec(),
            nonce: vec![0xab; 32],
            bank: Some("sha256".into()),
            ..Evidence::default()
        };
        attestations::insert(tx, &attestation, &evidence)?;
        let status = if failing.is_some() { VmStatus::Unhealthy } else { VmStatus::Healthy };
        let after = AfterAttestation {
            attestation_id: &attestation.id,
            at: now,
            status,
            status_detail: failing.as_ref().map(|f| f.message.as_str()),
            facts: &facts,
            machine: &MachineInfo::default(),
            kernel: None,
            baseline: None,
            baseline_scope: None,
            profile: None,
            boot: Some(BootPosition {
                boot_id: &boot.id,
                reset_count,
                restart_count: 0,
                clock_ms: 1,
                firmware_version: 1,
                log_sha256: Some(&digest),
            }),
        };
        vms::update_after_attestation(tx, &vm, &after)?;
        if let Some(finding) = &failing {
            let raise = AlertRaise {
                vm_id: &vm,
                kind: veriboot_wire::ALERT_ATTESTATION_FAILED,
                title: "VM attestation failed",
                reason: finding.reason.unwrap(),
                severity: Severity::Medium,
                component: finding.component.as_deref(),
                message: &finding.message,
                remediation: "look",
                findings: std::slice::from_ref(finding),
                attestation_id: Some(&attestation.id),
                reopen_window_s: 0,
                at: now,
            };
            alerts::raise(tx, &raise)?;
        }
        Ok((attestation.id, boot.id))
    };
    server.block_on(server.state().store.write(work)).unwrap()
}

fn failing(reason: AlertReason) -> Finding {
    let mut finding = Finding::new("some-code", Severity::High, "kernel command line changed");
    finding.reason = Some(reason);
    finding.component = Some("kernel command line".into());
    finding
}

#[test]
fn fleet_on_sqlite() {
    exercise(&TestServer::start());
}

#[test]
fn fleet_on_postgresql() {
    let Some(postgres) = veriboot_testkit::postgres::Postgres::shared().unwrap() else { return };
    exercise(&TestServer::builder().database(&postgres.database().unwrap()).start());
}

fn exercise(server: &TestServer) {
    vms_by_id_and_name(server);
    boots_and_evidence(server);
    alerts_live(server);
    baselines_are_accepted(server);
    forgetting(server);
    let verified = server.admin().get("/v1/audit/verify").json();
    assert_eq!(verified["intact"], true);
    assert_eq!(server.anonymous().get("/readyz").status, 200);
}

fn vms_by_id_and_name(server: &TestServer) {
    let admin = server.admin();
    let id = vm(server, "web-0", "default", Some("web"));
    vm(server, "web-1", "default", Some("web"));
    vm(server, "db-0", "default", None);
    vm(server, "db-0", "blue", None);
    for key in [id.as_str(), "web-0", "web-0?group=default"] {
        let shown = admin.get(&format!("/v1/vms/{key}"));
        assert_eq!(shown.json()["id"], id, "{key}: {}", shown.text());
        assert_eq!(shown.json()["machine"]["hostname"], "<script>");
    }
    refused(admin.get("/v1/vms/db-0"), 409, "ambiguous-name");
    let told = admin.get("/v1/vms/db-0").text();
    assert!(told.contains("name: blue (") && told.contains("), default ("), "{told}");
    assert_eq!(admin.get("/v1/vms/db-0?group=blue").json()["group"], "blue");
    refused(admin.get("/v1/vms/web-0?group=blue"), 404, "not-found");
    refused(admin.get(&format!("/v1/vms/{id}?group=blue")), 404, "not-found");
    refused(admin.get("/v1/vms/web"), 404, "not-found");

    let names = |path: &str| -> Vec<String> {
        let page: Value = admin.get(path).json();
        page["items"]
            .as_array()
            .unwrap()
            .iter()
            .map(|v| format!("{}/{}", v["group"].as_str().unwrap(), v["name"].as_str().unwrap()))
            .collect()
    };
    assert_eq!(names("/v1/vms"), ["blue/db-0", "default/db-0", "default/web-0", "default/web-1"]);
    assert_eq!(names("/v1/vms?scale_set=web"), ["default/web-0", "default/web-1"]);
    assert_eq!(names("/v1/vms?name_prefix=db&group=blue"), ["blue/db-0"]);
    assert_eq!(names("/v1/vms?status=healthy"), [""; 0]);
    let first = admin.get("/v1/vms?limit=3").json();
    let cursor = first["next_cursor"].as_str().unwrap();
    assert_eq!(names(&format!("/v1/vms?limit=3&cursor={cursor}")), ["default/web-1"]);
    // The cursor of one list is no cursor of another.
    refused(admin.get(&format!("/v1/alerts?cursor={cursor}")), 400, "invalid-cursor");
    let summary = admin.get("/v1/summary").json();
    assert_eq!(
        (&summary["vms"], &summary["by_status"]["pending"], &summary["by_status"]["stale"]),
        (&json!(4), &json!(4), &json!(0))
    );
}

fn boots_and_evidence(server: &TestServer) {
    let admin = server.admin();
    refused(admin.get(&format!("/v1/boots/{}", "none")), 404, "not-found");
    let id = admin.get("/v1/vms/web-0").json()["id"].as_str().unwrap().to_owned();
    let (first, first_boot) = attest(server, &id, 1, GOOD, None);
    server.clock().step_ms(1000);
    let (second, second_boot) =
        attest(server, &id, 2, OTHER_CMDLINE, Some(failing(AlertReason::BaselineDeviation)));
    let listed = admin.get("/v1/vms/web-0/boots").json();
    assert_eq!(listed["items"][0]["id"], second_boot);
    assert_eq!(listed["items"][1]["id"], first_boot);
    assert_eq!(admin.get(&format!("/v1/boots/{first_boot}")).json()["components"]["kernel"], "linux");
    let page = admin.get("/v1/vms/web-0/attestations?limit=1").json();
    assert_eq!(page["items"][0]["id"], second);
    let cursor = page["next_cursor"].as_str().unwrap();
    assert_eq!(
        admin.get(&format!("/v1/vms/web-0/attestations?cursor={cursor}")).json()["items"][0]["id"],
        first
    );
    assert_eq!(admin.get(&format!("/v1/attestations/{second}")).json()["verdict"], "unhealthy");

    let log = admin.get(&format!("/v1/boots/{first_boot}/log"));
    assert_eq!(log.body, GOOD);
    assert_eq!(log.header("content-type"), Some("application/octet-stream"));
    let same = admin.get(&format!("/v1/boots/{first_boot}/diff/{first_boot}")).json();
    assert_eq!(same["changes"], json!([]));
    let diff = admin.get(&format!("/v1/boots/{first_boot}/diff/{second_boot}")).json();
    let text = diff["changes"].to_string();
    assert!(text.contains("kernel command line"), "{text}");
    refused(admin.get(&format!("/v1/boots/{first_boot}/diff/none")), 404, "not-found");

    let bundle = admin.get(&format!("/v1/attestations/{first}/evidence"));
    let bundle: veriboot_wire::EvidenceBundle = serde_json::from_slice(&bundle.body).unwrap();
    assert_eq!(bundle.event_log.unwrap().0, GOOD);
    assert_eq!(bundle.nonce.unwrap(), "ab".repeat(32));
    let token = admin.get(&format!("/v1/attestations/{first}/token"));
    assert_eq!(token.status, 200, "{}", token.text());
    assert_eq!(token.header("content-type"), Some("application/jwt"));
    assert_eq!(token.text().split('.').count(), 3);
    refused(admin.get(&format!("/v1/attestations/{second}/token")), 409, "wrong-state");

    let shown = admin.get("/v1/vms/web-0").json();
    assert_eq!(shown["last_verdict"], "unhealthy");
    assert_eq!(shown["open_alerts"], 1);
    assert_eq!(shown["findings"][0]["component"], "kernel command line");
}

fn alerts_live(server: &TestServer) {
    let (admin, viewer) = (server.admin(), server.with_scope("viewer"));
    let open = viewer.get("/v1/alerts?open=true&reason=baseline-deviation").json();
    let id = open["items"][0]["id"].as_str().unwrap().to_owned();
    assert_eq!(open["items"][0]["vm_name"], "web-0");
    refused(viewer.post(&format!("/v1/alerts/{id}/dismiss"), &json!({})), 403, "forbidden");
    // The body may be absent.
    let acknowledged = admin.send("POST", &format!("/v1/alerts/{id}/acknowledge"), None, b"").json();
    assert_eq!(acknowledged["state"], "in-progress");
    refused(
        admin.post(&format!("/v1/alerts/{id}/resolve"), &json!({ "comment": "x".repeat(1001) })),
        400,
        "invalid-value",
    );
    refused(
        admin.post(&format!("/v1/alerts/{id}/resolve"), &json!({ "state": "active" })),
        400,
        "invalid-body",
    );
    let resolved = admin.post(&format!("/v1/alerts/{id}/resolve"), &json!({ "comment": "fixed" })).json();
    assert_eq!((&resolved["state"], &resolved["timeline"][2]["by"]), (&json!("resolved"), &json!("admin")));
    refused(admin.post(&format!("/v1/alerts/{id}/dismiss"), &json!({})), 409, "wrong-state");
    refused(admin.post("/v1/alerts/none/dismiss", &json!({})), 404, "not-found");
    assert_eq!(admin.get("/v1/alerts?open=true").json()["items"], json!([]));
    assert_eq!(admin.get("/v1/alerts?state=resolved").json()["items"][0]["id"], id);
    assert_eq!(viewer.get(&format!("/v1/alerts/{id}")).json()["timeline"][2]["comment"], "fixed");
    let entry = &admin.get("/v1/audit?limit=1").json()["items"][0];
    assert_eq!((&entry["action"], &entry["target"]), (&json!("alert.resolve"), &json!(id)));
}

fn baselines_are_accepted(server: &TestServer) {
    let admin = server.admin();
    let accept = |body: Value| admin.post("/v1/baselines/accept", &body);
    refused(accept(json!({ "vm": "none", "boot_id": "x" })), 404, "not-found");
    refused(accept(json!({ "vm": "db-0", "boot_id": "x" })), 409, "ambiguous-name");
    refused(accept(json!({ "vm": "db-0", "group": "blue", "boot_id": "x" })), 409, "no-boot");
    refused(accept(json!({ "vm": "web-0", "boot_id": "other" })), 409, "boot-changed");
    // What nobody looked at is not trusted.
    refused(accept(json!({ "vm": "web-0" })), 400, "invalid-body");
    refused(accept(json!({ "vm": "web-0", "boot_id": null })), 400, "invalid-body");
    let last_boot = |vm: &str| {
        admin.get(&format!("/v1/vms/{vm}/attestations?limit=1")).json()["items"][0]["boot_id"].clone()
    };

    // The first one of a member of a scale set is that of the set.
    let made = accept(json!({ "vm": "web-0", "boot_id": last_boot("web-0"), "comment": "new command line" }));
    assert_eq!(made.status, 200, "{}", made.text());
    let made = made.json();
    assert_eq!((&made["name"], &made["version"]), (&json!("scale-set/default/web"), &json!(1)));
    assert_eq!((&made["created_by"], &made["comment"]), (&json!("admin"), &json!("new command line")));
    assert!(made["components"].as_u64().unwrap() > 20);
    let again = accept(json!({ "vm": "web-0", "boot_id": made["boot_id"] })).json();
    assert_eq!((&again["name"], &again["version"]), (&json!("scale-set/default/web"), &json!(2)));
    let shown = admin.get(&format!("/v1/baselines/{}", again["id"].as_str().unwrap())).json();
    assert_eq!(shown["document"]["boots"][0]["source"]["log_sha256"], sha256(OTHER_CMDLINE));
    assert_eq!(admin.get("/v1/baselines").json()["items"].as_array().unwrap().len(), 1);
    assert_eq!(admin.get("/v1/baselines?all_versions=true").json()["items"].as_array().unwrap().len(), 2);

    // Without a scale set it is that of the VM.
    let id = admin.get("/v1/vms/db-0?group=default").json()["id"].as_str().unwrap().to_owned();
    attest(server, &id, 1, GOOD, None);
    let made = accept(json!({ "vm": "db-0", "group": "default", "boot_id": last_boot(&id) })).json();
    assert_eq!((&made["name"], &made["scope"]["id"]), (&json!("vm/default/db-0"), &json!(id)));
    // Evidence that is not believed teaches nothing.
    for reason in [AlertReason::LogMismatch, AlertReason::QuoteUntrusted, AlertReason::EndorsementLost] {
        server.clock().step_ms(1000);
        attest(server, &id, 2, OTHER_CMDLINE, Some(failing(reason)));
        refused(accept(json!({ "vm": id, "boot_id": last_boot(&id) })), 409, "not-learnable");
    }
    assert_eq!(
        admin.get("/v1/baselines?name=vm/default/db-0&all_versions=true").json()["items"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
    let viewer = server.with_scope("viewer");
    refused(viewer.post("/v1/baselines/accept", &json!({ "vm": "web-0", "boot_id": "x" })), 403, "forbidden");
}

fn forgetting(server: &TestServer) {
    let admin = server.admin();
    let id = admin.get("/v1/vms/web-0").json()["id"].as_str().unwrap().to_owned();
    refused(admin.delete("/v1/vms/db-0"), 409, "ambiguous-name");
    assert_eq!(admin.delete("/v1/vms/web-0").status, 204);
    refused(admin.delete("/v1/vms/web-0"), 404, "not-found");
    refused(admin.get(&format!("/v1/vms/{id}/boots")), 404, "not-found");
    let entry = &admin.get("/v1/audit?limit=1").json()["items"][0];
    assert_eq!((&entry["action"], &entry["detail"]["name"]), (&json!("vm.delete"), &json!("web-0")));
}
