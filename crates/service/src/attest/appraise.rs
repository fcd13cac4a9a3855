//! Evidence in, verdict out.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use veriboot_appraisal::{
    Conclude, Judgement, Learn, LogReport, Outcome, PreviousBoot, components_in, conclude, judge,
};
use veriboot_eventlog::HashAlg;
use veriboot_store::vms::{self, VmRow};
use veriboot_tpm::Quote;
use veriboot_wire::{
    AlertReason, EvidenceRequest, FactState, Facts, Finding, Receipt, Severity, Time, Verdict, VmStatus,
};

use super::conditions::{boot_facts, seen_by_conditions};
use super::evidence::Evidence;
use super::examine::{Broken, Examined, bank_of, examined, guarded};
use super::judges::{Judges, Judging, judging};
use super::learn::{self, Learned};
use super::record::{self, Recorded};
use super::work::{self, LONG_LOG_BYTES};
use super::{AttestState, bounds, next_directions};
use crate::baseline_signing::BaselineSigner;
use crate::challenge::{ChallengeError, CheckedChallenge};
use crate::metrics::Stage;
use crate::problem::kinds;
use crate::proposals::{self, Proposing, Shown};
use crate::result_token::Appraised;
use crate::{ApiError, AppState, journal};

/// How often an appraisal is repeated because the VM's record or its baseline changed meanwhile.
const MAX_ROUNDS: u32 = 8;
/// Code of the finding that stands for a fault of this service during appraisal.
const APPRAISAL_FAILED: &str = "appraisal-failed";

/// Appraises evidence of the VM that was authenticated, and answers after the outcome is stored.
///
/// # Errors
/// Refusals of the evidence section of docs/errors.md, after which nothing was written; and failures of the
/// database, after which the last attestation stays as old as it is.
pub async fn appraise(state: &AppState, vm: VmRow, request: EvidenceRequest) -> Result<Receipt, ApiError> {
    let started = Instant::now();
    let now = state.clock.now();
    // Long evidence is digested like it is judged: beside the network's threads.
    let long =
        request.log.as_ref().and_then(|log| log.content.as_ref()).is_some_and(|c| c.len() > LONG_LOG_BYTES);
    let stages = state.metrics.stages();
    let read = work::run(&state.attest.long_work, long, move || Evidence::read(request));
    let evidence =
        stages.run(Stage::Decode, read).await.map_err(|broken| ApiError::internal(broken.to_string()))??;
    let evidence = Arc::new(evidence);
    let challenge = state
        .attest
        .challenges
        .check(&vm.id, &evidence.nonce, vm.challenge_used_us, now, vm.interval_s)
        .and_then(|checked| checked.unused(vm.challenge_used_us).map(|()| checked))
        .map_err(refused)?;
    let report = stages.run(Stage::Log, examined(state, evidence.log.as_ref())).await?;
    let mut vm = vm;
    let mut rejection = None;
    for _ in 0..MAX_ROUNDS {
        let judges = judging(state, &vm).await?;
        let examined = report.as_ref().ok().and_then(Option::as_ref).map(|examined| &examined.report);
        let facts = boot_facts(state, &judges.profile, &evidence, examined).await?;
        let judges = Judges { rejection: rejection.clone(), facts, ..judges };
        let prepare = Plan::prepare(state, vm, challenge, &evidence, &report, judges, now);
        let plan = stages.run(Stage::Appraisal, prepare).await;
        let plan = Arc::new(plan);
        if let (Some(_), Ok(Some(examined))) = (plan.quote_believed(), &report) {
            examined.keep(state);
            if let Ok(Some(facts)) = &plan.judges.facts {
                facts.keep(state);
            }
        }
        let in_tx = Arc::clone(&plan);
        let write = state.store.write(move |tx| record::record(tx, &in_tx));
        match stages.run(Stage::Store, write).await? {
            Recorded::Done(done) => {
                let outcome = &plan.judged.outcome;
                state.metrics.attested(outcome.verdict, &outcome.reasons, started.elapsed());
                done.alerts.raised.iter().for_each(|reason| state.metrics.alert_raised(*reason));
                done.alerts.suppressed.iter().for_each(|(reason, _)| state.metrics.alert_suppressed(*reason));
                journal::followed(&plan.vm, &done.proposals);
                journal::attested(&journal::Attested {
                    before: &plan.vm,
                    status: done.status,
                    code: plan.judged.outcome.primary().map(|finding| finding.code.as_str()),
                    learned: plan.judged.learned.as_ref().and(done.baseline.as_deref()),
                    alerts: &done.alerts,
                });
                return receipt(state, &plan, done);
            }
            Recorded::Refused(error) => return Err(refused(error)),
            Recorded::LogNeeded => {
                return Err(ApiError::new(&kinds::LOG_NEEDED, "the event log with this digest is not known"));
            }
            Recorded::NoLonger => {
                return Err(ApiError::new(&kinds::UNAUTHENTICATED, "the agent's token is no longer valid"));
            }
            Recorded::Changed(current) => vm = *current,
            Recorded::Rejection(stands) => {
                rejection = stands;
                vm = plan.vm.clone();
            }
        }
    }
    Err(ApiError::new(&kinds::DATABASE_BUSY, "the VM's record keeps changing"))
}

/// A challenge that does not count.
pub(super) fn refused(error: ChallengeError) -> ApiError {
    let kind = match error {
        ChallengeError::Unknown => &kinds::CHALLENGE_UNKNOWN,
        ChallengeError::Expired => &kinds::CHALLENGE_EXPIRED,
        ChallengeError::Used => &kinds::CHALLENGE_USED,
    };
    ApiError::new(kind, error.to_string())
}

/// What an appraisal came to.
#[derive(Debug)]
pub(super) struct Judged {
    pub outcome: Outcome,
    pub status: VmStatus,
    /// One sentence that explains the status.
    pub detail: Option<String>,
    /// The quote, when its signature holds.
    pub quote: Option<Quote>,
    pub bank: Option<HashAlg>,
    pub learned: Option<Learned>,
    /// What was booted, by component in plain words.
    pub components: BTreeMap<String, String>,
    /// What it proposes: everything else about it is healthy.
    pub shown: Option<Shown>,
    /// SHA-256 over everything that is enforced of the boot, hex; `None` when the boot is not believed.
    pub boot_key: Option<String>,
}

/// Everything that the transaction needs, decided on a snapshot of the VM's record.
#[derive(Debug)]
pub(super) struct Plan {
    /// The record that all of this was decided on.
    pub vm: VmRow,
    /// What came of the TPM's endorsement, where the record does not say so yet; in `vm` it is the present one.
    pub endorsement: Option<vms::Endorsement>,
    /// What judged.
    pub judges: Judges,
    pub challenge: CheckedChallenge,
    pub evidence: Arc<Evidence>,
    pub judged: Judged,
    /// Its log, examined.
    pub report: Option<Arc<LogReport>>,
    pub interval_s: u32,
    pub silence_limit_s: u32,
    /// An alert that was resolved at most this long ago comes back as the same one, seconds.
    pub reopen_window_s: u32,
    /// Healthy boots that a first baseline is learned from.
    pub learn_boots: u32,
    pub signer: BaselineSigner,
    pub now: Time,
}

impl Plan {
    async fn prepare(
        state: &AppState,
        vm: VmRow,
        challenge: CheckedChallenge,
        evidence: &Arc<Evidence>,
        report: &Result<Option<Examined>, Broken>,
        judges: Judges,
        now: Time,
    ) -> Self {
        let endorsement = state.attest.endorsement.news(&vm, now);
        let vm = VmRow { endorsement: endorsement.clone().or(vm.endorsement), ..vm };
        let judged = match report {
            Ok(report) => {
                let input = Input {
                    vm: vm.clone(),
                    evidence: Arc::clone(evidence),
                    report: report.as_ref().map(|examined| Arc::clone(&examined.report)),
                    judges: judges.clone(),
                };
                input.judged(state, previous_boot(&vm), true).await.unwrap_or_else(|e| broken(&vm, &e))
            }
            Err(error) => broken(&vm, error),
        };
        Self {
            vm,
            endorsement,
            judges,
            challenge,
            evidence: Arc::clone(evidence),
            judged,
            report: report.as_ref().ok().and_then(Option::as_ref).map(|e| Arc::clone(&e.report)),
            interval_s: state.config.interval_s,
            silence_limit_s: state.config.silence_limit_s(),
            reopen_window_s: state.config.alerts.reopen_window_s,
            learn_boots: state.attest.learn_boots,
            signer: state.attest.baseline_signer.clone(),
            now,
        }
    }

    /// Whether the quote is believed: only then it says anything about boots and logs.
    pub fn quote_believed(&self) -> Option<&Quote> {
        self.judged.quote.as_ref().filter(|_| self.judged.outcome.facts.quote == FactState::Valid)
    }
}

/// What one appraisal looks at.
#[derive(Clone, Debug)]
pub(super) struct Input {
    pub vm: VmRow,
    pub evidence: Arc<Evidence>,
    pub report: Option<Arc<LogReport>>,
    pub judges: Judges,
}

impl Input {
    /// Verifies, judges and concludes, where there is room for work of this length.
    pub async fn judged(
        self,
        state: &AppState,
        previous: Option<PreviousBoot>,
        may_learn: bool,
    ) -> Result<Judged, Broken> {
        let long = self.report.as_ref().is_some_and(|report| report.bytes > LONG_LOG_BYTES)
            || self.judges.baseline.as_ref().is_some_and(Judging::is_long);
        let shared = state.clone();
        work::run(&state.attest.long_work, long, move || {
            shared.attest.appraise(&self, previous.as_ref(), may_learn)
        })
        .await?
    }
}

impl AttestState {
    /// Pure but for the caches.
    fn appraise(
        &self,
        input: &Input,
        previous: Option<&PreviousBoot>,
        may_learn: bool,
    ) -> Result<Judged, Broken> {
        let quote = {
            let _timing = self.stages.enter(Stage::Quote);
            self.verify(&input.vm.ak_public, &input.evidence)?
        };
        let bank = quote.as_ref().ok().and_then(bank_of);
        let report = input.report.as_deref();
        let baseline = match &input.judges.baseline {
            Some(judging) => {
                Some((judging.current.id.as_str(), judging.content.as_deref().map_err(Clone::clone)?))
            }
            None => None,
        };
        let profile = input.judges.profile.content.as_deref().map_err(Clone::clone)?;
        let profile_key = input.judges.profile.key.as_str();
        let judgement = match (report, bank) {
            (Some(report), Some(bank)) => Some(self.judge(report, bank, baseline, (profile_key, profile))?),
            _ => None,
        };
        let boot = input.judges.facts.as_ref().map_err(Clone::clone)?.as_ref().map(|facts| &*facts.boot);
        let seen = seen_by_conditions(&input.vm, &input.evidence.machine);
        let concluded = |judgement: Option<&Judgement>| {
            let outcome = guarded(|| {
                conclude(Conclude {
                    quote: quote.as_ref(),
                    pcr_values: Some(&input.evidence.pcrs),
                    report,
                    log_absent_because: input.evidence.log_absent_because.as_deref(),
                    judgement,
                    profile,
                    previous,
                })
            })?;
            self.conditions.judge(endorsed(outcome, &input.vm), (profile_key, profile), boot, seen)
        };
        let mut outcome = concluded(judgement.as_deref())?;
        let mut shown = None;
        if let (Verdict::Healthy, Some(judgement), Some(report)) =
            (outcome.verdict, &judgement, &input.report)
            && let Some(proposed) = &judgement.proposed
        {
            let rejection = input.judges.rejection.clone();
            if let Some(rejection) = &rejection {
                outcome = concluded(Some(&proposals::refused(judgement, rejection)))?;
            }
            let judging = input.judges.baseline.as_ref();
            let proposing = Proposing {
                proposed: proposed.clone(),
                report: Arc::clone(report),
                bank: judgement.bank,
                baseline: judging.and_then(|judging| judging.content.clone().ok()),
            };
            shown = Some(Shown::new(proposing, &input.judges.profile.reference, rejection));
        }
        let same_boot = quote.as_ref().is_ok_and(|quote| {
            (Some(quote.reset_count), Some(quote.restart_count))
                == (input.vm.reset_count, input.vm.restart_count)
        });
        let mut learned = None;
        // What an operator is asked about is not learned.
        if let (true, None, Learn::FirstBoots, Some(report), Some(bank)) =
            (may_learn, &shown, profile.learn, report, bank)
            && let Some(new) = learn::from_this_boot(input, &outcome, report, bank, same_boot)
        {
            // What is learned from a log accepts that log (SPEC section 5). Shown, not assumed.
            let judgement = guarded(|| judge(report, bank, Some(&new.baseline), profile))?;
            let again = concluded(Some(&judgement))?;
            if again.learnable && judgement.proposed.is_none() {
                outcome = again;
                learned = Some(new);
            } else if outcome.learnable {
                tracing::error!(
                    vm = input.vm.id,
                    log = report.sha256,
                    "a learned baseline refuses its own log"
                );
            }
        }
        let detail = match outcome.verdict {
            Verdict::Healthy => None,
            Verdict::Unhealthy => outcome.primary().map(|f| f.message.clone()),
        };
        let (status, quote) = (outcome.status(), quote.ok());
        let components = match (report, &quote, bank) {
            (Some(report), Some(_), Some(bank)) => guarded(|| components_in(report, bank))?,
            _ => BTreeMap::new(),
        };
        let boot_key = match (report, bank, outcome.facts.quote, outcome.facts.log) {
            (Some(report), Some(bank), FactState::Valid, FactState::Valid) => {
                self.boot_key(report, bank, (profile_key, profile))?
            }
            _ => None,
        };
        outcome.findings = bounds::findings(outcome.findings);
        Ok(Judged { status, detail, quote, bank, learned, components, shown, boot_key, outcome })
    }
}

fn endorsed(outcome: Outcome, vm: &VmRow) -> Outcome {
    match &vm.endorsement {
        Some(endorsement) => outcome.endorsed(endorsement.state, endorsement.detail.as_deref()),
        None => outcome,
    }
}

/// What is found when the service cannot appraise evidence.
pub(super) fn appraisal_failed() -> Finding {
    let mut finding = Finding::new(
        APPRAISAL_FAILED,
        Severity::Critical,
        "The service could not appraise this evidence; nothing is known about the VM",
    );
    finding.reason = Some(AlertReason::AppraisalFailed);
    finding.hint = Some("The operator finds the cause in the service's log under the VM's id.".to_owned());
    finding
}

/// The outcome when the service could not appraise: nothing is known, and nothing is healthy.
fn broken(vm: &VmRow, error: &Broken) -> Judged {
    tracing::error!(vm = vm.id, %error, "appraisal failed");
    let finding = appraisal_failed();
    Judged {
        detail: Some(finding.message.clone()),
        outcome: endorsed(
            Outcome {
                verdict: Verdict::Unhealthy,
                facts: Facts::UNKNOWN,
                findings: vec![finding],
                reasons: vec![AlertReason::AppraisalFailed],
                learnable: false,
            },
            vm,
        ),
        status: VmStatus::Error,
        quote: None,
        bank: None,
        learned: None,
        components: BTreeMap::new(),
        shown: None,
        boot_key: None,
    }
}

/// What the last believed quote of this TPM said, whichever of its keys made it.
pub(super) fn previous_boot(vm: &VmRow) -> Option<PreviousBoot> {
    Some(PreviousBoot {
        reset_count: vm.reset_count?,
        restart_count: vm.restart_count?,
        clock_ms: vm.clock_ms?,
        firmware_version: vm.firmware_version?,
        log_sha256: vm.log_sha256.clone(),
        ak_replaced: vm.counted_ak_name.as_ref().is_some_and(|name| *name != vm.ak_name),
    })
}

fn receipt(state: &AppState, plan: &Plan, done: record::Done) -> Result<Receipt, ApiError> {
    let outcome = &plan.judged.outcome;
    let appraised = Appraised {
        verdict: outcome.verdict,
        at: plan.now,
        vm_id: &plan.vm.id,
        vm_name: &plan.vm.name,
        group: &plan.vm.group,
        scale_set: plan.vm.scale_set.as_deref(),
        boot_id: done.boot_id.as_deref(),
        attestation_id: &done.attestation_id,
        facts: &outcome.facts,
        baseline: done.baseline.as_deref(),
        findings: &outcome.findings,
    };
    // The attestation is stored; a token that cannot be signed is no reason to lose the answer.
    let token = match done.status {
        VmStatus::Healthy => state
            .attest
            .token(&appraised)
            .inspect_err(|error| tracing::error!(%error, "no token"))
            .ok()
            .flatten(),
        _ => None,
    };
    Ok(Receipt {
        attestation_id: done.attestation_id,
        verdict: outcome.verdict,
        status: done.status,
        findings: outcome.findings.clone(),
        token,
        directions: next_directions(state, &plan.vm.id, plan.challenge.issued_us, plan.interval_s, plan.now)?,
    })
}
