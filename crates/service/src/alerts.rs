//! The life of alerts as attestations and silence drive it: raised by reason, counted while it is open, opened again when
//! its cause comes back, resolved by what heals it. What becomes of one raise is `veriboot_store::alerts::raise`.

use veriboot_appraisal::{Outcome, primary};
use veriboot_store::alerts::{
    AlertRaise, Became, Ended, auto_resolve, forget_all, forget_dismissals, raise, raise_all,
};
use veriboot_store::{StoreError, Tx, alerts, suppressions};
use veriboot_wire::{AlertReason, FactState, Finding, Time, Verdict, VmStatus, reason_words, type_severity};

use crate::AppState;

/// Reasons that every healthy attestation ends.
const HEALED: [AlertReason; 5] = [
    AlertReason::BaselineDeviation,
    AlertReason::QuoteUntrusted,
    AlertReason::LogMismatch,
    AlertReason::AgentSilent,
    AlertReason::AppraisalFailed,
];

const SILENT: [AlertReason; 1] = [AlertReason::AgentSilent];

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
    let changes = after_attestations(tx, std::slice::from_ref(attested))?;
    Ok(changes.into_iter().next().unwrap_or_default())
}

/// [`after_attestation`] for many VMs, each once, and what it did for each: with a number of statements that is that of
/// few. Where all stay healthy and nothing is open, that is one.
pub fn after_attestations(
    tx: &mut dyn Tx,
    attested: &[Attested<'_>],
) -> Result<Vec<AlertChanges>, StoreError> {
    let ended: Vec<Vec<Ended<'_>>> = attested.iter().map(ended).collect();
    let mut resolved = alerts::resolve_all(tx, &ended.concat())?.into_iter();
    let mut changes: Vec<AlertChanges> = ended
        .iter()
        .map(|ended| AlertChanges {
            resolved: resolved.by_ref().take(ended.len()).flatten().collect(),
            ..AlertChanges::default()
        })
        .collect();
    let forgotten: Vec<Ended<'_>> = attested.iter().filter_map(forgotten).collect();
    forget_all(tx, &forgotten)?;

    let failing: Vec<Vec<Failing<'_>>> = attested.iter().map(Failing::all_of).collect();
    let raises: Vec<AlertRaise<'_>> = attested
        .iter()
        .zip(&failing)
        .flat_map(|(attested, failing)| failing.iter().map(|failing| failing.raise(attested)))
        .collect();
    let mut raised = raise_all(tx, &raises)?.into_iter();
    for (changes, failing) in changes.iter_mut().zip(&failing) {
        for (failing, raised) in failing.iter().zip(raised.by_ref()) {
            changes.note(failing.reason, raised.became, raised.id);
        }
    }
    Ok(changes)
}

const HEALTHY: &str = "a healthy attestation followed";
const REPORTS: &str = "the agent reports again";

/// Causes that a healthy attestation ends. A good quote says nothing about whose TPM made it: that the endorsement is not lost any
/// more, only one that is verified shows.
fn healed(outcome: &Outcome) -> &'static [AlertReason] {
    match outcome.facts.endorsement {
        FactState::Valid => AlertReason::ALL,
        _ => &HEALED,
    }
}

/// Causes that an attestation shows to have ended: their open alerts are resolved.
fn ended<'a>(attested: &Attested<'a>) -> Vec<Ended<'a>> {
    let of = |reasons, comment| Ended { vm_id: attested.vm_id, reasons, comment, at: attested.at };
    if attested.outcome.verdict == Verdict::Healthy {
        return vec![of(healed(attested.outcome), HEALTHY)];
    }
    let mut ended = Vec::new();
    if attested.quote_believed {
        ended.push(of(&SILENT, REPORTS));
    }
    if !attested.outcome.reasons.contains(&AlertReason::AppraisalFailed) {
        ended.push(of(&[AlertReason::AppraisalFailed], "evidence can be appraised again"));
    }
    ended
}

/// Causes whose dismissals are remembered no longer.
fn forgotten<'a>(attested: &Attested<'a>) -> Option<Ended<'a>> {
    let of = |reasons, comment| Ended { vm_id: attested.vm_id, reasons, comment, at: attested.at };
    match attested.outcome.verdict {
        // A VM that is healthy has none: the attestation that made it so ended them.
        Verdict::Healthy => {
            (attested.before != VmStatus::Healthy).then(|| of(healed(attested.outcome), HEALTHY))
        }
        // Who dismissed one silence did not dismiss the next one.
        _ => attested.quote_believed.then(|| of(&SILENT[..], REPORTS)),
    }
}

/// A reason of an unhealthy attestation and the findings behind it.
struct Failing<'a> {
    reason: AlertReason,
    findings: Vec<Finding>,
    attestation_id: &'a str,
}

impl<'a> Failing<'a> {
    fn all_of(attested: &Attested<'a>) -> Vec<Self> {
        let outcome = attested.outcome;
        if outcome.verdict == Verdict::Healthy {
            return Vec::new();
        }
        let failing = outcome.reasons.iter().map(|reason| {
            let of_reason = outcome.findings.iter().filter(|f| f.fails() && f.reason == Some(*reason));
            let findings = of_reason.cloned().collect();
            Self { reason: *reason, findings, attestation_id: attested.attestation_id }
        });
        failing
            .filter(|failing| !is_consequence(&failing.findings, failing.reason, &outcome.reasons))
            .collect()
    }

    fn raise<'s>(&'s self, attested: &Attested<'s>) -> AlertRaise<'s> {
        let telling = primary(&self.findings);
        let failure = Failure {
            reason: self.reason,
            component: telling.and_then(|f| f.component.as_deref()),
            message: telling.map(|f| f.message.as_str()),
            findings: &self.findings,
            attestation_id: Some(self.attestation_id),
        };
        failure.raise(attested.vm_id, attested.reopen_window_s, attested.at)
    }
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
    let raised = raise(tx, &failure.raise(vm_id, reopen_window_s, now))?;
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
    let raised = raise(tx, &failure.raise(vm_id, reopen_window_s, now))?;
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
    forget_dismissals(tx, vm_id, &SILENT, because, now)?;
    auto_resolve(tx, vm_id, &SILENT, because, now)
}

/// What went wrong, as far as it differs from alert to alert.
struct Failure<'a> {
    reason: AlertReason,
    component: Option<&'a str>,
    message: Option<&'a str>,
    findings: &'a [Finding],
    attestation_id: Option<&'a str>,
}

impl<'a> Failure<'a> {
    fn raise(&self, vm_id: &'a str, reopen_window_s: u32, at: Time) -> AlertRaise<'a> {
        let words = reason_words(self.reason);
        AlertRaise {
            vm_id,
            kind: words.kind,
            title: words.title,
            reason: self.reason,
            severity: type_severity(words.kind),
            component: self.component,
            message: self.message.unwrap_or(words.title),
            remediation: words.remediation,
            findings: self.findings,
            attestation_id: self.attestation_id,
            reopen_window_s,
            at,
        }
    }
}

/// Ends every alert of a VM that is no longer monitored, and nobody waits for its agent.
pub fn resolve_all(
    tx: &mut dyn Tx,
    vm_id: &str,
    because: &str,
    now: Time,
) -> Result<Vec<String>, StoreError> {
    forget_dismissals(tx, vm_id, &SILENT, because, now)?;
    auto_resolve(tx, vm_id, AlertReason::ALL, because, now)
}
