//! The life of alerts as attestations and silence drive it: raised by reason, counted while it is open, opened again when
//! its cause comes back, resolved by what heals it. What becomes of one raise is `veriboot_store::alerts::raise`.

use veriboot_appraisal::{Outcome, primary};
use veriboot_store::alerts::{AlertRaise, Became, auto_resolve, forget_dismissals, raise};
use veriboot_store::{StoreError, Tx, alerts, suppressions};
use veriboot_wire::{AlertReason, Finding, Time, Verdict, VmStatus, reason_words, type_severity};

use crate::AppState;

/// Reasons that a healthy attestation ends. A lost endorsement is not: a good quote does not bring it back.
const HEALED: [AlertReason; 5] = [
    AlertReason::BaselineDeviation,
    AlertReason::QuoteUntrusted,
    AlertReason::LogMismatch,
    AlertReason::AgentSilent,
    AlertReason::AppraisalFailed,
];

/// Alerts that one transaction raises again.
const RESURFACED_AT_ONCE: u32 = 100;

/// Codes that say only that nothing is known, because evidence that another reason tells of is not believed.
const CONSEQUENCES: [&str; 1] = ["secure-boot-unknown"];

/// What an attestation did to the alerts of its VM.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AlertChanges {
    /// Reasons that were raised, anew or once more.
    pub raised: Vec<AlertReason>,
    /// New alerts, and those that came back.
    pub opened: Vec<(AlertReason, String)>,
    /// Alerts that a suppression rule dismissed, and had not dismissed before.
    pub suppressed: Vec<(AlertReason, String)>,
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
    /// An alert that was resolved at most this long ago comes back as the same one, seconds.
    pub reopen_window_s: u32,
    /// When.
    pub at: Time,
}

impl AlertChanges {
    fn note(&mut self, reason: AlertReason, became: Became, id: String) {
        match became {
            Became::Opened | Became::Reopened => {
                self.raised.push(reason);
                self.opened.push((reason, id));
            }
            Became::Counted => self.raised.push(reason),
            Became::Suppressed => self.suppressed.push((reason, id)),
            Became::CountedDismissed => {}
        }
    }
}

/// Raises an alert for each reason of an unhealthy attestation, or resolves what a healthy one heals.
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
        // Who dismissed one silence did not dismiss the next one.
        forget_dismissals(tx, vm_id, &silent, "the agent reports again", at)?;
    }
    if !outcome.reasons.contains(&AlertReason::AppraisalFailed) {
        let broken = [AlertReason::AppraisalFailed];
        changes.resolved.extend(auto_resolve(tx, vm_id, &broken, "evidence can be appraised again", at)?);
    }
    for reason in &outcome.reasons {
        let findings: Vec<Finding> =
            outcome.findings.iter().filter(|f| f.fails() && f.reason == Some(*reason)).cloned().collect();
        if is_consequence(&findings, *reason, &outcome.reasons) {
            continue;
        }
        let telling = primary(&findings);
        let failure = Failure {
            reason: *reason,
            component: telling.and_then(|f| f.component.as_deref()),
            message: telling.map(|f| f.message.as_str()),
            findings: &findings,
            attestation_id: Some(attested.attestation_id),
        };
        let raised = raise_for(tx, vm_id, &failure, attested.reopen_window_s, at)?;
        changes.note(*reason, raised.became, raised.id);
    }
    Ok(changes)
}

/// [`after_attestation`] for many VMs, each once, in their order: with a number of statements that is that of few.
pub fn after_attestations(
    tx: &mut dyn Tx,
    attested: &[Attested<'_>],
) -> Result<Vec<AlertChanges>, StoreError> {
    attested.iter().map(|attested| after_attestation(tx, attested)).collect()
}

/// Whether these findings follow from evidence that is not believed: one cause, one alert.
fn is_consequence(findings: &[Finding], reason: AlertReason, reasons: &[AlertReason]) -> bool {
    reason == AlertReason::BaselineDeviation
        && reasons.iter().any(|r| matches!(r, AlertReason::LogMismatch | AlertReason::QuoteUntrusted))
        && findings.iter().all(|f| CONSEQUENCES.contains(&f.code.as_str()))
}

/// Raises `agent-silent`, unless a suppression rule hides it. Whether maintenance covers the VM is the caller's to ask
/// (`veriboot_store::maintenance::covers`).
pub fn agent_silent(
    tx: &mut dyn Tx,
    vm_id: &str,
    message: &str,
    reopen_window_s: u32,
    now: Time,
) -> Result<AlertChanges, StoreError> {
    let reason = AlertReason::AgentSilent;
    let failure = Failure {
        reason,
        component: Some("agent"),
        message: Some(message),
        findings: &[],
        attestation_id: None,
    };
    let raised = raise_for(tx, vm_id, &failure, reopen_window_s, now)?;
    let mut changes = AlertChanges::default();
    changes.note(reason, raised.became, raised.id);
    Ok(changes)
}

/// Raises `appraisal-failed` for evidence that was there already and cannot be judged again.
pub(crate) fn appraisal_failed(
    tx: &mut dyn Tx,
    vm_id: &str,
    finding: &Finding,
    attestation_id: Option<&str>,
    reopen_window_s: u32,
    now: Time,
) -> Result<AlertChanges, StoreError> {
    let reason = AlertReason::AppraisalFailed;
    let failure = Failure {
        reason,
        component: None,
        message: Some(&finding.message),
        findings: std::slice::from_ref(finding),
        attestation_id,
    };
    let raised = raise_for(tx, vm_id, &failure, reopen_window_s, now)?;
    let mut changes = AlertChanges::default();
    changes.note(reason, raised.became, raised.id);
    Ok(changes)
}

/// Raises `agent-silent` again for VMs that stay silent after the rule that hid them ended or expired, and says how many
/// alerts are open by it.
///
/// # Errors
/// [`StoreError`]; what was committed before it stays.
pub async fn resurface(state: &AppState) -> Result<usize, StoreError> {
    let mut opened = 0;
    loop {
        let (now, window_s) = (state.clock.now(), state.config.alerts.reopen_window_s);
        // Mostly there is nothing to do, which a look says without a transaction that writes.
        if !state.store.read(move |tx| suppressions::unsettled(tx, now)).await? {
            return Ok(opened);
        }
        let done =
            state.store.write(move |tx| alerts::resurface(tx, window_s, RESURFACED_AT_ONCE, now)).await?;
        for (vm, raised) in &done.raised {
            if matches!(raised.became, Became::Opened | Became::Reopened) {
                let alert = &raised.id;
                tracing::info!(
                    vm,
                    alert,
                    "VM is still stale and no rule hides it any more, alert opened again"
                );
                state.metrics.alert_raised(AlertReason::AgentSilent);
                opened += 1;
            }
        }
        if !done.more {
            return Ok(opened);
        }
    }
}

/// Resolves `agent-silent` of a VM that nobody waits for any more. Once somebody does again, that is another silence: who
/// dismissed this one did not dismiss that.
pub fn no_longer_silent(
    tx: &mut dyn Tx,
    vm_id: &str,
    because: &str,
    now: Time,
) -> Result<Vec<String>, StoreError> {
    forget_dismissals(tx, vm_id, &[AlertReason::AgentSilent], because, now)?;
    auto_resolve(tx, vm_id, &[AlertReason::AgentSilent], because, now)
}

/// What went wrong, as far as it differs from alert to alert.
struct Failure<'a> {
    reason: AlertReason,
    component: Option<&'a str>,
    message: Option<&'a str>,
    findings: &'a [Finding],
    attestation_id: Option<&'a str>,
}

fn raise_for(
    tx: &mut dyn Tx,
    vm_id: &str,
    failure: &Failure<'_>,
    reopen_window_s: u32,
    at: Time,
) -> Result<veriboot_store::alerts::Raised, StoreError> {
    let words = reason_words(failure.reason);
    raise(
        tx,
        &AlertRaise {
            vm_id,
            kind: words.kind,
            title: words.title,
            reason: failure.reason,
            severity: type_severity(words.kind),
            component: failure.component,
            message: failure.message.unwrap_or(words.title),
            remediation: words.remediation,
            findings: failure.findings,
            attestation_id: failure.attestation_id,
            reopen_window_s,
            at,
        },
    )
}

/// Ends every alert of a VM that is no longer monitored, and nobody waits for its agent.
pub fn resolve_all(
    tx: &mut dyn Tx,
    vm_id: &str,
    because: &str,
    now: Time,
) -> Result<Vec<String>, StoreError> {
    forget_dismissals(tx, vm_id, &[AlertReason::AgentSilent], because, now)?;
    auto_resolve(tx, vm_id, AlertReason::ALL, because, now)
}
