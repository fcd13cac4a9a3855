//! Which items excuse silence: how they were linked, and as of when what they say is known.

use std::collections::BTreeMap;

use veriboot_store::inventory::{self, Linked, NewSource, Outcome, Sync};
use veriboot_store::{StoreError, Tx, vms};
use veriboot_wire::{
    Absence, Configured, ConfiguredSecurity, InventoryFacts, InventoryItem, InventoryQuery, PowerState,
    SuggestedBy, Time,
};

use crate::harness::{at, on_both, vm};

fn machine(n: u32, power: PowerState) -> InventoryFacts {
    InventoryFacts {
        key: format!("key-{n}"),
        name: format!("vm-{n}"),
        group: "default".into(),
        scale_set: None,
        platform: "azure".into(),
        os: None,
        region: None,
        power,
        security_type: ConfiguredSecurity::Unknown,
        confidential_kind: None,
        secure_boot: Configured::Unknown,
        vtpm: Configured::Unknown,
        machine_uuid: Some(format!("00000000-0000-4000-8000-{n:012}")),
        cloud_id: None,
        ek_sha256: None,
        tags: BTreeMap::new(),
    }
}

fn source(tx: &mut dyn Tx) -> Result<(), StoreError> {
    let new = NewSource { name: "a", format: None, group: None, comment: None, by: "ann", at: at(0) };
    inventory::put_source(tx, &new)
}

/// A complete document of `made`, synced at `when`.
fn says(
    tx: &mut dyn Tx,
    items: &[InventoryFacts],
    made: Option<i64>,
    when: i64,
) -> Result<Outcome, StoreError> {
    let exported_at = made.map(at);
    let sync =
        Sync { source: "a", items, complete: true, dry_run: false, exported_at, by: "ann", at: at(when) };
    inventory::sync(tx, &sync)
}

fn attested(tx: &mut dyn Tx, id: &str, ms: i64) -> Result<u64, StoreError> {
    let sql = "UPDATE vms SET last_attested_at = $2, last_seen_at = $2 WHERE id = $1";
    tx.execute(sql, &[id.into(), at(ms).into()])
}

fn item(tx: &mut dyn Tx, n: u32) -> Result<InventoryItem, StoreError> {
    let all = inventory::list(tx, &InventoryQuery { all: Some(true), ..Default::default() })?.items;
    Ok(all.into_iter().find(|item| item.facts.key == format!("key-{n}")).unwrap())
}

fn stopped(ms: i64) -> Option<Absence> {
    Some(Absence::Stopped { since: at(ms) })
}

fn time(ms: i64) -> Option<Time> {
    Some(at(ms))
}

on_both! {
async fn who_only_has_the_name_of_a_stopped_machine_is_not_excused(db) {
    db.store.write(|tx| {
        use PowerState::{Running, Stopped};
        use SuggestedBy::{MachineUuid, Name, Platform};
        source(tx)?;
        says(tx, &[machine(1, Running), machine(2, Running), machine(3, Running)], Some(10), 10)?;
        let links = [Linked::Suggested(&[Name, Platform]), Linked::Suggested(&[MachineUuid, Name]), Linked::ByHand];
        let mut ids = Vec::new();
        for (n, how) in (1..).zip(links) {
            let row = vm("default", &format!("vm-{n}"));
            vms::insert(tx, &row)?;
            inventory::note_machine(tx, &row.id, machine(n, Running).machine_uuid.as_deref().unwrap())?;
            attested(tx, &row.id, 20)?;
            let id = item(tx, n)?.id;
            assert!(inventory::link(tx, &id, &row.id, how, "ann", at(30))?);
            assert_eq!(item(tx, n)?.agreed_by, how.agreed_by());
            ids.push(row.id);
        }
        // All three are stopped in the evening, as every evening.
        let evening = [machine(1, Stopped), machine(2, Stopped), machine(3, Stopped)];
        says(tx, &evening, Some(40), 41)?;
        assert_eq!(item(tx, 2)?.agreed_by, [MachineUuid, Name], "a sync keeps why it was linked");
        let absent = |tx: &mut dyn Tx, n: usize| inventory::absent_since(tx, &ids[n]);
        assert_eq!(absent(tx, 0)?, None, "its name is that of whoever takes it");
        assert_eq!((absent(tx, 1)?, absent(tx, 2)?), (stopped(40), stopped(40)));
        // Linked by hand, the name does not matter; a UUID that the guest no longer has does.
        let first = item(tx, 1)?.id;
        assert!(inventory::link(tx, &first, &ids[0], Linked::ByHand, "ann", at(50))?);
        assert_eq!((absent(tx, 0)?, item(tx, 1)?.agreed_by), (stopped(40), vec![]));
        inventory::note_machine(tx, &ids[1], "00000000-0000-4000-8000-00000000dead")?;
        assert_eq!(absent(tx, 1)?, None, "it has another UUID than when it was linked");
        Ok(())
    }).await.unwrap();
}
}

on_both! {
async fn an_export_excuses_nothing_that_happened_after_it(db) {
    db.store.write(|tx| {
        use PowerState::{Running, Stopped};
        source(tx)?;
        let row = vm("default", "vm-1");
        vms::insert(tx, &row)?;
        let with = |power| [InventoryFacts { ek_sha256: Some(row.ek_sha256.clone()), ..machine(1, power) }];
        says(tx, &with(Running), Some(10), 10)?;
        // Exported at 20 while it was stopped, started at 25, heard of at 30, and the export is synced at 40.
        attested(tx, &row.id, 30)?;
        says(tx, &with(Stopped), Some(20), 40)?;
        assert_eq!(inventory::absent_since(tx, &row.id)?, None, "it attested after the export");
        assert_eq!((item(tx, 1)?.stopped_at, item(tx, 1)?.stopped_as_of), (time(20), time(20)));
        // The same for one that does not list it.
        says(tx, &[], Some(21), 41)?;
        assert_eq!(inventory::absent_since(tx, &row.id)?, None, "it attested after that export too");
        says(tx, &with(Running), Some(50), 50)?;
        assert_eq!((item(tx, 1)?.gone_as_of, item(tx, 1)?.stopped_as_of), (None, None));
        says(tx, &with(Stopped), Some(60), 70)?;
        assert_eq!(inventory::absent_since(tx, &row.id)?, stopped(60));
        attested(tx, &row.id, 61)?;
        assert_eq!(inventory::absent_since(tx, &row.id)?, None);
        Ok(())
    }).await.unwrap();
}
}

on_both! {
async fn who_does_not_say_when_an_export_was_made_excuses_nothing(db) {
    db.store.write(|tx| {
        use PowerState::{Running, Stopped};
        source(tx)?;
        let rows = [vm("default", "vm-1"), vm("default", "vm-2")];
        for row in &rows {
            vms::insert(tx, row)?;
        }
        let with = |n: u32, power| {
            InventoryFacts { ek_sha256: Some(rows[n as usize - 1].ek_sha256.clone()), ..machine(n, power) }
        };
        says(tx, &[with(1, Running), with(2, Running)], None, 10)?;
        let (first, second) = (&rows[0].id, &rows[1].id);
        let undated = says(tx, &[with(1, Stopped)], None, 20)?;
        assert_eq!((undated.changed, undated.gone, undated.dated), (1, 1, 0));
        let both = |tx: &mut dyn Tx| -> Result<_, StoreError> {
            Ok((inventory::absent_since(tx, first)?, inventory::absent_since(tx, second)?))
        };
        assert_eq!(both(tx)?, (None, None));
        assert_eq!((item(tx, 1)?.stopped_at, item(tx, 1)?.stopped_as_of), (time(20), None));
        says(tx, &[with(1, Stopped)], None, 30)?;
        assert_eq!(both(tx)?, (None, None), "the same old file, however often");
        // One that says when it was made, and nothing else that is new, is enough.
        let dry = Sync {
            source: "a", items: &[with(1, Stopped)], complete: true, dry_run: true, exported_at: time(40), by: "ann", at: at(40),
        };
        assert_eq!(inventory::sync(tx, &dry)?.dated, 0);
        let dated = says(tx, &[with(1, Stopped)], Some(40), 45)?;
        assert_eq!((dated.unchanged, dated.changed, dated.gone, dated.dated), (1, 0, 0, 2));
        assert_eq!(both(tx)?, (stopped(20), Some(Absence::Gone { since: at(20) })));
        tx.execute("UPDATE vms SET status = 'stale' WHERE id = $1", &[first.as_str().into()])?;
        assert_eq!(inventory::stale_and_left(tx, "a", time(40), at(45))?, [first.as_str()]);
        assert_eq!(inventory::stale_and_left(tx, "a", None, at(46))?, Vec::<String>::new());
        assert_eq!(says(tx, &[with(1, Stopped)], Some(50), 50)?.dated, 0, "known once");
        assert_eq!(item(tx, 1)?.stopped_as_of, time(40));
        // A partial list says nothing of what it leaves out.
        attested(tx, second, 60)?;
        says(tx, &[with(1, Stopped), with(2, Running)], None, 61)?;
        says(tx, &[with(1, Stopped)], None, 62)?;
        let partial = Sync {
            source: "a", items: &[], complete: false, dry_run: false, exported_at: time(70), by: "ann", at: at(70),
        };
        assert_eq!(inventory::sync(tx, &partial)?.dated, 0);
        assert_eq!(both(tx)?.1, None);
        Ok(())
    }).await.unwrap();
}
}
