//! `veriboot alert show`.

use veriboot_wire::Alert;

use super::state_tone;
use crate::client::{Client, segment};
use crate::error::CliError;
use crate::output::{Output, safe, severity_tone};

/// Runs it.
pub fn run(id: &str, client: &Client, out: Output) -> Result<(), CliError> {
    let alert: Alert = client.get(&format!("/v1/alerts/{}", segment(id)), &[])?;
    if out.json {
        return out.print_json(&alert);
    }
    out.sentence("", &format!("{}: {}", safe(&alert.title), safe(&alert.message)))?;
    out.line("")?;
    out.fields(&fields(&alert, out))?;
    if !alert.findings.is_empty() {
        out.line("\nFindings")?;
        out.findings(&alert.findings)?;
    }
    out.line("\nWhat to do")?;
    if alert.steps.is_empty() {
        out.sentence("  ", &safe(&alert.remediation))?;
    }
    for (number, step) in (1..).zip(&alert.steps) {
        out.sentence(&format!("  {number}. "), &safe(step))?;
    }
    out.line("\nTimeline")?;
    for event in &alert.timeline {
        let comment = event.comment.as_deref().map(|c| format!(": {}", safe(c))).unwrap_or_default();
        let what = format!("{} by {}{comment}", event.state, safe(&event.by));
        out.sentence(&format!("  {}  ", event.at), &what)?;
    }
    Ok(())
}

fn fields(alert: &Alert, out: Output) -> Vec<(&'static str, String)> {
    let place = match &alert.scale_set {
        Some(set) => format!("scale set {} in group {}", safe(set), safe(&alert.group)),
        None => format!("group {}", safe(&alert.group)),
    };
    let mut fields = vec![
        ("alert", format!("{} ({})", alert.id, safe(&alert.kind))),
        ("VM", format!("{} ({}), {place}", safe(&alert.vm_name), alert.vm_id)),
    ];
    let machine: Vec<String> =
        [&alert.entity.os, &alert.entity.platform].into_iter().flatten().map(|text| safe(text)).collect();
    if !machine.is_empty() {
        fields.push(("machine", machine.join(" on ")));
    }
    fields.extend([
        ("reason", alert.reason.to_string()),
        ("severity", out.paint(alert.severity.as_str(), severity_tone(alert.severity))),
        ("state", out.paint(alert.state.as_str(), state_tone(alert.state))),
    ]);
    fields.extend(
        alert.suppressed_by.as_deref().map(|rule| ("hidden by", format!("suppression rule {}", safe(rule)))),
    );
    fields.extend(alert.component.as_deref().map(|component| ("component", safe(component))));
    if !alert.classes.is_empty() {
        fields.push(("changes", alert.classes.iter().map(|c| c.as_str()).collect::<Vec<_>>().join(", ")));
    }
    let techniques = alert.techniques.iter().map(|t| format!("{} {}", safe(&t.id), safe(&t.name)));
    fields.push(("ATT&CK", techniques.collect::<Vec<_>>().join("; ")));
    let back = match alert.reopened {
        0 => String::new(),
        1 => ", came back once".to_owned(),
        times => format!(", came back {times} times"),
    };
    fields.push(("raised", format!("{} × since {}{back}", alert.count, alert.first_at)));
    fields.push(("last", format!("{} ({})", alert.last_at, out.ago(Some(alert.last_at)))));
    fields.extend(alert.incident_id.as_deref().map(|id| ("incident", safe(id))));
    fields.extend(alert.attestation_id.as_deref().map(|id| ("attestation", safe(id))));
    fields.extend(alert.links.diff.as_deref().map(|path| ("difference", safe(path))));
    fields.extend(alert.links.evidence.as_deref().map(|path| ("evidence", safe(path))));
    fields
}
