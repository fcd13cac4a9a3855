use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use veriboot_store::{Backend, Constraint, Options, Store, StoreError, settings, vms};

use crate::harness::{Db, add_vm, on_both, vm};

/// Holds the only writer until the sender is dropped, so that later jobs share one group commit.
async fn hold_writer(store: &Store) -> (mpsc::Sender<()>, tokio::task::JoinHandle<Result<(), StoreError>>) {
    let (release, released) = mpsc::channel::<()>();
    let (started, running) = tokio::sync::oneshot::channel();
    let mut started = Some(started);
    let writer = store.clone();
    let held = tokio::spawn(async move {
        writer
            .write(move |_| {
                if let Some(started) = started.take() {
                    started.send(()).unwrap();
                }
                let _ = released.recv();
                Ok(())
            })
            .await
    });
    running.await.unwrap();
    (release, held)
}

on_both! {
async fn a_failing_job_does_not_hurt_its_neighbours(db) {
    let id = add_vm(&db.store, "default", "taken").await;
    let (release, held) = hold_writer(&db.store).await;
    let mut jobs = Vec::new();
    for n in 0..40_usize {
        let (store, id) = (db.store.clone(), id.clone());
        jobs.push(tokio::spawn(async move {
            let result: Result<(), StoreError> = store.write(move |tx| {
                settings::set(tx, &format!("job-{n}"), b"x")?;
                match n % 4 {
                    0 => Ok(()),
                    1 => vms::insert(tx, &taken()),
                    2 => Err(StoreError::Limit { what: "patience" }),
                    _ => { vms::touch(tx, &id, crate::harness::at(1))?; panic!("on purpose") }
                }
            }).await;
            (n, result)
        }));
    }
    tokio::time::sleep(Duration::from_millis(50)).await;
    drop(release);
    held.await.unwrap().unwrap();
    for job in jobs {
        let (n, result) = job.await.unwrap();
        match n % 4 {
            0 => assert_eq!(result, Ok(())),
            1 => assert_eq!(result, Err(StoreError::Conflict { constraint: Constraint::VmName })),
            2 => assert_eq!(result, Err(StoreError::Limit { what: "patience" })),
            _ => assert_eq!(result.unwrap_err().code(), "database-failed"),
        }
        let there = db.store.read(move |tx| settings::value(tx, &format!("job-{n}"))).await.unwrap().is_some();
        assert_eq!(there, n % 4 == 0, "job {n}");
    }
    let row = db.store.read(|tx| vms::by_name(tx, "default", "taken")).await.unwrap().unwrap();
    assert_eq!(row.last_seen_at, None, "the panicking jobs left nothing");
}
}

on_both! {
async fn a_swallowed_error_still_undoes_everything(db) {
    add_vm(&db.store, "default", "taken").await;
    let outcome = db.store.write(|tx| {
        settings::set(tx, "before", b"x")?;
        let conflict = vms::insert(tx, &taken()).unwrap_err();
        assert_eq!(settings::set(tx, "after", b"x"), Err(conflict), "later statements fail alike");
        Ok("done")
    }).await;
    assert_eq!(outcome, Err(StoreError::Conflict { constraint: Constraint::VmName }));
    let left = db.store.read(|tx| Ok((settings::value(tx, "before")?, settings::value(tx, "after")?))).await.unwrap();
    assert_eq!(left, (None, None));
}
}

#[derive(Debug, PartialEq)]
enum Domain {
    Refused(u32),
    Store(StoreError),
}

impl From<StoreError> for Domain {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

on_both! {
async fn an_error_of_the_caller_undoes_the_transaction(db) {
    let result: Result<(), Domain> = db.store.try_write(|tx| {
        settings::set(tx, "k", b"x")?;
        Err(Domain::Refused(7))
    }).await;
    assert_eq!(result, Err(Domain::Refused(7)));
    assert_eq!(db.store.read(|tx| settings::value(tx, "k")).await, Ok(None));
    let result: Result<(), Domain> = db.store.try_read(|tx| {
        tx.query("SELECT nonsense", &[])?;
        Ok(())
    }).await;
    assert!(matches!(result, Err(Domain::Store(StoreError::Failed { .. }))), "{result:?}");
}
}

on_both! {
async fn a_read_cannot_write_and_sees_one_snapshot(db) {
    let error = db.store.read(|tx| settings::set(tx, "k", b"x")).await.unwrap_err();
    assert_eq!(error.code(), "database-read-only");
    db.store.write(|tx| settings::set(tx, "k", b"old")).await.unwrap();
    let (step, steps) = mpsc::channel::<()>();
    let (first, seen) = tokio::sync::oneshot::channel();
    let mut first = Some(first);
    let reader = db.store.clone();
    let reading = tokio::spawn(async move {
        reader.read(move |tx| {
            let one = settings::value(tx, "k")?;
            if let Some(first) = first.take() { first.send(()).unwrap(); }
            let _ = steps.recv();
            Ok((one, settings::value(tx, "k")?))
        }).await
    });
    seen.await.unwrap();
    db.store.write(|tx| settings::set(tx, "k", b"new")).await.unwrap();
    drop(step);
    assert_eq!(reading.await.unwrap(), Ok((Some(b"old".to_vec()), Some(b"old".to_vec()))));
    assert_eq!(db.store.read(|tx| settings::value(tx, "k")).await, Ok(Some(b"new".to_vec())), "reads its own writes");
    db.store.ping().await.unwrap();
}
}

on_both! {
async fn a_full_queue_refuses_and_close_drains(db) {
    let small = Options { write_queue: 3, writers: 1, readers: 1, ..Options::default() };
    let store = Store::open_with(&db.url, &small).unwrap();
    let (release, held) = hold_writer(&store).await;
    let ran = Arc::new(AtomicUsize::new(0));
    let mut waiting = Vec::new();
    for n in 0..3 {
        let (store, ran) = (store.clone(), Arc::clone(&ran));
        waiting.push(tokio::spawn(async move {
            store.write(move |tx| {
                ran.fetch_add(1, Ordering::Relaxed);
                settings::set(tx, &format!("w{n}"), b"x")
            }).await
        }));
    }
    tokio::time::sleep(Duration::from_millis(50)).await;
    let error = store.write(|tx| settings::set(tx, "no", b"x")).await.unwrap_err();
    assert_eq!((error.code(), error.is_transient()), ("database-busy", true));
    let closing = { let store = store.clone(); tokio::spawn(async move { store.close().await }) };
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(store.write(|tx| settings::set(tx, "no", b"x")).await, Err(StoreError::Closed));
    assert_eq!(ran.load(Ordering::Relaxed), 0);
    drop(release);
    closing.await.unwrap();
    held.await.unwrap().unwrap();
    for job in waiting {
        job.await.unwrap().unwrap();
    }
    assert_eq!(store.ping().await, Err(StoreError::Closed));
    let kept = db.store.read(|tx| Ok((settings::value(tx, "w2")?, settings::value(tx, "no")?))).await.unwrap();
    assert_eq!(kept, (Some(b"x".to_vec()), None));
}
}

#[tokio::test]
async fn sqlite_files_are_private() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("deep/er/veriboot.db");
    let store = Store::open(&format!("sqlite:{}", path.display())).unwrap();
    store.write(|tx| settings::set(tx, "k", b"x")).await.unwrap();
    assert_eq!(store.backend(), Backend::Sqlite);
    let mode = |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(path.parent().unwrap()), 0o700);
    for suffix in ["", "-wal", "-shm"] {
        assert_eq!(mode(std::path::Path::new(&format!("{}{suffix}", path.display()))), 0o600, "{suffix}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_over_its_unix_socket() {
    let Some(db) = Db::postgres() else { return };
    let store = Store::open(&db.postgres.as_ref().unwrap().socket_url(&db.url)).unwrap();
    store.write(|tx| settings::set(tx, "k", b"x")).await.unwrap();
    assert_eq!(db.store.read(|tx| settings::value(tx, "k")).await, Ok(Some(b"x".to_vec())));
}

/// A VM with a name that is taken and a TPM that is new.
fn taken() -> vms::VmRow {
    vms::VmRow { ek_sha256: "another".into(), ..vm("default", "taken") }
}
