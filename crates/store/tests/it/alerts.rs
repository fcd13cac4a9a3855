use veriboot_store::alerts::{self, AlertRaise, Became, Changed};
use veriboot_store::{StoreError, Tx};
use veriboot_wire::{ALERT_ATTESTATION_FAILED, AlertQuery, AlertReason, AlertState, Finding, Severity, Time};

use crate::harness::{add_vm, at, on_both};

pub fn raise(vm_id: &str, time: Time) -> AlertRaise<'_> {
    AlertRaise {
        vm_id,
        kind: ALERT_ATTESTATION_FAILED,
        title: "VM attestation failed",
        reason: AlertReason::BaselineDeviation,
        severity: Severity::Medium,
        component: Some("kernel command line"),
        message: "kernel command line changed",
        remediation: "look",
        findings: &[],
        attestation_id: None,
        reopen_window_s: 0,
        at: time,
    }
}

on_both! {
async fn one_alert_is_open_per_vm_and_reason(db) {
    let vm_id = add_vm(&db.store, "default", "web-0").await;
    let other = add_vm(&db.store, "default", "web-1").await;
    db.store.write(move |tx| {
        let findings = [Finding::new("cmdline-changed", Severity::High, "changed")];
        let first = alerts::raise(tx, &raise(&vm_id, at(0)))?;
        let again = AlertRaise { message: "once more", findings: &findings, attestation_id: Some("a2"), ..raise(&vm_id, at(9)) };
        let second = alerts::raise(tx, &again)?;
        assert_eq!((first.count, second.count, &first.id), (1, 2, &second.id));
        let alert = alerts::open_for(tx, &vm_id, AlertReason::BaselineDeviation)?.unwrap();
        assert_eq!((alert.count, alert.first_at, alert.last_at), (2, at(0), at(9)));
        assert_eq!((alert.message.as_str(), alert.findings.as_slice()), ("once more", &findings[..]));
        assert_eq!((alert.vm_name.as_str(), alert.group.as_str(), alert.timeline.len()), ("web-0", "default", 2));
        let reason = AlertReason::LogMismatch;
        let third = alerts::raise(tx, &AlertRaise { reason, ..raise(&vm_id, at(1)) })?;
        let fourth = alerts::raise(tx, &raise(&other, at(2)))?;
        assert!(third.id != first.id && fourth.id != first.id);
        assert_eq!((alerts::open_count(tx, &vm_id)?, alerts::open_count(tx, &other)?), (2, 1));
        assert_eq!(
            alerts::open_counts_by_reason(tx, Some("default"))?,
            [(AlertReason::BaselineDeviation, 2), (AlertReason::LogMismatch, 1)]
        );
        assert_eq!(alerts::open_counts_by_reason(tx, Some("nowhere"))?, []);
        Ok(())
    }).await.unwrap();
}
}

fn change(tx: &mut dyn Tx, id: &str, to: AlertState, ms: i64) -> Result<Changed, StoreError> {
    alerts::change_state(tx, id, to, "ann", Some("because"), at(ms))
}

on_both! {
async fn the_life_of_an_alert(db) {
    let vm_id = add_vm(&db.store, "default", "web-0").await;
    db.store.write(move |tx| {
        let reason = AlertReason::BaselineDeviation;
        let id = alerts::raise(tx, &raise(&vm_id, at(0)))?.id;
        assert_eq!(change(tx, "nobody", AlertState::Resolved, 1)?, Changed::Unknown);
        assert!(matches!(change(tx, &id, AlertState::InProgress, 1)?, Changed::Done(_)));
        assert_eq!(alerts::raise(tx, &raise(&vm_id, at(2)))?.id, id, "work in progress is still open");
        assert_eq!(alerts::by_id(tx, &id)?.unwrap().state, AlertState::InProgress);
        let Changed::Done(dismissed) = change(tx, &id, AlertState::Dismissed, 3)? else { panic!("not changed") };
        assert_eq!(alerts::by_id(tx, &id)?.as_ref(), Some(&*dismissed));
        assert_eq!((dismissed.state, dismissed.closed_at), (AlertState::Dismissed, Some(at(3))));
        let steps: Vec<_> = dismissed.timeline.iter().map(|e| (e.at, e.state, e.by.as_str())).collect();
        assert_eq!(steps, [
            (at(0), AlertState::Active, "service"),
            (at(1), AlertState::InProgress, "ann"),
            (at(3), AlertState::Dismissed, "ann"),
        ]);
        assert!(matches!(change(tx, &id, AlertState::Active, 4)?, Changed::Closed(_)));
        assert_eq!(alerts::open_for(tx, &vm_id, reason)?, None);
        assert_eq!(alerts::latest_for(tx, &vm_id, reason)?.map(|a| a.id), Some(id.clone()));
        // The very same findings are counted on it; others raise a new one.
        let again = alerts::raise(tx, &raise(&vm_id, at(5)))?;
        assert_eq!((again.became, &again.id), (Became::CountedDismissed, &id));
        let findings = [Finding::new("cmdline-changed", Severity::High, "changed")];
        let next = alerts::raise(tx, &AlertRaise { findings: &findings, ..raise(&vm_id, at(5)) })?;
        assert!(next.id != id && next.count == 1);
        assert_eq!(alerts::auto_resolve(tx, &vm_id, &[AlertReason::AgentSilent], "healthy", at(6))?, Vec::<String>::new());
        assert_eq!(alerts::auto_resolve(tx, &vm_id, &[reason], "healthy", at(6))?, std::slice::from_ref(&next.id));
        assert_eq!(alerts::by_id(tx, &next.id)?.unwrap().state, AlertState::Resolved);
        Ok(())
    }).await.unwrap();
}
}

on_both! {
async fn alerts_are_filtered_and_paged(db) {
    let a = add_vm(&db.store, "a", "web-0").await;
    let b = add_vm(&db.store, "b", "web-0").await;
    db.store.write(move |tx| {
        let mut ids = Vec::new();
        for (n, vm) in [&a, &b].into_iter().enumerate() {
            for (m, reason) in AlertReason::ALL.iter().enumerate() {
                let time = at(i64::try_from((n * 6 + m) / 2).unwrap());
                ids.push((time, alerts::raise(tx, &AlertRaise { reason: *reason, ..raise(vm, time) })?.id));
            }
        }
        change(tx, &ids[0].1, AlertState::Resolved, 50)?;
        ids.sort();
        ids.reverse();
        let (mut listed, mut query) = (Vec::new(), AlertQuery { limit: Some(3), ..AlertQuery::default() });
        loop {
            let page = alerts::list(tx, &query)?;
            listed.extend(page.items.into_iter().map(|a| (a.first_at, a.id)));
            query.cursor = page.next_cursor;
            if query.cursor.is_none() { break; }
        }
        assert_eq!(listed, ids);
        let mut count = |query: AlertQuery| alerts::list(tx, &query).map(|p| p.items.len());
        assert_eq!(count(AlertQuery { open: Some(true), ..AlertQuery::default() })?, 11);
        assert_eq!(count(AlertQuery { open: Some(false), ..AlertQuery::default() })?, 1);
        assert_eq!(count(AlertQuery { state: Some(AlertState::Resolved), ..AlertQuery::default() })?, 1);
        assert_eq!(count(AlertQuery { group: Some("a".into()), ..AlertQuery::default() })?, 6);
        assert_eq!(count(AlertQuery { vm: Some(b.clone()), ..AlertQuery::default() })?, 6);
        assert_eq!(count(AlertQuery { reason: Some(AlertReason::AgentSilent), ..AlertQuery::default() })?, 2);
        Ok(())
    }).await.unwrap();
}
}
