//! Assessments of whole scale sets: a set is unhealthy by a check while one of its members is.
//!
//! Members change in transactions of their own, which mark their set. A few seconds later the set is counted once, however
//! many of its members changed, so that a bad roll-out of 500 VMs is one change of their set.

use serde_json::{Value, json};
use veriboot_posture::check;
use veriboot_store::assessments::{self, DueSet, SetAssessment, SetOutcome};
use veriboot_store::events::{self, NewEvent};
use veriboot_store::{StoreError, Tx};
use veriboot_wire::{AssessmentStatus, Severity, Time, counted};

use crate::AppState;

/// Sets that are looked at together.
const TOGETHER: u32 = 20;

/// A set as it was counted.
struct Counted {
    set: DueSet,
    /// What is to be written, with the status before.
    changes: Vec<(SetAssessment, Option<AssessmentStatus>)>,
    /// Checks that no member has any more.
    gone: Vec<SetAssessment>,
    outcomes: Vec<SetOutcome>,
}

/// Looks once at every set with changed members. One whose members change meanwhile is for the next time.
///
/// # Errors
/// [`StoreError`]; what was noted before it stays.
pub(super) async fn evaluate(state: &AppState) -> Result<(), StoreError> {
    let mut after = (String::new(), String::new());
    loop {
        let now = state.clock.now();
        let behind = after.clone();
        let looked = state.store.read(move |tx| count(tx, (&behind.0, &behind.1), now)).await?;
        let Some(last) = looked.last() else { return Ok(()) };
        after = (last.set.group.clone(), last.set.scale_set.clone());
        let looked = std::sync::Arc::new(looked);
        state.store.write(move |tx| write(tx, &looked, now)).await?;
    }
}

fn count(tx: &mut dyn Tx, after: (&str, &str), now: Time) -> Result<Vec<Counted>, StoreError> {
    let mut all = Vec::new();
    for set in assessments::due_sets(tx, after, TOGETHER)? {
        let outcomes = assessments::set_outcomes(tx, &set.group, &set.scale_set)?;
        let place = (set.group.as_str(), set.scale_set.as_str());
        let known = assessments::set_assessments(tx, place, place)?;
        let mut checks: Vec<&str> = outcomes.iter().map(|outcome| outcome.check.as_str()).collect();
        checks.dedup();
        let mut changes = Vec::new();
        for name in &checks {
            let before = known.iter().find(|known| known.check == *name);
            let is = assessed(&set, name, &outcomes, before, now);
            if before != Some(&is) {
                changes.push((is, before.map(|before| before.status)));
            }
        }
        let gone = known.into_iter().filter(|known| !checks.contains(&known.check.as_str())).collect();
        all.push(Counted { set, changes, gone, outcomes });
    }
    Ok(all)
}

fn assessed(
    set: &DueSet,
    check: &str,
    outcomes: &[SetOutcome],
    before: Option<&SetAssessment>,
    now: Time,
) -> SetAssessment {
    let of = |status| outcomes.iter().filter(move |o| o.check == check && o.status == status);
    let status = match (of(AssessmentStatus::Unhealthy).next(), of(AssessmentStatus::Healthy).next()) {
        (Some(_), _) => AssessmentStatus::Unhealthy,
        (None, Some(_)) => AssessmentStatus::Healthy,
        (None, None) => AssessmentStatus::NotApplicable,
    };
    // Of causes that are as frequent, the first by name: the same of the same members.
    let cause = of(status).min_by_key(|o| std::cmp::Reverse(o.count)).and_then(|o| o.cause.clone());
    SetAssessment {
        group: set.group.clone(),
        scale_set: set.scale_set.clone(),
        check: check.to_owned(),
        status,
        cause,
        first_evaluated_at: before.map_or(now, |before| before.first_evaluated_at),
        last_status_change_at: before
            .filter(|before| before.status == status)
            .map_or(now, |before| before.last_status_change_at),
    }
}

/// Writes those sets of which no member changed since they were counted. Telling comes last.
fn write(tx: &mut dyn Tx, all: &[Counted], now: Time) -> Result<(), StoreError> {
    let mut told: Vec<(&SetAssessment, Value)> = Vec::new();
    for one in all {
        if !assessments::evaluated(tx, &one.set)? {
            continue;
        }
        let rows: Vec<&SetAssessment> = one.changes.iter().map(|(is, _)| is).collect();
        assessments::put_set_assessments(tx, &rows)?;
        for gone in &one.gone {
            assessments::remove_set_assessment(tx, gone)?;
        }
        let turned = one.changes.iter().filter(|(is, was)| was.is_some_and(|was| was != is.status));
        told.extend(turned.map(|(is, was)| (is, data(is, *was, &one.outcomes))));
    }
    let events: Vec<NewEvent<'_>> = told.iter().map(|(is, data)| event(is, data, now)).collect();
    if !events.is_empty() {
        events::append_all(tx, &events)?;
    }
    Ok(())
}

fn data(is: &SetAssessment, was: Option<AssessmentStatus>, outcomes: &[SetOutcome]) -> Value {
    let members = |status| -> u64 {
        outcomes.iter().filter(|o| o.check == is.check && o.status == status).map(|o| o.count).sum()
    };
    let (unhealthy, healthy) = (members(AssessmentStatus::Unhealthy), members(AssessmentStatus::Healthy));
    let what = match is.status {
        AssessmentStatus::Unhealthy => {
            format!("unhealthy on {unhealthy} of {}", counted(unhealthy + healthy, "member"))
        }
        AssessmentStatus::Healthy => format!("healthy on {}, unhealthy on none", counted(healthy, "member")),
        AssessmentStatus::NotApplicable => "applies to no member any more".to_owned(),
    };
    let message = format!("{} of scale set {}: {what}", is.check, is.scale_set);
    json!({
        "message": message,
        "check": is.check,
        "title": check(&is.check).map(|check| check.title.as_str()).unwrap_or_default(),
        "status": is.status,
        "before": was,
        "cause": is.cause,
        "unhealthy": unhealthy,
        "healthy": healthy,
    })
}

fn event<'a>(is: &'a SetAssessment, data: &'a Value, now: Time) -> NewEvent<'a> {
    let severity = check(&is.check).map_or(Severity::Low, |check| check.severity);
    NewEvent {
        at: now,
        kind: "scale-set.changed",
        severity: if is.status == AssessmentStatus::Unhealthy { severity } else { Severity::Info },
        group: Some(&is.group),
        scale_set: Some(&is.scale_set),
        vm_id: None,
        vm_name: None,
        subject: Some(&is.check),
        data,
    }
}
