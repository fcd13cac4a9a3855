//! Alerts that come back, incidents of scale sets, suppression rules.

use veriboot_store::alerts::{self, AlertRaise, Became, Changed};
use veriboot_store::suppressions::{self, NewRule};
use veriboot_store::{Store, StoreError, Tx, events, incidents, vms};
use veriboot_wire::{
    Alert, AlertQuery, AlertReason, AlertSort, AlertState, ChangeClass, EventQuery, Finding, IncidentQuery,
    IncidentState, Severity, SuppressionBreadth, SuppressionMatch, SuppressionQuery, SuppressionState,
};

use crate::alerts::raise;
use crate::harness::{at, on_both, vm};

const WINDOW_S: u32 = 3600;

pub fn finding(class: ChangeClass, component: &str, seen: &str) -> Finding {
    let mut finding = Finding::new("component-changed", Severity::High, format!("{component} changed"));
    finding.change = Some(class);
    finding.component = Some(component.into());
    finding.seen = Some(seen.into());
    finding.reason = Some(AlertReason::BaselineDeviation);
    finding
}

pub fn kernel(seen: &str) -> Vec<Finding> {
    vec![finding(ChangeClass::KernelUpdate, "kernel", seen)]
}

fn fail(tx: &mut dyn Tx, vm: &str, findings: &[Finding], ms: i64) -> Result<(Became, Alert), StoreError> {
    let raised = alerts::raise(tx, &AlertRaise { findings, reopen_window_s: WINDOW_S, ..raise(vm, at(ms)) })?;
    Ok((raised.became, alerts::by_id(tx, &raised.id)?.unwrap()))
}

fn healthy(tx: &mut dyn Tx, vm: &str, ms: i64) -> Result<Vec<String>, StoreError> {
    alerts::auto_resolve(tx, vm, AlertReason::ALL, "healthy", at(ms))
}

fn kinds(tx: &mut dyn Tx) -> Result<Vec<String>, StoreError> {
    let query = EventQuery { limit: Some(1000), ..EventQuery::default() };
    Ok(events::list(tx, &query)?.items.into_iter().map(|event| event.kind).collect())
}

async fn member(store: &Store, group: &str, scale_set: Option<&str>, name: &str) -> String {
    let mut row = vm(group, name);
    row.scale_set = scale_set.map(Into::into);
    let id = row.id.clone();
    store.write(move |tx| vms::insert(tx, &row)).await.unwrap();
    id
}

fn rule(
    tx: &mut dyn Tx,
    matches: &SuppressionMatch,
    expires_ms: Option<i64>,
    now_ms: i64,
) -> Result<String, StoreError> {
    let new = NewRule {
        matches,
        vm_name: None,
        why: "roll-out",
        comment: None,
        expires_at: expires_ms.map(at),
        by: "ann",
        now: at(now_ms),
    };
    Ok(suppressions::create(tx, &new)?.id)
}

on_both! {
async fn the_same_cause_opens_the_same_alert_again(db) {
    let id = member(&db.store, "default", None, "db-0").await;
    db.store.write(move |tx| {
        let (became, first) = fail(tx, &id, &kernel("a"), 0)?;
        assert_eq!((became, first.count, first.reopened), (Became::Opened, 1, 0));
        assert_eq!(healthy(tx, &id, 1000)?, std::slice::from_ref(&first.id));
        // Another digest of the same component is the same cause.
        let (became, again) = fail(tx, &id, &kernel("b"), 2000)?;
        assert_eq!((became, &again.id), (Became::Reopened, &first.id));
        assert_eq!((again.count, again.reopened, again.state, again.closed_at), (2, 1, AlertState::Active, None));
        assert!(again.revision > first.revision);
        let states: Vec<_> = again.timeline.iter().map(|step| step.state).collect();
        assert_eq!(states, [AlertState::Active, AlertState::Resolved, AlertState::Active]);
        assert_eq!(again.findings, kernel("b"));
        // Resolved by hand is the same.
        alerts::change_state(tx, &first.id, AlertState::Resolved, "ann", None, at(3000))?;
        assert_eq!(fail(tx, &id, &kernel("b"), 4000)?.0, Became::Reopened);
        // Another cause is another alert, and so is the same one too late.
        healthy(tx, &id, 5000)?;
        let (became, other) = fail(tx, &id, &[finding(ChangeClass::CmdlineChange, "kernel command line", "x")], 6000)?;
        assert!(became == Became::Opened && other.id != first.id);
        healthy(tx, &id, 7000)?;
        let late = 7000 + i64::from(WINDOW_S) * 1000 + 1;
        let (became, new) = fail(tx, &id, &[finding(ChangeClass::CmdlineChange, "kernel command line", "x")], late)?;
        assert!(became == Became::Opened && new.id != other.id);
        // A dismissed one stands for its very findings until a healthy attestation, and is not opened again.
        alerts::change_state(tx, &new.id, AlertState::Dismissed, "ann", None, at(late + 1))?;
        let same = [finding(ChangeClass::CmdlineChange, "kernel command line", "x")];
        assert_eq!(fail(tx, &id, &same, late + 2)?.0, Became::CountedDismissed);
        alerts::forget_dismissals(tx, &id, AlertReason::ALL, "healthy", at(late + 3))?;
        assert_eq!(fail(tx, &id, &same, late + 4)?.0, Became::Opened);
        assert_eq!(kinds(tx)?.iter().filter(|kind| *kind == "alert.reopened").count(), 2);
        assert_eq!(kinds(tx)?.iter().filter(|kind| *kind == "alert.opened").count(), 4);
        Ok(())
    }).await.unwrap();
}
}

on_both! {
async fn what_an_open_alert_did_not_show_before_is_told(db) {
    let id = member(&db.store, "default", None, "db-0").await;
    let other = member(&db.store, "default", None, "db-1").await;
    db.store.write(move |tx| {
        let changed = |tx: &mut dyn Tx| -> Result<usize, StoreError> {
            Ok(kinds(tx)?.iter().filter(|kind| *kind == "alert.changed").count())
        };
        let (_, first) = fail(tx, &id, &kernel("a"), 0)?;
        assert_eq!(fail(tx, &id, &kernel("a"), 1)?.1.timeline.len(), 1, "the same once more is a count");
        // Another digest of the same component.
        let (became, again) = fail(tx, &id, &kernel("b"), 2)?;
        assert_eq!((became, again.timeline.len(), changed(tx)?), (Became::Counted, 2, 1));
        let step = again.timeline.last().unwrap();
        assert_eq!((step.state, step.by.as_str()), (AlertState::Active, "service"));
        assert!(step.comment.as_ref().unwrap().contains("kernel changed"), "{step:?}");
        assert!(again.revision > first.revision, "who decides on the first one is told that it is another");
        // To and fro is nothing new; fewer findings are nothing new.
        for (ms, seen) in [(3, "a"), (4, "b"), (5, "a")] {
            assert_eq!(fail(tx, &id, &kernel(seen), ms)?.1.revision, again.revision);
        }
        let mut both = kernel("a");
        both.push(finding(ChangeClass::MokChange, "MOK", "x"));
        fail(tx, &id, &both, 6)?;
        fail(tx, &id, &kernel("a"), 7)?;
        fail(tx, &id, &both, 8)?;
        assert_eq!(changed(tx)?, 2);
        // An agent that boots something else each time is told of a bounded number of times, and hides nothing by it.
        for n in 0..100_i64 {
            fail(tx, &id, &kernel(&format!("digest {n}")), 10 + n)?;
        }
        let told = changed(tx)?;
        assert!((20..=40).contains(&told), "{told}");
        let shell = [finding(ChangeClass::CmdlineChange, "kernel command line", "init=/bin/sh")];
        let (_, alert) = fail(tx, &id, &shell, 200)?;
        assert_eq!(changed(tx)?, told + 1, "another kind of finding");
        assert!(alert.timeline.len() < 50 && alert.timeline.last().unwrap().comment.as_ref().unwrap().contains("command line"));
        // Values that differ each time are none that was booted.
        let clock = |seen: u32| {
            let mut finding = Finding::new("clock-back", Severity::High, "back");
            finding.seen = Some(seen.to_string());
            finding.reason = Some(AlertReason::BaselineDeviation);
            [finding]
        };
        fail(tx, &id, &clock(1), 300)?;
        let told = changed(tx)?;
        fail(tx, &id, &clock(2), 301)?;
        assert_eq!(changed(tx)?, told);
        // What it was opened with is not new when a part of it was away.
        fail(tx, &other, &both, 350)?;
        let told = changed(tx)?;
        fail(tx, &other, &kernel("a"), 351)?;
        fail(tx, &other, &both, 352)?;
        assert_eq!(changed(tx)?, told);
        // Opened again, it begins anew.
        healthy(tx, &id, 400)?;
        assert_eq!(fail(tx, &id, &clock(3), 401)?.0, Became::Reopened);
        let last = fail(tx, &id, &kernel("a"), 402)?.1;
        assert!(last.timeline.last().unwrap().comment.as_ref().unwrap().contains("kernel changed"));
        Ok(())
    }).await.unwrap();
}
}

on_both! {
async fn a_rule_is_settled_at_its_real_end(db) {
    let id = member(&db.store, "default", None, "db-0").await;
    db.store.write(move |tx| {
        vms::set_status(tx, &id, veriboot_wire::VmStatus::Stale, None)?;
        let silent = |tx: &mut dyn Tx, ms: i64| -> Result<Became, StoreError> {
            let raised = alerts::raise(tx, &AlertRaise {
                reason: AlertReason::AgentSilent, reopen_window_s: WINDOW_S, ..raise(&id, at(ms))
            })?;
            Ok(raised.became)
        };
        let matches = SuppressionMatch { reason: Some(AlertReason::AgentSilent), ..SuppressionMatch::default() };
        rule(tx, &matches, Some(10_000), 0)?;
        assert_eq!(silent(tx, 1)?, Became::Suppressed);
        // A clock that is ahead ends the rule, and raises the alert.
        assert!(suppressions::unsettled(tx, at(50_000))?);
        assert_eq!(alerts::resurface(tx, WINDOW_S, 10, at(50_000))?.raised.len(), 1);
        assert!(!suppressions::unsettled(tx, at(50_001))?);
        // It is set right: the rule holds, and hides the VM again.
        assert!(suppressions::unsettled(tx, at(100))?, "it was settled by a time that is to come");
        assert_eq!(alerts::resurface(tx, WINDOW_S, 10, at(100))?.raised.len(), 0);
        assert!(!suppressions::unsettled(tx, at(101))?);
        assert_eq!(silent(tx, 102)?, Became::Suppressed);
        // Its real end is told.
        assert!(suppressions::unsettled(tx, at(10_000))?);
        let done = alerts::resurface(tx, WINDOW_S, 10, at(10_000))?;
        assert_eq!(done.raised[0].1.became, Became::Reopened);
        Ok(())
    }).await.unwrap();
}
}

on_both! {
async fn with_a_window_of_zero_every_failure_is_new(db) {
    let id = member(&db.store, "default", None, "db-0").await;
    db.store.write(move |tx| {
        let first = alerts::raise(tx, &raise(&id, at(0)))?;
        healthy(tx, &id, 0)?;
        let second = alerts::raise(tx, &raise(&id, at(0)))?;
        assert!(second.became == Became::Opened && second.id != first.id);
        Ok(())
    }).await.unwrap();
}
}

on_both! {
async fn a_bad_roll_out_is_one_incident(db) {
    const VMS: usize = 500;
    let mut ids = Vec::new();
    for n in 0..VMS {
        ids.push(member(&db.store, "default", Some("web"), &format!("web-{n}")).await);
    }
    let alone = member(&db.store, "default", None, "db-0").await;
    let elsewhere = member(&db.store, "blue", Some("web"), "web-0").await;
    db.store.write(move |tx| {
        for (n, id) in ids.iter().enumerate() {
            let time = i64::try_from(n).unwrap();
            fail(tx, id, &kernel(&format!("digest of {n}")), time)?;
            fail(tx, id, &kernel(&format!("digest of {n}")), time + 1)?;
        }
        fail(tx, &alone, &kernel("a"), 0)?;
        fail(tx, &elsewhere, &kernel("a"), 0)?;
        let open = IncidentQuery { state: Some(IncidentState::Open), ..IncidentQuery::default() };
        let listed = incidents::list(tx, &open)?.items;
        assert_eq!(listed.len(), 2, "a VM of no scale set has no incident");
        let incident = listed.iter().find(|i| i.group == "default").unwrap();
        assert_eq!((incident.members, incident.open, incident.scale_set.as_str()), (500, 500, "web"));
        assert_eq!((incident.first_at, incident.last_at), (at(0), at(499)));
        assert_eq!((&incident.classes[..], &incident.codes[..]), (&[ChangeClass::KernelUpdate][..], &["component-changed".to_owned()][..]));
        assert!(incident.techniques.iter().any(|t| t.id == "T1542.003"));
        // Told when it opened, and when it doubled.
        let told = kinds(tx)?;
        let count = |kind: &str| told.iter().filter(|k| *k == kind).count();
        assert_eq!((count("incident.opened"), count("incident.grown")), (2, 8));
        // Members are paged.
        let (mut seen, mut cursor) = (Vec::new(), None);
        loop {
            let page = incidents::members(tx, &incident.id, Some(120), cursor.as_deref())?;
            seen.extend(page.items.into_iter().map(|m| m.vm_id));
            cursor = page.next_cursor;
            if cursor.is_none() { break; }
        }
        assert_eq!(seen, ids);
        // One more failure of a member changes nothing about it; another cause moves the member.
        fail(tx, &ids[0], &kernel("new digest"), 600)?;
        assert_eq!(incidents::by_id(tx, &incident.id)?.unwrap().members, 500);
        let (_, moved) = fail(tx, &ids[0], &[finding(ChangeClass::MokChange, "MOK", "x")], 601)?;
        assert_ne!(moved.incident_id.as_deref(), Some(incident.id.as_str()));
        assert_eq!(incidents::by_id(tx, &incident.id)?.unwrap().open, 499);
        // The last alert closes it; a VM that is deleted leaves it.
        for id in &ids[1..499] {
            healthy(tx, id, 700)?;
        }
        let left = incidents::by_id(tx, &incident.id)?.unwrap();
        assert_eq!((left.state, left.open), (IncidentState::Open, 1));
        vms::delete(tx, &ids[499], at(800))?;
        let closed = incidents::by_id(tx, &incident.id)?.unwrap();
        assert_eq!((closed.state, closed.open, closed.closed_at), (IncidentState::Closed, 0, Some(at(800))));
        // It opens again when a member comes back, which does not count twice.
        let (became, back) = fail(tx, &ids[1], &kernel("x"), 900)?;
        assert_eq!((became, back.incident_id.as_deref()), (Became::Reopened, Some(incident.id.as_str())));
        let again = incidents::by_id(tx, &incident.id)?.unwrap();
        assert_eq!((again.state, again.members, again.open), (IncidentState::Open, 500, 1));
        Ok(())
    }).await.unwrap();
}
}

on_both! {
async fn members_that_fail_at_once_share_an_incident(db) {
    let mut ids = Vec::new();
    for n in 0..8 {
        ids.push(member(&db.store, "default", Some("web"), &format!("web-{n}")).await);
    }
    let tasks: Vec<_> = ids.into_iter().map(|id| {
        let store = db.store.clone();
        tokio::spawn(async move {
            store.write(move |tx| fail(tx, &id, &kernel("x"), 0).map(|(_, alert)| alert.id)).await.unwrap()
        })
    }).collect();
    let mut alert_ids = Vec::new();
    for task in tasks {
        alert_ids.push(task.await.unwrap());
    }
    let found = db.store.read(|tx| incidents::list(tx, &IncidentQuery::default())).await.unwrap().items;
    assert_eq!((found.len(), found[0].members, found[0].open), (1, 8, 8));
    // And those that recover at once close it.
    let tasks: Vec<_> = alert_ids.into_iter().map(|id| {
        let store = db.store.clone();
        tokio::spawn(async move {
            store.write(move |tx| alerts::change_state(tx, &id, AlertState::Resolved, "ann", None, at(1))).await.unwrap()
        })
    }).collect();
    for task in tasks {
        assert!(matches!(task.await.unwrap(), Changed::Done(_)));
    }
    let found = db.store.read(|tx| incidents::list(tx, &IncidentQuery::default())).await.unwrap().items;
    assert_eq!((found[0].state, found[0].open), (IncidentState::Closed, 0));
}
}

on_both! {
async fn a_rule_dismisses_and_its_end_opens_again(db) {
    let id = member(&db.store, "default", Some("web"), "web-0").await;
    db.store.write(move |tx| {
        let matches = SuppressionMatch {
            classes: vec![ChangeClass::KernelUpdate, ChangeClass::InitrdChange],
            scale_set: Some("web".into()),
            group: Some("default".into()),
            ..SuppressionMatch::default()
        };
        // Made before any alert.
        let made = rule(tx, &matches, Some(10_000), 0)?;
        let (became, hidden) = fail(tx, &id, &kernel("a"), 1)?;
        assert_eq!((became, hidden.state, hidden.suppressed_by.as_deref()), (Became::Suppressed, AlertState::Dismissed, Some(made.as_str())));
        assert!(hidden.timeline[0].comment.as_ref().unwrap().contains(&made));
        assert_eq!(hidden.incident_id, None, "what is hidden is no member of an incident");
        let (became, counted) = fail(tx, &id, &kernel("b"), 2)?;
        assert_eq!((became, &counted.id, counted.count), (Became::CountedDismissed, &hidden.id, 2));
        assert_eq!(counted.findings, kernel("b"), "what is hidden is shown as it was last");
        let only = AlertQuery { suppressed: Some(true), ..AlertQuery::default() };
        assert_eq!(alerts::list(tx, &only)?.items.len(), 1);
        assert_eq!(alerts::list(tx, &AlertQuery { suppressed_by: Some(made.clone()), ..AlertQuery::default() })?.items.len(), 1);
        assert_eq!(alerts::list(tx, &AlertQuery { suppressed: Some(false), ..AlertQuery::default() })?.items.len(), 0);
        let listed = suppressions::by_id(tx, &made, at(3))?.unwrap();
        assert_eq!((listed.alerts, listed.last_matched_at, listed.state), (1, Some(at(2)), SuppressionState::Active));
        assert!(listed.warnings.is_empty() && listed.broad.is_none());

        // Anything beside the classes is not hidden: an attack does not ride on an expected update.
        let mut both = kernel("c");
        both.push(finding(ChangeClass::CmdlineChange, "kernel command line", "init=/bin/sh"));
        let (became, attack) = fail(tx, &id, &both, 4)?;
        assert_eq!((became, attack.state), (Became::Opened, AlertState::Active));
        let mut unclassed = Finding::new("policy-condition", Severity::High, "a condition");
        unclassed.reason = Some(AlertReason::BaselineDeviation);
        healthy(tx, &id, 5)?;
        assert_eq!(fail(tx, &id, &[kernel("c").remove(0), unclassed], 6)?.0, Became::Opened);
        healthy(tx, &id, 7)?;

        // An open alert is dismissed by the next failure, unless somebody works on it.
        let (_, hidden_again) = fail(tx, &id, &kernel("d"), 8)?;
        assert_eq!(hidden_again.state, AlertState::Dismissed);
        // The rule expires: the cause that persists is an open alert again, the same one.
        let expired = suppressions::by_id(tx, &made, at(10_000))?.unwrap();
        assert_eq!(expired.state, SuppressionState::Expired);
        assert!(expired.warnings[0].starts_with("expired"));
        let (became, back) = fail(tx, &id, &kernel("d"), 10_000)?;
        assert_eq!((became, back.id, back.state, back.suppressed_by), (Became::Reopened, hidden_again.id, AlertState::Active, None));
        assert!(back.incident_id.is_some());

        // A new rule: the open one is dismissed, and its incident closes. One that somebody works on is left alone.
        let incident = back.incident_id.unwrap();
        let second = rule(tx, &matches, None, 10_001)?;
        let (became, hidden) = fail(tx, &id, &kernel("d"), 10_002)?;
        assert_eq!((became, hidden.suppressed_by.as_deref()), (Became::Suppressed, Some(second.as_str())));
        assert_eq!(incidents::by_id(tx, &incident)?.unwrap().state, IncidentState::Closed);
        assert!(suppressions::by_id(tx, &second, at(10_003))?.unwrap().warnings[0].starts_with("never expires"));
        assert!(suppressions::end(tx, &second, "bob", at(10_003))? && !suppressions::end(tx, &second, "bob", at(10_004))?);
        assert_eq!(suppressions::by_id(tx, &second, at(10_004))?.unwrap().state, SuppressionState::Ended);
        let (became, open) = fail(tx, &id, &kernel("d"), 10_005)?;
        assert_eq!(became, Became::Reopened);
        alerts::change_state(tx, &open.id, AlertState::InProgress, "ann", None, at(10_006))?;
        rule(tx, &matches, Some(20_000), 10_007)?;
        let (became, worked_on) = fail(tx, &id, &kernel("d"), 10_008)?;
        assert_eq!((became, worked_on.state), (Became::Counted, AlertState::InProgress));
        assert_eq!(kinds(tx)?.iter().filter(|kind| *kind == "alert.suppressed").count(), 3);
        Ok(())
    }).await.unwrap();
}
}

on_both! {
async fn every_condition_of_a_rule_must_hold(db) {
    let id = member(&db.store, "default", Some("web"), "web-0").await;
    db.store.write(move |tx| {
        let findings = kernel("a");
        let none = SuppressionMatch::default();
        let matching = [
            SuppressionMatch { kind: Some(veriboot_wire::ALERT_ATTESTATION_FAILED.into()), ..none.clone() },
            SuppressionMatch { reason: Some(AlertReason::BaselineDeviation), group: Some("default".into()), ..none.clone() },
            SuppressionMatch { vm: Some(id.clone()), ..none.clone() },
            SuppressionMatch { scale_set: Some("web".into()), ..none.clone() },
            none.clone(),
        ];
        let not = [
            SuppressionMatch { kind: Some(veriboot_wire::ALERT_APPRAISAL_FAILED.into()), ..none.clone() },
            SuppressionMatch { reason: Some(AlertReason::LogMismatch), vm: Some(id.clone()), ..none.clone() },
            SuppressionMatch { vm: Some("another".into()), ..none.clone() },
            SuppressionMatch { scale_set: Some("db".into()), ..none.clone() },
            SuppressionMatch { group: Some("blue".into()), ..none.clone() },
            SuppressionMatch { classes: vec![ChangeClass::MokChange], ..none.clone() },
        ];
        let subject = suppressions::Subject {
            kind: veriboot_wire::ALERT_ATTESTATION_FAILED,
            reason: AlertReason::BaselineDeviation,
            findings: &findings,
            vm_id: &id,
            scale_set: Some("web"),
            group: "default",
        };
        for (expected, all) in [(true, &matching[..]), (false, &not[..])] {
            for matches in all {
                let made = rule(tx, matches, Some(100), 0)?;
                let found = suppressions::matching(tx, &subject, at(1))?.map(|rule| rule.id);
                assert_eq!(found.is_some(), expected, "{matches:?}");
                assert_eq!(suppressions::matching(tx, &subject, at(100))?, None, "expired");
                suppressions::end(tx, &made, "ann", at(2))?;
                assert_eq!(suppressions::matching(tx, &subject, at(3))?, None, "ended");
            }
        }
        let broad = SuppressionQuery { broad: Some(true), ..SuppressionQuery::default() };
        let listed = suppressions::list(tx, &broad, at(0))?.items;
        let count = |breadth| listed.iter().filter(|rule| rule.broad == Some(breadth)).count();
        assert_eq!((count(SuppressionBreadth::Everything), count(SuppressionBreadth::WholeGroup)), (3, 1));
        let page = suppressions::list(tx, &SuppressionQuery { limit: Some(4), ..SuppressionQuery::default() }, at(0))?;
        assert!(page.items.len() == 4 && page.next_cursor.is_some());
        Ok(())
    }).await.unwrap();
}
}

on_both! {
async fn a_simulation_tells_attacks_from_updates(db) {
    let a = member(&db.store, "default", Some("web"), "web-0").await;
    let b = member(&db.store, "default", Some("web"), "web-1").await;
    let c = member(&db.store, "blue", None, "db-0").await;
    db.store.write(move |tx| {
        fail(tx, &a, &kernel("a"), 1000)?;
        let mut attack = kernel("a");
        attack.push(finding(ChangeClass::SecureBootDisabled, "Secure Boot", "off"));
        let (_, handled) = fail(tx, &b, &attack, 2000)?;
        alerts::change_state(tx, &handled.id, AlertState::InProgress, "ann", None, at(2001))?;
        fail(tx, &c, &kernel("a"), 3000)?;
        let all = SuppressionMatch { reason: Some(AlertReason::BaselineDeviation), group: Some("default".into()), ..SuppressionMatch::default() };
        let seen = suppressions::simulate(tx, &all, at(0))?;
        assert_eq!((seen.examined, seen.matched, seen.open, seen.attacks, seen.handled), (3, 2, 2, 1, 1));
        assert_eq!(seen.sample[0].vm_name, "web-1", "attacks first");
        let classes: Vec<_> = seen.by_class.iter().map(|c| (c.name.as_str(), c.alerts, c.attack)).collect();
        assert_eq!(classes, [("kernel-update", 2, false), ("secure-boot-disabled", 1, true)]);
        let updates = SuppressionMatch { classes: vec![ChangeClass::KernelUpdate], ..all };
        let seen = suppressions::simulate(tx, &updates, at(0))?;
        assert_eq!((seen.matched, seen.attacks, seen.broad), (1, 0, None));
        assert_eq!(suppressions::simulate(tx, &updates, at(1001))?.matched, 0);
        assert_eq!(alerts::list(tx, &AlertQuery { suppressed: Some(true), ..AlertQuery::default() })?.items.len(), 0, "nothing was changed");
        Ok(())
    }).await.unwrap();
}
}

on_both! {
async fn alerts_are_sorted_and_filtered(db) {
    let a = member(&db.store, "default", Some("web"), "web-0").await;
    let b = member(&db.store, "default", None, "db-0").await;
    db.store.write(move |tx| {
        let low = AlertRaise { severity: Severity::Low, ..raise(&a, at(30)) };
        let low = alerts::raise(tx, &low)?.id;
        let high = alerts::raise(tx, &AlertRaise { severity: Severity::High, reason: AlertReason::LogMismatch, ..raise(&a, at(10)) })?.id;
        let medium = fail(tx, &b, &kernel("a"), 20)?.1.id;
        for _ in 0..3 { fail(tx, &b, &kernel("a"), 25)?; }
        let mut ids = |query: AlertQuery| -> Result<Vec<String>, StoreError> {
            let (mut found, mut query) = (Vec::new(), AlertQuery { limit: Some(1), ..query });
            loop {
                let page = alerts::list(tx, &query)?;
                found.extend(page.items.into_iter().map(|a| a.id));
                query.cursor = page.next_cursor;
                if query.cursor.is_none() { return Ok(found); }
            }
        };
        let all = AlertQuery::default();
        assert_eq!(ids(all.clone())?, [&low, &medium, &high].map(Clone::clone));
        assert_eq!(ids(AlertQuery { sort: Some(AlertSort::Severity), ..all.clone() })?, [&high, &medium, &low].map(Clone::clone));
        assert_eq!(ids(AlertQuery { sort: Some(AlertSort::Count), ..all.clone() })?, [&medium, &low, &high].map(Clone::clone));
        assert_eq!(ids(AlertQuery { severity: Some(Severity::Medium), ..all.clone() })?.len(), 2);
        assert_eq!(ids(AlertQuery { class: Some(ChangeClass::KernelUpdate), ..all.clone() })?, [medium]);
        assert_eq!(ids(AlertQuery { class: Some(ChangeClass::MokChange), ..all.clone() })?.len(), 0);
        assert_eq!(ids(AlertQuery { scale_set: Some("web".into()), ..all.clone() })?.len(), 2);
        assert_eq!(ids(AlertQuery { since: Some(at(26)), ..all.clone() })?, [low]);
        assert_eq!(ids(AlertQuery { kind: Some("nothing".into()), ..all.clone() })?.len(), 0);
        let cursor = alerts::list(tx, &AlertQuery { limit: Some(1), sort: Some(AlertSort::Count), ..all.clone() })?.next_cursor;
        let other_order = alerts::list(tx, &AlertQuery { cursor, ..all }).map(drop);
        assert_eq!(other_order, Err(StoreError::BadCursor), "the cursor of one order is none of another");
        Ok(())
    }).await.unwrap();
}
}
