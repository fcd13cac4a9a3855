use serde_json::json;
use veriboot_store::StoreError;
use veriboot_store::audit::{self, ChainReport, NewEntry};
use veriboot_wire::AuditQuery;

use crate::harness::{at, on_both};

// Computed with Python's hashlib and struct from the layout in docs/audit.md.
const FIRST: &str = "819d48058d8d47ade576b925813063277af26f3f5db2d80b46bfb87c7a65f12d";
const SECOND: &str = "2cbbf09d91e34971e30cca7286a8f58d2a778171a60789c6d5e2d8ccc6573a11";

on_both! {
async fn the_bytes_that_are_hashed_are_the_documented_ones(db) {
    db.store.write(|tx| {
        let empty = audit::verify_chain(tx)?;
        assert_eq!(empty, ChainReport::Intact { entries: 0, head: "0".repeat(64) });
        let detail = json!({"uses": 2, "group": "default"});
        let first = audit::append(tx, &NewEntry {
            at: at(0), actor: "admin", action: "join-token.create", target: "jt-1", detail: &detail,
        })?;
        assert_eq!((first.sequence, first.hash.as_str()), (1, FIRST));
        let detail = json!({"z": {}, "a": [1, {"c": "x\"y", "b": null}]});
        let second = audit::append(tx, &NewEntry {
            at: at(5), actor: "vm:\u{e9}", action: "vm.enroll", target: "web-0", detail: &detail,
        })?;
        assert_eq!((second.sequence, second.hash.as_str()), (2, SECOND));
        let one = AuditQuery { limit: Some(1), ..AuditQuery::default() };
        let listed = audit::list(tx, &one)?;
        assert_eq!(listed.items, [second]);
        let rest = audit::list(tx, &AuditQuery { cursor: listed.next_cursor, ..one })?;
        assert_eq!((rest.items, rest.next_cursor), (vec![first], None));
        assert_eq!(audit::verify_chain(tx)?, ChainReport::Intact { entries: 2, head: SECOND.into() });
        Ok(())
    }).await.unwrap();
}
}

on_both! {
async fn entries_are_found_by_who_what_on_what_and_when(db) {
    db.store.write(|tx| {
        let nothing = json!(null);
        // The clock of the third was behind.
        for (n, (actor, action, target, ms)) in [
            ("ann", "alert.resolve", "a-1", 10),
            ("bob", "alert.dismiss", "a-2", 20),
            ("ann", "alerts.odd", "a-1", 5),
            ("service", "alert.resolve", "a-2", 30),
            ("ann", "baseline.accept", "b-1", 40),
        ].into_iter().enumerate() {
            let entry = audit::append(tx, &NewEntry { at: at(ms), actor, action, target, detail: &nothing })?;
            assert_eq!(entry.sequence, n as u64 + 1);
        }
        // Page by page, one row each: no entry is missing and none comes twice.
        let mut found = |query: AuditQuery| -> Vec<u64> {
            let mut query = AuditQuery { limit: Some(1), ..query };
            let mut all = Vec::new();
            loop {
                let page = audit::list(tx, &query).unwrap();
                all.extend(page.items.iter().map(|entry| entry.sequence));
                match page.next_cursor {
                    Some(next) => query.cursor = Some(next),
                    None => return all,
                }
            }
        };
        let by = |actor: &str| AuditQuery { actor: Some(actor.into()), ..AuditQuery::default() };
        let did = |action: &str| AuditQuery { action: Some(action.into()), ..AuditQuery::default() };
        let on = |target: &str| AuditQuery { target: Some(target.into()), ..AuditQuery::default() };
        assert_eq!(found(AuditQuery::default()), [5, 4, 3, 2, 1]);
        assert_eq!(found(by("ann")), [5, 3, 1]);
        assert_eq!(found(by("an")), [0; 0]);
        assert_eq!(found(did("alert.resolve")), [4, 1]);
        assert_eq!(found(did("alert.*")), [4, 2, 1], "and not alerts.odd");
        assert_eq!(found(did("*")), [0; 0]);
        assert_eq!(found(on("a-1")), [3, 1]);
        assert_eq!(found(AuditQuery { action: Some("alert.*".into()), ..by("ann") }), [1]);
        let (from, until) = (Some(at(10)), Some(at(40)));
        assert_eq!(found(AuditQuery { from, until, ..AuditQuery::default() }), [4, 2, 1]);
        assert_eq!(found(AuditQuery { until, ..AuditQuery::default() }), [4, 2, 1, 3], "in the order of time");
        assert_eq!(found(AuditQuery { from, ..by("ann") }), [5, 1]);
        assert_eq!(found(AuditQuery { from, ..did("alert.*") }), [4, 2, 1]);
        // A cursor belongs to its order.
        let first = audit::list(tx, &AuditQuery { limit: Some(1), ..AuditQuery::default() })?;
        let other = AuditQuery { cursor: first.next_cursor, from, ..AuditQuery::default() };
        assert_eq!(audit::list(tx, &other), Err(StoreError::BadCursor));
        Ok(())
    }).await.unwrap();
}
}

async fn fill(db: &crate::harness::Db, entries: i64) {
    db.store
        .write(move |tx| {
            for n in 0..entries {
                let detail = json!({ "n": n });
                audit::append(
                    tx,
                    &NewEntry { at: at(n), actor: "a\0b", action: "x", target: "", detail: &detail },
                )?;
            }
            Ok(())
        })
        .await
        .unwrap();
}

on_both! {
async fn the_chain_is_verified_beyond_one_piece(db) {
    fill(&db, 2100).await;
    let report = db.store.read(audit::verify_chain).await.unwrap();
    assert!(matches!(report, ChainReport::Intact { entries: 2100, .. }), "{report:?}");
}
}

on_both! {
async fn tampering_is_found_where_it_is(db) {
    fill(&db, 6).await;
    for (tamper, undo, sequence) in [
        ("UPDATE audit SET actor = 'mallory' WHERE sequence = 3", "UPDATE audit SET actor = 'a\u{fffd}b' WHERE sequence = 3", 3),
        ("UPDATE audit SET detail = '{\"n\":9}' WHERE sequence = 4", "UPDATE audit SET detail = '{\"n\":3}' WHERE sequence = 4", 4),
        ("UPDATE audit SET at = at + 1 WHERE sequence = 1", "UPDATE audit SET at = at - 1 WHERE sequence = 1", 1),
        ("UPDATE audit SET action = 'xx', target = '' WHERE sequence = 2", "UPDATE audit SET action = 'x' WHERE sequence = 2", 2),
        ("UPDATE audit SET sequence = 60 WHERE sequence = 6", "UPDATE audit SET sequence = 6 WHERE sequence = 60", 6),
        ("DELETE FROM audit WHERE sequence = 2", "", 2),
    ] {
        db.meddle(tamper);
        let report = db.store.read(audit::verify_chain).await.unwrap();
        assert!(matches!(report, ChainReport::Broken { sequence: s, .. } if s == sequence), "{tamper}: {report:?}");
        if !undo.is_empty() {
            db.meddle(undo);
            let report = db.store.read(audit::verify_chain).await.unwrap();
            assert!(matches!(report, ChainReport::Intact { entries: 6, .. }), "{undo}: {report:?}");
        }
    }
}
}
