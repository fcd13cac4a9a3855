//! The key that signs baselines: made once, shared, and never given to what somebody else wrote.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod common;

use common::TestServer;
use serde_json::json;
use veriboot_store::baselines::{self, NewBaseline};
use veriboot_store::{StoreError, Tx};
use veriboot_wire::{BaselineOrigin, Scope, ScopeKind};

const DOCUMENT: &str = r#"{"schema":"veriboot-baseline/2","bank":"sha256","boots":[],"rules":[{"component":"kernel","digests":["e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b856"]}]}"#;

fn write<T: Send + 'static>(
    server: &TestServer,
    work: impl FnMut(&mut dyn Tx) -> Result<T, StoreError> + Send + 'static,
) -> T {
    server.block_on(server.state().store.write(work)).unwrap()
}

fn sql(server: &TestServer, statement: &'static str) {
    write(server, move |tx| tx.execute(statement, &[]));
}

/// Stores versions as an operator would.
fn store_versions(server: &TestServer, count: usize) {
    let signer = server.state().attest.baseline_signer().clone();
    let now = server.clock().now();
    for number in 0..count {
        let signer = signer.clone();
        write(server, move |tx| {
            let scope =
                Scope { kind: ScopeKind::ScaleSet, group: "default".into(), id: format!("set-{number}") };
            let new = NewBaseline {
                name: &format!("scale-set/default/set-{number}"),
                scope: &scope,
                origin: BaselineOrigin::Applied,
                document: DOCUMENT,
                components: 1,
                boot_id: None,
                comment: None,
                created_by: "ann",
                created_at: now,
            };
            baselines::insert_next(tx, &new, &signer).map(drop)
        });
    }
}

/// Status of exporting each version: 200 when it is believed.
fn exports(server: &TestServer) -> Vec<u16> {
    let admin = server.admin();
    let listed = admin.get("/v1/baselines").json();
    let ids = listed["items"].as_array().unwrap().iter().map(|b| b["id"].as_str().unwrap().to_owned());
    ids.map(|id| admin.get(&format!("/v1/baselines/{id}/export")).status).collect()
}

#[test]
fn old_versions_are_signed_when_the_key_is_made_and_never_again() {
    let mut server = TestServer::start();
    store_versions(&server, 250);
    // As a version before signatures left it.
    sql(&server, "DELETE FROM signing_keys WHERE purpose = 'baseline'");
    sql(&server, "UPDATE baselines SET signature = NULL, signed_by = NULL");
    server.restart();
    assert!(exports(&server).iter().all(|status| *status == 200));
    let keys = server.admin().get("/v1/baseline-keys").json();
    assert_eq!(keys.as_array().unwrap().len(), 1);
    let entry = server.admin().get("/v1/audit?limit=1").json()["items"][0].clone();
    assert_eq!(
        (&entry["action"], &entry["detail"]["versions_signed"], &entry["detail"]["key"]),
        (&json!("baseline-key.create"), &json!(250), &keys[0]["id"])
    );
    let algorithm = &keys[0]["algorithm"];
    assert_eq!(algorithm, "ES256");

    // What somebody writes afterwards stays unsigned, also after a start.
    sql(&server, "UPDATE baselines SET signature = NULL WHERE name = 'scale-set/default/set-0'");
    server.restart();
    let statuses = exports(&server);
    assert_eq!(statuses.iter().filter(|status| **status == 500).count(), 1);
    assert_eq!(server.admin().get("/v1/baseline-keys").json(), keys, "the key is as it was");
    // The key of results is another one, and does not sign baselines.
    let jwks = server.anonymous().get("/.well-known/jwks.json").json();
    assert_eq!(jwks["keys"].as_array().unwrap().len(), 1);
}

#[test]
fn replicas_share_the_key() {
    let Some(postgres) = veriboot_testkit::postgres::Postgres::shared().unwrap() else { return };
    let url = postgres.database().unwrap();
    let one = TestServer::builder().database(&url).start();
    store_versions(&one, 1);
    let keys = one.state().attest.baseline_signer().keys();
    let other = {
        let store = veriboot_store::Store::open(&url).unwrap();
        let opened = veriboot_service::baseline_signing::BaselineSigner::open(&store, one.clock(), &[]);
        let signer = one.block_on(opened).unwrap();
        one.block_on(store.close());
        signer
    };
    assert_eq!(other.keys(), keys);
}

#[test]
fn files_of_trusted_keys_are_read_or_named() {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str, content: &str| {
        let path = dir.path().join(name);
        std::fs::write(&path, content).unwrap();
        path
    };
    let own = TestServer::start();
    let pem = own.admin().get("/v1/baseline-keys").json()[0]["pem"].as_str().unwrap().to_owned();
    let bad = [
        dir.path().join("absent.pem"),
        file("empty.pem", ""),
        file("text.pem", "no key"),
        file("cut.pem", pem.get(..pem.len() / 2).unwrap()),
        file("other.pem", &pem.replace("PUBLIC KEY", "CERTIFICATE")),
        file("broken.pem", "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"),
    ];
    for path in bad {
        let named = path.display().to_string();
        let error = TestServer::builder()
            .config(move |config| config.baseline_trusted_keys = vec![path])
            .try_start()
            .err()
            .expect("it does not start");
        assert_eq!(error.code(), "trusted-keys-unusable", "{error}");
        assert!(error.to_string().contains(&named) && error.hint().is_some(), "{error}");
    }
    // Several in one file, and one twice.
    let several = file("several.pem", &format!("{pem}\n{pem}"));
    let server =
        TestServer::builder().config(move |config| config.baseline_trusted_keys = vec![several]).start();
    assert_eq!(server.admin().get("/v1/baseline-keys").json().as_array().unwrap().len(), 2);
}
