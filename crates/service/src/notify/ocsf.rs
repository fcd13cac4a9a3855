//! Findings of OCSF 1.3: Detection Finding (2004) for alerts, Compliance Finding (2003) for assessments.

use std::path::Path;

use serde_json::{Map, Value, json};
use veriboot_store::targets::TargetRow;
use veriboot_wire::{Event, Severity, Time, kind_matches};

use super::http::{self, Post};
use super::tell::SendError;
use super::{export, webhook, words};

/// Version of the schema that the findings follow.
const VERSION: &str = "1.3.0";
const CATEGORY_FINDINGS: u32 = 2;
const COMPLIANCE_FINDING: u32 = 2003;
const DETECTION_FINDING: u32 = 2004;

/// Appends to a file, or sends by HTTP.
pub(super) fn send(
    target: &TargetRow,
    events: &[Event],
    public_url: &str,
    folder: &Path,
    now: Time,
) -> Result<(), SendError> {
    let findings: Vec<Value> = events.iter().map(|event| finding(event, public_url)).collect();
    if let Some(file) = &target.settings.file {
        let lines: String = findings.iter().map(|finding| format!("{finding}\n")).collect();
        return export::append(folder, file, lines.as_bytes())
            .map_err(|error| SendError::failed(format!("the file {file} cannot be written: {error}")));
    }
    let body = serde_json::to_vec(&findings).map_err(|error| SendError::refused(error.to_string()))?;
    let mut headers = vec![("content-type", "application/json".to_owned())];
    if let Some(value) = &target.secrets.authorization {
        headers.push(("authorization", value.clone()));
    }
    http::post(Post { target, path: "", headers, body, now }).map(drop)
}

fn severity_id(severity: Severity) -> (u32, &'static str) {
    match severity {
        Severity::Info => (1, "Informational"),
        Severity::Low => (2, "Low"),
        Severity::Medium => (3, "Medium"),
        Severity::High => (4, "High"),
        Severity::Critical => (5, "Critical"),
    }
}

/// An event as a finding.
pub(super) fn finding(event: &Event, public_url: &str) -> Value {
    let (severity_id, severity) = severity_id(event.severity);
    let assessment = kind_matches("assessment.*", &event.kind);
    let (class_uid, class_name) = match assessment {
        true => (COMPLIANCE_FINDING, "Compliance Finding"),
        false => (DETECTION_FINDING, "Detection Finding"),
    };
    let (activity_id, activity_name) = activity(event, assessment);
    let (status_id, status) = status(event, assessment);
    let time = event.at.unix_ms();
    let mut finding = json!({
        "activity_id": activity_id,
        "activity_name": activity_name,
        "category_uid": CATEGORY_FINDINGS,
        "category_name": "Findings",
        "class_uid": class_uid,
        "class_name": class_name,
        "type_uid": class_uid * 100 + activity_id,
        "type_name": format!("{class_name}: {activity_name}"),
        "time": time,
        "severity_id": severity_id,
        "severity": severity,
        "status_id": status_id,
        "status": status,
        "message": words::one_line(&event.summary()),
        "metadata": {
            "version": VERSION,
            "uid": webhook::event_id(event),
            "event_code": event.kind,
            "sequence": event.sequence,
            "original_time": event.at,
            "product": {
                "name": "Veriboot",
                "vendor_name": "Veriboot",
                "version": env!("CARGO_PKG_VERSION"),
            },
        },
        "finding_info": finding_info(event, public_url, assessment),
        "resources": [resource(event)],
        "unmapped": event.data,
    });
    let Some(members) = finding.as_object_mut() else { return finding };
    if let Some(text) = text(event, "remediation") {
        members.insert("remediation".to_owned(), json!({ "desc": text }));
    }
    if assessment {
        members.insert("compliance".to_owned(), compliance(event));
    } else {
        members.insert("is_alert".to_owned(), (activity_id != 3).into());
    }
    finding
}

fn text<'a>(event: &'a Event, name: &str) -> Option<&'a str> {
    event.data.get(name).and_then(Value::as_str).filter(|text| !text.is_empty())
}

fn activity(event: &Event, assessment: bool) -> (u32, &'static str) {
    let last = event.kind.rsplit('.').next().unwrap_or_default();
    match (assessment, last) {
        (false, "opened") => (1, "Create"),
        (false, "resolved" | "dismissed" | "suppressed") => (3, "Close"),
        (true, _) if text(event, "status") == Some("healthy") => (3, "Close"),
        (true, _) if text(event, "before").is_none() => (1, "Create"),
        _ => (2, "Update"),
    }
}

fn status(event: &Event, assessment: bool) -> (u32, &'static str) {
    if assessment {
        return match text(event, "status") {
            Some("healthy" | "not-applicable") => (4, "Resolved"),
            _ => (1, "New"),
        };
    }
    match (event.kind.rsplit('.').next(), text(event, "state")) {
        (Some("suppressed"), _) | (_, Some("dismissed")) => (3, "Suppressed"),
        (_, Some("resolved")) => (4, "Resolved"),
        (_, Some("in-progress")) => (2, "In Progress"),
        _ => (1, "New"),
    }
}

fn finding_info(event: &Event, public_url: &str, assessment: bool) -> Value {
    let check = text(event, "check");
    let uid = match (assessment, &event.subject, &event.vm_id) {
        // One finding is one check on one resource.
        (true, subject, vm) => {
            let resource = text(event, "resource_id").or(vm.as_deref()).or(subject.as_deref());
            format!("{}/{}", check.unwrap_or("check"), resource.unwrap_or("unknown"))
        }
        (false, Some(alert), _) => alert.clone(),
        (false, None, _) => webhook::event_id(event),
    };
    let title = text(event, "title").or(check).unwrap_or(&event.kind);
    let mut info = json!({
        "uid": uid,
        "title": words::one_line(title),
        "desc": words::one_line(&event.summary()),
        "modified_time": event.at.unix_ms(),
        "types": [text(event, "kind").unwrap_or(&event.kind)],
    });
    let Some(members) = info.as_object_mut() else { return info };
    let first = text(event, "first_at").or(text(event, "first_evaluated_at"));
    if let Some(first) = first.and_then(|at| Time::try_from(at.to_owned()).ok()) {
        members.insert("first_seen_time".to_owned(), first.unix_ms().into());
        members.insert("created_time".to_owned(), first.unix_ms().into());
    }
    if let Some(link) = words::link(event, public_url) {
        members.insert("src_url".to_owned(), link.into());
    }
    let techniques = event.data.get("techniques").and_then(Value::as_array);
    let attacks: Vec<Value> = techniques.into_iter().flatten().filter_map(attack).collect();
    if !attacks.is_empty() {
        members.insert("attacks".to_owned(), attacks.into());
    }
    info
}

/// A technique of MITRE ATT&CK; `T1542.003` is a sub-technique of `T1542`.
fn attack(technique: &Value) -> Option<Value> {
    let id = technique.get("id")?.as_str()?;
    let mut named = Map::from_iter([("uid".to_owned(), Value::from(id))]);
    if let Some(name) = technique.get("name").and_then(Value::as_str) {
        named.insert("name".to_owned(), name.into());
    }
    Some(match id.split_once('.') {
        Some((parent, _)) => json!({ "technique": { "uid": parent }, "sub_technique": named }),
        None => json!({ "technique": named }),
    })
}

fn resource(event: &Event) -> Value {
    let name = event.vm_name.as_deref().or(text(event, "name")).unwrap_or("unknown");
    let uid = event.vm_id.as_deref().or(text(event, "resource_id")).unwrap_or(name);
    let mut resource = json!({ "uid": uid, "name": name, "type": "Virtual Machine" });
    if let (Some(group), Some(members)) = (&event.group, resource.as_object_mut()) {
        members.insert("group".to_owned(), json!({ "name": group }));
    }
    resource
}

fn compliance(event: &Event) -> Value {
    let (status_id, status) = match text(event, "status") {
        Some("healthy") => (1, "Pass"),
        Some("unhealthy") => (3, "Fail"),
        _ => (2, "Warning"),
    };
    let mut compliance = json!({
        "control": text(event, "check").unwrap_or("check"),
        "standards": ["Veriboot"],
        "status_id": status_id,
        "status": status,
    });
    if let Some(members) = compliance.as_object_mut() {
        for (name, member) in [("status_code", "cause"), ("status_detail", "description")] {
            if let Some(value) = text(event, member) {
                members.insert(name.to_owned(), words::one_line(value).into());
            }
        }
    }
    compliance
}

#[cfg(test)]
mod tests;
