//! 100,000 VMs whose baseline changed: all assessments made again by the service's own sweep, against a plain read of the
//! same rows; same database, same run. Prints seconds and the ratio.
//!
//! `VERIBOOT_BENCH_VMS` makes it another number of VMs. SQLite beside the build, durable as always; with
//! `VERIBOOT_BENCH_DATABASE=postgres` a PostgreSQL server of its own, which does not wait for the disk, or with a URL that one.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, missing_docs)]

use std::time::Instant;

use veriboot_service::{AppState, Clock, Config, ServeOptions, Server, posture};
use veriboot_store::vms::VmRow;
use veriboot_store::{assessments, new_id, vms};
use veriboot_testkit::postgres::Postgres;
use veriboot_wire::{AssessmentQuery, FactState, Facts, MachineInfo, VmStatus};

const BATCH: usize = 1000;
const LOG_FACTS: &str = r#"{"version":2,"secure_boot":true,"dbx_entries":77,"sbat_level":2024010900,"microsoft_keys":{"kek_2011":true,"kek_2023":false,"uefi_2011":true,"uefi_2023":false,"windows_2011":true,"windows_2023":false},"command_line":true}"#;

fn row(n: usize, at: veriboot_wire::Time) -> VmRow {
    let facts = Facts {
        secure_boot: FactState::Valid,
        vtpm: FactState::Valid,
        quote: FactState::Valid,
        log: FactState::Valid,
        baseline: FactState::Valid,
        endorsement: FactState::Unknown,
        tee: FactState::NotApplicable,
    };
    VmRow {
        name: format!("vm-{n:07}"),
        group: format!("group-{:02}", n % 50),
        scale_set: (n.is_multiple_of(2)).then(|| format!("set-{:04}", n % 1000)),
        status: VmStatus::Healthy,
        facts,
        machine: MachineInfo { os: "linux".into(), agent_version: "0.1.0".into(), ..MachineInfo::default() },
        ek_sha256: format!("{n:064x}"),
        ek_public: vec![1; 300],
        ak_public: vec![2; 300],
        ak_name: vec![3; 34],
        agent_token_sha256: vec![4; 32],
        interval_s: 300,
        silence_limit_s: 86_400,
        last_attested_at: Some(at),
        last_seen_at: Some(at),
        reset_count: Some(1),
        restart_count: Some(0),
        clock_ms: Some(1),
        firmware_version: Some(1),
        log_sha256: Some(format!("{:064x}", n % 500)),
        ..VmRow::enrolling(new_id(at), at)
    }
}

async fn fill(state: &AppState, count: usize) -> Vec<String> {
    let at = state.clock.now();
    let mut ids = Vec::with_capacity(count);
    for from in (0..count).step_by(BATCH) {
        let rows: Vec<VmRow> = (from..count.min(from + BATCH)).map(|n| row(n, at)).collect();
        ids.extend(rows.iter().map(|vm| vm.id.clone()));
        let work = move |tx: &mut dyn veriboot_store::Tx| {
            for vm in &rows {
                vms::insert(tx, vm)?;
                assessments::put_log_facts(tx, &vm.id, vm.log_sha256.as_deref().unwrap(), LOG_FACTS)?;
            }
            Ok(())
        };
        state.store.write(work).await.unwrap();
    }
    ids
}

async fn sweep(state: &AppState, because: &'static str) -> f64 {
    let now = state.clock.now();
    state.store.write(move |tx| assessments::enqueue(tx, because, now)).await.unwrap();
    let start = Instant::now();
    posture::drain(state).await.unwrap();
    let sweep = state.store.read(assessments::latest).await.unwrap().unwrap();
    assert!(sweep.finished_at.is_some());
    println!("  {because}: {} looked at, {} changed", sweep.looked_at, sweep.changed);
    start.elapsed().as_secs_f64()
}

/// Every assessment, page after page, as a list reads them.
async fn read_all(state: &AppState) -> (f64, usize) {
    let start = Instant::now();
    let (mut rows, mut cursor) = (0, None);
    loop {
        let query = AssessmentQuery { limit: Some(1000), cursor: cursor.take(), ..Default::default() };
        let page = state.store.read(move |tx| assessments::list(tx, &query, None)).await.unwrap();
        rows += page.items.len();
        match page.next_cursor {
            Some(next) => cursor = Some(next),
            None => return (start.elapsed().as_secs_f64(), rows),
        }
    }
}

async fn run(count: usize) {
    let folder =
        tempfile::Builder::new().prefix("posture-bench-").tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let asked = std::env::var("VERIBOOT_BENCH_DATABASE").unwrap_or_default();
    let postgres = (asked == "postgres").then(|| Postgres::start().unwrap());
    let database = match &postgres {
        Some(server) => Some(server.database().unwrap()),
        None => (!asked.is_empty()).then_some(asked),
    };
    let config = Config {
        listen: "127.0.0.1:0".parse().unwrap(),
        data_dir: folder.path().join("data"),
        database,
        ..Config::default()
    };
    let server = Server::start(config, Clock::system(), &ServeOptions::default()).await.unwrap();
    let state = server.state().clone();
    // What the start itself asks for is done first.
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    posture::drain(&state).await.unwrap();
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    println!("{count} VMs, {:?}, load {}", state.store.backend(), load.trim());
    let start = Instant::now();
    let ids = fill(&state, count).await;
    let filled = start.elapsed().as_secs_f64();
    let first = sweep(&state, "first assessments").await;
    // What judging all VMs by another baseline leaves in their records.
    for part in ids.chunks(BATCH) {
        let part = part.to_vec();
        let work = move |tx: &mut dyn veriboot_store::Tx| {
            for id in &part {
                vms::set_status(tx, id, VmStatus::Unhealthy, Some("kernel changed"))?;
            }
            Ok(())
        };
        state.store.write(work).await.unwrap();
    }
    let changed = sweep(&state, "baseline changed").await;
    let same = sweep(&state, "nothing changed").await;
    let (read, rows) = read_all(&state).await;
    let start = Instant::now();
    let counts = state.store.read(assessments::counts_by_group).await.unwrap();
    let counted = start.elapsed().as_secs_f64();
    println!("  first assessments           {first:8.2} s");
    println!("  filled by hand              {filled:8.2} s");
    println!("  all again, baseline changed {changed:8.2} s   {:6.2} x a plain read", changed / read);
    println!("  all again, nothing changed  {same:8.2} s   {:6.2} x a plain read", same / read);
    println!("  plain read of {rows} rows   {read:8.2} s");
    println!("  score of every group        {counted:8.3} s   ({} counts)", counts.len());
    server.stop().await;
}

fn main() {
    // `cargo test --benches` and nextest only ask whether it is there.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    let count = std::env::var("VERIBOOT_BENCH_VMS").ok().and_then(|n| n.parse().ok()).unwrap_or(100_000);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(run(count));
}
