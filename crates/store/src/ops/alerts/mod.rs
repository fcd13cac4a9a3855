//! Alerts: at most one is open per VM and reason, guaranteed by a partial unique index.

use std::collections::{BTreeMap, BTreeSet};

use veriboot_wire::{
    Alert, AlertEntity, AlertEvent, AlertLinks, AlertReason, AlertState, ChangeClass, Finding, MachineInfo,
    Severity, steps, techniques,
};

use crate::StoreError;
use crate::rows::query_in;
use crate::tx::{Row, Tx, params, query_one};

mod change;
mod end;
mod list;
mod news;
mod raise;
mod resurface;
mod tell;
mod write;

pub use change::{Changed, change_state};
pub use end::{Ended, auto_resolve, forget_all, forget_dismissals, resolve_all};
pub use list::{OpenAlert, list, open_count, open_counts_by_reason, open_ids};
pub use raise::{AlertRaise, Became, Raised, raise, raise_all};
pub use resurface::{Resurfaced, resurface};

/// The oldest steps of a longer timeline are dropped.
const MAX_TIMELINE: usize = 200;
/// Who changes an alert when nobody does.
const SERVICE: &str = "service";

const SELECT: &str = "SELECT a.id, a.kind, a.title, a.reason, a.severity, a.state, a.vm_id, v.name, v.group_name, \
     v.scale_set, a.component, a.message, a.remediation, a.findings, a.attestation_id, a.raised, a.first_at, \
     a.last_at, a.closed_at, a.timeline, a.classes, a.boot_id, a.good_boot_id, a.incident_id, a.suppressed_by, \
     a.reopened, a.revision, v.machine FROM alerts a JOIN vms v ON v.id = a.vm_id";

fn read(row: Row) -> Result<Alert, StoreError> {
    let mut c = row.columns();
    let mut alert = Alert {
        id: c.text()?,
        kind: c.text()?,
        title: c.text()?,
        reason: c.word()?,
        severity: c.word()?,
        state: c.word()?,
        vm_id: c.text()?,
        vm_name: c.text()?,
        group: c.text()?,
        scale_set: c.opt_text()?,
        component: c.opt_text()?,
        message: c.text()?,
        remediation: c.text()?,
        steps: Vec::new(),
        techniques: Vec::new(),
        classes: Vec::new(),
        entity: AlertEntity::default(),
        links: AlertLinks::default(),
        incident_id: None,
        suppressed_by: None,
        reopened: 0,
        revision: 0,
        findings: c.json()?,
        attestation_id: c.opt_text()?,
        count: c.u64()?,
        first_at: c.time()?,
        last_at: c.time()?,
        closed_at: c.opt_time()?,
        timeline: c.json()?,
    };
    alert.classes = read_classes(&c.text()?)?;
    let (boot, good_boot) = (c.opt_text()?, c.opt_text()?);
    alert.incident_id = c.opt_text()?;
    alert.suppressed_by = c.opt_text()?;
    alert.reopened = c.u64()?;
    alert.revision = c.u64()?;
    let machine: MachineInfo = c.json()?;
    explain(&mut alert, boot.as_deref(), good_boot.as_deref(), machine);
    Ok(alert)
}

/// What follows from the rest: words of the tables, and where to look further.
fn explain(alert: &mut Alert, boot: Option<&str>, good_boot: Option<&str>, machine: MachineInfo) {
    let good_boot = good_boot.filter(|good| boot.is_some_and(|boot| boot != *good));
    let since = alert.first_at.to_string();
    let values = [
        ("vm", Some(alert.vm_name.as_str())),
        ("vm_id", Some(alert.vm_id.as_str())),
        ("group", Some(alert.group.as_str())),
        ("alert", Some(alert.id.as_str())),
        ("attestation", alert.attestation_id.as_deref()),
        ("boot", boot),
        ("good_boot", good_boot),
        ("since", Some(since.as_str())),
    ];
    alert.steps = steps(alert.reason, &alert.classes, &values);
    alert.techniques = techniques(alert.reason, &alert.classes);
    alert.entity = AlertEntity {
        kind: "vm".to_owned(),
        id: alert.vm_id.clone(),
        name: alert.vm_name.clone(),
        group: alert.group.clone(),
        scale_set: alert.scale_set.clone(),
        platform: Some(machine.platform).filter(|text| !text.is_empty()),
        os: Some(machine.os).filter(|text| !text.is_empty()),
    };
    let attestation = alert.attestation_id.as_ref().map(|id| format!("/v1/attestations/{id}"));
    alert.links = AlertLinks {
        alert: format!("/v1/alerts/{}", alert.id),
        vm: format!("/v1/vms/{}", alert.vm_id),
        evidence: attestation.as_ref().map(|path| format!("{path}/evidence")),
        attestation,
        boot: boot.map(|id| format!("/v1/boots/{id}")),
        diff: boot.zip(good_boot).map(|(boot, good)| format!("/v1/boots/{good}/diff/{boot}")),
        incident: alert.incident_id.as_ref().map(|id| format!("/v1/incidents/{id}")),
    };
}

fn is_open(state: AlertState) -> bool {
    matches!(state, AlertState::Active | AlertState::InProgress)
}

/// Where a severity stands among all, 0 for the lowest.
pub(crate) fn rank(severity: Severity) -> i64 {
    let place = Severity::ALL.iter().position(|s| *s == severity);
    place.and_then(|place| i64::try_from(place).ok()).unwrap_or(0)
}

/// `,kernel-update,cmdline-change,`; empty for none.
pub(crate) fn write_classes(classes: &[ChangeClass]) -> String {
    if classes.is_empty() {
        return String::new();
    }
    classes.iter().fold(String::from(","), |text, class| text + class.as_str() + ",")
}

pub(crate) fn read_classes(text: &str) -> Result<Vec<ChangeClass>, StoreError> {
    text.split(',').filter(|w| !w.is_empty()).map(|w| w.parse().map_err(StoreError::corrupt)).collect()
}

/// Classes of the changes that fail, each once, in the order of the class table.
pub(crate) fn classes_of(findings: &[Finding]) -> Vec<ChangeClass> {
    let found: BTreeSet<ChangeClass> =
        findings.iter().filter(|f| f.fails()).filter_map(|f| f.change).collect();
    found.into_iter().collect()
}

/// What several machines have in common that fail alike: codes, components and classes, not the digests of one.
pub(crate) type Cause<'a> = BTreeSet<(&'a str, Option<&'a str>, Option<ChangeClass>)>;

pub(crate) fn cause(findings: &[Finding]) -> Cause<'_> {
    findings.iter().map(|f| (f.code.as_str(), f.component.as_deref(), f.change)).collect()
}

/// The alert with this id.
pub fn by_id(tx: &mut dyn Tx, id: &str) -> Result<Option<Alert>, StoreError> {
    query_one(tx, &format!("{SELECT} WHERE a.id = $1"), params![id])?.map(read).transpose()
}

/// The open alert of this VM and reason.
pub fn open_for(tx: &mut dyn Tx, vm_id: &str, reason: AlertReason) -> Result<Option<Alert>, StoreError> {
    let sql = format!("{SELECT} WHERE a.vm_id = $1 AND a.reason = $2 AND a.is_open = 1");
    query_one(tx, &sql, params![vm_id, reason.as_str()])?.map(read).transpose()
}

/// The open alert of this VM and reason, else the newest.
pub fn latest_for(tx: &mut dyn Tx, vm_id: &str, reason: AlertReason) -> Result<Option<Alert>, StoreError> {
    Ok(latest_of(tx, &[(vm_id, reason)])?.remove(&(vm_id.to_owned(), reason)))
}

/// The open alert of each VM and reason, else the newest: one look per reason, whatever the number of VMs.
fn latest_of(
    tx: &mut dyn Tx,
    pairs: &[(&str, AlertReason)],
) -> Result<BTreeMap<(String, AlertReason), Alert>, StoreError> {
    let mut vms: BTreeMap<AlertReason, Vec<&str>> = BTreeMap::new();
    for (vm_id, reason) in pairs {
        vms.entry(*reason).or_default().push(vm_id);
    }
    let mut latest = BTreeMap::new();
    for (reason, vms) in vms {
        let head = format!(
            "{SELECT} WHERE a.id IN (SELECT (SELECT b.id FROM alerts b WHERE b.vm_id = w.id AND b.reason = '{reason}' \
             ORDER BY b.is_open DESC, b.first_at DESC, b.id DESC LIMIT 1) FROM vms w WHERE w.id"
        );
        for row in query_in(tx, &head, ")", &[], &vms)? {
            let alert = read(row)?;
            latest.insert((alert.vm_id.clone(), reason), alert);
        }
    }
    Ok(latest)
}

/// Whether somebody dismissed the alert and its cause was not seen to end since.
pub fn is_remembered(alert: &Alert) -> bool {
    alert.state == AlertState::Dismissed
        && alert.suppressed_by.is_none()
        && alert.timeline.last().is_some_and(|step| step.by != SERVICE)
}

/// Adds a step to a timeline, whose oldest ones go when there are too many.
fn add_step(timeline: &mut Vec<AlertEvent>, step: AlertEvent) {
    timeline.push(step);
    let surplus = timeline.len().saturating_sub(MAX_TIMELINE);
    timeline.drain(..surplus);
}
