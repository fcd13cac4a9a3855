//! Two or more transactions that want the same thing, through two replicas.

use std::future::Future;

use veriboot_store::join_tokens::{self, JoinRefusal};
use veriboot_store::{
    Constraint, Options, Store, StoreError, Tx, alerts, audit, baselines, enrolments, settings, vms,
};
use veriboot_wire::{AlertReason, BaselineQuery, ScopeKind};

use crate::harness::{Db, TestKey, add_vm, at, on_both, place, vm};

/// Runs `work(n)` on `count` tasks at once, alternating between the replicas.
async fn all_at_once<T, F, W>(stores: [Store; 2], count: usize, work: W) -> Vec<T>
where
    T: Send + 'static,
    F: Future<Output = T> + Send + 'static,
    W: Fn(Store, usize) -> F,
{
    let start = std::sync::Arc::new(tokio::sync::Barrier::new(count));
    let tasks: Vec<_> = (0..count)
        .map(|n| {
            let (start, task) = (start.clone(), work(stores[n % 2].clone(), n));
            tokio::spawn(async move {
                start.wait().await;
                task.await
            })
        })
        .collect();
    let mut results = Vec::new();
    for task in tasks {
        results.push(task.await.unwrap());
    }
    results
}

fn both(db: &Db) -> [Store; 2] {
    [db.store.clone(), db.replica()]
}

on_both! {
async fn the_last_use_of_a_join_token_admits_one(db) {
    let token = crate::tokens::join_token(3);
    let id = token.id.clone();
    db.store.write(move |tx| join_tokens::insert(tx, &token, &[1; 32])).await.unwrap();
    let results = all_at_once(both(&db), 12, |store, n| {
        let id = id.clone();
        async move {
            store.write(move |tx| {
                let used = join_tokens::consume(tx, &id, at(1))?;
                if used.is_ok() {
                    vms::insert(tx, &vm("default", &format!("vm-{n}")))?;
                }
                Ok(used)
            }).await.unwrap()
        }
    }).await;
    let (admitted, refused): (Vec<_>, Vec<_>) = results.into_iter().partition(Result::is_ok);
    assert_eq!((admitted.len(), refused.len()), (3, 9));
    assert!(refused.iter().all(|r| *r == Err(JoinRefusal::UsedUp)));
    let vms = db.store.read(|tx| vms::counts_by_status(tx, None)).await.unwrap();
    assert_eq!(vms.iter().map(|(_, n)| n).sum::<u64>(), 3);
}
}

on_both! {
async fn one_challenge_is_used_by_one(db) {
    let id = add_vm(&db.store, "default", "web-0").await;
    let results = all_at_once(both(&db), 10, |store, _| {
        let id = id.clone();
        async move { store.write(move |tx| vms::use_challenge(tx, &id, 42)).await.unwrap() }
    }).await;
    assert_eq!(results.iter().filter(|used| **used).count(), 1);
}
}

on_both! {
async fn one_enrolment_is_taken_by_one(db) {
    let row = crate::tokens::enrolment(1);
    let id = row.id.clone();
    db.store.write(move |tx| enrolments::insert(tx, &row, crate::tokens::BOUNDS)).await.unwrap();
    let results = all_at_once(both(&db), 10, |store, _| {
        let id = id.clone();
        async move { store.write(move |tx| enrolments::take(tx, &id)).await.unwrap() }
    }).await;
    assert_eq!(results.iter().filter(|taken| **taken).count(), 1);
}
}

on_both! {
async fn a_name_goes_to_one_tpm(db) {
    let results = all_at_once(both(&db), 8, |store, n| async move {
        let mut row = vm("default", "web-0");
        row.ek_sha256 = format!("ek-{n}");
        store.write(move |tx| {
            // What a service does: look first, so that the loser gets a good message; the constraint is the last line.
            if vms::by_name(tx, "default", "web-0")?.is_some() {
                return Ok(false);
            }
            vms::insert(tx, &row).map(|()| true)
        }).await
    }).await;
    let winners = results.iter().filter(|r| matches!(r, Ok(true))).count();
    assert_eq!(winners, 1, "{results:?}");
    for result in results {
        let fair = matches!(result, Ok(_) | Err(StoreError::Conflict { constraint: Constraint::VmName }));
        assert!(fair, "{result:?}");
    }
}
}

on_both! {
async fn one_alert_however_many_raise_it(db) {
    let id = add_vm(&db.store, "default", "web-0").await;
    let raised = all_at_once(both(&db), 12, |store, n| {
        let id = id.clone();
        async move {
            let time = at(i64::try_from(n).unwrap());
            store.write(move |tx| alerts::raise(tx, &crate::alerts::raise(&id, time))).await.unwrap()
        }
    }).await;
    let mut counts: Vec<_> = raised.iter().map(|r| r.count).collect();
    counts.sort_unstable();
    assert_eq!(counts, (1..=12).collect::<Vec<u64>>());
    assert!(raised.iter().all(|r| r.id == raised[0].id));
    let alert = db.store.read(move |tx| alerts::open_for(tx, &id, AlertReason::BaselineDeviation)).await.unwrap();
    assert_eq!(alert.unwrap().count, 12);
}
}

on_both! {
async fn versions_of_a_baseline_have_no_gaps_and_no_twins(db) {
    let versions = all_at_once(both(&db), 8, |store, _| async move {
        let scope = crate::baselines::scope(ScopeKind::ScaleSet, "web");
        store.write(move |tx| {
            let new = crate::baselines::new("scale-set/default/web", &scope);
            baselines::insert_next(tx, &new, &TestKey).map(|b| b.summary.version)
        }).await.unwrap()
    }).await;
    let mut sorted = versions.clone();
    sorted.sort_unstable();
    assert_eq!(sorted, (1..=8).collect::<Vec<u32>>());
    let current = db.store.read(|tx| baselines::list(tx, &BaselineQuery::default())).await.unwrap();
    assert_eq!(current.items.iter().map(|b| b.version).collect::<Vec<_>>(), [8]);
}
}

on_both! {
async fn the_first_healthy_boot_is_learned_once(db) {
    let learned = all_at_once(both(&db), 8, |store, n| async move {
        let scope = crate::baselines::scope(ScopeKind::ScaleSet, "web");
        store.write(move |tx| {
            if baselines::current_for_vm(tx, place(&format!("vm-{n}"), Some("web")))?.is_some() {
                return Ok(false);
            }
            baselines::insert_next(tx, &crate::baselines::new("scale-set/default/web", &scope), &TestKey).map(|_| true)
        }).await.unwrap()
    }).await;
    assert_eq!(learned.iter().filter(|l| **l).count(), 1);
}
}

on_both! {
async fn the_audit_log_has_no_gaps_under_concurrency(db) {
    all_at_once(both(&db), 40, |store, n| async move {
        store.write(move |tx: &mut dyn Tx| {
            let detail = serde_json::json!({ "n": n });
            audit::append(tx, &audit::NewEntry { at: at(0), actor: "a", action: "x", target: "t", detail: &detail })
        }).await.unwrap()
    }).await;
    let report = db.store.read(audit::verify_chain).await.unwrap();
    assert!(matches!(report, audit::ChainReport::Intact { entries: 40, .. }), "{report:?}");
}
}

on_both! {
async fn replicas_that_start_at_once_agree(db) {
    let values = all_at_once(both(&db), 8, |store, n| async move {
        let mine = n.to_string();
        store.write(move |tx| settings::value_or_insert(tx, "challenge-key", mine.as_bytes())).await.unwrap()
    }).await;
    assert!(values.iter().all(|v| *v == values[0]));
}
}

fn open_many(url: &str) {
    let openers: Vec<_> = (0..6)
        .map(|_| {
            let url = url.to_owned();
            std::thread::spawn(move || {
                Store::open_with(&url, &Options { readers: 1, writers: 1, ..Options::default() })
            })
        })
        .collect();
    for opener in openers {
        opener.join().unwrap().unwrap();
    }
}

#[test]
fn an_empty_sqlite_file_is_migrated_once() {
    let folder = tempfile::tempdir().unwrap();
    open_many(&format!("sqlite:{}/veriboot.db", folder.path().display()));
}

#[test]
fn an_empty_postgres_database_is_migrated_once() {
    let Some(server) = veriboot_testkit::postgres::Postgres::shared().unwrap() else { return };
    open_many(&server.database().unwrap());
}
