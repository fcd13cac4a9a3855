use veriboot_store::baselines::{self, NewBaseline};
use veriboot_store::{StoreError, judges, profiles};
use veriboot_wire::{BaselineOrigin, BaselineQuery, Scope, ScopeKind};

use crate::harness::{TestKey, at, on_both, place};

pub fn new<'a>(name: &'a str, scope: &'a Scope) -> NewBaseline<'a> {
    NewBaseline {
        name,
        scope,
        origin: BaselineOrigin::Learned,
        document: r#"{"components":[]}"#,
        components: 12,
        boot_id: Some("boot"),
        comment: None,
        created_by: "service",
        created_at: at(0),
    }
}

pub fn scope(kind: ScopeKind, id: &str) -> Scope {
    Scope { kind, group: "default".into(), id: id.into() }
}

on_both! {
async fn baseline_and_profile_are_found_together(db) {
    db.store.write(|tx| {
        // All that the two look-ups say, for every mixture of what is there.
        let same = |tx: &mut dyn veriboot_store::Tx| -> Result<(Option<String>, Option<String>), StoreError> {
            let place = place("id", Some("web"));
            let found = judges::for_vm(tx, place)?;
            assert_eq!(found.baseline, baselines::current_id_for_vm(tx, place)?);
            assert_eq!(found.profile, profiles::assigned_for(tx, place)?);
            // Among others, of this group and of another with the same names.
            let other = veriboot_store::Place { vm_id: "id", group: "other", scale_set: Some("web"), image: Some("web") };
            let third = veriboot_store::Place { vm_id: "third", image: Some("img"), ..place };
            let all = [other, place, third, self::place("fourth", None)];
            let one_by_one = all.iter().map(|place| judges::for_vm(tx, *place)).collect::<Result<Vec<_>, _>>()?;
            assert_eq!(judges::for_vms(tx, &all)?, one_by_one);
            Ok((found.baseline.map(|b| b.reference), found.profile.map(|p| p.name)))
        };
        let some = |word: &str| Some(word.to_owned());
        let (group, set) = (scope(ScopeKind::Group, ""), scope(ScopeKind::ScaleSet, "web"));
        assert_eq!(same(tx)?, (None, None));
        profiles::assign(tx, &group, "measured-only", "ann", None, at(0))?;
        assert_eq!(same(tx)?, (None, some("measured-only")));
        baselines::insert_next(tx, &new("group/default", &group), &TestKey)?;
        baselines::insert_next(tx, &new("scale-set/default/web", &set), &TestKey)?;
        baselines::insert_next(tx, &new("scale-set/default/web", &set), &TestKey)?;
        assert_eq!(same(tx)?, (some("scale-set/default/web@2"), some("measured-only")));
        let house = profiles::NewProfile { name: "house", document: "{}", comment: None, created_by: "ann", created_at: at(1) };
        let row = profiles::insert_next(tx, &house, &TestKey)?;
        profiles::assign(tx, &scope(ScopeKind::Vm, "id"), "house", "ann", None, at(1))?;
        assert_eq!(judges::for_vm(tx, place("id", None))?.profile.unwrap().version, Some((row.id, 1)));
        assert_eq!(same(tx)?, (some("scale-set/default/web@2"), some("house")));
        baselines::insert_next(tx, &new("image/default/img", &scope(ScopeKind::Image, "img")), &TestKey)?;
        let elsewhere = Scope { kind: ScopeKind::Vm, group: "other".into(), id: "id".into() };
        baselines::insert_next(tx, &new("vm/other/id", &elsewhere), &TestKey)?;
        assert_eq!(same(tx)?, (some("scale-set/default/web@2"), some("house")));
        profiles::unassign(tx, &scope(ScopeKind::Vm, "id"), "ann", at(2))?;
        profiles::unassign(tx, &group, "ann", at(2))?;
        assert_eq!(same(tx)?, (some("scale-set/default/web@2"), None));
        Ok::<_, StoreError>(())
    }).await.unwrap();
}
}

on_both! {
async fn the_most_specific_scope_judges(db) {
    db.store.write(|tx| {
        let (group, set, vm) = (scope(ScopeKind::Group, ""), scope(ScopeKind::ScaleSet, "web"), scope(ScopeKind::Vm, "id"));
        let judge = |tx: &mut dyn veriboot_store::Tx, set| -> Result<Option<String>, StoreError> {
            Ok(baselines::current_for_vm(tx, place("id", set))?.map(|b| b.reference()))
        };
        assert_eq!(judge(tx, Some("web"))?, None);
        baselines::insert_next(tx, &new("group/default", &group), &TestKey)?;
        assert_eq!(judge(tx, Some("web"))?.as_deref(), Some("group/default@1"));
        baselines::insert_next(tx, &new("scale-set/default/web", &set), &TestKey)?;
        assert_eq!(judge(tx, Some("web"))?.as_deref(), Some("scale-set/default/web@1"));
        assert_eq!(judge(tx, None)?.as_deref(), Some("group/default@1"));
        baselines::insert_next(tx, &new("vm/default/web-0", &vm), &TestKey)?;
        baselines::insert_next(tx, &new("vm/default/web-0", &vm), &TestKey)?;
        assert_eq!(judge(tx, Some("web"))?.as_deref(), Some("vm/default/web-0@2"));
        Ok(())
    }).await.unwrap();
}
}

on_both! {
async fn versions_are_kept_and_listed(db) {
    db.store.write(|tx| {
        let (a, b) = (scope(ScopeKind::Vm, "a"), scope(ScopeKind::Vm, "b"));
        for _ in 0..3 {
            baselines::insert_next(tx, &new("vm/default/a", &a), &TestKey)?;
        }
        let last = baselines::insert_next(tx, &new("vm/default/b", &b), &TestKey)?;
        assert_eq!(baselines::by_id(tx, &last.summary.id)?, Some(last.clone()));
        // printf '{"components":[]}' | sha256sum
        assert_eq!(last.summary.sha256, "ac46fd24bd501fa7297f0a2945bcc7f5d655b9bcf8bfbf16718a9d25c0c2c018");
        assert_eq!(baselines::by_name(tx, "vm/default/a", None)?.unwrap().summary.version, 3);
        let old = baselines::by_name(tx, "vm/default/a", Some(1))?.unwrap();
        assert_eq!((old.summary.version, old.summary.current), (1, false));
        assert_eq!(baselines::by_name(tx, "vm/default/a", Some(4))?, None);
        assert_eq!(baselines::current_of(tx, &a)?.unwrap().summary.version, 3);
        let current = baselines::list(tx, &BaselineQuery::default())?;
        assert_eq!(current.items.iter().map(|b| b.version).collect::<Vec<_>>(), [3, 1]);
        let (mut versions, mut query) =
            (Vec::new(), BaselineQuery { all_versions: Some(true), limit: Some(1), ..BaselineQuery::default() });
        loop {
            let page = baselines::list(tx, &query)?;
            versions.extend(page.items.iter().map(|b| format!("{}@{}", b.name, b.version)));
            query.cursor = page.next_cursor;
            if query.cursor.is_none() { break; }
        }
        assert_eq!(versions, ["vm/default/a@3", "vm/default/a@2", "vm/default/a@1", "vm/default/b@1"]);
        // A VM that was deleted and came back under its name has another id: versions go on, the old scope ends.
        let again = baselines::insert_next(tx, &new("vm/default/a", &scope(ScopeKind::Vm, "a2")), &TestKey)?;
        assert_eq!(again.summary.version, 4);
        assert_eq!(baselines::current_of(tx, &a)?, None);
        Ok(())
    }).await.unwrap();
}
}

on_both! {
async fn an_edited_document_is_noticed(db) {
    db.store.write(|tx| baselines::insert_next(tx, &new("vm/default/a", &scope(ScopeKind::Vm, "a")), &TestKey)).await.unwrap();
    db.meddle("UPDATE baselines SET document = '{\"components\":[1]}'");
    let error = db.store.read(|tx| baselines::current_of(tx, &scope(ScopeKind::Vm, "a"))).await.unwrap_err();
    assert_eq!(error.code(), "database-corrupt");
}
}
