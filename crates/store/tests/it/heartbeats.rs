use veriboot_store::ages::Old;
use veriboot_store::heartbeats::{self, Beat, OutageCause, Pulse};
use veriboot_store::{Store, deadlines, vms};
use veriboot_wire::VmStatus;

use crate::harness::{add_vm, at, on_both};

const LIMIT_MS: i64 = 60_000;

async fn beat(store: &Store, replica: &str, ms: i64, step_ms: i64) -> Pulse {
    let replica = replica.to_owned();
    store
        .write(move |tx| {
            heartbeats::beat(tx, &Beat { replica: &replica, now: at(ms), step_ms, limit_ms: LIMIT_MS })
        })
        .await
        .unwrap()
}

on_both! {
async fn an_outage_is_when_nobody_beats(db) {
    let store = &db.store;
    assert_eq!(beat(store, "a", 0, 0).await.ended, None, "the first start is none");
    assert_eq!(beat(store, "a", 60_000, 0).await.ended, None);
    assert_eq!(beat(store, "b", 90_000, 0).await.ended, None);
    // One of both is enough.
    assert_eq!(beat(store, "a", 150_000, 0).await.ended, None);
    let pulse = beat(store, "b", 211_000, 0).await;
    let outage = pulse.ended.unwrap();
    assert_eq!((outage.cause, outage.from, outage.until), (OutageCause::Down, at(150_000), at(211_000)));
    assert_eq!((outage.sequence, outage.seen_by.as_str()), (1, "b"));
    assert_eq!(pulse.others.iter().map(|o| (o.id.as_str(), o.beats)).collect::<Vec<_>>(), [("a", 3)]);
    assert_eq!(beat(store, "a", 212_000, 0).await.ended, None, "it was told once");
    // Another start sees it too.
    let again = db.replica();
    let seen = again.read(heartbeats::last_outage).await.unwrap().unwrap();
    assert_eq!(seen, outage);
    // Replicas that are gone are forgotten.
    beat(store, "a", 212_000 + 3_600_001, 0).await;
    assert_eq!(store.read(heartbeats::replicas).await.unwrap().len(), 1);
}
}

on_both! {
async fn replicas_that_come_back_at_once_see_one_outage(db) {
    let (one, two) = (db.store.clone(), db.replica());
    beat(&one, "a", 0, 0).await;
    let (a, b) = tokio::join!(beat(&one, "a", 500_000, 0), beat(&two, "b", 500_000, 0));
    assert_eq!(a.ended.iter().chain(b.ended.iter()).count(), 1);
    assert_eq!(one.read(heartbeats::outages).await.unwrap(), 1);
}
}

on_both! {
async fn a_clock_that_was_set_is_an_outage(db) {
    let store = &db.store;
    beat(store, "a", 0, 0).await;
    // Seen by the replica itself: forward and back.
    let day = 86_400_000;
    let forward = beat(store, "a", day, day - 15_000).await.ended.unwrap();
    assert_eq!((forward.cause, forward.step_ms, forward.until), (OutageCause::ClockStep, day - 15_000, at(day)));
    let back = beat(store, "a", 30_000, 15_000 - day).await.ended.unwrap();
    assert_eq!((back.cause, back.step_ms, back.until), (OutageCause::ClockStep, 15_000 - day, at(30_000)));
    assert_eq!(beat(store, "a", 45_000, 20).await.ended, None, "a slew is none");
    // Set back while nobody lived: every sign of life lies ahead.
    let restart = beat(store, "b", 45_000 - day, 0).await.ended.unwrap();
    assert_eq!(restart.cause, OutageCause::ClockStep);
    assert_eq!(restart.until, at(45_000 - day));
    assert_eq!(beat(store, "b", 60_000 - day, 0).await.ended, None);
    // An outage of a replica that was ahead ends now, and not a day later.
    beat(store, "c", day, 0).await.ended.unwrap();
    let corrected = beat(store, "b", 75_000 - day, 0).await.ended.unwrap();
    assert_eq!(corrected.until, at(75_000 - day));
    assert_eq!(beat(store, "b", 90_000 - day, 0).await.ended, None);
}
}

on_both! {
async fn outages_are_bounded(db) {
    let store = &db.store;
    for n in 0..1010 {
        beat(store, "a", n * 100_000, 0).await;
    }
    assert_eq!(store.read(heartbeats::outages).await.unwrap(), 1000);
    assert_eq!(store.read(heartbeats::last_outage).await.unwrap().unwrap().sequence, 1009);
}
}

on_both! {
async fn a_step_of_the_clock_outlives_the_outages_after_it(db) {
    let store = &db.store;
    let year = 366 * 86_400_000;
    beat(store, "a", 0, 0).await;
    // A year forward, and part of it back later.
    beat(store, "a", year, year).await.ended.unwrap();
    beat(store, "a", year - 5_000_000, -6_000_000).await.ended.unwrap();
    for n in 0..1010 {
        beat(store, "a", year + n * 100_000, 0).await;
    }
    assert_eq!(store.read(heartbeats::outages).await.unwrap(), 1000);
    let now = year + 1009 * 100_000;
    // 29 hours and 41 minutes passed since the first beat, and not a year.
    for (hours, is_old) in [(29, true), (30, false)] {
        let old = store.read(move |tx| Old::than(tx, hours * 3600, at(now))).await.unwrap();
        assert_eq!(old.is(at(0)), Some(is_old), "{hours}");
    }
}
}

on_both! {
async fn deadlines_are_moved_once(db) {
    let store = &db.store;
    let mut ids = Vec::new();
    for n in 0..5 {
        ids.push(add_vm(store, "default", &format!("web-{n}")).await);
    }
    let of = |id: &String| {
        let id = id.clone();
        async move { store.read(move |tx| deadlines::of(tx, &id)).await.unwrap().unwrap() }
    };
    assert_eq!(of(&ids[0]).await, at(900_000));
    // The service was away until 1,000 s: they are due at 1,900 s, in steps of two.
    let (end, now) = (at(1_000_000), at(1_000_001));
    let mut moved = Vec::new();
    for _ in 0..4 {
        moved.push(store.write(move |tx| deadlines::put_off_after_outage(tx, end, now, 2)).await.unwrap());
    }
    assert_eq!(moved, [2, 2, 1, 0]);
    assert_eq!(of(&ids[4]).await, at(1_900_000));
    let due = store.read(|tx| vms::due_for_silence(tx, at(1_900_000), 10)).await.unwrap();
    assert!(due.is_empty());
    // Later they are due, and the outage does not put them off again.
    let late = at(1_900_001);
    assert_eq!(store.write(move |tx| deadlines::put_off_after_outage(tx, end, late, 10)).await.unwrap(), 0);
    assert_eq!(store.read(move |tx| vms::due_for_silence(tx, late, 10)).await.unwrap().len(), 5);
    // The clock is set back by far: nobody's deadline stays a day away.
    let back = at(-86_400_000);
    assert_eq!(store.write(move |tx| deadlines::pull_in(tx, back, 900, 3)).await.unwrap(), 3);
    assert_eq!(store.write(move |tx| deadlines::pull_in(tx, back, 900, 3)).await.unwrap(), 2);
    assert_eq!(store.write(move |tx| deadlines::pull_in(tx, back, 900, 3)).await.unwrap(), 0);
    assert_eq!(of(&ids[0]).await, at(-86_400_000 + 900_000));
    // Stale and unmonitored ones are nobody's business.
    let (stale, off) = (ids[0].clone(), ids[1].clone());
    store
        .write(move |tx| {
            vms::set_status(tx, &stale, VmStatus::Stale, None)?;
            deadlines::switch(tx, &off, false, VmStatus::Unmonitored, Some("off"), at(0))
        })
        .await
        .unwrap();
    let moved = store.write(|tx| deadlines::put_off_after_outage(tx, at(0), at(1), 10)).await.unwrap();
    assert_eq!(moved, 3);
}
}
