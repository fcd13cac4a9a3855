use std::collections::BTreeMap;

use veriboot_store::boots::{self, BootSeen};
use veriboot_store::{Constraint, StoreError, alerts, attestations, baselines, logs, vms};
use veriboot_wire::{AlertQuery, Scope, ScopeKind, Verdict, VmQuery};

use crate::harness::{TestKey, add_vm, at, attestation, evidence, on_both, place};

on_both! {
async fn logs_are_kept_by_content(db) {
    db.store.write(|tx| {
        let content = [0_u8, 255, 0, 1].repeat(10_000);
        assert!(!logs::has(tx, "aa")?);
        assert!(logs::put_if_absent(tx, "aa", &content, at(0))?);
        assert!(!logs::put_if_absent(tx, "aa", b"other", at(1))?);
        assert!(logs::has(tx, "aa")?);
        assert_eq!(logs::content(tx, "aa")?, Some(content));
        assert_eq!(logs::content(tx, "bb")?, None);
        assert!(logs::put_if_absent(tx, "bb", b"", at(0))?);
        assert_eq!(logs::content(tx, "bb")?, Some(Vec::new()));
        assert_eq!(logs::content_up_to(tx, "aa", 39_999)?, None);
        assert_eq!(logs::content_up_to(tx, "aa", 40_000)?.map(|content| content.len()), Some(40_000));
        assert_eq!(logs::content_up_to(tx, "cc", 40_000)?, None);
        Ok(())
    }).await.unwrap();
}
}

on_both! {
async fn logs_of_the_newest_accepted_boots_come_first(db) {
    let vm_id = add_vm(&db.store, "default", "web-0").await;
    db.store.write(move |tx| {
        let components = BTreeMap::new();
        let mut record = |reset_count: u32, log_sha256: Option<&str>, verdict| {
            boots::record(tx, &BootSeen {
                vm_id: &vm_id, reset_count, restart_count: 0, log_sha256, at: at(i64::from(reset_count)), verdict,
                components: &components,
            })
        };
        record(1, Some("aa"), Verdict::Healthy)?;
        record(2, Some("bb"), Verdict::Healthy)?;
        record(3, Some("cc"), Verdict::Unhealthy)?;
        record(4, None, Verdict::Healthy)?;
        record(5, Some("aa"), Verdict::Healthy)?;
        assert_eq!(logs::of_newest_boots(tx, 100)?, ["aa", "bb"], "each once, and what was refused is not there");
        assert_eq!(logs::of_newest_boots(tx, 3)?, ["aa"]);
        assert_eq!(logs::of_newest_boots(tx, 0)?, [""; 0]);
        Ok(())
    }).await.unwrap();
}
}

on_both! {
async fn a_boot_is_one_row_however_often_it_attests(db) {
    let vm_id = add_vm(&db.store, "default", "web-0").await;
    db.store.write(move |tx| {
        let first: BTreeMap<_, _> = [("kernel".to_owned(), "6.1".to_owned())].into();
        let seen = BootSeen {
            vm_id: &vm_id, reset_count: 1, restart_count: 0, log_sha256: None, at: at(0), verdict: Verdict::Healthy,
            components: &first,
        };
        let one = boots::record(tx, &seen)?;
        assert_eq!((one.attestations, one.log_sha256.as_deref()), (1, None));
        let two = boots::record(tx, &BootSeen { at: at(5), verdict: Verdict::Unhealthy, ..seen.clone() })?;
        assert_eq!((two.id.as_str(), two.attestations, two.verdict), (one.id.as_str(), 2, Verdict::Unhealthy));
        assert_eq!((two.first_attested_at, two.last_attested_at), (at(0), at(5)));
        assert_eq!(boots::by_id(tx, &one.id)?, Some(two));
        let log = boots::record(tx, &BootSeen { log_sha256: Some("aa"), ..seen.clone() })?;
        let restart = boots::record(tx, &BootSeen { restart_count: 1, ..seen.clone() })?;
        let reset = boots::record(tx, &BootSeen { reset_count: u32::MAX, at: at(9), ..seen })?;
        assert_eq!([log.attestations, restart.attestations, reset.attestations], [1, 1, 1]);
        let page = boots::list(tx, &vm_id, Some(3), None)?;
        assert_eq!(page.items[0].id, reset.id);
        let rest = boots::list(tx, &vm_id, Some(3), page.next_cursor.as_deref())?;
        assert_eq!((page.items.len(), rest.items.len(), rest.next_cursor), (3, 1, None));
        assert_eq!(boots::list(tx, "nobody", None, None)?.items, []);
        Ok(())
    }).await.unwrap();
}
}

on_both! {
async fn attestations_keep_their_evidence(db) {
    let vm_id = add_vm(&db.store, "default", "web-0").await;
    db.store.write(move |tx| {
        logs::put_if_absent(tx, "aa", b"log", at(0))?;
        let mut all = Vec::new();
        for n in 0..5 {
            let mut row = attestation(&vm_id, at(n / 2));
            row.log_sha256 = Some("aa".into());
            attestations::insert(tx, &row, &evidence())?;
            all.push(row);
        }
        all.sort_by_key(|a| std::cmp::Reverse((a.at, a.id.clone())));
        assert_eq!(attestations::by_id(tx, &all[3].id)?.as_ref(), Some(&all[3]));
        assert_eq!(attestations::evidence(tx, &all[3].id)?, Some(evidence()));
        assert_eq!(attestations::latest(tx, &vm_id)?.as_ref(), Some(&all[0]));
        let one = attestations::list(tx, &vm_id, Some(2), None)?;
        let two = attestations::list(tx, &vm_id, Some(2), one.next_cursor.as_deref())?;
        let three = attestations::list(tx, &vm_id, Some(2), two.next_cursor.as_deref())?;
        assert_eq!(three.next_cursor, None);
        let listed: Vec<_> = [one.items, two.items, three.items].concat();
        assert_eq!(listed, all);
        Ok(())
    }).await.unwrap();
}
}

on_both! {
async fn an_attestation_refers_to_what_exists(db) {
    let vm_id = add_vm(&db.store, "default", "web-0").await;
    let mut rows = [attestation("nobody", at(0)), attestation(&vm_id, at(0)), attestation(&vm_id, at(0))];
    rows[1].log_sha256 = Some("unknown".into());
    rows[2].boot_id = Some("unknown".into());
    for row in rows {
        let error = db.store.write(move |tx| attestations::insert(tx, &row, &evidence())).await.unwrap_err();
        assert_eq!(error, StoreError::Conflict { constraint: Constraint::Reference });
    }
}
}

on_both! {
async fn deleting_a_vm_takes_its_history_along(db) {
    let (gone, stays) = (add_vm(&db.store, "default", "gone").await, add_vm(&db.store, "default", "stays").await);
    db.store.write(move |tx| {
        for id in [&gone, &stays] {
            let boot = boots::record(tx, &BootSeen {
                vm_id: id, reset_count: 1, restart_count: 0, log_sha256: None, at: at(0), verdict: Verdict::Healthy,
                components: &BTreeMap::new(),
            })?;
            let mut row = attestation(id, at(0));
            row.boot_id = Some(boot.id);
            attestations::insert(tx, &row, &evidence())?;
            alerts::raise(tx, &crate::alerts::raise(id, at(0)))?;
            let scope = Scope { kind: ScopeKind::Vm, group: "default".into(), id: id.clone() };
            baselines::insert_next(tx, &crate::baselines::new(&format!("vm/default/{id}"), &scope), &TestKey)?;
        }
        assert!(vms::delete(tx, &gone, at(0))?);
        assert!(!vms::delete(tx, &gone, at(0))?);
        assert_eq!(attestations::latest(tx, &gone)?, None);
        assert_eq!(boots::list(tx, &gone, None, None)?.items, []);
        assert_eq!(baselines::current_for_vm(tx, place(&gone, None))?, None);
        assert!(baselines::current_for_vm(tx, place(&stays, None))?.is_some());
        assert!(baselines::by_name(tx, &format!("vm/default/{gone}"), None)?.is_some(), "kept as history");
        assert!(attestations::latest(tx, &stays)?.is_some());
        assert_eq!(alerts::list(tx, &AlertQuery::default())?.items.len(), 1);
        let left = vms::list(tx, &VmQuery::default())?.items;
        assert_eq!((left.len(), left[0].open_alerts), (1, 1));
        Ok(())
    }).await.unwrap();
}
}
