//! The alert "VM attestation failed": raised by reason, counted while it is open, resolved by what heals it.

use veriboot_appraisal::{Outcome, alert_remediation, alert_title, primary};
use veriboot_store::alerts::{AlertRaise, auto_resolve, raise};
use veriboot_store::{StoreError, Tx};
use veriboot_wire::{ALERT_ATTESTATION_FAILED, AlertReason, Finding, Severity, Time, Verdict};

/// Reasons that a healthy attestation ends. A lost endorsement is not: a good quote does not bring it back.
const HEALED: [AlertReason; 4] = [
    AlertReason::BaselineDeviation,
    AlertReason::QuoteUntrusted,
    AlertReason::LogMismatch,
    AlertReason::AgentSilent,
];

/// Raises an alert for each reason of an unhealthy attestation, or resolves what a healthy one heals. Gives the
/// reasons that were raised.
///
/// `quote_believed` ends `agent-silent` even when the attestation fails: the VM was heard of.
pub fn after_attestation(
    tx: &mut dyn Tx,
    vm_id: &str,
    outcome: &Outcome,
    attestation_id: Option<&str>,
    quote_believed: bool,
    now: Time,
) -> Result<Vec<AlertReason>, StoreError> {
    if outcome.verdict == Verdict::Healthy {
        auto_resolve(tx, vm_id, &HEALED, "a healthy attestation followed", now)?;
        return Ok(Vec::new());
    }
    if quote_believed {
        auto_resolve(tx, vm_id, &[AlertReason::AgentSilent], "the agent reports again", now)?;
    }
    for reason in &outcome.reasons {
        let findings: Vec<Finding> =
            outcome.findings.iter().filter(|f| f.fails() && f.reason == Some(*reason)).cloned().collect();
        let telling = primary(&findings);
        let message = telling.map_or_else(|| alert_title(*reason).to_owned(), |f| f.message.clone());
        raise(
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
                attestation_id,
                at: now,
            },
        )?;
    }
    Ok(outcome.reasons.clone())
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
