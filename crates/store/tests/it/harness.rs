//! Databases and sample rows for tests.

use std::sync::Arc;

use tempfile::TempDir;
use veriboot_store::attestations::Evidence;
use veriboot_store::targets::TargetRow;
use veriboot_store::vms::VmRow;
use veriboot_store::{Options, Store, new_id};
use veriboot_testkit::postgres::Postgres;
use veriboot_wire::{
    Attestation, Facts, Finding, MachineInfo, Route, Severity, TargetKind, TargetSecrets, TargetSettings,
    Time, Verdict,
};

/// A fresh database.
pub struct Db {
    pub url: String,
    pub store: Store,
    pub _folder: Option<TempDir>,
    pub postgres: Option<Arc<Postgres>>,
}

impl Db {
    pub fn sqlite() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}/veriboot.db", folder.path().display());
        let store = Store::open(&url).unwrap();
        Self { url, store, _folder: Some(folder), postgres: None }
    }

    /// `None` when PostgreSQL is left out on purpose; a machine without it fails.
    pub fn postgres() -> Option<Self> {
        let server = Postgres::shared().unwrap()?;
        let url = server.database().unwrap();
        let store = Store::open(&url).unwrap();
        Some(Self { url, store, _folder: None, postgres: Some(server) })
    }

    /// Another replica on the same database.
    pub fn replica(&self) -> Store {
        Store::open_with(&self.url, &Options { readers: 2, writers: 2, ..Options::default() }).unwrap()
    }

    /// Changes rows behind the store's back.
    pub fn meddle(&self, sql: &str) {
        match &self.postgres {
            Some(server) => {
                server.psql(self.url.rsplit('/').next().unwrap(), sql).unwrap();
            }
            None => {
                let path = self.url.strip_prefix("sqlite:").unwrap();
                rusqlite::Connection::open(path).unwrap().execute_batch(sql).unwrap();
            }
        }
    }
}

/// Declares one test per database from one body.
macro_rules! on_both {
    ($(#[$meta:meta])* async fn $name:ident($db:ident) $body:block) => {
        $(#[$meta])*
        mod $name {
            #[allow(unused_imports)]
            use super::*;

            async fn body($db: crate::harness::Db) $body

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn sqlite() {
                body(crate::harness::Db::sqlite()).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn postgres() {
                if let Some(db) = crate::harness::Db::postgres() {
                    body(db).await;
                }
            }
        }
    };
}
pub(crate) use on_both;

/// Milliseconds after some fixed time.
pub fn at(ms: i64) -> Time {
    Time::from_unix_ms(1_790_000_000_000 + ms)
}

/// A webhook that is told everything.
pub fn target(name: &str) -> TargetRow {
    TargetRow {
        id: new_id(at(0)),
        name: name.into(),
        kind: TargetKind::Webhook,
        enabled: true,
        settings: TargetSettings::default(),
        secrets: TargetSecrets::default(),
        route: Route::default(),
        revision: 1,
        created_at: at(0),
        created_by: "ann".into(),
        changed_at: at(0),
    }
}

pub fn vm(group: &str, name: &str) -> VmRow {
    VmRow {
        name: name.into(),
        group: group.into(),
        machine: MachineInfo { hostname: name.into(), ..MachineInfo::default() },
        ek_sha256: format!("ek of {group}/{name}"),
        ek_public: vec![1, 2, 3],
        ak_public: vec![4, 5, 6],
        ak_name: vec![0, 11, 7],
        agent_token_sha256: vec![8; 32],
        interval_s: 300,
        silence_limit_s: 900,
        ..VmRow::enrolling(new_id(at(0)), at(0))
    }
}

pub fn attestation(vm_id: &str, time: Time) -> Attestation {
    Attestation {
        id: new_id(time),
        vm_id: vm_id.into(),
        boot_id: None,
        at: time,
        verdict: Verdict::Healthy,
        facts: Facts::UNKNOWN,
        findings: vec![Finding::new("note", Severity::Info, "nothing")],
        baseline: None,
        baseline_scope: None,
        profile: None,
        log_sha256: None,
    }
}

pub fn evidence() -> Evidence {
    Evidence {
        ak_public: vec![4, 5, 6],
        quote: vec![0xff, 0x54, 0x43, 0x47],
        signature: vec![0; 70],
        nonce: vec![9; 32],
        bank: Some("sha256".into()),
        pcrs: [("sha256".to_owned(), [(0, "00".repeat(32))].into())].into(),
        log_absent_because: None,
        context: Some(veriboot_store::attestations::Context {
            previous: Some(veriboot_wire::PreviousQuote {
                reset_count: u32::MAX,
                restart_count: 1,
                clock_ms: 7,
                firmware_version: "00000000000000ff".into(),
                log_sha256: None,
                ak_replaced: true,
            }),
            endorsement_invalid: None,
            rejection: None,
        }),
    }
}

/// Signs with a word, which is enough for a store that keeps no key.
pub struct TestKey;

impl veriboot_store::Signs for TestKey {
    fn sign(
        &self,
        statement: &veriboot_store::Statement<'_>,
    ) -> Result<veriboot_store::Signature, veriboot_store::StoreError> {
        let mut bytes = b"signed ".to_vec();
        bytes.extend(statement.bytes()?);
        Ok(veriboot_store::Signature { key_id: "test-key".into(), bytes })
    }
}

/// Where a VM of the group `default` belongs.
pub fn place<'a>(vm_id: &'a str, scale_set: Option<&'a str>) -> veriboot_store::Place<'a> {
    veriboot_store::Place { vm_id, group: "default", scale_set, image: None }
}

/// Adds a VM and gives its id.
pub async fn add_vm(store: &Store, group: &str, name: &str) -> String {
    let row = vm(group, name);
    let id = row.id.clone();
    store.write(move |tx| veriboot_store::vms::insert(tx, &row)).await.unwrap();
    id
}
