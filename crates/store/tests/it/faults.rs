//! Databases that are locked, full, read-only, gone, or newer than the program (ATTACKS row 24).

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::json;
use veriboot_store::audit::{self, ChainReport, NewEntry};
use veriboot_store::{OpenError, Options, Store, StoreError, settings};
use veriboot_testkit::postgres::Postgres;
use veriboot_wire::AuditQuery;

use crate::harness::{Db, at, on_both};

const PATH: &str = "VERIBOOT_STORE_TEST_PATH";

/// This test program again, running one ignored test.
fn child(test: &str, path: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", test, "--ignored", "--nocapture"]).env(PATH, path);
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    command
}

#[tokio::test]
async fn sqlite_locked_by_another_process() {
    let db = Db::sqlite();
    let path = db.url.strip_prefix("sqlite:").unwrap();
    let options = Options { lock_timeout: Duration::from_millis(200), ..Options::default() };
    let store = Store::open_with(&db.url, &options).unwrap();
    let mut holder = child("faults::lock_holder", path).spawn().unwrap();
    let mut lines = BufReader::new(holder.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().ends_with("locked")));

    let error = store.write(|tx| settings::set(tx, "k", b"x")).await.unwrap_err();
    assert_eq!((error.code(), error.is_transient()), ("database-locked", true));
    assert_eq!(error.to_string(), "the database is locked by another process");
    assert_eq!(store.read(|tx| settings::value(tx, "k")).await, Ok(None), "reading goes on");
    let error = Store::open_with(&db.url, &options).unwrap_err();
    assert_eq!(error.code(), "database-locked");
    assert!(error.hint().unwrap().contains("stop it"));

    holder.stdin.take().unwrap().write_all(b"\n").unwrap();
    holder.wait().unwrap();
    store.write(|tx| settings::set(tx, "k", b"x")).await.unwrap();
}

#[test]
#[ignore = "run by sqlite_locked_by_another_process"]
fn lock_holder() {
    let Ok(path) = std::env::var(PATH) else { return };
    let connection = rusqlite::Connection::open(path).unwrap();
    connection.execute_batch("BEGIN IMMEDIATE").unwrap();
    println!("\nlocked");
    let _ = std::io::stdin().read(&mut [0]);
}

#[tokio::test]
async fn sqlite_full_disk_loses_nothing_acknowledged() {
    let db = Db::sqlite();
    let limit = db.store.write(|tx| tx.query("PRAGMA max_page_count = 120", &[])).await;
    limit.unwrap();
    let mut kept = 0_u32;
    let error = loop {
        let n = kept;
        match db.store.write(move |tx| settings::set(tx, &format!("k{n}"), &[7; 3000])).await {
            Ok(()) => kept += 1,
            Err(error) => break error,
        }
        assert!(kept < 1000);
    };
    assert_eq!(
        (error.code(), error.to_string().as_str()),
        ("database-full", "the database has no room left")
    );
    for n in 0..kept {
        assert!(db.store.read(move |tx| settings::value(tx, &format!("k{n}"))).await.unwrap().is_some());
    }
    db.store.write(|tx| tx.query("PRAGMA max_page_count = 100000", &[])).await.unwrap();
    db.store.write(|tx| settings::set(tx, "again", &[7; 3000])).await.unwrap();
}

#[test]
fn sqlite_on_a_read_only_folder() {
    let folder = tempfile::tempdir().unwrap();
    let there = folder.path().join("there.db");
    let store = Store::open(&format!("sqlite:{}", there.display())).unwrap();
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(store.close());
    drop(store);
    // Whether the last connection takes these away depends on which one is last.
    for name in ["there.db-wal", "there.db-shm"] {
        let _ = std::fs::remove_file(folder.path().join(name));
    }
    // Root may write anywhere, so a process without privileges looks at it. It needs to reach the program, too.
    let program = folder.path().join("program");
    std::fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
    std::fs::set_permissions(&there, std::fs::Permissions::from_mode(0o444)).unwrap();
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o555)).unwrap();
    let root = std::os::unix::fs::MetadataExt::uid(&std::fs::metadata("/proc/self").unwrap()) == 0;
    let open = |name: &str| {
        let mut command = Command::new(if root { "setpriv" } else { program.to_str().unwrap() });
        if root {
            command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(&program);
        }
        command.args(["--exact", "faults::opener", "--ignored", "--nocapture"]);
        command.env(PATH, folder.path().join(name)).current_dir("/");
        let output = command.output().unwrap();
        String::from_utf8_lossy(&output.stdout)
            .lines()
            .find_map(|l| l.split_once("opened: ").map(|(_, w)| w.to_owned()))
    };
    let old = open("there.db");
    let new = open("new.db");
    let deep = open("deep/new.db");
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    assert_eq!(old.as_deref().map(|w| w.split(' ').next().unwrap()), Some("database-read-only"), "{old:?}");
    for word in [new, deep] {
        let word = word.unwrap();
        assert!(word.starts_with("database-file ") && word.contains("Permission denied"), "{word}");
    }
}

#[test]
#[ignore = "run by sqlite_on_a_read_only_folder"]
fn opener() {
    let Ok(path) = std::env::var(PATH) else { return };
    match Store::open(&format!("sqlite:{path}")) {
        Ok(_) => println!("\nopened: yes"),
        Err(error) => println!("\nopened: {} {error} ({})", error.code(), error.hint().unwrap_or_default()),
    }
}

#[test]
fn a_file_that_is_no_database() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.db");
    std::fs::write(&path, "something else entirely, and long enough to be looked at as a database header")
        .unwrap();
    let error = Store::open(&format!("sqlite:{}", path.display())).unwrap_err();
    assert_eq!(error.code(), "database-corrupt");
    let error = Store::open(&format!("sqlite:{}", folder.path().display())).unwrap_err();
    assert_eq!(error.code(), "database-unavailable", "{error}");
}

on_both! {
async fn a_newer_schema_is_refused(db) {
    db.meddle("UPDATE schema_version SET version = 99");
    let error = Store::open(&db.url).unwrap_err();
    assert!(matches!(error, OpenError::Newer { found: 99, .. }), "{error}");
    assert_eq!(error.code(), "database-newer");
    assert!(error.to_string().contains("use a newer veriboot"));
}
}

#[test]
fn urls_that_cannot_work() {
    for (url, code) in [
        ("mysql://x", "database-url-invalid"),
        ("sqlite:", "database-url-invalid"),
        ("sqlite::memory:", "database-url-invalid"),
        ("postgres://u:p@h/d?nonsense=1", "database-url-invalid"),
        ("postgres://u:hidden@127.0.0.1:9/d?sslmode=require", "database-tls-unsupported"),
    ] {
        let error = Store::open(url).unwrap_err();
        assert_eq!(error.code(), code, "{url}: {error}");
        assert!(error.hint().is_some());
        assert!(!error.to_string().contains("hidden"));
    }
}

#[tokio::test]
async fn postgres_that_refuses() {
    let Some(db) = Db::postgres() else { return };
    let wrong = db.url.replace("only%20for%20tests", "wrong-secret");
    let error = Store::open(&wrong).unwrap_err();
    assert_eq!(error.code(), "database-unavailable");
    assert!(
        error.to_string().contains("password authentication failed")
            && !error.to_string().contains("wrong-secret")
    );
    let nobody = Store::open("postgres://u@127.0.0.1:9/d").unwrap_err();
    assert_eq!(nobody.code(), "database-unavailable");
    assert!(nobody.to_string().contains("refused"), "{nobody}");
}

async fn note(store: &Store, n: usize) -> Result<(), StoreError> {
    store
        .write(move |tx| {
            let detail = json!({ "n": n });
            let target = n.to_string();
            audit::append(
                tx,
                &NewEntry { at: at(0), actor: "a", action: "x", target: &target, detail: &detail },
            )?;
            settings::set(tx, &format!("n{n}"), b"x")
        })
        .await
}

/// Every acknowledged write is there, none is there twice, and all that is there was asked for.
async fn account(store: &Store, results: &[Result<(), StoreError>]) {
    let mut there = Vec::new();
    let mut cursor = None;
    loop {
        let after: Option<String> = cursor.take();
        let page = store
            .read(move |tx| {
                audit::list(
                    tx,
                    &AuditQuery { limit: Some(1000), cursor: after.clone(), ..AuditQuery::default() },
                )
            })
            .await
            .unwrap();
        there.extend(page.items.iter().map(|e| e.target.parse::<usize>().unwrap()));
        cursor = page.next_cursor;
        if cursor.is_none() {
            break;
        }
    }
    for (n, result) in results.iter().enumerate() {
        let times = there.iter().filter(|t| **t == n).count();
        match result {
            Ok(()) => assert_eq!(times, 1, "write {n} was acknowledged"),
            Err(StoreError::CommitUnknown { .. }) => assert!(times <= 1, "write {n} may be there"),
            Err(error) => assert_eq!(times, 0, "write {n} was refused: {error:?}"),
        }
    }
    let report = store.read(audit::verify_chain).await.unwrap();
    assert!(matches!(report, ChainReport::Intact { .. }), "{report:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_connections_that_break() {
    let Some(db) = Db::postgres() else { return };
    let writing = {
        let store = db.store.clone();
        tokio::spawn(async move {
            let mut results = Vec::new();
            let mut n = 0;
            while n < 400 {
                let batch: Vec<_> = (n..n + 4)
                    .map(|n| {
                        let store = store.clone();
                        tokio::spawn(async move { note(&store, n).await })
                    })
                    .collect();
                for task in batch {
                    results.push(task.await.unwrap());
                }
                n += 4;
            }
            results
        })
    };
    let mut broken = 0;
    while !writing.is_finished() && broken < 60 {
        broken += db.postgres.as_ref().unwrap().break_connections(&db.url).unwrap();
        tokio::time::sleep(Duration::from_millis(15)).await;
    }
    let results = writing.await.unwrap();
    assert!(broken > 4, "connections were broken");
    let fine = results.iter().filter(|r| r.is_ok()).count();
    assert!(fine > 300, "{fine} of {}: {:?}", results.len(), results.iter().find(|r| r.is_err()));
    account(&db.store, &results).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_gone_and_back() {
    if Postgres::shared().unwrap().is_none() {
        return;
    }
    let mut server = Postgres::start().unwrap();
    let store = Store::open(&server.database().unwrap()).unwrap();
    let mut results = Vec::new();
    for n in 0..10 {
        results.push(note(&store, n).await);
    }
    server.stop();
    let gone = Instant::now();
    for n in 10..14 {
        let result = note(&store, n).await;
        assert_eq!(result.as_ref().unwrap_err().code(), "database-unavailable");
        results.push(result);
    }
    assert_eq!(store.ping().await.unwrap_err().code(), "database-unavailable");
    assert!(gone.elapsed() < Duration::from_secs(15), "an answer comes in bounded time");
    server.start_server().unwrap();
    for n in 14..24 {
        results.push(note(&store, n).await);
        assert_eq!(results[n], Ok(()));
    }
    account(&store, &results).await;
}
