//! What judges a VM, baseline and profile: as it is asked, against the two look-ups that say the same. Prints the ratio, for
//! both databases.

#![allow(clippy::expect_used, missing_docs)]

use std::hint::black_box;
use std::time::{Duration, Instant};

use veriboot_store::baselines::{self, NewBaseline};
use veriboot_store::{Place, Signature, Signs, Store, StoreError, Tx, judges, profiles};
use veriboot_testkit::postgres::Postgres;
use veriboot_wire::{BaselineOrigin, Scope, ScopeKind, Time};

/// Look-ups in one transaction, so that what a transaction costs does not hide them.
const AT_ONCE: u32 = 200;
const MEASURE: Duration = Duration::from_secs(3);
const PLACE: Place<'_> =
    Place { vm_id: "vm", group: "default", scale_set: Some("web"), image: Some("debian-12") };

struct NoKey;

impl Signs for NoKey {
    fn sign(&self, _: &veriboot_store::Statement<'_>) -> Result<Signature, StoreError> {
        Ok(Signature { key_id: "key".to_owned(), bytes: vec![0] })
    }
}

/// A fleet of 100 scale sets with a baseline each, and a profile for the group.
fn fill(tx: &mut dyn Tx) -> Result<(), StoreError> {
    let at = Time::from_unix_ms(0);
    let group = Scope { kind: ScopeKind::Group, group: "default".into(), id: String::new() };
    profiles::assign(tx, &group, "distribution-updates", "ann", None, at)?;
    for n in 0..100 {
        let id = if n == 0 { "web".to_owned() } else { format!("set-{n}") };
        let scope = Scope { kind: ScopeKind::ScaleSet, group: "default".into(), id };
        let new = NewBaseline {
            name: &baselines::name_of(&scope, None),
            scope: &scope,
            origin: BaselineOrigin::Learned,
            document: "{}",
            components: 1,
            boot_id: None,
            comment: None,
            created_by: "service",
            created_at: at,
        };
        baselines::insert_next(tx, &new, &NoKey)?;
    }
    Ok(())
}

/// Microseconds of one of `ask`.
fn each(
    runtime: &tokio::runtime::Runtime,
    store: &Store,
    ask: fn(&mut dyn Tx) -> Result<(), StoreError>,
) -> f64 {
    let start = Instant::now();
    let mut asked = 0;
    while start.elapsed() < MEASURE {
        let many = move |tx: &mut dyn Tx| (0..AT_ONCE).try_for_each(|_| ask(tx));
        runtime.block_on(store.read(many)).expect("reads");
        asked += AT_ONCE;
    }
    start.elapsed().as_secs_f64() * 1e6 / f64::from(asked)
}

fn ratio(runtime: &tokio::runtime::Runtime, name: &str, store: &Store) {
    runtime.block_on(store.write(fill)).expect("writes");
    let together = each(runtime, store, |tx| {
        black_box(judges::for_vm(tx, PLACE)?);
        Ok(())
    });
    let apart = each(runtime, store, |tx| {
        black_box(baselines::current_id_for_vm(tx, PLACE)?);
        black_box(profiles::assigned_for(tx, PLACE)?);
        Ok(())
    });
    println!("{name}: together {together:.1} µs, apart {apart:.1} µs, ratio {:.2}", together / apart);
}

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let folder = tempfile::Builder::new()
        .prefix("store-bench-")
        .tempdir_in(env!("CARGO_TARGET_TMPDIR"))
        .expect("a folder");
    let url = format!("sqlite:{}/store.db", folder.path().display());
    ratio(&runtime, "SQLite", &Store::open(&url).expect("opens"));
    if let Ok(Some(server)) = Postgres::shared() {
        let url = server.database().expect("a database");
        ratio(&runtime, "PostgreSQL", &Store::open(&url).expect("opens"));
    }
}
