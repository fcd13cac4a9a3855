//! What was acknowledged survives `kill -9` of the writer (ATTACKS row 24).

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::json;
use veriboot_store::audit::{self, ChainReport, NewEntry};
use veriboot_store::{Options, Store, StoreError, alerts, settings};
use veriboot_wire::AlertReason;

use crate::harness::{add_vm, at, attestation, evidence, on_both};

const URL: &str = "VERIBOOT_STORE_TEST_URL";
const VM: &str = "VERIBOOT_STORE_TEST_VM";

on_both! {
async fn acknowledged_writes_survive_sigkill(db) {
    let vm_id = add_vm(&db.store, "default", "web-0").await;
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "crash::writer", "--ignored", "--nocapture"])
        .env(URL, &db.url)
        .env(VM, &vm_id)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let (lines, acknowledged) = std::sync::mpsc::channel();
    let stdout = child.stdout.take().unwrap();
    let reader = std::thread::spawn(move || {
        for line in BufReader::new(stdout).lines() {
            // A line that was cut by the kill was not acknowledged to anybody.
            let Ok(line) = line else { return };
            if let Some((_, n)) = line.split_once("ack ")
                && let Some(n) = n.strip_suffix('.')
            {
                lines.send(n.to_owned()).unwrap();
            }
        }
    });
    let mut all = Vec::new();
    while all.len() < 300 {
        all.push(acknowledged.recv_timeout(Duration::from_secs(60)).expect("the child writes"));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    reader.join().unwrap();
    all.extend(acknowledged.try_iter());
    let count = u64::try_from(all.len()).unwrap();

    // On SQLite the killed process may have left its log to be recovered: a new connection does it.
    let store = db.replica();
    let missing = store.read(move |tx| {
        let mut missing = Vec::new();
        for n in &all {
            let kept = settings::value(tx, &format!("ack-{n}"))?;
            let attested = veriboot_store::attestations::by_id(tx, n)?;
            if kept.is_none() || attested.is_none() {
                missing.push(n.clone());
            }
        }
        Ok(missing)
    }).await.unwrap();
    assert_eq!(missing, Vec::<String>::new(), "of {count} acknowledged");
    // PostgreSQL notices the dead client and rolls its open transactions back by itself.
    let report = store.read(audit::verify_chain).await.unwrap();
    let ChainReport::Intact { entries, .. } = report else { panic!("{report:?}") };
    assert!(entries >= count, "{entries} audit entries for {count} acknowledged");
    let alert = store.read(move |tx| alerts::open_for(tx, &vm_id, AlertReason::BaselineDeviation)).await.unwrap();
    assert!(alert.unwrap().count >= count);
    store.write(|tx| settings::set(tx, "afterwards", b"x")).await.unwrap();
}
}

/// The child of the test above: attests, raises an alert and writes the audit log in one transaction, and says so
/// after each answer, until it is killed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "run by acknowledged_writes_survive_sigkill"]
async fn writer() {
    let (Ok(url), Ok(vm_id)) = (std::env::var(URL), std::env::var(VM)) else { return };
    let store = Store::open_with(&url, &Options { readers: 1, ..Options::default() }).unwrap();
    let tasks: Vec<_> = (0..8)
        .map(|_| {
            let (store, vm_id) = (store.clone(), vm_id.clone());
            tokio::spawn(async move {
                for _ in 0..100_000 {
                    let row = attestation(&vm_id, at(0));
                    let (id, vm_id) = (row.id.clone(), vm_id.clone());
                    let done = store
                        .write(move |tx| {
                            veriboot_store::attestations::insert(tx, &row, &evidence())?;
                            alerts::raise(tx, &crate::alerts::raise(&vm_id, at(0)))?;
                            settings::set(tx, &format!("ack-{}", row.id), b"x")?;
                            let detail = json!({ "id": row.id });
                            audit::append(
                                tx,
                                &NewEntry {
                                    at: at(0),
                                    actor: "writer",
                                    action: "x",
                                    target: "t",
                                    detail: &detail,
                                },
                            )
                        })
                        .await;
                    match done {
                        Ok(_) => println!("\nack {id}."),
                        Err(StoreError::Contended) => {}
                        Err(error) => panic!("{error:?}"),
                    }
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
}
