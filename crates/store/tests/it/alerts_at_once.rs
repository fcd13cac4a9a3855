//! Alerts of many VMs at once: the same as one by one, with a number of statements that does not grow with them; on SQLite of
//! different ones.

use std::collections::{BTreeMap, BTreeSet};

use veriboot_store::alerts::{self, AlertRaise, Became, Ended, Raised};
use veriboot_store::boots::{self, BootSeen};
use veriboot_store::suppressions::{self, NewRule};
use veriboot_store::{Backend, Param, Row, StoreError, Tx, attestations, events, incidents, vms};
use veriboot_wire::{
    Alert, AlertQuery, AlertReason, AlertState, ChangeClass, Finding, Incident, IncidentQuery, IncidentState,
    SuppressionMatch, SuppressionQuery, Time, Verdict,
};

use crate::alert_life::{finding, kernel};
use crate::alerts::raise;
use crate::harness::{Db, at, attestation, evidence, on_both, vm};

const WINDOW_S: u32 = 3600;
const VMS: usize = 140;
/// When the fleet fails, milliseconds.
const NOW: i64 = 10_000_000;

fn cmdline() -> Vec<Finding> {
    vec![finding(ChangeClass::CmdlineChange, "kernel command line", "init=/bin/sh")]
}

/// Group and scale set of the nth VM: groups of ten, so that each set has VMs with each past.
fn place(n: usize) -> (&'static str, Option<&'static str>) {
    match n / 10 % 4 {
        0 => ("default", Some("web")),
        1 => ("default", Some("db")),
        2 => ("default", None),
        _ => ("blue", Some("web")),
    }
}

/// VMs of a fleet: id and the boot that they attest.
struct Fleet {
    ids: Vec<String>,
    attestations: Vec<String>,
}

fn rule(tx: &mut dyn Tx, set: &str, group: &str, now: Time) -> Result<String, StoreError> {
    let matches = SuppressionMatch {
        scale_set: Some(set.into()),
        group: Some(group.into()),
        classes: vec![ChangeClass::KernelUpdate],
        ..SuppressionMatch::default()
    };
    let new = NewRule {
        matches: &matches,
        vm_name: None,
        why: "roll-out",
        comment: None,
        expires_at: Some(now.plus_s(864_000)),
        by: "ann",
        now,
    };
    Ok(suppressions::create(tx, &new)?.id)
}

fn one(tx: &mut dyn Tx, vm: &str, findings: &[Finding], now: Time) -> Result<Raised, StoreError> {
    alerts::raise(tx, &AlertRaise { findings, reopen_window_s: WINDOW_S, ..raise(vm, now) })
}

/// VMs with every past that decides what becomes of a failure.
fn fleet(tx: &mut dyn Tx, rows: &[vms::VmRow]) -> Result<Fleet, StoreError> {
    let long_ago = at(NOW).plus_s(-2 * i64::from(WINDOW_S));
    let lately = at(NOW).plus_s(-60);
    let mut attested = Vec::new();
    for (n, row) in rows.iter().enumerate() {
        vms::insert(tx, row)?;
        let mut boot = |reset_count, verdict, at| {
            let seen = BootSeen {
                vm_id: &row.id,
                reset_count,
                restart_count: 0,
                log_sha256: None,
                at,
                verdict,
                components: &BTreeMap::new(),
            };
            boots::record(tx, &seen)
        };
        // Two that were healthy, of which the later one counts; and the one that fails.
        if n % 3 > 0 {
            boot(1, Verdict::Healthy, at(1))?;
            boot(2, Verdict::Healthy, at(2))?;
        }
        let failing = boot(3, Verdict::Unhealthy, lately)?;
        let mut last = attestation(&row.id, lately);
        last.boot_id = (n % 4 > 0).then(|| failing.id.clone());
        attestations::insert(tx, &last, &evidence())?;
        attested.push(last.id);
    }
    let old = rule(tx, "web", "blue", at(3))?;
    for (n, row) in rows.iter().enumerate() {
        let id = row.id.as_str();
        let by_hand = |tx: &mut dyn Tx, alert: &str, to| {
            alerts::change_state(tx, alert, to, "ann", Some("seen"), lately)
        };
        match n % 10 {
            // Of the set `blue/web` the rule hid it, and holds no more.
            3 => drop(one(tx, id, &kernel("a"), lately)?),
            4 => {
                let raised = one(tx, id, &kernel("a"), lately)?;
                by_hand(tx, &raised.id, AlertState::InProgress)?;
            }
            5 => {
                one(tx, id, &kernel("a"), lately)?;
                alerts::auto_resolve(tx, id, AlertReason::ALL, "healthy", lately)?;
            }
            6 => {
                one(tx, id, &kernel("a"), long_ago)?;
                alerts::auto_resolve(tx, id, AlertReason::ALL, "healthy", long_ago)?;
            }
            7 => {
                let raised = one(tx, id, &kernel("a"), lately)?;
                by_hand(tx, &raised.id, AlertState::Dismissed)?;
            }
            8 => drop(one(tx, id, &cmdline(), lately)?),
            _ => {}
        }
    }
    suppressions::end(tx, &old, "ann", lately)?;
    rule(tx, "db", "default", lately)?;
    Ok(Fleet { ids: rows.iter().map(|row| row.id.clone()).collect(), attestations: attested })
}

/// What fails when, by the number of the VM: mostly what failed before, otherwise another digest or another cause; and
/// some fail for two reasons.
fn failures<'a>(
    fleet: &'a Fleet,
    causes: &'a [Vec<Finding>; 3],
    now: Time,
    turn: usize,
) -> Vec<AlertRaise<'a>> {
    let [first, other, third] = causes;
    let mut all = Vec::new();
    for (n, (id, attestation)) in fleet.ids.iter().zip(&fleet.attestations).enumerate() {
        let findings = match (n / 20 + turn) % 3 {
            0 => first,
            1 => other,
            _ => third,
        };
        let failure = AlertRaise {
            findings,
            reopen_window_s: WINDOW_S,
            attestation_id: Some(attestation),
            ..raise(id, now)
        };
        all.push(failure.clone());
        if n % 11 == 0 {
            all.push(AlertRaise { reason: AlertReason::LogMismatch, findings: &[], ..failure });
        }
    }
    all
}

/// Everything that there is, with names in place of ids that are made at random.
struct Picture {
    alerts: Vec<String>,
    incidents: Vec<String>,
    /// What was told of alerts, by VM.
    told: BTreeMap<String, Vec<String>>,
    /// Incidents that somebody was told of: that they are there or have grown, and that they are over.
    seen: BTreeSet<(bool, String)>,
}

fn all_alerts(tx: &mut dyn Tx) -> Result<Vec<Alert>, StoreError> {
    let mut query = AlertQuery { limit: Some(1000), ..AlertQuery::default() };
    let mut all = Vec::new();
    loop {
        let page = alerts::list(tx, &query)?;
        all.extend(page.items);
        query.cursor = page.next_cursor;
        if query.cursor.is_none() {
            return Ok(all);
        }
    }
}

fn incident_name(incident: &Incident) -> String {
    let Incident { group, scale_set, reason, classes, first_at, .. } = incident;
    format!("incident {group}/{scale_set} {reason} {classes:?} {}", first_at.unix_ms())
}

fn picture(tx: &mut dyn Tx, fleet: &Fleet, since: u64) -> Result<Picture, StoreError> {
    let all = all_alerts(tx)?;
    let rules = suppressions::list(tx, &SuppressionQuery::default(), at(0))?.items;
    let of_all = incidents::list(tx, &IncidentQuery { limit: Some(1000), ..IncidentQuery::default() })?.items;
    let mut names = BTreeMap::new();
    for (n, (vm, attestation)) in fleet.ids.iter().zip(&fleet.attestations).enumerate() {
        names.insert(vm.clone(), format!("vm-{n}"));
        names.insert(attestation.clone(), format!("attestation-{n}"));
    }
    for row in tx.query("SELECT id, vm_id, reset_count FROM boots", &[])? {
        let mut c = row.columns();
        names.insert(c.text()?, format!("boot {} of {}", names[&c.text()?].clone(), c.int()?));
    }
    for alert in &all {
        let Alert { vm_name, reason, first_at, .. } = alert;
        let name = format!("alert {vm_name} {reason} {}", first_at.unix_ms());
        let newer =
            all.iter().filter(|a| (&a.vm_id, a.reason, a.first_at) == (&alert.vm_id, *reason, *first_at));
        assert!(newer.count() == 1, "{name} is ambiguous");
        names.insert(alert.id.clone(), name);
    }
    names.extend(rules.iter().map(|r| (r.id.clone(), format!("rule of {:?}", r.matches.scale_set))));
    names.extend(of_all.iter().map(|incident| (incident.id.clone(), incident_name(incident))));
    // Ids are text of one length between other characters.
    let named = |text: String| {
        let words = text.split_inclusive(|c: char| !(c.is_ascii_hexdigit() || c == '-'));
        let word = |word: &str| {
            let id = word.trim_end_matches(|c: char| !(c.is_ascii_hexdigit() || c == '-'));
            match names.get(id) {
                Some(name) => word.replacen(id, name, 1),
                None => word.to_owned(),
            }
        };
        words.map(word).collect::<String>()
    };
    let mut shown = BTreeMap::new();
    for row in tx.query("SELECT id, shown FROM alerts", &[])? {
        let mut c = row.columns();
        shown.insert(c.text()?, c.text()?);
    }
    let mut alerts: Vec<String> = all
        .iter()
        .map(|alert| named(format!("{} {}", serde_json::to_string(alert).unwrap(), shown[&alert.id])))
        .collect();
    alerts.sort();
    let mut incidents: Vec<String> =
        of_all.iter().map(|incident| named(serde_json::to_string(incident).unwrap())).collect();
    incidents.sort();
    let (mut told, mut seen) = (BTreeMap::<String, Vec<String>>::new(), BTreeSet::new());
    for event in events::after(tx, since, 10_000)? {
        match &event.vm_id {
            Some(vm) => {
                let text = named(format!("{} {} {:?}", event.kind, event.data, event.subject));
                told.entry(names[vm].clone()).or_default().push(text);
            }
            // One by one, an incident may be left by all and joined by others after that.
            None => {
                let over = event.kind == "incident.closed";
                let id = event.subject.as_deref().unwrap();
                let open = incidents::by_id(tx, id)?.unwrap().state == IncidentState::Open;
                if !over || !open {
                    seen.insert((over, names[id].clone()));
                }
            }
        }
    }
    told.values_mut().for_each(|told| told.sort());
    Ok(Picture { alerts, incidents, told, seen })
}

/// A fleet fails three times and is healed: at once, or one by one. What is there after each step, and what was answered.
async fn stepped(db: &Db, rows: Vec<vms::VmRow>, at_once: bool) -> Vec<(Picture, Vec<(Became, u64)>)> {
    db.store
        .write(move |tx| {
            let fleet = fleet(tx, &rows)?;
            let causes = [kernel("a"), kernel("b"), cmdline()];
            let mut steps = Vec::new();
            for turn in 0..3 {
                let since = events::bounds(tx)?.newest;
                let now = at(NOW).plus_s(turn * 10);
                let failures = failures(&fleet, &causes, now, usize::try_from(turn).unwrap());
                let raised = match at_once {
                    true => alerts::raise_all(tx, &failures)?,
                    false => failures.iter().map(|f| alerts::raise(tx, f)).collect::<Result<_, _>>()?,
                };
                let became = raised.iter().map(|raised| (raised.became, raised.count)).collect();
                for (failure, raised) in failures.iter().zip(&raised) {
                    let alert = alerts::by_id(tx, &raised.id)?.unwrap();
                    assert_eq!((alert.vm_id.as_str(), alert.reason), (failure.vm_id, failure.reason));
                }
                steps.push((picture(tx, &fleet, since)?, became));
            }
            let since = events::bounds(tx)?.newest;
            let now = at(NOW).plus_s(100);
            let reasons = [AlertReason::BaselineDeviation, AlertReason::AgentSilent];
            let ended = |vm_id| Ended { vm_id, reasons: &reasons, comment: "healthy", at: now };
            // One that stays unhealthy keeps its incident open.
            let ended: Vec<Ended<'_>> = fleet.ids.iter().skip(1).map(|id| ended(id.as_str())).collect();
            let resolved = match at_once {
                true => {
                    let resolved = alerts::resolve_all(tx, &ended)?;
                    alerts::forget_all(tx, &ended)?;
                    resolved
                }
                false => {
                    let mut resolved = Vec::new();
                    for Ended { vm_id, reasons, comment, at } in ended {
                        resolved.push(alerts::auto_resolve(tx, vm_id, reasons, comment, at)?);
                        alerts::forget_dismissals(tx, vm_id, reasons, comment, at)?;
                    }
                    resolved
                }
            };
            let counts = resolved.iter().map(|ids| (Became::Counted, ids.len() as u64)).collect();
            steps.push((picture(tx, &fleet, since)?, counts));
            Ok(steps)
        })
        .await
        .unwrap()
}

fn rows() -> Vec<vms::VmRow> {
    let named = |n| {
        let (group, scale_set) = place(n);
        let mut row = vm(group, &format!("vm-{n}"));
        row.scale_set = scale_set.map(Into::into);
        row
    };
    (0..VMS).map(named).collect()
}

on_both! {
async fn many_at_once_are_as_many_one_by_one(db) {
    let other = match db.store.backend() {
        Backend::Sqlite => Db::sqlite(),
        Backend::Postgres => Db::postgres().unwrap(),
    };
    let rows = rows();
    let at_once = stepped(&db, rows.clone(), true).await;
    let one_by_one = stepped(&other, rows, false).await;
    let mut became = BTreeSet::new();
    for (step, (one, many)) in one_by_one.iter().zip(&at_once).enumerate() {
        assert_eq!(one.1, many.1, "step {step}");
        became.extend(one.1.iter().map(|(became, _)| format!("{became:?}")));
        for (one, many) in one.0.alerts.iter().zip(&many.0.alerts) {
            assert_eq!(one, many, "step {step}");
        }
        assert_eq!(one.0.told, many.0.told, "step {step}");
        assert_eq!(one.0.incidents, many.0.incidents, "step {step}");
        assert_eq!(one.0.seen, many.0.seen, "step {step}");
    }
    assert_eq!(became.len(), 5, "each of what a failure may become was there: {became:?}");
    let over = |step: &(Picture, Vec<_>)| step.0.seen.iter().any(|(over, _)| *over);
    assert!(over(&at_once[3]), "incidents were closed");
}
}

/// Counts statements; on SQLite one that runs for row after row is one.
struct Counting<'a> {
    tx: &'a mut dyn Tx,
    statements: usize,
    last: String,
}

impl Tx for Counting<'_> {
    fn backend(&self) -> Backend {
        self.tx.backend()
    }

    fn execute(&mut self, sql: &str, params: &[Param<'_>]) -> Result<u64, StoreError> {
        if self.backend() == Backend::Postgres || sql != self.last {
            self.statements += 1;
        }
        sql.clone_into(&mut self.last);
        self.tx.execute(sql, params)
    }

    fn query(&mut self, sql: &str, params: &[Param<'_>]) -> Result<Vec<Row>, StoreError> {
        self.statements += 1;
        self.last.clear();
        self.tx.query(sql, params)
    }
}

fn counted<T>(
    tx: &mut dyn Tx,
    work: impl FnOnce(&mut dyn Tx) -> Result<T, StoreError>,
) -> Result<(usize, T), StoreError> {
    let mut counting = Counting { tx, statements: 0, last: String::new() };
    let done = work(&mut counting)?;
    Ok((counting.statements, done))
}

on_both! {
async fn statements_do_not_grow_with_vms(db) {
    db.store.write(|tx| {
        let mut ids = Vec::new();
        for n in 0..101 {
            let mut row = vm("default", &format!("vm-{n}"));
            // The first one in a set of its own, the others in ten.
            row.scale_set = Some(if n == 0 { "first".into() } else { format!("set-{}", n % 10) });
            vms::insert(tx, &row)?;
            ids.push(row.id);
        }
        let (first, rest) = ids.split_at(1);
        let all_of = |ids: &[String], findings: &[Finding], ms: i64, tx: &mut dyn Tx| {
            let all: Vec<AlertRaise<'_>> = ids
                .iter()
                .map(|id| AlertRaise { findings, reopen_window_s: WINDOW_S, ..raise(id, at(ms)) })
                .collect();
            let (statements, raised) = counted(tx, |tx| alerts::raise_all(tx, &all))?;
            Ok::<_, StoreError>((statements, raised[0].became))
        };
        let ended = |ids: &[String], tx: &mut dyn Tx| {
            let of = |vm_id| Ended { vm_id, reasons: &[AlertReason::BaselineDeviation], comment: "", at: at(50) };
            let all: Vec<Ended<'_>> = ids.iter().map(|id| of(id.as_str())).collect();
            let (statements, ids) = counted(tx, |tx| alerts::resolve_all(tx, &all))?;
            Ok::<_, StoreError>((statements, ids.concat().len()))
        };
        let (new, other) = (kernel("a"), kernel("b"));
        let (one, became) = all_of(first, &new, 0, tx)?;
        assert_eq!(became, Became::Opened);
        assert!(one <= 16, "{one} statements for a new alert with its incident");
        let (many, became) = all_of(rest, &new, 0, tx)?;
        assert_eq!(became, Became::Opened);
        assert!(many <= one + 2, "{many} statements for 100 alerts, {one} for one");
        // Counted: latest, places, rules, one that writes. What is new about them is read, told, and that is all.
        assert_eq!(all_of(first, &new, 1, tx)?, (4, Became::Counted));
        assert_eq!(all_of(rest, &new, 1, tx)?, (4, Became::Counted));
        let (one, _) = all_of(first, &other, 2, tx)?;
        let (many, _) = all_of(rest, &other, 2, tx)?;
        assert!(many <= one + 2, "{many} statements for news of 100 alerts, {one} for those of one");
        let (one, _) = ended(first, tx)?;
        let (many, resolved) = ended(rest, tx)?;
        assert!(resolved == 100 && many <= one + 2, "{many} statements to resolve 100 alerts, {one} for one");
        assert_eq!(ended(rest, tx)?, (1, 0), "a look when nothing is open");
        assert_eq!(ended(first, tx)?, (1, 0));
        let (one, became) = all_of(first, &new, 60, tx)?;
        assert_eq!(became, Became::Reopened);
        let (many, became) = all_of(rest, &new, 60, tx)?;
        assert!(became == Became::Reopened && many <= one + 2, "{many} statements, {one} for one");
        Ok(())
    }).await.unwrap();
}
}

on_both! {
async fn an_incident_that_grows_at_once_is_told_whenever_it_has_doubled(db) {
    let told = db.store.write(|tx| {
        let mut told = Vec::new();
        let mut number = 0;
        for joining in [3, 1, 3, 1, 9] {
            let mut ids = Vec::new();
            for _ in 0..joining {
                number += 1;
                let mut row = vm("default", &format!("vm-{number}"));
                row.scale_set = Some("web".into());
                vms::insert(tx, &row)?;
                ids.push(row.id);
            }
            let findings = kernel("a");
            let all: Vec<_> = ids.iter().map(|id| AlertRaise { findings: &findings, ..raise(id, at(number)) }).collect();
            let since = events::bounds(tx)?.newest;
            alerts::raise_all(tx, &all)?;
            let events = events::after(tx, since, 100)?;
            let of_incidents = events.iter().filter(|event| event.vm_id.is_none());
            told.push(of_incidents.map(|event| (event.kind.clone(), event.data["members"].clone())).collect::<Vec<_>>());
        }
        let twice = [raise("x", at(0)), raise("x", at(0))];
        assert!(alerts::raise_all(tx, &twice).is_err(), "one VM and reason twice");
        Ok(told)
    }).await.unwrap();
    let grown = |members: u64| vec![("incident.grown".to_owned(), members.into())];
    let opened = vec![("incident.opened".to_owned(), 3.into())];
    assert_eq!(told, [opened, grown(4), vec![], grown(8), grown(17)]);
}
}
