//! What one attestation costs the service, from evidence in memory to the stored outcome: quote verified, judged, one
//! transaction committed. Against a durable write of one small row through the same store, in the same run. Making quotes
//! is the machines' work and not counted. Prints the ratios, for both databases.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

#[path = "../tests/agent_support/mod.rs"]
mod agent_support;

use std::future::Future;
use std::time::{Duration, Instant};

use agent_support::captured::Captured;
use agent_support::{Guest, World};
use tokio::task::JoinSet;
use veriboot_service::attest;
use veriboot_store::{settings, vms};
use veriboot_wire::Verdict;

/// Machines that attest at the same time.
const AT_ONCE: usize = 16;
/// How often each does.
const ROUNDS: usize = 24;

/// The median of some times, in microseconds.
fn median(mut times: Vec<Duration>) -> f64 {
    times.sort_unstable();
    times[times.len() / 2].as_secs_f64() * 1e6
}

/// Times of one kind of work.
#[derive(Default)]
struct Times {
    alone: Vec<Duration>,
    together: Vec<Duration>,
}

impl Times {
    /// Each of these one after the other, and then as many at once, of which each takes its share.
    fn take<W, F>(&mut self, world: &World, mut prepare: impl FnMut() -> Vec<W>, run: fn(W) -> F)
    where
        W: Send + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        for work in prepare() {
            let start = Instant::now();
            world.block_on(run(work));
            self.alone.push(start.elapsed());
        }
        let all = prepare();
        let start = Instant::now();
        world.block_on(async {
            let mut tasks = JoinSet::new();
            all.into_iter().for_each(|work| drop(tasks.spawn(run(work))));
            while let Some(done) = tasks.join_next().await {
                done.unwrap();
            }
        });
        self.together.push(start.elapsed() / u32::try_from(AT_ONCE).unwrap());
    }
}

fn bench(name: &str, world: &World) {
    let token = world.join_token(Some("web"), 100);
    let boot = Captured::named("secure-boot");
    let mut guests: Vec<Guest> = (0..AT_ONCE)
        .map(|n| {
            let mut guest = world.guest(&format!("web-{n}"), Some(&token));
            boot.boot(&guest);
            assert_eq!(guest.attest().verdict, Verdict::Healthy);
            guest
        })
        .collect();
    let state = world.state().clone();
    let (mut attestations, mut writes) = (Times::default(), Times::default());
    for round in 0..ROUNDS {
        attestations.take(
            world,
            || {
                let evidence = guests.iter_mut().map(|guest| {
                    let mut evidence = guest.evidence();
                    // The service has the log, as always but the first time.
                    evidence.log.as_mut().unwrap().content = None;
                    (state.clone(), guest.vm_id(), evidence)
                });
                evidence.collect()
            },
            |(state, id, evidence)| async move {
                let vm = state.store.read(move |tx| vms::by_id(tx, &id)).await.unwrap().unwrap();
                let receipt = attest::appraise(&state, vm, evidence).await.unwrap();
                assert_eq!(receipt.verdict, Verdict::Healthy);
            },
        );
        writes.take(
            world,
            || (0..AT_ONCE).map(|n| (state.clone(), format!("bench-{n}"), [round as u8; 100])).collect(),
            |(state, name, value)| async move {
                state.store.write(move |tx| settings::set(tx, &name, &value)).await.unwrap();
            },
        );
    }
    for (how, one, raw) in [
        ("alone", attestations.alone, writes.alone),
        (&*format!("{AT_ONCE} at once"), attestations.together, writes.together),
    ] {
        let (one, raw) = (median(one), median(raw));
        println!(
            "{name}, {how}: {one:.0} µs an attestation, {raw:.0} µs a durable row, ratio {:.2}",
            one / raw
        );
    }
}

fn main() {
    bench("SQLite", &World::sqlite());
    if let Some(world) = World::postgres() {
        bench("PostgreSQL", &world);
    }
}
