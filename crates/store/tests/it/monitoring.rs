use veriboot_store::reappraisals::{self, NewReappraisal};
use veriboot_store::{assessments, monitoring, reappraise_queue, vms};
use veriboot_wire::{Monitoring, Scope, ScopeKind};

use crate::harness::{add_vm, at, on_both, place};

fn scope(kind: ScopeKind, id: &str) -> Scope {
    Scope { kind, group: "default".into(), id: id.into() }
}

on_both! {
async fn the_most_specific_setting_wins(db) {
    let store = &db.store;
    let text = |vm: &'static str, set: Option<&'static str>| async move {
        let setting = store.read(move |tx| monitoring::for_place(tx, place(vm, set))).await.unwrap();
        Monitoring::of(setting.as_ref()).text
    };
    assert_eq!(text("vm-1", Some("web")).await, "enabled (nothing is set)");
    for (kind, id, enabled) in
        [(ScopeKind::Group, "", false), (ScopeKind::ScaleSet, "web", true), (ScopeKind::Vm, "vm-1", false)]
    {
        let scope = scope(kind, id);
        store
            .write(move |tx| monitoring::set(tx, &scope, enabled, Some("why"), "ann", at(1)))
            .await
            .unwrap();
    }
    assert_eq!(text("vm-1", Some("web")).await, "disabled (for this VM)");
    assert_eq!(text("vm-2", Some("web")).await, "enabled (by scale set web)");
    assert_eq!(text("vm-3", None).await, "disabled (by group default)");

    // A page after the other.
    let first = store.read(|tx| monitoring::list(tx, None, Some(2), None)).await.unwrap();
    let cursor = first.next_cursor.clone();
    let second = store.read(move |tx| monitoring::list(tx, None, Some(2), cursor.as_deref())).await.unwrap();
    let kinds: Vec<_> = first.items.iter().chain(&second.items).map(|s| s.scope.kind).collect();
    assert_eq!(kinds, [ScopeKind::Group, ScopeKind::ScaleSet, ScopeKind::Vm]);
    assert_eq!(second.next_cursor, None);

    let group = scope(ScopeKind::Group, "");
    let again = group.clone();
    store.write(move |tx| monitoring::set(tx, &again, true, None, "bob", at(2))).await.unwrap();
    let found = group.clone();
    let setting = store.read(move |tx| monitoring::of_scope(tx, &found)).await.unwrap().unwrap();
    assert_eq!((setting.revision, setting.enabled, setting.comment), (2, true, None));
    let other = group.clone();
    assert!(store.write(move |tx| monitoring::remove(tx, &other)).await.unwrap());
    assert!(!store.write(move |tx| monitoring::remove(tx, &group)).await.unwrap());
}
}

on_both! {
async fn a_switch_is_of_one_and_goes_on_where_it_was_left(db) {
    let store = &db.store;
    for n in 0..3 {
        add_vm(store, "default", &format!("web-{n}")).await;
    }
    let group = scope(ScopeKind::Group, "");
    let asked = store.write({ let group = group.clone(); move |tx| monitoring::ask(tx, &group, "ann", at(0)) }).await.unwrap();
    assert_eq!((asked.vms, asked.done, asked.finished_at), (3, 0, None));
    assert_eq!(store.read(monitoring::pending).await.unwrap(), 3);
    let claim = |by: &'static str, ms: i64| async move {
        store.write(move |tx| monitoring::claim(tx, None, by, at(ms), at(ms + 60_000))).await.unwrap()
    };
    assert!(claim("a", 1).await.is_some());
    assert!(claim("b", 2).await.is_none());
    let step = |by: &'static str, name: &'static str, done: u64, end: bool| {
        let id = asked.id.clone();
        async move {
            let step = monitoring::SwitchStep {
                after_name: name,
                done,
                switched: done,
                until: at(70_000),
                finished_at: end.then_some(at(9)),
            };
            store.write(move |tx| monitoring::advance(tx, &id, by, &step)).await.unwrap()
        }
    };
    assert!(step("a", "web-1", 2, false).await);
    // Its replica dies; the claim ends by itself.
    let taken = claim("b", 70_001).await.unwrap();
    assert_eq!((taken.after_name.as_str(), taken.switch.done), ("web-1", 2));
    assert!(!step("a", "web-2", 1, false).await, "too late");
    assert!(step("b", "web-2", 1, true).await);
    let id = asked.id.clone();
    let done = store.read(move |tx| monitoring::switch_by_id(tx, &id)).await.unwrap().unwrap();
    assert_eq!((done.done, done.switched, done.finished_at), (3, 3, Some(at(9))));
    assert_eq!(store.read(monitoring::pending).await.unwrap(), 0);
    let empty = scope(ScopeKind::ScaleSet, "nobody");
    let nothing = store.write(move |tx| monitoring::ask(tx, &empty, "ann", at(3))).await.unwrap();
    assert_eq!((nothing.vms, nothing.finished_at), (0, Some(at(3))));
    assert_eq!(store.read(move |tx| monitoring::count(tx, &group)).await.unwrap(), (3, 3));
}
}

on_both! {
async fn a_vm_takes_its_setting_with_it(db) {
    let store = &db.store;
    let id = add_vm(store, "default", "web-0").await;
    let own = scope(ScopeKind::Vm, &id);
    let set = own.clone();
    store.write(move |tx| monitoring::set(tx, &set, false, None, "ann", at(0))).await.unwrap();
    store.write(move |tx| vms::delete(tx, &id, at(1))).await.unwrap();
    assert_eq!(store.read(move |tx| monitoring::of_scope(tx, &own)).await.unwrap(), None);
}
}

on_both! {
async fn a_claim_of_a_clock_that_was_ahead_holds_nothing_up(db) {
    add_vm(&db.store, "default", "web-0").await;
    db.store.write(|tx| {
        let scope = Scope { kind: ScopeKind::Group, group: "default".into(), id: String::new() };
        monitoring::ask(tx, &scope, "ann", at(0))?;
        let new = NewReappraisal {
            scope: &scope, because: "x", always: false, created_by: "ann", created_at: at(0),
        };
        reappraisals::enqueue(tx, &new)?;
        reappraise_queue::queue(tx, "vm", at(0))?;
        assessments::enqueue(tx, "x", at(0))?;
        let day = 86_400_000;
        // A replica whose clock is a day ahead claims all of it, and dies.
        for now in [day, 1000] {
            let until = at(now + 60_000);
            assert!(monitoring::claim(tx, None, "me", at(now), until)?.is_some(), "{now}");
            assert!(reappraisals::claim(tx, None, "me", at(now), until)?.is_some(), "{now}");
            assert_eq!(reappraise_queue::claim(tx, 10, at(now), until)?.len(), 1, "{now}");
            assert!(assessments::claim(tx, "me", at(now), until)?.is_some(), "{now}");
            // What somebody has now nobody else gets.
            assert!(monitoring::claim(tx, None, "you", at(now + 1), at(now + 60_001))?.is_none());
            assert!(reappraisals::claim(tx, None, "you", at(now + 1), at(now + 60_001))?.is_none());
            assert_eq!(reappraise_queue::claim(tx, 10, at(now + 1), at(now + 60_001))?.len(), 0);
            assert!(assessments::claim(tx, "you", at(now + 1), at(now + 60_001))?.is_none());
        }
        Ok(())
    }).await.unwrap();
}
}
