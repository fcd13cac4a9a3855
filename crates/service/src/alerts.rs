//! The alert "VM attestation failed": raised by reason, counted while it is open, resolved by what heals it.

use std::collections::BTreeSet;

use veriboot_appraisal::{Outcome, alert_remediation, alert_title, primary};
use veriboot_store::alerts::{
    AlertRaise, auto_resolve, count_again, forget_dismissals, is_remembered, latest_for, raise,
};
use veriboot_store::{StoreError, Tx};
use veriboot_wire::{ALERT_ATTESTATION_FAILED, AlertReason, Finding, Severity, Time, Verdict, VmStatus};

/// Reasons that a healthy attestation ends. A lost endorsement is not: a good quote does not bring it back.
const HEALED: [AlertReason; 4] = [
    AlertReason::BaselineDeviation,
    AlertReason::QuoteUntrusted,
    AlertReason::LogMismatch,
    AlertReason::AgentSilent,
];

/// Codes that say only that nothing is known, because evidence that another reason tells of is not believed.
const CONSEQUENCES: [&str; 1] = ["secure-boot-unknown"];

/// What an attestation did to the alerts of its VM.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AlertChanges {
    /// Reasons that were raised, anew or once more.
    pub raised: Vec<AlertReason>,
    /// New alerts.
    pub opened: Vec<(AlertReason, String)>,
    /// Alerts that were resolved.
    pub resolved: Vec<String>,
}

/// An attestation as far as alerts are concerned.
#[derive(Clone, Copy, Debug)]
pub struct Attested<'a> {
    /// The VM.
    pub vm_id: &'a str,
    /// Its status before.
    pub before: VmStatus,
    /// What the attestation came to.
    pub outcome: &'a Outcome,
    /// Its id.
    pub attestation_id: &'a str,
    /// Ends `agent-silent` even when the attestation fails: the VM was heard of.
    pub quote_believed: bool,
    /// When.
    pub at: Time,
}

/// Raises an alert for each reason of an unhealthy attestation, or resolves what a healthy one heals.
///
/// A dismissed alert stands for its findings until a healthy attestation: the same ones are counted on it and open
/// nothing.
pub fn after_attestation(tx: &mut dyn Tx, attested: &Attested<'_>) -> Result<AlertChanges, StoreError> {
    let Attested { vm_id, outcome, at, .. } = *attested;
    let mut changes = AlertChanges::default();
    if outcome.verdict == Verdict::Healthy {
        let comment = "a healthy attestation followed";
        changes.resolved = auto_resolve(tx, vm_id, &HEALED, comment, at)?;
        // A VM that is healthy has none: the attestation that made it so ended them.
        if attested.before != VmStatus::Healthy {
            forget_dismissals(tx, vm_id, &HEALED, comment, at)?;
        }
        return Ok(changes);
    }
    if attested.quote_believed {
        let silent = [AlertReason::AgentSilent];
        changes.resolved = auto_resolve(tx, vm_id, &silent, "the agent reports again", at)?;
    }
    for reason in &outcome.reasons {
        let findings: Vec<Finding> =
            outcome.findings.iter().filter(|f| f.fails() && f.reason == Some(*reason)).cloned().collect();
        if is_consequence(&findings, *reason, &outcome.reasons) {
            continue;
        }
        if let Some(dismissed) = latest_for(tx, vm_id, *reason)?.filter(is_remembered)
            && causes(&dismissed.findings) == causes(&findings)
        {
            count_again(tx, &dismissed.id, Some(attested.attestation_id), at)?;
            continue;
        }
        let telling = primary(&findings);
        let message = telling.map_or_else(|| alert_title(*reason).to_owned(), |f| f.message.clone());
        let raised = raise(
            tx,
            &AlertRaise {
                vm_id,
                kind: ALERT_ATTESTATION_FAILED,
                title: alert_title(*reason),
                reason: *reason,
                severity: Severity::Medium,
                component: telling.and_then(|f| f.component.as_deref()),
                message: &message,
                remediation: alert_remediation(*reason),
                findings: &findings,
                attestation_id: Some(attested.attestation_id),
                at,
            },
        )?;
        changes.raised.push(*reason);
        if raised.count == 1 {
            changes.opened.push((*reason, raised.id));
        }
    }
    Ok(changes)
}

/// What makes a failure the same one as before.
fn causes(findings: &[Finding]) -> BTreeSet<(&str, Option<&str>, Option<&str>)> {
    findings.iter().map(|f| (f.code.as_str(), f.component.as_deref(), f.seen.as_deref())).collect()
}

/// Whether these findings follow from evidence that is not believed: one cause, one alert.
fn is_consequence(findings: &[Finding], reason: AlertReason, reasons: &[AlertReason]) -> bool {
    reason == AlertReason::BaselineDeviation
        && reasons.iter().any(|r| matches!(r, AlertReason::LogMismatch | AlertReason::QuoteUntrusted))
        && findings.iter().all(|f| CONSEQUENCES.contains(&f.code.as_str()))
}

/// Raises `agent-silent`.
pub fn agent_silent(tx: &mut dyn Tx, vm_id: &str, message: &str, now: Time) -> Result<(), StoreError> {
    raise(
        tx,
        &AlertRaise {
            vm_id,
            kind: ALERT_ATTESTATION_FAILED,
            title: alert_title(AlertReason::AgentSilent),
            reason: AlertReason::AgentSilent,
            severity: Severity::Medium,
            component: Some("agent"),
            message,
            remediation: alert_remediation(AlertReason::AgentSilent),
            findings: &[],
            attestation_id: None,
            at: now,
        },
    )?;
    Ok(())
}
