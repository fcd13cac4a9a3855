//! Events, the targets that are told of them, and the outbox between.

use serde_json::json;
use veriboot_store::ages::Old;
use veriboot_store::deliveries::{self, Attempt, Failed};
use veriboot_store::events::{self, Bounds, NewEvent};
use veriboot_store::heartbeats::{self, Beat};
use veriboot_store::targets::{self, MAX_TARGETS, TargetRow};
use veriboot_store::{Constraint, Store, StoreError, Tx, new_id};
use veriboot_wire::{
    AlertReason, DeliveryQuery, DeliveryState, EventQuery, Route, Severity, TargetKind, TargetSecrets,
    TargetSettings, Time,
};

use crate::harness::{at, on_both};

fn append(
    tx: &mut dyn Tx,
    kind: &str,
    severity: Severity,
    group: Option<&str>,
    n: i64,
) -> Result<u64, StoreError> {
    let data = json!({ "n": n });
    let event = NewEvent {
        at: at(n),
        kind,
        severity,
        group,
        scale_set: None,
        vm_id: Some("vm-1"),
        vm_name: Some("web-0"),
        subject: None,
        data: &data,
    };
    events::append(tx, &event)?;
    Ok(events::bounds(tx)?.newest)
}

async fn some(store: &Store, count: i64) {
    store
        .write(move |tx| {
            for n in 0..count {
                append(tx, "vm.enrolled", Severity::Info, Some("default"), n)?;
            }
            Ok(())
        })
        .await
        .unwrap();
}

fn target(name: &str, kind: TargetKind, route: Route) -> TargetRow {
    TargetRow {
        id: new_id(at(0)),
        name: name.into(),
        kind,
        enabled: true,
        settings: TargetSettings {
            url: Some("https://hooks.example.com".into()),
            ..TargetSettings::default()
        },
        secrets: TargetSecrets { signing_secret: Some("s".into()), ..TargetSecrets::default() },
        route,
        revision: 1,
        created_at: at(0),
        created_by: "ann".into(),
        changed_at: at(0),
    }
}

async fn add(store: &Store, row: &TargetRow) {
    let row = row.clone();
    store.write(move |tx| targets::insert(tx, &row)).await.unwrap();
}

/// What was written before.
fn before(tx: &mut dyn Tx, ms: i64) -> Old {
    Old::than(tx, 0, at(ms)).unwrap()
}

fn sequences(waiting: &[deliveries::Waiting]) -> Vec<u64> {
    waiting.iter().map(|w| w.event.sequence).collect()
}

on_both! {
async fn events_of_many_writers_have_no_gaps(db) {
    let (one, two) = (db.replica(), db.replica());
    let mut tasks = tokio::task::JoinSet::new();
    for n in 0..40_i64 {
        let store = if n % 2 == 0 { one.clone() } else { two.clone() };
        tasks.spawn(async move {
            store
                .try_write(move |tx| {
                    let sequence = append(tx, "vm.enrolled", Severity::Info, None, n)?;
                    // What is undone leaves no hole.
                    if n % 4 == 1 { Err(StoreError::BadCursor) } else { Ok(sequence) }
                })
                .await
        });
    }
    let mut given = Vec::new();
    while let Some(done) = tasks.join_next().await {
        match done.unwrap() {
            Ok(sequence) => given.push(sequence),
            Err(error) => assert_eq!(error, StoreError::BadCursor),
        }
    }
    given.sort_unstable();
    assert_eq!(given, (1..=30).collect::<Vec<u64>>());
    let (stored, bounds) =
        db.store.read(|tx| Ok((events::after(tx, 0, 100)?, events::bounds(tx)?))).await.unwrap();
    assert_eq!(stored.iter().map(|e| e.sequence).collect::<Vec<_>>(), given);
    assert_eq!(bounds, Bounds { oldest: 1, newest: 30 });
}
}

on_both! {
async fn pages_hold_what_was_asked_for(db) {
    db.store.write(|tx| {
        assert_eq!(events::bounds(tx)?, Bounds { oldest: 1, newest: 0 });
        for n in 0..1500 {
            let (kind, severity) = match n % 500 {
                7 => ("alert.opened", Severity::High),
                _ => ("vm.status-changed", Severity::Info),
            };
            append(tx, kind, severity, Some(if n < 1000 { "a" } else { "b" }), n)?;
        }
        let page = |tx: &mut dyn Tx, query: &EventQuery| events::list(tx, query);
        let high = EventQuery { severity: Some(Severity::Medium), ..EventQuery::default() };
        let mut query = high.clone();
        let mut found = Vec::new();
        loop {
            let page = page(tx, &query)?;
            found.extend(page.items.iter().map(|e| e.sequence));
            let Some(next) = page.next_cursor else { break };
            query.cursor = Some(next);
        }
        assert_eq!(found, [8, 508, 1008]);
        let alerts = EventQuery { kind: Some("alert.*, proposal.opened".into()), group: Some("b".into()), ..EventQuery::default() };
        let first = page(tx, &alerts)?;
        assert!(first.items.is_empty());
        let rest = page(tx, &EventQuery { cursor: first.next_cursor, ..alerts })?;
        assert_eq!(rest.items.iter().map(|e| e.sequence).collect::<Vec<_>>(), [1008]);
        assert_eq!(rest.next_cursor, None);
        let two = page(tx, &EventQuery { limit: Some(2), after: Some(10), ..EventQuery::default() })?;
        assert_eq!(two.items.iter().map(|e| e.sequence).collect::<Vec<_>>(), [11, 12]);
        let next = page(tx, &EventQuery { limit: Some(1), cursor: two.next_cursor, ..EventQuery::default() })?;
        assert_eq!(next.items[0].sequence, 13);
        assert_eq!(page(tx, &EventQuery { cursor: Some("zz".into()), ..EventQuery::default() }), Err(StoreError::BadCursor));
        Ok(())
    }).await.unwrap();
}
}

on_both! {
async fn an_event_is_queued_for_whom_it_concerns(db) {
    let route = |min_severity, groups: &[&str], kinds: &[&str]| Route {
        min_severity,
        groups: groups.iter().map(|g| (*g).to_owned()).collect(),
        kinds: kinds.iter().map(|k| (*k).to_owned()).collect(),
        ..Route::default()
    };
    let all = target("all", TargetKind::Webhook, Route::default());
    let prod = target("prod", TargetKind::Email, route(Severity::Medium, &["prod"], &["alert.*"]));
    let am = target("am", TargetKind::Alertmanager, Route::default());
    let off = TargetRow { enabled: false, ..target("off", TargetKind::Webhook, Route::default()) };
    for row in [&all, &prod, &am, &off] {
        add(&db.store, row).await;
    }
    db.store.write(move |tx| {
        append(tx, "vm.enrolled", Severity::Info, Some("prod"), 1)?;
        append(tx, "alert.opened", Severity::Medium, Some("prod"), 2)?;
        append(tx, "alert.opened", Severity::Low, Some("prod"), 3)?;
        append(tx, "alert.opened", Severity::High, Some("test"), 4)?;
        append(tx, "profile.changed", Severity::Info, None, 5)?;
        for (row, expected) in [(&all, vec![1, 2, 3, 4, 5]), (&prod, vec![2]), (&am, vec![2, 3, 4]), (&off, vec![])] {
            assert_eq!(sequences(&deliveries::waiting(tx, &row.id, 100)?), expected, "{}", row.name);
        }
        Ok(())
    }).await.unwrap();
    // What is undone is told to nobody.
    let undone = db.store.try_write(|tx| {
        append(tx, "vm.enrolled", Severity::Info, Some("prod"), 6)?;
        Err::<(), _>(StoreError::BadCursor)
    }).await;
    assert_eq!(undone, Err(StoreError::BadCursor));
    let listed = db.store.read(|tx| deliveries::list(tx, &DeliveryQuery::default())).await.unwrap();
    assert_eq!(listed.items.len(), 9);
    assert_eq!(listed.items[0].event.sequence, 5);
    // Who asks for reasons is told of alerts and incidents with these, and of nothing else.
    let pager = target("pager", TargetKind::Webhook, Route { reasons: vec![AlertReason::QuoteUntrusted], ..Route::default() });
    add(&db.store, &pager).await;
    db.store.write(move |tx| {
        for (kind, reason) in [
            ("alert.opened", "quote-untrusted"),
            ("alert.opened", "agent-silent"),
            ("incident.opened", "quote-untrusted"),
            ("suppression.changed", "quote-untrusted"),
        ] {
            let data = json!({ "kind": "vm-attestation-failed", "reason": reason });
            let event = NewEvent {
                at: at(6), kind, severity: Severity::Medium, group: Some("test"), scale_set: None, vm_id: None, vm_name: None,
                subject: None, data: &data,
            };
            events::append(tx, &event)?;
        }
        append(tx, "vm.enrolled", Severity::Info, Some("test"), 7)?;
        assert_eq!(sequences(&deliveries::waiting(tx, &pager.id, 100)?), [6, 8]);
        targets::delete(tx, &pager.id)?;
        // Members of an incident are left out where that is asked, and others are not.
        let grouped = target("grouped", TargetKind::Webhook, Route { grouped: true, ..Route::default() });
        targets::insert(tx, &grouped)?;
        for incident in [Some("i"), None] {
            let data = json!({ "kind": "vm-attestation-failed", "reason": "agent-silent", "incident_id": incident });
            let event = NewEvent {
                at: at(8), kind: "alert.opened", severity: Severity::Medium, group: Some("test"), scale_set: None, vm_id: None,
                vm_name: None, subject: None, data: &data,
            };
            events::append(tx, &event)?;
        }
        assert_eq!(sequences(&deliveries::waiting(tx, &grouped.id, 100)?), [12]);
        targets::delete(tx, &grouped.id)?;
        Ok(())
    }).await.unwrap();
}
}

on_both! {
async fn one_replica_at_a_time_tells_a_target(db) {
    let row = target("all", TargetKind::Webhook, Route::default());
    add(&db.store, &row).await;
    some(&db.store, 3).await;
    let claim = |store: &Store, by: &'static str, now: Time| {
        let (store, id) = (store.clone(), row.id.clone());
        async move { store.write(move |tx| deliveries::claim(tx, &id, by, now, now.plus_s(60))).await.unwrap() }
    };
    let other = db.replica();
    let (a, b) = tokio::join!(claim(&db.store, "a", at(10)), claim(&other, "b", at(10)));
    assert!(a.is_some() != b.is_some(), "{a:?} {b:?}");
    let owner = if a.is_some() { "a" } else { "b" };
    // It is nobody's turn while the claim lasts, and anybody's afterwards.
    assert!(claim(&other, "c", at(59_000)).await.is_none());
    let due = |now: Time| {
        let store = other.clone();
        async move { store.read(move |tx| deliveries::due(tx, now, 9)).await.unwrap().len() }
    };
    assert_eq!((due(at(59_000)).await, due(at(60_011)).await), (0, 1));
    assert!(claim(&other, "c", at(60_011)).await.is_some());
    // Who lost its claim notes nothing.
    let id = row.id.clone();
    let (late, kept) = other.write(move |tx| {
        let attempt = |by| Attempt {
            target_id: &id, by, at: at(60_020), sequences: &[1], until: at(120_000), repeat_at: None, clock_ahead_ms: None, failed: None,
        };
        Ok((deliveries::attempted(tx, &attempt(owner))?, deliveries::attempted(tx, &attempt("c"))?))
    }).await.unwrap();
    assert_eq!((late, kept), (false, true));
    let id = row.id.clone();
    let left = other.read(move |tx| deliveries::waiting(tx, &id, 9)).await.unwrap();
    assert_eq!(sequences(&left), [2, 3]);
}
}

on_both! {
async fn failures_wait_and_what_is_given_up_can_be_told_again(db) {
    let row = target("all", TargetKind::Webhook, Route::default());
    let digest = target("digest", TargetKind::Email, Route { digest_s: Some(60), ..Route::default() });
    add(&db.store, &row).await;
    add(&db.store, &digest).await;
    some(&db.store, 2).await;
    db.store.write(move |tx| {
        let due = |tx: &mut dyn Tx, now| Ok::<_, StoreError>(deliveries::due(tx, now, 9)?.into_iter().map(|d| d.target_id).collect::<Vec<_>>());
        assert_eq!(due(tx, at(100))?, std::slice::from_ref(&row.id));
        let mut both = due(tx, at(60_001))?;
        both.sort();
        let mut expected = [row.id.clone(), digest.id.clone()];
        expected.sort();
        assert_eq!(both, expected);

        let failed = |give_up| Attempt {
            target_id: &row.id, by: "a", at: at(100), sequences: &[1, 2], until: at(100), repeat_at: None, clock_ahead_ms: Some(-600_000),
            failed: Some(Failed { error: "500", next_at: at(9_000), give_up }),
        };
        assert!(deliveries::claim(tx, &row.id, "a", at(100), at(60_000))?.is_some());
        assert!(deliveries::attempted(tx, &failed(&[]))?);
        assert!(!due(tx, at(8_999))?.contains(&row.id));
        assert!(deliveries::claim(tx, &row.id, "b", at(8_999), at(60_000))?.is_none());
        let health = targets::health(tx, &row.id)?;
        assert_eq!((health.waiting, health.failures, health.next_attempt_at), (2, 1, Some(at(9_000))));
        assert_eq!(health.last_error.as_deref(), Some("500"));
        assert_eq!(health.clock_ahead_s, Some(-600));
        let skew = |tx: &mut dyn Tx| -> Result<Option<u64>, StoreError> {
            let depths = deliveries::depths(tx)?;
            Ok(depths.into_iter().find(|depth| depth.kind == TargetKind::Webhook).map(|depth| depth.clock_skew_ms))
        };
        assert_eq!(skew(tx)?, Some(600_000));

        let claimed = deliveries::claim(tx, &row.id, "a", at(9_000), at(60_000))?.unwrap();
        assert_eq!(claimed.failures, 1);
        assert!(deliveries::attempted(tx, &failed(&[1]))?);
        assert_eq!(sequences(&deliveries::waiting(tx, &row.id, 9)?), [2]);
        let dead = DeliveryQuery { state: Some(DeliveryState::Dead), target: Some("all".into()), ..DeliveryQuery::default() };
        let listed = deliveries::list(tx, &dead)?.items;
        assert_eq!(listed.len(), 1);
        assert_eq!((listed[0].event.sequence, listed[0].attempts, listed[0].last_error.as_deref()), (1, 2, Some("500")));
        let depths = deliveries::depths(tx)?;
        let of = |kind| depths.iter().find(|d| d.kind == kind).map(|d| (d.waiting, d.dead)).unwrap();
        assert_eq!((of(TargetKind::Webhook), of(TargetKind::Email), of(TargetKind::Ocsf)), ((1, 1), (2, 0), (0, 0)));

        assert_eq!(deliveries::replay(tx, Some(&digest.id), None, at(500))?, 0);
        assert_eq!(deliveries::replay(tx, None, Some(2), at(500))?, 0);
        assert_eq!(deliveries::replay(tx, Some(&row.id), Some(1), at(500))?, 1);
        // In the order of the events again, and at once.
        assert_eq!(sequences(&deliveries::waiting(tx, &row.id, 9)?), [1, 2]);
        assert!(due(tx, at(501))?.contains(&row.id));
        assert_eq!(targets::health(tx, &row.id)?.failures, 0);
        Ok(())
    }).await.unwrap();
}
}

on_both! {
async fn what_somebody_is_still_to_be_told_is_kept(db) {
    let row = target("all", TargetKind::Webhook, Route::default());
    some(&db.store, 5).await;
    add(&db.store, &row).await;
    db.store.write(|tx| append(tx, "vm.enrolled", Severity::Info, None, 5).map(drop)).await.unwrap();
    db.store.write(|tx| append(tx, "vm.enrolled", Severity::Info, None, 900_000).map(drop)).await.unwrap();
    db.store.write(move |tx| {
        assert_eq!({ let old = before(tx, 3); events::purge(tx, &old, 100)? }, 3);
        assert_eq!(events::bounds(tx)?, Bounds { oldest: 4, newest: 7 });
        // Event 6 waits: 4 and 5 go, it stays.
        assert_eq!({ let old = before(tx, 800_000); events::purge(tx, &old, 1)? }, 1);
        assert_eq!({ let old = before(tx, 800_000); events::purge(tx, &old, 100)? }, 1);
        assert_eq!({ let old = before(tx, 800_000); events::purge(tx, &old, 100)? }, 0);
        assert_eq!(events::bounds(tx)?.oldest, 6);
        assert!(deliveries::claim(tx, &row.id, "a", at(6), at(60_000))?.is_some());
        let done = Attempt {
            target_id: &row.id, by: "a", at: at(7), sequences: &[6], until: at(7), repeat_at: None, clock_ahead_ms: None, failed: None,
        };
        assert!(deliveries::attempted(tx, &done)?);
        assert_eq!({ let old = before(tx, 800_000); events::purge(tx, &old, 100)? }, 1);
        // Numbers are never given twice, even when no event is left.
        targets::delete(tx, &row.id)?;
        assert_eq!({ let old = before(tx, 1_000_000); events::purge(tx, &old, 100)? }, 1);
        assert_eq!(events::bounds(tx)?, Bounds { oldest: 8, newest: 7 });
        assert_eq!(append(tx, "vm.enrolled", Severity::Info, None, 0)?, 8);
        Ok(())
    }).await.unwrap();
}
}

on_both! {
async fn targets_are_bounded_named_once_and_removed_with_their_outbox(db) {
    let row = target("a", TargetKind::Webhook, Route::default());
    add(&db.store, &row).await;
    let again = target("a", TargetKind::Email, Route::default());
    let taken = db.store.write(move |tx| targets::insert(tx, &again)).await;
    assert_eq!(taken, Err(StoreError::Conflict { constraint: Constraint::TargetName }));
    for n in 1..MAX_TARGETS {
        add(&db.store, &target(&format!("b{n}"), TargetKind::Syslog, Route::default())).await;
    }
    let one_more = target("z", TargetKind::Webhook, Route::default());
    let full = db.store.write(move |tx| targets::insert(tx, &one_more)).await;
    assert_eq!(full, Err(StoreError::Limit { what: "notification targets" }));
    some(&db.store, 2).await;
    db.store.write(move |tx| {
        let found = targets::by_name(tx, "a")?.unwrap();
        assert_eq!(found, row);
        let off = TargetRow { enabled: false, revision: 2, changed_at: at(9), ..found };
        targets::update(tx, &off)?;
        assert_eq!(targets::by_id(tx, &row.id)?, Some(off));
        assert!(!deliveries::due(tx, at(10), 99)?.iter().any(|due| due.target_id == row.id));
        // What a target that is switched off was to be told is not kept for ever.
        assert_eq!({ let old = before(tx, 0); deliveries::give_up_disabled(tx, &old)? }, 0);
        assert_eq!({ let old = before(tx, 2); deliveries::give_up_disabled(tx, &old)? }, 2);
        assert_eq!(targets::health(tx, &row.id)?.dead, 2);
        assert_eq!({ let old = before(tx, 2); deliveries::purge_dead(tx, &old)? }, 2);
        targets::delete(tx, &row.id)?;
        assert_eq!(targets::by_name(tx, "a")?, None);
        let first = targets::list(tx, Some(60), None)?;
        let rest = targets::list(tx, Some(60), first.next_cursor.as_deref())?;
        assert_eq!((first.items.len(), rest.items.len(), rest.next_cursor), (60, 3, None));
        Ok(())
    }).await.unwrap();
}
}

on_both! {
async fn many_events_are_as_many_appended_one_by_one(db) {
    let all = Route { kinds: vec!["alert.*".into()], ..Route::default() };
    let high = Route { min_severity: Severity::High, ..Route::default() };
    let targets = [target("all", TargetKind::Webhook, all), target("high", TargetKind::Webhook, high)];
    for row in &targets {
        add(&db.store, row).await;
    }
    let count = 257_u64;
    let told = db.store.write(move |tx| {
        let data: Vec<_> = (0..count).map(|n| json!({ "n": n })).collect();
        let event = |(n, data)| NewEvent {
            at: at(0),
            kind: if n % 2 == 0 { "alert.opened" } else { "vm.enrolled" },
            severity: if n % 5 == 0 { Severity::High } else { Severity::Info },
            group: None,
            scale_set: Some("web"),
            vm_id: None,
            vm_name: None,
            subject: Some("s"),
            data,
        };
        events::append_all(tx, &[])?;
        append(tx, "vm.enrolled", Severity::Info, None, 1)?;
        let new: Vec<NewEvent<'_>> = (0..count).zip(&data).map(event).collect();
        let (some, rest) = new.split_at(100);
        events::append_all(tx, some)?;
        events::hold(tx, |tx| {
            let (some, rest) = rest.split_at(rest.len() / 2);
            events::append_all(tx, some)?;
            events::hold(tx, |tx| rest.iter().try_for_each(|one| events::append(tx, one)))?;
            // Nobody else waits so far, and nothing is written.
            assert_eq!(events::bounds(tx)?.newest, 101);
            Ok(())
        })?;
        assert_eq!(events::bounds(tx)?.newest, 1 + count);
        append(tx, "vm.enrolled", Severity::Info, None, 1)
    });
    assert_eq!(told.await.unwrap(), 2 + count);
    let (all, high) = (targets[0].id.clone(), targets[1].id.clone());
    let (stored, all, high) = db
        .store
        .read(move |tx| {
            let waiting = [deliveries::waiting(tx, &all, 1000)?, deliveries::waiting(tx, &high, 1000)?];
            let [all, high] = waiting.map(|waiting| sequences(&waiting));
            Ok((events::after(tx, 0, 1000)?, all, high))
        })
        .await
        .unwrap();
    assert_eq!(stored.iter().map(|e| e.sequence).collect::<Vec<_>>(), (1..=count + 2).collect::<Vec<_>>());
    for (n, event) in (0..count).zip(&stored[1..]) {
        assert_eq!((event.sequence, event.data["n"].as_u64()), (n + 2, Some(n)));
        assert_eq!((event.scale_set.as_deref(), event.subject.as_deref()), (Some("web"), Some("s")));
    }
    let wanted = |take: fn(u64) -> bool| (0..count).filter(|n| take(*n)).map(|n| n + 2).collect::<Vec<_>>();
    assert_eq!(all, wanted(|n| n % 2 == 0));
    assert_eq!(high, wanted(|n| n % 5 == 0));
}
}

/// A year.
const YEAR: i64 = 366 * 86_400_000;

on_both! {
async fn a_clock_that_is_set_a_year_ahead_and_back_makes_nothing_old(db) {
    let row = target("hook", TargetKind::Webhook, Route::default());
    add(&db.store, &row).await;
    db.store.write(move |tx| {
        let beat = |tx: &mut dyn Tx, ms, step_ms| {
            heartbeats::beat(tx, &Beat { replica: "a", now: at(ms), step_ms, limit_ms: 60_000 }).map(drop)
        };
        let day = 86_400;
        let look = |tx: &mut dyn Tx, ms: i64| -> Result<(usize, u64), StoreError> {
            let old = Old::than(tx, day, at(ms))?;
            Ok((deliveries::give_up_old(tx, &old, &row.id, "late")?.len(), events::purge(tx, &old, 100)?))
        };
        let s = 1000;
        beat(tx, 0, 0)?;
        append(tx, "vm.enrolled", Severity::Info, None, s)?;
        assert_eq!(look(tx, 3600 * s)?, (0, 0));
        beat(tx, YEAR + 15 * s, YEAR)?;
        append(tx, "vm.enrolled", Severity::Info, None, YEAR + 20 * s)?;
        assert_eq!(look(tx, YEAR + 30 * s)?, (0, 0));
        beat(tx, 45 * s, -YEAR)?;
        append(tx, "vm.enrolled", Severity::Info, None, 50 * s)?;
        assert_eq!(look(tx, 60 * s)?, (0, 0));
        assert_eq!(deliveries::waiting(tx, &row.id, 10)?.len(), 3);
        // They are old when a day has passed, those included that were written by the clock that was ahead.
        assert_eq!(look(tx, i64::from(day) * s)?, (0, 0));
        assert_eq!(look(tx, i64::from(day) * s + 51 * s)?, (3, 0));
        let old = Old::than(tx, day, at(2 * i64::from(day) * s))?;
        assert_eq!(deliveries::purge_dead(tx, &old)?, 3);
        assert_eq!(events::purge(tx, &old, 100)?, 3);
        Ok(())
    }).await.unwrap();
}
}
