//! Durable upserts through the store (group commit) against the same statement in a bare rusqlite loop that commits
//! each one, and against one that commits groups itself; same machine, same run, same disk. Prints the ratios.

#![allow(clippy::expect_used, clippy::indexing_slicing, missing_docs)]

use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::{Criterion, criterion_group, criterion_main};
use veriboot_store::{Store, settings};

/// Rows that the upserts go round.
const KEYS: usize = 10_000;
/// Callers that wait for an answer at once, like requests of agents.
const CALLERS: usize = 512;
const GROUP: usize = 256;
const MEASURE: Duration = Duration::from_secs(3);
const UPSERT: &str = "INSERT INTO settings (name, value) VALUES (?1, ?2) ON CONFLICT (name) DO UPDATE SET value = excluded.value";

fn main_folder() -> tempfile::TempDir {
    // Beside the build, since the folder for temporary files is often in memory, where a commit costs nothing.
    tempfile::Builder::new().prefix("store-bench-").tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder")
}

fn bare(path: &std::path::Path) -> rusqlite::Connection {
    let connection = rusqlite::Connection::open(path).expect("opens");
    connection
        .execute_batch(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; \
             CREATE TABLE settings (name TEXT NOT NULL PRIMARY KEY, value BLOB NOT NULL) STRICT",
        )
        .expect("schema");
    connection
}

fn bare_per_second(group: usize) -> f64 {
    let folder = main_folder();
    let connection = bare(&folder.path().join("bare.db"));
    let start = Instant::now();
    let mut n = 0;
    while start.elapsed() < MEASURE {
        connection.execute_batch("BEGIN IMMEDIATE").expect("begins");
        for _ in 0..group {
            let mut statement = connection.prepare_cached(UPSERT).expect("compiles");
            statement.execute((format!("key-{}", n % KEYS), &[7_u8; 100][..])).expect("runs");
            n += 1;
        }
        connection.execute_batch("COMMIT").expect("commits");
    }
    n as f64 / start.elapsed().as_secs_f64()
}

fn store_per_second(runtime: &tokio::runtime::Runtime) -> f64 {
    let folder = main_folder();
    let store = Store::open(&format!("sqlite:{}/store.db", folder.path().display())).expect("opens");
    let start = Instant::now();
    let done: usize = runtime.block_on(async {
        let callers: Vec<_> = (0..CALLERS)
            .map(|caller| {
                let store = store.clone();
                tokio::spawn(async move {
                    let mut n = 0;
                    while start.elapsed() < MEASURE {
                        let key = format!("key-{}", (caller * 7919 + n) % KEYS);
                        store.write(move |tx| settings::set(tx, &key, &[7; 100])).await.expect("writes");
                        n += 1;
                    }
                    n
                })
            })
            .collect();
        let mut done = 0;
        for caller in callers {
            done += caller.await.expect("ends");
        }
        store.close().await;
        done
    });
    done as f64 / start.elapsed().as_secs_f64()
}

fn ratios(_: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().expect("a runtime");
    let (single, grouped, store) = (bare_per_second(1), bare_per_second(GROUP), store_per_second(&runtime));
    println!("bare rusqlite, a commit each        {single:>10.0} upserts/s");
    println!("bare rusqlite, a commit per {GROUP}     {grouped:>10.0} upserts/s");
    println!("store, {CALLERS} callers, each answered   {store:>10.0} upserts/s");
    println!("ratio store / bare with a commit each: {:.1}", store / single);
    println!("ratio store / bare with groups:        {:.2}", store / grouped);
}

fn round_trips(c: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().expect("a runtime");
    let folder = main_folder();
    let store = Store::open(&format!("sqlite:{}/one.db", folder.path().display())).expect("opens");
    runtime.block_on(store.write(|tx| settings::set(tx, "key", &[7; 100]))).expect("writes");
    let mut group = c.benchmark_group("sqlite, one caller");
    group.sample_size(10).measurement_time(Duration::from_secs(3)).warm_up_time(Duration::from_millis(300));
    group.bench_function("read a row", |b| {
        b.iter(|| black_box(runtime.block_on(store.read(|tx| settings::value(tx, "key"))).expect("reads")));
    });
    group.bench_function("write a row durably", |b| {
        b.iter(|| runtime.block_on(store.write(|tx| settings::set(tx, "key", &[8; 100]))).expect("writes"));
    });
    group.finish();
}

criterion_group!(benches, ratios, round_trips);
criterion_main!(benches);
