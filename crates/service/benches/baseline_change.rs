//! A baseline of a group changes: how long until every VM of the group is judged by it, its status, alerts and assessments
//! with it? Over the API of a running service, as an operator does it; each VM has real evidence, whose quote is verified
//! again. Against a durable write of one small row for each VM, in the same run.
//!
//! `VERIBOOT_BENCH_VMS` is the number of VMs (20,000); `VERIBOOT_BENCH_DATABASE` is `sqlite` or `postgres`, otherwise both.
//! The VMs are copies of one that attested: they have one key and one quote, and records of their own.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

#[path = "../tests/agent_support/mod.rs"]
mod agent_support;

use std::time::{Duration, Instant};

use agent_support::World;
use agent_support::baselines::{apply, learned, other};
use agent_support::copies::copies;
use agent_support::operator::Operator;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use veriboot_service::posture;
use veriboot_store::{assessments, reappraisals, settings};
use veriboot_wire::VmStatus;

const SETS: usize = 500;

/// Every VM has its assessments, as in a service that runs.
fn assess(world: &World) {
    let now = world.state().clock.now();
    world.write(move |tx| assessments::enqueue(tx, "bench", now).map(drop));
    world.block_on(posture::drain(world.state())).expect("all are assessed");
}

/// Applies a baseline to the group and waits until it judged everybody.
fn change(world: &World, operator: &Operator, document: &str, expected: Option<u32>) -> (f64, u64) {
    let scope = json!({ "kind": "group", "group": "default", "id": "" });
    let start = Instant::now();
    let answer: Value = operator.post("/v1/baselines", &apply(&scope, document, expected));
    let id = answer["reappraisal"]["id"].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned();
    loop {
        let asked = id.clone();
        let now = world.read(move |tx| reappraisals::by_id(tx, &asked)).unwrap();
        assert_eq!(now.failed, 0);
        if now.finished_at.is_some() {
            return (start.elapsed().as_secs_f64(), now.turned);
        }
        std::thread::sleep(Duration::from_millis(50));
        // The clock of tests stands still, and claims end by it.
        world.pass_ms(50);
    }
}

/// A durable row each, many at once.
fn rows(world: &World, count: usize) -> f64 {
    let state = world.state().clone();
    let start = Instant::now();
    world.block_on(async {
        let mut tasks = JoinSet::new();
        for n in 0..count {
            while tasks.len() >= 64 {
                tasks.join_next().await.unwrap().unwrap();
            }
            let state = state.clone();
            tasks.spawn(async move {
                let name = format!("bench-{}", n % 64);
                state.store.write(move |tx| settings::set(tx, &name, &[n as u8; 100])).await.unwrap();
            });
        }
        while let Some(done) = tasks.join_next().await {
            done.unwrap();
        }
    });
    start.elapsed().as_secs_f64()
}

fn bench(name: &str, world: &World, count: usize) {
    let operator = Operator::new(world, "bench");
    let token = world.join_token(Some("web"), 1);
    let mut guest = world.guest("original", Some(&token));
    assert_eq!(guest.attest().status, VmStatus::Healthy);
    let good = learned(&guest);
    copies(world, &world.vm(&guest.vm_id()), count, SETS);
    assess(world);
    world.settle_database();
    guest.boot(&other());
    let bad = learned(&guest);
    let raw = rows(world, count);
    println!("{name}: {count} VMs; a durable row for each takes {raw:.1} s");
    for (what, document, expected) in [
        ("judged by another baseline, no verdict turns", &good, None),
        ("every verdict turns, an alert for each", &bad, Some(1)),
        ("every verdict turns back, alerts resolved", &good, Some(2)),
    ] {
        let (took, turned) = change(world, &operator, document, expected);
        println!(
            "  {what}: {took:.1} s, {turned} turned, {:.0} µs a VM, {:.1} x a row",
            took / count as f64 * 1e6,
            took / raw
        );
    }
}

fn main() {
    // `cargo test --benches` and nextest only ask whether it is there.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    let count = std::env::var("VERIBOOT_BENCH_VMS").ok().and_then(|n| n.parse().ok()).unwrap_or(20_000);
    let only = std::env::var("VERIBOOT_BENCH_DATABASE").unwrap_or_default();
    if only != "postgres" {
        bench("SQLite", &World::sqlite(), count);
    }
    if only != "sqlite"
        && let Some(world) = World::lasting_postgres()
    {
        bench("PostgreSQL", &world, count);
    }
}
