//! Judges what a VM sent last once more, after its baseline changed.

use std::sync::Arc;

use veriboot_store::baselines::CurrentBaseline;
use veriboot_store::proposals::{Followed, Rejection};
use veriboot_store::{StoreError, attestations, boots, judges, logs, new_id, scale_sets, vms};
use veriboot_wire::{Attestation, FactState, Time, Verdict, VmStatus};

use super::appraise::{Input, Judged, Judges, appraisal_failed, judging, previous_boot};
use super::conditions::boot_facts;
use super::evidence::{Evidence, Log};
use super::examine::{Broken, examined};
use super::profiles::JudgingProfile;
use super::record::context;
use crate::{ApiError, AppState, alerts, journal, proposals, status};

/// How often it is repeated because the VM attested meanwhile.
const MAX_ROUNDS: u32 = 4;

/// Why nothing was judged again. Nothing was written.
#[derive(Debug, thiserror::Error)]
pub enum ReappraiseError {
    /// There is no such VM.
    #[error("there is no such VM")]
    UnknownVm,
    /// The VM has never attested, its last quote was not believed, or its AK is another one since.
    #[error("there is no quote of this VM that could be believed")]
    NoEvidence,
    /// The evidence cannot be appraised.
    #[error("the stored evidence cannot be appraised: {0}")]
    Broken(String),
    /// The VM attests faster than this can follow; its own attestations use the new baseline.
    #[error("the VM attested meanwhile")]
    Overtaken,
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Judges the last stored evidence of a VM by what is trusted now, and stores that as a further attestation.
///
/// Nothing becomes fresher by it: the VM's last attestation stays as old as its evidence, no token is made, and a
/// VM that is stale or reports a fault stays so. Evidence that cannot be judged leaves no VM healthy: its status is
/// `error` then, with the alert `appraisal-failed`.
///
/// # Errors
/// [`ReappraiseError`].
pub async fn reappraise(state: &AppState, vm_id: &str) -> Result<Attestation, ReappraiseError> {
    let mut rejection = None;
    for _ in 0..MAX_ROUNDS {
        if let Some(attestation) = once(state, vm_id, &mut rejection).await? {
            return Ok(attestation);
        }
    }
    Err(ReappraiseError::Overtaken)
}

/// What judging a VM again came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Again {
    /// It was judged, and stored as a further attestation.
    Judged {
        /// Whether the verdict is another one.
        turned: bool,
    },
    /// What holds now judged it already.
    Same,
}

/// [`reappraise`], unless `always` is false and the baseline and profile of now judged the VM last.
///
/// # Errors
/// [`ReappraiseError`].
pub async fn judge_again(state: &AppState, vm_id: &str, always: bool) -> Result<Again, ReappraiseError> {
    let stored = stored(state, vm_id).await?;
    if !always {
        let judges = judging(state, &stored.vm).await.map_err(api_error)?;
        let baseline = judges.current().map(|current| current.reference);
        // A broken one is judged, so that the VM does not stay healthy by what was before.
        let whole = judges.profile.content.is_ok()
            && judges.baseline.as_ref().is_none_or(|judging| judging.content.is_ok());
        let profile = Some(&judges.profile.reference);
        if whole && stored.last.baseline == baseline && stored.last.profile.as_ref() == profile {
            return Ok(Again::Same);
        }
    }
    let before = stored.last.verdict;
    let again = reappraise(state, vm_id).await?;
    Ok(Again::Judged { turned: again.verdict != before })
}

/// What is judged again.
pub(super) struct Stored {
    pub vm: vms::VmRow,
    pub last: Attestation,
    pub evidence: attestations::Evidence,
}

pub(super) async fn stored(state: &AppState, vm_id: &str) -> Result<Stored, ReappraiseError> {
    let id = vm_id.to_owned();
    let found = state
        .store
        .read(move |tx| {
            let Some(vm) = vms::by_id(tx, &id)? else { return Ok(None) };
            // The last one by the VM's record, not by time: a clock that was set back leaves later times behind.
            let last = match &vm.last_attestation_id {
                Some(last) => attestations::by_id(tx, last)?,
                None => None,
            };
            let Some(last) = last else { return Ok(Some((vm, None))) };
            let evidence = attestations::evidence(tx, &last.id)?;
            Ok::<_, StoreError>(Some((vm, evidence.map(|evidence| (last, evidence)))))
        })
        .await?;
    let (vm, rest) = found.ok_or(ReappraiseError::UnknownVm)?;
    let (last, evidence) = rest.ok_or(ReappraiseError::NoEvidence)?;
    // A quote that was not believed when it came (by its counters too) is not believed later.
    if evidence.ak_public != vm.ak_public || last.facts.quote != FactState::Valid {
        return Err(ReappraiseError::NoEvidence);
    }
    Ok(Stored { vm, last, evidence })
}

/// `None` when the VM attested meanwhile, or when another rejection stands for what it shows, which is in `rejection`
/// then.
async fn once(
    state: &AppState,
    vm_id: &str,
    rejection: &mut Option<Rejection>,
) -> Result<Option<Attestation>, ReappraiseError> {
    let Stored { vm, last, evidence } = stored(state, vm_id).await?;
    let now = state.clock.now();
    let input = Evidence {
        nonce: evidence.nonce.clone(),
        quote: evidence.quote.clone(),
        signature: evidence.signature.clone(),
        pcrs: evidence.pcrs.clone(),
        log: last.log_sha256.clone().map(|sha256| Log { sha256, content: None }),
        log_absent_because: evidence.log_absent_because.clone(),
        machine: vm.machine.clone(),
        kernel: None,
    };
    let judges = judging(state, &vm).await.map_err(api_error)?;
    let unjudged = Unjudged {
        vm: vm.clone(),
        baseline: judges.current(),
        profile: judges.profile.clone(),
        reopen_window_s: state.config.alerts.reopen_window_s,
        now,
    };
    let report = match examined(state, input.log.as_ref()).await.map_err(api_error)? {
        Ok(report) => report,
        Err(error) => return Err(unjudged.note(state, &error).await),
    };
    if let Some(report) = &report {
        report.keep(state);
    }
    let examined = report.as_ref().map(|examined| &examined.report);
    let facts = boot_facts(state, &judges.profile, &input, examined).await.map_err(api_error)?;
    let judges = Judges { rejection: rejection.clone(), facts, ..judges };
    // The record's counters are those of this very quote by now; the log it is held against is still the one
    // that replayed.
    let previous = previous_boot(&vm);
    let input = Input {
        vm: vm.clone(),
        evidence: Arc::new(input),
        report: report.map(|examined| examined.report),
        judges: judges.clone(),
    };
    let judged = match input.judged(state, previous, false).await {
        Ok(judged) => judged,
        Err(error) => return Err(unjudged.note(state, &error).await),
    };
    let again = Arc::new(Repeat {
        baseline: judges.current(),
        profile: judges.profile,
        vm,
        last,
        evidence,
        judged,
        reopen_window_s: state.config.alerts.reopen_window_s,
        now,
    });
    let before = again.vm.clone();
    let code = again.judged.outcome.primary().map(|finding| finding.code.clone());
    let done = match state.store.write(move |tx| again.record(tx)).await? {
        Recorded::Done(done) => done,
        Recorded::Overtaken => return Ok(None),
        Recorded::Rejection(stands) => {
            *rejection = stands;
            return Ok(None);
        }
    };
    journal::followed(&before, &done.proposals);
    journal::attested(&journal::Attested {
        before: &before,
        status: done.status,
        code: code.as_deref(),
        learned: None,
        alerts: &done.alerts,
    });
    Ok(Some(done.attestation))
}

/// What failed on the way to the evidence says nothing about it.
fn api_error(error: ApiError) -> ReappraiseError {
    match error.code() {
        "log-needed" => ReappraiseError::NoEvidence,
        code if code.starts_with("database-") => ReappraiseError::Store(StoreError::Busy),
        code => ReappraiseError::Broken(code.to_owned()),
    }
}

/// Evidence of a VM that cannot be judged by what holds now.
#[derive(Clone)]
struct Unjudged {
    vm: vms::VmRow,
    baseline: Option<CurrentBaseline>,
    profile: JudgingProfile,
    reopen_window_s: u32,
    now: Time,
}

impl Unjudged {
    /// Takes the VM's health back and raises the alert.
    async fn note(self, state: &AppState, error: &Broken) -> ReappraiseError {
        tracing::error!(vm = self.vm.id, %error, "appraisal failed");
        let before = self.vm.clone();
        match state.store.write(move |tx| self.record(tx)).await {
            Ok(None) => ReappraiseError::Overtaken,
            Ok(Some((status, alerts))) => {
                alerts.raised.iter().for_each(|reason| state.metrics.alert_raised(*reason));
                let code = Some(appraisal_failed().code);
                journal::attested(&journal::Attested {
                    before: &before,
                    status,
                    code: code.as_deref(),
                    learned: None,
                    alerts: &alerts,
                });
                ReappraiseError::Broken(error.to_string())
            }
            Err(error) => error.into(),
        }
    }

    /// `None` when the VM attested meanwhile, or when what judges it is another one; nothing is written then.
    fn record(
        &self,
        tx: &mut dyn veriboot_store::Tx,
    ) -> Result<Option<(VmStatus, alerts::AlertChanges)>, StoreError> {
        let Some(vm) = vms::by_id(tx, &self.vm.id)? else { return Ok(None) };
        if !same_judges(tx, &vm, &self.vm, self.baseline.as_ref(), &self.profile)? {
            return Ok(None);
        }
        if !vm.monitoring || vm.status == VmStatus::Unmonitored {
            return Ok(Some((vm.status, alerts::AlertChanges::default())));
        }
        let finding = appraisal_failed();
        let last = vm.last_attestation_id.as_deref();
        let changes = alerts::appraisal_failed(tx, &vm.id, &finding, last, self.reopen_window_s, self.now)?;
        // What is known to be wrong stays known.
        if vm.status == VmStatus::Unhealthy || !status::follows_evidence(&vm) {
            return Ok(Some((vm.status, changes)));
        }
        status::set(tx, &vm, VmStatus::Error, Some(&finding.message), self.now)?;
        Ok(Some((VmStatus::Error, changes)))
    }
}

/// Whether a VM has sent nothing since it was looked at (`before`), and is judged by the same.
fn same_judges(
    tx: &mut dyn veriboot_store::Tx,
    vm: &vms::VmRow,
    before: &vms::VmRow,
    baseline: Option<&CurrentBaseline>,
    profile: &JudgingProfile,
) -> Result<bool, StoreError> {
    let now = judges::for_vm(tx, vm.place())?;
    Ok(vm.last_attestation_id == before.last_attestation_id
        && vm.ak_public == before.ak_public
        && now.baseline.as_ref() == baseline
        && now.profile == profile.assigned)
}

struct Repeat {
    vm: vms::VmRow,
    last: Attestation,
    evidence: attestations::Evidence,
    judged: Judged,
    baseline: Option<CurrentBaseline>,
    profile: JudgingProfile,
    reopen_window_s: u32,
    now: Time,
}

/// What the transaction came to.
enum Recorded {
    Done(Box<Done>),
    /// The VM attested meanwhile, or what judges it is another one. Nothing was written.
    Overtaken,
    /// Another rejection stands for what it shows than was known. Nothing was written.
    Rejection(Option<Rejection>),
}

/// What was stored.
struct Done {
    attestation: Attestation,
    status: VmStatus,
    alerts: alerts::AlertChanges,
    proposals: Followed,
}

impl Repeat {
    fn record(&self, tx: &mut dyn veriboot_store::Tx) -> Result<Recorded, StoreError> {
        let Some(vm) = vms::by_id(tx, &self.vm.id)? else { return Ok(Recorded::Overtaken) };
        if !same_judges(tx, &vm, &self.vm, self.baseline.as_ref(), &self.profile)? {
            return Ok(Recorded::Overtaken);
        }
        if let (Some(shown), Some(baseline)) = (&self.judged.shown, &self.baseline) {
            let stands = shown.rejection(tx, baseline.name())?;
            if stands != shown.rejected {
                return Ok(Recorded::Rejection(stands));
            }
        }
        let outcome = &self.judged.outcome;
        let reference = self.baseline.as_ref().map(|current| current.reference.as_str());
        let scope = self.baseline.as_ref().map(|current| current.scope);
        let quote = self.judged.quote.as_ref().filter(|_| outcome.facts.quote == FactState::Valid);
        if let (Some(quote), Some(_)) = (quote, &self.last.boot_id) {
            boots::record(
                tx,
                &boots::BootSeen {
                    vm_id: &vm.id,
                    reset_count: quote.reset_count,
                    restart_count: quote.restart_count,
                    log_sha256: self.last.log_sha256.as_deref(),
                    at: self.last.at,
                    verdict: outcome.verdict,
                    components: &self.judged.components,
                },
            )?;
        }
        let attestation = Attestation {
            // The time of its evidence: judging again makes nothing fresher. The id is newer.
            id: new_id(self.now),
            verdict: outcome.verdict,
            facts: outcome.facts,
            findings: outcome.findings.clone(),
            baseline: reference.map(str::to_owned),
            baseline_scope: scope,
            profile: Some(self.profile.reference.clone()),
            ..self.last.clone()
        };
        let evidence = attestations::Evidence {
            context: Some(context(&self.vm, &self.judged)),
            ..self.evidence.clone()
        };
        attestations::insert(tx, &attestation, &evidence)?;
        if let (Verdict::Healthy, Some(sha256)) = (outcome.verdict, &self.last.log_sha256) {
            logs::accepted(tx, sha256)?;
        }
        let judged_status = status::follows_evidence(&vm);
        let (judged, detail) = match judged_status {
            true => (self.judged.status, self.judged.detail.as_deref()),
            false => (vm.status, vm.status_detail.as_deref()),
        };
        vms::update_after_attestation(
            tx,
            &vm.id,
            &vms::AfterAttestation {
                attestation_id: &attestation.id,
                at: vm.last_attested_at.unwrap_or(self.last.at),
                status: judged,
                status_detail: detail,
                facts: &outcome.facts,
                machine: &vm.machine,
                kernel: vm.kernel.as_ref(),
                baseline: reference,
                baseline_scope: scope,
                profile: Some(&self.profile.reference),
                boot: None,
            },
        )?;
        let after = if vm.fault.is_some() { status::with_fault(judged) } else { judged };
        status::changed(tx, &vm, after, detail, self.now)?;
        if let Some(fault) = &vm.fault {
            vms::set_fault(tx, &vm.id, fault, vm.last_seen_at.unwrap_or(self.last.at))?;
        }
        let mut changes = alerts::AlertChanges::default();
        if vm.monitoring && (judged_status || outcome.verdict == Verdict::Unhealthy) {
            let attested = alerts::Attested {
                vm_id: &vm.id,
                before: vm.status,
                outcome,
                attestation_id: &attestation.id,
                quote_believed: false,
                reopen_window_s: self.reopen_window_s,
                at: self.now,
            };
            changes = alerts::after_attestation(tx, &attested)?;
        }
        if vm.boot_key != self.judged.boot_key {
            scale_sets::set_boot_key(tx, &vm.id, self.judged.boot_key.as_deref())?;
        }
        let followed = proposals::follow(
            tx,
            &proposals::Attested {
                vm_id: &vm.id,
                vm_name: &vm.name,
                member_of: vm.proposal_id.as_deref(),
                attestation_id: &attestation.id,
                boot_id: attestation.boot_id.as_deref(),
                log_sha256: attestation.log_sha256.as_deref(),
                baseline_id: self.baseline.as_ref().map(|current| current.id.as_str()),
                at: self.now,
            },
            self.judged.shown.as_ref().filter(|_| vm.monitoring),
        )?;
        crate::posture::refresh(tx, &vm.id, self.now)?;
        let done = Done { attestation, status: judged, alerts: changes, proposals: followed };
        Ok(Recorded::Done(Box::new(done)))
    }
}
