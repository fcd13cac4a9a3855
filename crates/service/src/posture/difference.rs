//! Assessments that came out differently: written, and told.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use veriboot_posture::{CheckId, Outcome, check};
use veriboot_store::assessments::Turned;
use veriboot_store::events::{self, NewEvent};
use veriboot_store::{StoreError, Tx, assessments};
use veriboot_wire::{Assessment, AssessmentStatus, ResourceKind, Severity, Time};

/// A cause that every VM has between its enrolment and its first attestation; nobody is told of it.
const NOT_YET: &str = "never-attested";

/// Whose assessments they are.
#[derive(Clone, Copy, Debug)]
pub(super) struct Resource<'a> {
    pub id: &'a str,
    pub kind: ResourceKind,
    pub name: &'a str,
    pub group: &'a str,
    pub scale_set: Option<&'a str>,
}

/// An assessment that is to be written, with what it was before.
#[derive(Clone, Debug)]
pub(super) struct Change {
    pub is: Assessment,
    was: Option<Was>,
}

#[derive(Clone, Copy, Debug)]
struct Was {
    status: AssessmentStatus,
    since: Time,
    /// The resource is called what it was, and is where it was.
    same_place: bool,
}

/// What is different of one resource: `known` are its assessments so far, ordered by check.
pub(super) fn changes(
    resource: &Resource<'_>,
    known: &[Assessment],
    outcomes: Vec<(CheckId, Outcome)>,
    now: Time,
    into: &mut Vec<Change>,
) {
    for (id, outcome) in outcomes {
        let Some(document) = check(id.as_str()) else { continue };
        let before = known.iter().find(|a| a.check == document.id);
        let was = before.map(|a| Was {
            status: a.status,
            since: a.last_status_change_at,
            same_place: a.resource_kind == resource.kind
                && a.name == resource.name
                && a.group == resource.group
                && a.scale_set.as_deref() == resource.scale_set,
        });
        let same = before.is_some_and(|a| {
            a.status == outcome.status
                && a.cause.as_deref() == outcome.cause
                && a.description == outcome.description
                && a.severity == document.severity
        });
        if same && was.is_some_and(|was| was.same_place) {
            continue;
        }
        let since = before.filter(|a| a.status == outcome.status).map_or(now, |a| a.last_status_change_at);
        into.push(Change {
            is: Assessment {
                resource_id: resource.id.to_owned(),
                resource_kind: resource.kind,
                name: resource.name.to_owned(),
                group: resource.group.to_owned(),
                scale_set: resource.scale_set.map(str::to_owned),
                check: document.id.clone(),
                severity: document.severity,
                status: outcome.status,
                cause: outcome.cause.map(str::to_owned),
                description: outcome.description,
                first_evaluated_at: before.map_or(now, |a| a.first_evaluated_at),
                last_status_change_at: since,
            },
            was,
        });
    }
}

/// Writes them and tells of those whose status is another one. `false` when one of them is no longer what it was: the transaction
/// is to be undone then. With `tell_first`, also of checks that do not hold when they
/// are made for the first time: something happened to one resource. A sweep that assesses a whole fleet for the first time
/// tells nobody. Telling comes last in a transaction: whoever else has something to tell waits from then on.
pub(super) fn write(
    tx: &mut dyn Tx,
    changes: &[Change],
    tell_first: bool,
    now: Time,
) -> Result<bool, StoreError> {
    let worth_telling = |change: &Change| match change.was {
        Some(was) => was.status != change.is.status,
        None => {
            tell_first
                && change.is.status == AssessmentStatus::Unhealthy
                && change.is.cause.as_deref() != Some(NOT_YET)
        }
    };
    let (mut turned, mut rows) = (Vec::new(), Vec::new());
    for Change { is, was } in changes {
        match was {
            Some(was) if was.same_place => turned.push(Turned { is, was: was.status, since: was.since }),
            _ => rows.push(is),
        }
    }
    if assessments::turn(tx, &turned)? != turned.len() as u64 {
        return Ok(false);
    }
    // The sets that they leave lose members.
    let moved: BTreeSet<&str> = changes
        .iter()
        .filter(|change| change.was.is_some_and(|was| !was.same_place))
        .map(|change| change.is.resource_id.as_str())
        .collect();
    for resource in moved {
        assessments::mark_set_of(tx, resource)?;
    }
    assessments::put(tx, &rows)?;
    let told: Vec<(&Assessment, Value)> = changes
        .iter()
        .filter(|change| worth_telling(change))
        .map(|change| (&change.is, data(&change.is, change.was.map(|was| was.status))))
        .collect();
    let sets: BTreeSet<(&str, &str)> = changes
        .iter()
        .filter_map(|Change { is, .. }| Some((is.group.as_str(), is.scale_set.as_deref()?)))
        .collect();
    assessments::mark_sets(tx, &sets)?;
    let events: Vec<NewEvent<'_>> = told.iter().map(|(is, data)| event(is, data, now)).collect();
    if !events.is_empty() {
        events::append_all(tx, &events)?;
    }
    Ok(true)
}

fn data(is: &Assessment, was: Option<AssessmentStatus>) -> Value {
    let title = check(&is.check).map(|check| check.title.as_str()).unwrap_or_default();
    json!({
        "message": format!("{} on {}: {}. {}", is.check, is.name, is.status, is.description),
        "check": is.check,
        "title": title,
        "status": is.status,
        "before": was,
        "cause": is.cause,
        "description": is.description,
        "resource_id": is.resource_id,
        "resource_kind": is.resource_kind,
    })
}

fn event<'a>(is: &'a Assessment, data: &'a Value, now: Time) -> NewEvent<'a> {
    NewEvent {
        at: now,
        kind: "assessment.changed",
        severity: if is.status == AssessmentStatus::Unhealthy { is.severity } else { Severity::Info },
        group: Some(&is.group),
        scale_set: is.scale_set.as_deref(),
        vm_id: (is.resource_kind == ResourceKind::Vm).then_some(is.resource_id.as_str()),
        vm_name: Some(&is.name),
        subject: Some(&is.check),
        data,
    }
}
