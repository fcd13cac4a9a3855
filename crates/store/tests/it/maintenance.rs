//! Maintenance windows.

use veriboot_store::maintenance::{self, NewWindow};
use veriboot_store::{Place, StoreError, Tx};
use veriboot_wire::{MaintenanceQuery, MaintenanceState, Scope, ScopeKind, Time};

use crate::harness::{at, on_both};

fn declare(tx: &mut dyn Tx, kind: ScopeKind, id: &str, from: i64, until: i64) -> Result<String, StoreError> {
    let scope = Scope { kind, group: "default".into(), id: id.into() };
    let new = NewWindow {
        scope: &scope,
        vm_name: None,
        from: at(from),
        until: at(until),
        comment: "disks",
        by: "ann",
        now: at(0),
    };
    Ok(maintenance::declare(tx, &new)?.id)
}

on_both! {
async fn maintenance_covers_its_scope_and_one_silence_limit_more(db) {
    db.store.write(|tx| {
        let place = Place { vm_id: "vm-1", group: "default", scale_set: Some("web"), image: None };
        let covers = |tx: &mut dyn Tx, place: Place<'_>, ms: i64| -> Result<Option<Time>, StoreError> {
            Ok(maintenance::covers(tx, place, 10, at(ms))?.map(|window| window.silent_until))
        };
        for (kind, id) in [(ScopeKind::Vm, "vm-1"), (ScopeKind::ScaleSet, "web"), (ScopeKind::Group, "")] {
            let window = declare(tx, kind, id, 1000, 5000)?;
            assert_eq!(covers(tx, place, 999)?, None, "not yet");
            assert_eq!(covers(tx, place, 1000)?, Some(at(15_000)));
            assert_eq!(covers(tx, place, 14_999)?, Some(at(15_000)), "one silence limit more");
            assert_eq!(covers(tx, place, 15_000)?, None);
            let other = Place { vm_id: "vm-2", scale_set: Some("db"), ..place };
            assert_eq!(covers(tx, other, 2000)?.is_some(), kind == ScopeKind::Group);
            assert_eq!(covers(tx, Place { group: "blue", ..place }, 2000)?, None);
            // Ended early, silence counts from then.
            let ended = maintenance::end(tx, &window, "bob", at(2000))?.unwrap();
            assert_eq!((ended.until, ended.ended_by.as_deref(), ended.state), (at(2000), Some("bob"), MaintenanceState::Over));
            assert_eq!(covers(tx, place, 2000)?, Some(at(12_000)));
            assert_eq!(covers(tx, place, 12_000)?, None);
            assert_eq!(maintenance::end(tx, &window, "bob", at(2001))?, None, "it is over");
        }
        let planned = declare(tx, ScopeKind::Group, "", 50_000, 60_000)?;
        let longer = declare(tx, ScopeKind::Vm, "vm-1", 50_000, 90_000)?;
        assert_eq!(covers(tx, place, 55_000)?, Some(at(100_000)), "the one that ends last");
        let mut states = |state, now| -> Result<usize, StoreError> {
            let query = MaintenanceQuery { state: Some(state), ..MaintenanceQuery::default() };
            Ok(maintenance::list(tx, &query, at(now))?.items.len())
        };
        assert_eq!(states(MaintenanceState::Planned, 20_000)?, 2);
        assert_eq!(states(MaintenanceState::Active, 55_000)?, 2);
        assert_eq!(states(MaintenanceState::Over, 60_000)?, 4);
        // One that is ended before it began never begins.
        maintenance::end(tx, &longer, "bob", at(30_000))?;
        assert_eq!(covers(tx, place, 55_000)?, Some(at(70_000)));
        maintenance::end(tx, &planned, "bob", at(40_000))?;
        assert_eq!(covers(tx, place, 55_000)?, None);
        Ok(())
    }).await.unwrap();
}
}
