use veriboot_store::assessments::{self, NewPoint, Phase, Turned};
use veriboot_store::{StoreError, Tx, logs, vms};
use veriboot_wire::{Assessment, AssessmentQuery, AssessmentSort, AssessmentStatus, ResourceKind, Severity};

use crate::harness::{at, on_both, vm};

/// Which rows a filter keeps.
type Keep = Box<dyn Fn(&Assessment) -> bool>;

const CHECKS: [&str; 3] = ["attestation-healthy", "dbx-current", "vtpm-enabled"];

fn one(
    resource: &str,
    group: &str,
    set: Option<&str>,
    check: &str,
    status: AssessmentStatus,
    ms: i64,
) -> Assessment {
    Assessment {
        resource_id: resource.into(),
        resource_kind: ResourceKind::Vm,
        name: format!("name of {resource}"),
        group: group.into(),
        scale_set: set.map(Into::into),
        check: check.into(),
        severity: if check == "attestation-healthy" { Severity::Medium } else { Severity::Low },
        status,
        cause: (status != AssessmentStatus::Healthy).then(|| format!("cause of {check}")),
        description: "what was found".into(),
        first_evaluated_at: at(ms),
        last_status_change_at: at(ms),
    }
}

/// `count` resources `r000…`, every third one unhealthy by `dbx-current`, every second one in a scale set.
fn fill(tx: &mut dyn Tx, group: &str, count: usize) -> Result<(), StoreError> {
    let mut rows = Vec::new();
    for n in 0..count {
        let id = format!("{group}-{n:03}");
        let set = (n % 2 == 0).then_some("web");
        for check in CHECKS {
            let status = match (check, n % 3) {
                ("dbx-current", 0) => AssessmentStatus::Unhealthy,
                ("vtpm-enabled", 1) => AssessmentStatus::NotApplicable,
                _ => AssessmentStatus::Healthy,
            };
            rows.push(one(&id, group, set, check, status, i64::try_from(n).unwrap()));
        }
    }
    assessments::put(tx, &rows.iter().collect::<Vec<_>>())
}

on_both! {
async fn what_turns_is_written_where_it_is_still_what_it_was(db) {
    db.store.write(|tx| {
        fill(tx, "a", 77)?;
        let ids: Vec<String> = (0..77).map(|n| format!("a-{n:03}")).collect();
        let before = assessments::of_resources(tx, &ids.iter().map(String::as_str).collect::<Vec<_>>())?;
        let after: Vec<Assessment> = before
            .iter()
            .map(|a| Assessment {
                status: AssessmentStatus::Unhealthy,
                severity: Severity::High,
                cause: (a.check != "vtpm-enabled").then(|| "turned".into()),
                description: "it turned".into(),
                last_status_change_at: at(9_999),
                // Neither is written.
                name: "another name".into(),
                first_evaluated_at: at(9_999),
                ..a.clone()
            })
            .collect();
        let turned: Vec<Turned<'_>> = before
            .iter()
            .zip(&after)
            .map(|(before, is)| Turned { is, was: before.status, since: before.last_status_change_at })
            .collect();
        assert_eq!(assessments::turn(tx, &turned[1..])?, 77 * 3 - 1);
        // All but the first one are others by now: by their time, or by their status.
        assert_eq!(assessments::turn(tx, &turned)?, 1);
        let wrong = Turned { is: &after[0], was: AssessmentStatus::Healthy, since: at(9_999) };
        assert_eq!(assessments::turn(tx, &[wrong])?, 0);
        assert_eq!(assessments::turn(tx, &[])?, 0);
        let found = assessments::of_resources(tx, &ids.iter().map(String::as_str).collect::<Vec<_>>())?;
        for ((before, after), found) in before.iter().zip(&after).zip(&found) {
            let wanted = Assessment {
                name: before.name.clone(),
                first_evaluated_at: before.first_evaluated_at,
                ..after.clone()
            };
            assert_eq!(*found, wanted);
        }
        // The indexes know it too.
        let query = AssessmentQuery { status: Some(AssessmentStatus::Unhealthy), limit: Some(1000), ..Default::default() };
        assert_eq!(assessments::list(tx, &query, None)?.items.len(), 77 * 3);
        let of_group = assessments::counts(tx, Some("a"), None)?;
        let counts: Vec<_> = of_group.iter().map(|c| (c.check.as_str(), c.status, c.count)).collect();
        assert_eq!(counts, CHECKS.map(|check| (check, AssessmentStatus::Unhealthy, 77)));
        assert_eq!(assessments::counts(tx, Some("nobody"), None)?, []);
        Ok(())
    }).await.unwrap();
}
}

on_both! {
async fn what_was_written_is_read_and_the_first_time_stays(db) {
    db.store.write(|tx| {
        // More than one chunk of every size.
        fill(tx, "a", 77)?;
        let all = assessments::of_resource(tx, "a-000")?;
        assert_eq!(all.iter().map(|a| a.check.as_str()).collect::<Vec<_>>(), CHECKS);
        let mut changed = all[1].clone();
        changed.status = AssessmentStatus::Healthy;
        changed.cause = None;
        changed.first_evaluated_at = at(9_999);
        changed.last_status_change_at = at(9_999);
        assessments::put(tx, &[&changed])?;
        let again = assessments::of_resource(tx, "a-000")?;
        assert_eq!((again[1].status, again[1].cause.clone()), (AssessmentStatus::Healthy, None));
        assert_eq!((again[1].first_evaluated_at, again[1].last_status_change_at), (at(0), at(9_999)));
        assert_eq!(again[0], all[0]);
        let ids: Vec<String> = (0..77).map(|n| format!("a-{n:03}")).chain(["nobody".into()]).collect();
        let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
        let found = assessments::of_resources(tx, &ids)?;
        assert_eq!(found.len(), 77 * 3);
        assert!(found.windows(2).all(|p| (&p[0].resource_id, &p[0].check) < (&p[1].resource_id, &p[1].check)));
        assert_eq!(assessments::remove(tx, "a-000")?, 3);
        assert_eq!(assessments::of_resource(tx, "a-000")?, []);
        assert_eq!(assessments::remove_unknown_checks(tx, &CHECKS[..2])?, 76);
        Ok(())
    }).await.unwrap();
}
}

on_both! {
async fn a_set_is_noted_as_it_was_counted(db) {
    let due = |store: &veriboot_store::Store| {
        let store = store.clone();
        async move { store.read(|tx| assessments::due_sets(tx, ("", ""), 10)).await.unwrap() }
    };
    let mark = |store: &veriboot_store::Store| {
        let store = store.clone();
        async move {
            let mark = |tx: &mut dyn veriboot_store::Tx| assessments::mark_sets(tx, &[("g", "web"), ("g", "db")].into());
            store.write(mark).await.unwrap();
        }
    };
    assert_eq!(due(&db.store).await, []);
    mark(&db.store).await;
    let first = due(&db.store).await;
    assert_eq!(first.iter().map(|set| (set.scale_set.as_str(), set.changes)).collect::<Vec<_>>(), [("db", 1), ("web", 1)]);
    // A member changes while it is counted; of two that counted the same, one writes.
    mark(&db.replica()).await;
    let noted = |set: &assessments::DueSet| {
        let (store, set) = (db.store.clone(), set.clone());
        async move { store.write(move |tx| assessments::evaluated(tx, &set)).await.unwrap() }
    };
    assert!(!noted(&first[1]).await);
    let second = due(&db.store).await;
    assert!(noted(&second[1]).await && !noted(&second[1]).await);
    assert_eq!(due(&db.store).await, second[..1]);
    // What was counted before is not written over it later, whatever happens in between.
    mark(&db.store).await;
    assert!(!noted(&second[1]).await && !noted(&first[1]).await);
    let behind = db.store.read(|tx| assessments::due_sets(tx, ("g", "db"), 10)).await.unwrap();
    assert_eq!(behind.iter().map(|set| set.scale_set.as_str()).collect::<Vec<_>>(), ["web"]);
}
}

on_both! {
async fn filters_and_pages_agree_with_the_whole_list(db) {
    db.store.write(|tx| { fill(tx, "a", 40)?; fill(tx, "b", 20) }).await.unwrap();
    let pages = |query: AssessmentQuery| {
        let store = db.store.clone();
        async move {
            let (mut all, mut cursor) = (Vec::new(), None);
            loop {
                let part = AssessmentQuery { limit: Some(7), cursor: cursor.take(), ..query.clone() };
                let page = store.read(move |tx| assessments::list(tx, &part, None)).await.unwrap();
                all.extend(page.items);
                match page.next_cursor {
                    Some(next) => cursor = Some(next),
                    None => return all,
                }
            }
        }
    };
    let all = pages(AssessmentQuery::default()).await;
    assert_eq!(all.len(), 60 * 3);
    let key = |a: &Assessment| (a.group.clone(), a.name.clone(), a.resource_id.clone(), a.check.clone());
    assert!(all.windows(2).all(|pair| key(&pair[0]) < key(&pair[1])));
    let changed = pages(AssessmentQuery { sort: Some(AssessmentSort::Changed), ..Default::default() }).await;
    assert!(changed.windows(2).all(|pair| pair[0].last_status_change_at >= pair[1].last_status_change_at));
    assert_eq!(changed.len(), all.len());
    let filters: Vec<(AssessmentQuery, Keep)> = vec![
        (AssessmentQuery { status: Some(AssessmentStatus::Unhealthy), ..Default::default() },
            Box::new(|a| a.status == AssessmentStatus::Unhealthy)),
        (AssessmentQuery { status: Some(AssessmentStatus::Unhealthy), check: Some("dbx-current".into()), group: Some("a".into()), ..Default::default() },
            Box::new(|a| a.status == AssessmentStatus::Unhealthy && a.group == "a")),
        (AssessmentQuery { scale_set: Some("web".into()), group: Some("b".into()), ..Default::default() },
            Box::new(|a| a.scale_set.is_some() && a.group == "b")),
        (AssessmentQuery { severity: Some(Severity::Medium), ..Default::default() },
            Box::new(|a| a.severity == Severity::Medium)),
        (AssessmentQuery { changed_since: Some(at(30)), ..Default::default() },
            Box::new(|a| a.last_status_change_at >= at(30))),
    ];
    for (query, keep) in filters {
        let wanted: Vec<_> = all.iter().filter(|a| keep(a)).cloned().collect();
        assert!(!wanted.is_empty());
        assert_eq!(pages(query.clone()).await, wanted, "{query:?}");
    }
    let foreign = AssessmentQuery { cursor: Some("00ff".into()), ..Default::default() };
    let refused = db.store.read(move |tx| assessments::list(tx, &foreign, None)).await;
    assert_eq!(refused.unwrap_err(), StoreError::BadCursor);
}
}

on_both! {
async fn counts_are_those_of_the_rows(db) {
    db.store.write(|tx| {
        fill(tx, "a", 12)?;
        fill(tx, "b", 3)?;
        let count = |counts: &[assessments::CheckStatus], check: &str, status| {
            counts.iter().filter(|c| c.check == check && c.status == status).map(|c| c.count).sum::<u64>()
        };
        let all = assessments::counts(tx, None, None)?;
        assert_eq!(count(&all, "dbx-current", AssessmentStatus::Unhealthy), 5);
        assert_eq!(count(&all, "vtpm-enabled", AssessmentStatus::NotApplicable), 5);
        assert_eq!(count(&all, "attestation-healthy", AssessmentStatus::Healthy), 15);
        let a = assessments::counts(tx, Some("a"), None)?;
        assert_eq!(count(&a, "dbx-current", AssessmentStatus::Unhealthy), 4);
        let by_group = assessments::counts_by_group(tx)?;
        assert_eq!(count(&by_group, "dbx-current", AssessmentStatus::Unhealthy), 5);
        assert_eq!(by_group.iter().filter(|c| c.group == "b").map(|c| c.count).sum::<u64>(), 9);
        let causes = assessments::causes(tx, "dbx-current", None, None)?;
        assert_eq!(causes.iter().map(|c| (c.cause.as_str(), c.count)).collect::<Vec<_>>(), [("cause of dbx-current", 5)]);
        let sets = assessments::sets_page(tx, None, Some(1), None)?;
        assert_eq!(sets.items, [("a".to_owned(), "web".to_owned())]);
        let next = assessments::sets_page(tx, None, Some(1), sets.next_cursor.as_deref())?;
        assert_eq!((next.items, next.next_cursor), (vec![("b".to_owned(), "web".to_owned())], None));
        let of_set = assessments::counts_of_set(tx, "a", "web")?;
        assert_eq!(of_set.iter().map(|c| c.count.count).sum::<u64>(), 18);
        Ok(())
    }).await.unwrap();
}
}

on_both! {
async fn what_a_vm_rests_on_is_read_without_its_keys(db) {
    db.store.write(|tx| {
        let mut row = vm("default", "web-0");
        row.log_sha256 = Some("log".into());
        vms::insert(tx, &row)?;
        logs::put_if_absent(tx, "log", b"log", at(0))?;
        assert_eq!(assessments::inputs_of(tx, &row.id)?.unwrap().log_facts, None);
        assessments::put_log_facts(tx, &row.id, "log", "{\"version\":1}")?;
        assessments::set_keys(tx, &[(&row.id, "key".to_owned())])?;
        let inputs = assessments::inputs_of(tx, &row.id)?.unwrap();
        assert_eq!((inputs.log_facts.as_deref(), inputs.posture_key.as_deref()), (Some("{\"version\":1}"), Some("key")));
        assert_eq!(assessments::inputs_of_all(tx, &[row.id.clone(), "nobody".into()])?, std::slice::from_ref(&inputs));
        assert_eq!(assessments::inputs_after(tx, "", 10)?, std::slice::from_ref(&inputs));
        assert_eq!(assessments::inputs_after(tx, &row.id, 10)?, []);
        // Keys of many at once, as many statements as it takes.
        let others: Vec<_> = (1..=123).map(|n| vm("default", &format!("web-{n}"))).collect();
        for other in &others {
            vms::insert(tx, other)?;
        }
        let keys: Vec<(&str, String)> = others.iter().map(|vm| (vm.id.as_str(), format!("key of {}", vm.name))).collect();
        assessments::set_keys(tx, &keys)?;
        for (id, key) in keys {
            assert_eq!(assessments::inputs_of(tx, id)?.unwrap().posture_key, Some(key));
            assert!(vms::delete(tx, id, at(1))?);
        }
        assert_eq!(assessments::inputs_of(tx, &row.id)?.unwrap(), inputs, "only these");
        // Facts of another log say nothing about this one.
        assessments::put_log_facts(tx, &row.id, "another", "{}")?;
        assert_eq!(assessments::inputs_of(tx, &row.id)?.unwrap().log_facts, None);
        assessments::put(tx, &[&one(&row.id, "default", None, "dbx-current", AssessmentStatus::Healthy, 0)])?;
        assert!(vms::delete(tx, &row.id, at(1))?);
        assert_eq!(assessments::of_resource(tx, &row.id)?, []);
        Ok(())
    }).await.unwrap();
}
}

on_both! {
async fn one_replica_has_a_sweep_and_another_goes_on(db) {
    db.store.write(|tx| {
        assert!(assessments::enqueue(tx, "a release", at(0))?);
        assert!(!assessments::enqueue(tx, "the time", at(1))?, "one waits already");
        let mut sweep = assessments::claim(tx, "one", at(2), at(100))?.unwrap();
        assert_eq!((sweep.phase, sweep.because.as_str()), (Phase::Vms, "a release"));
        assert_eq!(assessments::claim(tx, "two", at(3), at(103))?, None);
        sweep.after_id = "vm-7".into();
        sweep.looked_at = 7;
        assert!(assessments::advance(tx, &sweep, "one", at(110))?);
        // One that has begun says nothing about what changed since.
        assert!(assessments::enqueue(tx, "later", at(50))?);
        let other = assessments::claim(tx, "two", at(60), at(160))?.unwrap();
        assert_eq!(other.because, "later");
        let taken = assessments::claim(tx, "three", at(120), at(220))?.unwrap();
        assert_eq!((taken.after_id.as_str(), taken.looked_at), ("vm-7", 7));
        assert!(!assessments::advance(tx, &sweep, "one", at(130))?, "it is somebody else's by now");
        let done = assessments::Sweep { finished_at: Some(at(130)), phase: Phase::Items, ..taken };
        assert!(assessments::advance(tx, &done, "three", at(130))?);
        assert_eq!(assessments::pending(tx)?, 1);
        assert_eq!(assessments::latest(tx)?.unwrap().because, "later");
        Ok(())
    }).await.unwrap();
}
}

on_both! {
async fn an_hour_has_one_point(db) {
    db.store.write(|tx| {
        let point = |weight| NewPoint { group: "a".into(), healthy_weight: weight, applicable_weight: 10, resources: 2 };
        assessments::put_points(tx, &[point(1)], at(0))?;
        assessments::put_points(tx, &[point(2)], at(1000))?;
        assessments::put_points(tx, &[point(3)], at(3_600_000))?;
        let points = assessments::points(tx, "a", at(-4_000_000))?;
        assert_eq!(points.iter().map(|p| p.healthy_weight).collect::<Vec<_>>(), [2, 3]);
        assert!(points[0].hour <= at(0) && points[0].hour.unix_ms() % 3_600_000 == 0);
        assert_eq!(assessments::points(tx, "b", at(-4_000_000))?, []);
        assert_eq!(assessments::purge_points(tx, points[1].hour)?, 1);
        Ok(())
    }).await.unwrap();
}
}
