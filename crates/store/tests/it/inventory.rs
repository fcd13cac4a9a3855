use std::collections::BTreeMap;

use veriboot_store::inventory::{self, Linked, NewSource, Outcome, Sync};
use veriboot_store::{StoreError, Tx, vms};
use veriboot_wire::{
    Absence, Configured, ConfiguredSecurity, InventoryChangeKind, InventoryChangeQuery, InventoryFacts,
    InventoryQuery, MatchedBy, PowerState, SuggestedBy, Time,
};

use crate::harness::{at, on_both, vm};

fn facts(n: u32) -> InventoryFacts {
    InventoryFacts {
        key: format!("key-{n:06}"),
        name: format!("web-{n}"),
        group: "default".into(),
        scale_set: Some("web".into()),
        platform: "libvirt".into(),
        os: Some("linux".into()),
        region: None,
        power: PowerState::Running,
        security_type: ConfiguredSecurity::TrustedLaunch,
        confidential_kind: None,
        secure_boot: Configured::On,
        vtpm: Configured::On,
        machine_uuid: Some(format!("00000000-0000-4000-8000-{n:012}")),
        cloud_id: None,
        ek_sha256: None,
        tags: BTreeMap::from([("n".to_owned(), n.to_string())]),
    }
}

fn source(tx: &mut dyn Tx, name: &str) -> Result<(), StoreError> {
    inventory::put_source(
        tx,
        &NewSource { name, format: None, group: None, comment: None, by: "ann", at: at(0) },
    )
}

fn look(
    tx: &mut dyn Tx,
    source: &str,
    items: &[InventoryFacts],
    complete: bool,
    when: Time,
) -> Result<Outcome, StoreError> {
    inventory::sync(
        tx,
        &Sync { source, items, complete, dry_run: false, exported_at: Some(when), by: "ann", at: when },
    )
}

/// Added, changed, gone, returned, unchanged.
fn counts(o: &Outcome) -> [u64; 5] {
    [o.added, o.changed, o.gone, o.returned, o.unchanged]
}

on_both! {
async fn a_sync_says_what_changed_and_deletes_nothing(db) {
    db.store.write(|tx| {
        source(tx, "lab")?;
        let mut items: Vec<_> = (0..5).map(facts).collect();
        let planned = inventory::sync(tx, &Sync { source: "lab", items: &items, complete: true, dry_run: true, exported_at: None, by: "ann", at: at(1) })?;
        assert_eq!(counts(&planned), [5, 0, 0, 0, 0]);
        assert!(planned.changes.iter().all(|c| c.id.is_none() && c.item_id.is_none()));
        assert_eq!(inventory::source(tx, "lab")?.unwrap().items, 0);
        assert_eq!(counts(&look(tx, "lab", &items, true, at(1))?), [5, 0, 0, 0, 0]);
        assert_eq!(counts(&look(tx, "lab", &items, true, at(2))?), [0, 0, 0, 0, 5]);
        items[1].power = PowerState::Stopped;
        items[1].tags.insert("owner".into(), "ann".into());
        let changed = look(tx, "lab", &items, true, at(3))?;
        assert_eq!(counts(&changed), [0, 1, 0, 0, 4]);
        let said: Vec<_> = changed.changes[0].differences.iter()
            .map(|d| (d.field.as_str(), d.from.as_deref(), d.to.as_deref())).collect();
        assert_eq!(said, [("power", Some("running"), Some("stopped")), ("tags.owner", None, Some("ann"))]);
        let partial = look(tx, "lab", &items[..1], false, at(4))?;
        assert_eq!(counts(&partial), [0, 0, 0, 0, 1]);
        let all = items.clone();
        let gone = look(tx, "lab", &items[1..], true, at(5))?;
        assert_eq!(counts(&gone), [0, 0, 1, 0, 4]);
        assert_eq!(counts(&look(tx, "lab", &items[1..], true, at(6))?), [0, 0, 0, 0, 4]);
        let lab = inventory::source(tx, "lab")?.unwrap();
        assert_eq!((lab.items, lab.gone), (4, 1));
        let listed = |tx: &mut dyn Tx, query: InventoryQuery| -> Result<Vec<String>, StoreError> {
            Ok(inventory::list(tx, &query)?.items.into_iter().map(|i| i.facts.name).collect())
        };
        assert_eq!(listed(tx, InventoryQuery { gone: Some(true), ..Default::default() })?, ["web-0"]);
        assert_eq!(listed(tx, InventoryQuery { power: Some(PowerState::Stopped), ..Default::default() })?, ["web-1"]);
        assert_eq!(listed(tx, InventoryQuery { all: Some(true), ..Default::default() })?.len(), 5);
        assert_eq!(listed(tx, InventoryQuery { name_prefix: Some("web-3".into()), ..Default::default() })?, ["web-3"]);
        assert_eq!(listed(tx, InventoryQuery { matched: Some(true), ..Default::default() })?.len(), 0);
        let back = look(tx, "lab", &all, true, at(7))?;
        assert_eq!(counts(&back), [0, 0, 0, 1, 4]);
        let query = InventoryChangeQuery { limit: Some(1000), ..Default::default() };
        let kinds: Vec<_> = inventory::changes(tx, &query)?.items.into_iter().map(|c| c.kind).collect();
        use InventoryChangeKind as K;
        assert_eq!(kinds, [K::Returned, K::Gone, K::Changed, K::Added, K::Added, K::Added, K::Added, K::Added]);
        let query = InventoryChangeQuery { kind: Some(K::Gone), ..Default::default() };
        assert_eq!(inventory::changes(tx, &query)?.items[0].name, "web-0");
        Ok(())
    }).await.unwrap();
}
}

on_both! {
async fn pages_of_items_and_changes_have_no_gaps(db) {
    db.store.write(|tx| {
        source(tx, "lab")?;
        let items: Vec<_> = (0..1234).map(facts).collect();
        let outcome = look(tx, "lab", &items, true, at(1))?;
        assert_eq!((outcome.added, outcome.changes.len(), outcome.more_changes), (1234, 1000, 234));
        assert_eq!(outcome.touched.len(), 1234);
        let mut seen = std::collections::BTreeSet::new();
        let mut query = InventoryQuery { limit: Some(100), ..Default::default() };
        loop {
            let page = inventory::list(tx, &query)?;
            seen.extend(page.items.into_iter().map(|i| i.id));
            query.cursor = page.next_cursor;
            if query.cursor.is_none() { break }
        }
        assert_eq!(seen.len(), 1234);
        let mut changes = std::collections::BTreeSet::new();
        let mut query = InventoryChangeQuery { limit: Some(100), ..Default::default() };
        loop {
            let page = inventory::changes(tx, &query)?;
            changes.extend(page.items.into_iter().map(|c| c.id.unwrap()));
            query.cursor = page.next_cursor;
            if query.cursor.is_none() { break }
        }
        assert_eq!(changes.len(), 1234);
        let (mut after, mut unmatched) = (String::new(), 0);
        loop {
            let part = inventory::unmatched(tx, &after, 100)?;
            let Some(last) = part.last() else { break };
            after = last.id.clone();
            unmatched += part.len();
        }
        assert_eq!(unmatched, 1234);
        Ok(())
    }).await.unwrap();
}
}

on_both! {
async fn a_key_matches_within_its_group_only(db) {
    db.store.write(|tx| {
        source(tx, "cloud")?;
        let theirs = vm("prod", "db-0");
        vms::insert(tx, &theirs)?;
        let tag = InventoryFacts { ek_sha256: Some(theirs.ek_sha256.clone()), ..facts(1) };
        assert_eq!(look(tx, "cloud", &[tag], true, at(1))?.matched, 0);
        assert_eq!(inventory::match_enrolled(tx, &theirs.id, &theirs.ek_sha256, at(2))?, [""; 0]);
        assert_eq!(inventory::item_for_vm(tx, &theirs.id)?, None);
        Ok(())
    }).await.unwrap();
}
}

on_both! {
async fn an_item_is_the_vm_whose_endorsement_key_it_declares(db) {
    db.store.write(|tx| {
        source(tx, "lab")?;
        let first = vm("default", "first");
        vms::insert(tx, &first)?;
        let mut items = vec![facts(1), facts(2)];
        items[0].ek_sha256 = Some(first.ek_sha256.clone());
        items[1].ek_sha256 = Some("ek of default/later".into());
        let outcome = look(tx, "lab", &items, true, at(1))?;
        assert_eq!(outcome.matched, 1);
        let item = inventory::item_for_vm(tx, &first.id)?.unwrap();
        assert_eq!((item.facts.name.as_str(), item.matched_by), ("web-1", Some(MatchedBy::VerifiedIdentity)));
        // A VM that enrols afterwards is found as well, and a link never wins over a key.
        let later = vm("default", "later");
        vms::insert(tx, &later)?;
        assert_eq!(inventory::match_enrolled(tx, &later.id, &later.ek_sha256, at(2))?.len(), 1);
        assert_eq!(inventory::item_for_vm(tx, &later.id)?.unwrap().facts.name, "web-2");
        assert_eq!(counts(&look(tx, "lab", &items, true, at(3))?), [0, 0, 0, 0, 2]);
        // The key in the document is another one now: the item is nobody's.
        items[0].ek_sha256 = None;
        let outcome = look(tx, "lab", &items, true, at(4))?;
        assert_eq!((outcome.left, outcome.moved.len()), (vec![first.id.clone()], 1));
        assert_eq!(inventory::item_for_vm(tx, &first.id)?, None);
        let unlisted: Vec<_> = inventory::unlisted(tx, None, None, None)?.items.into_iter().map(|v| v.name).collect();
        assert_eq!(unlisted, ["first"]);
        // The record of a VM goes; its item stays, without an agent.
        vms::delete(tx, &later.id, at(5))?;
        assert_eq!(inventory::unmatched(tx, "", 10)?.len(), 2);
        Ok(())
    }).await.unwrap();
}
}

on_both! {
async fn links_and_suggestions(db) {
    db.store.write(|tx| {
        source(tx, "lab")?;
        source(tx, "cloud")?;
        let (same_name, same_uuid) = (vm("default", "web-1"), vm("other", "whatever"));
        vms::insert(tx, &same_name)?;
        vms::insert(tx, &same_uuid)?;
        inventory::note_machine(tx, &same_uuid.id, "00000000-0000-4000-8000-000000000002")?;
        inventory::note_machine(tx, &same_name.id, "not a uuid")?;
        look(tx, "lab", &[facts(1), facts(2), facts(3)], true, at(1))?;
        let items = inventory::unmatched(tx, "", 10)?;
        let of = |tx: &mut dyn Tx, name: &str| {
            let item = items.iter().find(|i| i.facts.name == name).unwrap();
            inventory::suggestions_for_item(tx, item)
        };
        let by_name = of(tx, "web-1")?;
        assert_eq!((by_name[0].vm_id.as_str(), by_name[0].by.as_slice(), by_name[0].only_one), (same_name.id.as_str(), &[SuggestedBy::Name][..], true));
        let by_uuid = of(tx, "web-2")?;
        assert_eq!((by_uuid[0].vm_id.as_str(), by_uuid[0].by.as_slice()), (same_uuid.id.as_str(), &[SuggestedBy::MachineUuid][..]));
        assert_eq!(of(tx, "web-3")?, []);
        assert_eq!(inventory::suggestions_for_vm(tx, &same_uuid.id)?.len(), 1);
        let item = by_name[0].item_id.clone();
        assert!(inventory::link(tx, &item, &same_name.id, Linked::ByHand, "ann", at(2))?);
        assert!(!inventory::link(tx, &item, &same_name.id, Linked::ByHand, "ann", at(2))?, "it is linked already");
        let linked = inventory::item_for_vm(tx, &same_name.id)?.unwrap();
        assert_eq!((linked.matched_by, linked.linked_by.as_deref()), (Some(MatchedBy::Link), Some("ann")));
        assert_eq!(inventory::suggestions_for_vm(tx, &same_name.id)?, []);
        // A sync keeps it, whatever changes.
        let mut changed = facts(1);
        changed.power = PowerState::Stopped;
        look(tx, "lab", &[changed, facts(2), facts(3)], true, at(3))?;
        assert_eq!(inventory::item_for_vm(tx, &same_name.id)?.unwrap().matched_by, Some(MatchedBy::Link));
        assert!(inventory::unlink(tx, &item, "ann", at(4))?);
        assert!(!inventory::unlink(tx, &item, "ann", at(4))?);
        assert_eq!(inventory::item_for_vm(tx, &same_name.id)?, None);
        // Two items of one source with the same name and group: none of them is the only one.
        let mut twin = facts(9);
        twin.name = "web-1".into();
        look(tx, "cloud", &[facts(1), twin], true, at(5))?;
        let rivals = inventory::list(tx, &InventoryQuery { source: Some("cloud".into()), ..Default::default() })?;
        for item in &rivals.items {
            assert!(inventory::suggestions_for_item(tx, item)?.iter().all(|s| !s.only_one), "{}", item.facts.key);
        }
        Ok(())
    }).await.unwrap();
}
}

on_both! {
async fn what_is_taken_together_agrees_in_enough_and_is_the_only_one(db) {
    db.store.write(|tx| {
        source(tx, "lab")?;
        let uuid = |n: u32| format!("00000000-0000-4000-8000-{n:012x}");
        let enrolled = |tx: &mut dyn Tx, group: &str, name: &str, set: Option<&str>, dmi: &str, claims: u32| {
            let mut row = vm(group, name);
            row.scale_set = set.map(Into::into);
            row.machine.platform = dmi.into();
            vms::insert(tx, &row)?;
            inventory::note_machine(tx, &row.id, &uuid(claims))?;
            Ok::<_, StoreError>(row.id)
        };
        let item = |n: u32, name: &str, set: Option<&str>| InventoryFacts {
            name: name.into(), group: "default".into(), scale_set: set.map(Into::into), platform: "azure".into(),
            machine_uuid: Some(uuid(n)), ..facts(n)
        };
        let azure = "Microsoft Corporation Virtual Machine";
        enrolled(tx, "default", "both", None, azure, 1)?;
        enrolled(tx, "default", "evil", None, azure, 2)?;
        enrolled(tx, "default", "member-3", Some("web"), azure, 3)?;
        enrolled(tx, "lab", "elsewhere", None, azure, 4)?;
        enrolled(tx, "default", "hardware", None, "Google Google Compute Engine", 5)?;
        enrolled(tx, "default", "other-set", Some("db"), azure, 6)?;
        enrolled(tx, "default", "twin", None, azure, 7)?;
        enrolled(tx, "default", "claims-the-twin", None, azure, 7)?;
        enrolled(tx, "default", "cloned", None, azure, 8)?;
        enrolled(tx, "default", "moved", None, azure, 99)?;
        look(tx, "lab", &[
            InventoryFacts { key: "again".into(), ..item(8, "copy", None) }, item(1, "both", None), item(2, "victim", None), item(3, "vmss_3", Some("web")), item(4, "elsewhere", None),
            item(5, "hardware", None), item(6, "other-set", Some("web")), item(7, "twin", None), item(8, "cloned", None),
            item(9, "moved", None),
        ], true, at(1))?;
        // The copy is somebody's already, by name: its UUID is no better for it.
        let copy = enrolled(tx, "default", "copy", None, azure, 77)?;
        let all = inventory::unmatched(tx, "", 100)?;
        let id = all.iter().find(|i| i.facts.key == "again").unwrap().id.clone();
        inventory::link(tx, &id, &copy, Linked::ByHand, "ann", at(2))?;
        let mut because = std::collections::BTreeMap::new();
        for item in inventory::unmatched(tx, "", 100)? {
            let found = inventory::suggestions_for_item(tx, &item)?;
            because.insert(item.facts.name.clone(), found.into_iter().map(|s| s.by_hand_because).collect::<Vec<_>>());
        }
        let first = |name: &str| because[name][0].clone().unwrap_or_default();
        assert_eq!((because["both"].as_slice(), because["vmss_3"].as_slice()), (&[None][..], &[None][..]));
        assert_eq!(first("victim"), "only this agrees: machine-uuid, platform");
        assert!(first("elsewhere").contains("group lab"), "{because:?}");
        assert!(first("hardware").contains("azure"), "{because:?}");
        assert_eq!(first("other-set"), "they are of different scale sets");
        assert_eq!((because["twin"].len(), first("twin").as_str()), (2, "another VM or item may be the same"));
        assert_eq!(first("cloned"), "another VM or item may be the same");
        assert_eq!(first("moved"), "they have different machine UUIDs");
        Ok(())
    }).await.unwrap();
}
}

on_both! {
async fn an_item_excuses_the_silence_of_its_own_machine_only(db) {
    db.store.write(|tx| {
        source(tx, "a")?;
        let with = |n, power| InventoryFacts { power, ..facts(n) };
        let attested = |tx: &mut dyn Tx, id: &str, ms: i64| {
            tx.execute("UPDATE vms SET last_attested_at = $2, last_seen_at = $2 WHERE id = $1", &[id.into(), at(ms).into()])
        };
        let by_uuid = Linked::Suggested(&[SuggestedBy::MachineUuid, SuggestedBy::Name]);
        let linked = |tx: &mut dyn Tx, n: u32, vm: &str, how: Linked<'_>| {
            let items = inventory::list(tx, &InventoryQuery { all: Some(true), ..Default::default() })?.items;
            let item = items.into_iter().find(|i| i.facts.key == facts(n).key).unwrap();
            inventory::link(tx, &item.id, vm, how, "ann", at(300))
        };
        let rows: Vec<_> = (0..3).map(|n| vm("default", &format!("vm-{n}"))).collect();
        for row in &rows {
            vms::insert(tx, row)?;
            attested(tx, &row.id, 100)?;
        }
        for (n, row) in [(1, &rows[0]), (2, &rows[1]), (3, &rows[2])] {
            inventory::note_machine(tx, &row.id, facts(n).machine_uuid.as_deref().unwrap())?;
        }
        // First seen stopped, after the VM was last heard of: that of any machine that never ran.
        look(tx, "a", &[with(1, PowerState::Stopped), with(2, PowerState::Stopped)], true, at(200))?;
        linked(tx, 1, &rows[0].id, by_uuid)?;
        assert_eq!(inventory::absent_since(tx, &rows[0].id)?, None, "somebody took it with many others");
        linked(tx, 1, &rows[0].id, Linked::ByHand)?;
        let stopped = Some(Absence::Stopped { since: at(200) });
        assert_eq!(inventory::absent_since(tx, &rows[0].id)?, stopped, "somebody said so of this one");
        // It is heard of since: a fault is enough to show that it runs.
        tx.execute("UPDATE vms SET last_seen_at = $2 WHERE id = $1", &[rows[0].id.as_str().into(), at(201).into()])?;
        assert_eq!(inventory::absent_since(tx, &rows[0].id)?, None);
        // Listed as running when it attested, stopped later: a member that is scaled in.
        look(tx, "a", &[with(1, PowerState::Stopped), with(2, PowerState::Running)], true, at(201))?;
        linked(tx, 2, &rows[1].id, by_uuid)?;
        attested(tx, &rows[1].id, 250)?;
        look(tx, "a", &[with(1, PowerState::Stopped)], true, at(260))?;
        assert_eq!(inventory::absent_since(tx, &rows[1].id)?, Some(Absence::Gone { since: at(260) }));
        // That of a machine that never runs and is removed at last: the VM attested while it was stopped.
        look(tx, "a", &[with(1, PowerState::Stopped), with(3, PowerState::Stopped)], true, at(261))?;
        attested(tx, &rows[2].id, 262)?;
        linked(tx, 3, &rows[2].id, by_uuid)?;
        look(tx, "a", &[with(1, PowerState::Stopped)], true, at(263))?;
        assert_eq!(inventory::absent_since(tx, &rows[2].id)?, None, "it was removed, and something else went silent");
        linked(tx, 3, &rows[2].id, Linked::ByHand)?;
        assert_eq!(inventory::absent_since(tx, &rows[2].id)?, Some(Absence::Gone { since: at(261) }));
        // Gone before it enrolled: it lives, whatever an old item with its key says.
        let late = InventoryFacts { ek_sha256: Some("ek of default/late".into()), ..with(5, PowerState::Running) };
        look(tx, "a", &[with(1, PowerState::Stopped), late], true, at(270))?;
        look(tx, "a", &[with(1, PowerState::Stopped)], true, at(280))?;
        let mut row = vm("default", "late");
        row.enrolled_at = at(290);
        vms::insert(tx, &row)?;
        assert_eq!(inventory::match_enrolled(tx, &row.id, &row.ek_sha256, at(290))?.len(), 1);
        assert_eq!(inventory::absent_since(tx, &row.id)?, None);
        Ok(())
    }).await.unwrap();
}
}

on_both! {
async fn a_vm_is_absent_when_every_source_says_so(db) {
    db.store.write(|tx| {
        source(tx, "a")?;
        source(tx, "b")?;
        let one = vm("default", "one");
        vms::insert(tx, &one)?;
        let with_key = |power| InventoryFacts { power, ek_sha256: Some(one.ek_sha256.clone()), ..facts(1) };
        assert_eq!(inventory::absent_since(tx, &one.id)?, None, "nobody knows it");
        look(tx, "a", &[with_key(PowerState::Running)], true, at(1))?;
        assert_eq!(inventory::absent_since(tx, &one.id)?, None);
        look(tx, "a", &[with_key(PowerState::Stopped)], true, at(2))?;
        assert_eq!(inventory::absent_since(tx, &one.id)?, Some(Absence::Stopped { since: at(2) }));
        look(tx, "a", &[with_key(PowerState::Stopped)], true, at(3))?;
        assert_eq!(inventory::absent_since(tx, &one.id)?, Some(Absence::Stopped { since: at(2) }), "since then");
        look(tx, "b", &[with_key(PowerState::Unknown)], true, at(4))?;
        assert_eq!(inventory::absent_since(tx, &one.id)?, None, "b does not say so");
        look(tx, "b", &[], true, at(5))?;
        assert_eq!(inventory::absent_since(tx, &one.id)?, Some(Absence::Stopped { since: at(5) }));
        look(tx, "a", &[], true, at(6))?;
        assert!(matches!(inventory::absent_since(tx, &one.id)?, Some(Absence::Gone { .. })));
        // Retiring a source says nothing about its VMs.
        inventory::retire(tx, "a", at(7))?;
        inventory::retire(tx, "b", at(7))?;
        assert_eq!(inventory::absent_since(tx, &one.id)?, None);
        assert_eq!(inventory::unlisted(tx, None, None, None)?.items.len(), 1);
        Ok(())
    }).await.unwrap();
}
}

on_both! {
async fn what_disagrees_is_found(db) {
    db.store.write(|tx| {
        source(tx, "a")?;
        source(tx, "b")?;
        let mut one = vm("default", "one");
        one.facts.secure_boot = veriboot_wire::FactState::Invalid;
        one.scale_set = Some("web".into());
        vms::insert(tx, &one)?;
        let mut other = facts(2);
        other.vtpm = Configured::Off;
        look(tx, "a", &[InventoryFacts { ek_sha256: Some(one.ek_sha256.clone()), ..facts(1) }, facts(2), facts(3)], true, at(1))?;
        look(tx, "b", &[other, facts(3)], true, at(1))?;
        let query = InventoryQuery { disagrees: Some(true), ..Default::default() };
        let found: Vec<_> = inventory::list(tx, &query)?.items.into_iter()
            .map(|i| format!("{} {}", i.source, i.facts.name)).collect();
        assert_eq!(found.len(), 3, "{found:?}");
        for wanted in ["a web-1", "a web-2", "b web-2"] {
            assert!(found.iter().any(|f| f == wanted), "{wanted}: {found:?}");
        }
        let item = inventory::list(tx, &InventoryQuery { source: Some("b".into()), ..Default::default() })?.items.remove(0);
        let others = inventory::contradicting(tx, &item)?;
        assert_eq!(others.iter().map(|o| o.source.as_str()).collect::<Vec<_>>(), ["a"]);
        Ok(())
    }).await.unwrap();
}
}

on_both! {
async fn one_replica_reads_a_configured_source(db) {
    let replica = db.replica();
    db.store.write(|tx| inventory::configure(tx, "lab", Some("/srv/lab"), None, at(0))).await.unwrap();
    let claim = |store: veriboot_store::Store| async move {
        store.write(|tx| inventory::claim_configured(tx, "lab", at(1), at(300_000))).await.unwrap().is_some()
    };
    let (a, b) = tokio::join!(claim(db.store.clone()), claim(replica.clone()));
    assert!(a ^ b, "{a} {b}");
    db.store.write(|tx| {
        inventory::failed(tx, "lab", "not there", at(2))?;
        let lab = inventory::source(tx, "lab")?.unwrap();
        assert_eq!((lab.last_error.as_deref(), lab.failed_at), (Some("not there"), Some(at(2))));
        assert_eq!(inventory::source_counts(tx)?, (1, 1));
        assert!(inventory::claim_configured(tx, "lab", at(299_999), at(600_000))?.is_none());
        assert!(inventory::claim_configured(tx, "lab", at(300_000), at(600_000))?.is_some());
        inventory::synced(tx, "lab", Some("digest"), None, at(3))?;
        assert_eq!(inventory::source(tx, "lab")?.unwrap().last_error, None);
        // No longer configured: nobody reads it.
        inventory::configure(tx, "lab", None, None, at(4))?;
        assert!(inventory::claim_configured(tx, "lab", at(900_000), at(990_000))?.is_none());
        Ok(())
    }).await.unwrap();
    replica.close().await;
}
}

on_both! {
async fn twenty_thousand_items_are_synced_at_once(db) {
    let items: std::sync::Arc<Vec<_>> = std::sync::Arc::new((0..20_000).map(facts).collect());
    db.store.write(|tx| source(tx, "big")).await.unwrap();
    let started = std::time::Instant::now();
    let first = std::sync::Arc::clone(&items);
    let outcome = db.store.write(move |tx| look(tx, "big", &first, true, at(1))).await.unwrap();
    let added = started.elapsed();
    assert_eq!(outcome.added, 20_000);
    let started = std::time::Instant::now();
    let outcome = db.store.write(move |tx| look(tx, "big", &items, true, at(2))).await.unwrap();
    assert_eq!(outcome.unchanged, 20_000);
    println!("20,000 items: first sync {added:?}, same again {:?}", started.elapsed());
}
}
