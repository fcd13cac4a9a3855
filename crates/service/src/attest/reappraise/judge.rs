//! Judges what is stored of one VM by what holds now. Writes nothing, unless it cannot be judged.

use std::sync::Arc;

use veriboot_appraisal::LogReport;
use veriboot_store::StoreError;
use veriboot_store::baselines::CurrentBaseline;
use veriboot_store::proposals::Rejection;
use veriboot_store::{attestations, new_id, vms};
use veriboot_wire::{Attestation, Time, Verdict};

use super::ReappraiseError;
use super::stored::Stored;
use super::unjudged::Unjudged;
use crate::attest::appraise::{Input, Judged, previous_boot};
use crate::attest::conditions::boot_facts;
use crate::attest::evidence::{Evidence, Log};
use crate::attest::examine::examined;
use crate::attest::judges::{Judges, judges_of};
use crate::attest::profiles::JudgingProfile;
use crate::attest::record::context;
use crate::{ApiError, AppState};

/// What is to be written of a VM that was judged again.
pub(super) struct Repeat {
    /// Its record as it was judged on.
    pub vm: vms::VmRow,
    /// The verdict before.
    pub before: Verdict,
    /// What it is stored as, with its evidence.
    pub attestation: Attestation,
    pub evidence: attestations::Evidence,
    pub judged: Judged,
    /// Its log, examined.
    pub report: Option<Arc<LogReport>>,
    pub baseline: Option<CurrentBaseline>,
    pub profile: JudgingProfile,
    pub now: Time,
}

/// Judges, with the rejection that is known to stand for what the VM shows. `None` when what holds now judged it already,
/// unless it is to be judged `always`.
pub(super) async fn judge(
    state: &AppState,
    stored: Stored,
    rejection: Option<Rejection>,
    always: bool,
) -> Result<Option<Repeat>, ReappraiseError> {
    let Stored { vm, last, evidence, judges } = stored;
    let judges = judges_of(state, judges, &vm.group).await.map_err(api_error)?;
    if !always && judged_by_these(&last, &judges) {
        return Ok(None);
    }
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
    let unjudged = || Unjudged {
        vm: vm.clone(),
        baseline: judges.current(),
        profile: judges.profile.clone(),
        reopen_window_s: state.config.alerts.reopen_window_s,
        now,
    };
    let report = match examined(state, input.log.as_ref()).await.map_err(api_error)? {
        Ok(report) => report,
        Err(error) => return Err(unjudged().note(state, &error).await),
    };
    if let Some(report) = &report {
        report.keep(state);
    }
    let report = report.map(|examined| examined.report);
    let facts = boot_facts(state, &judges.profile, &input, report.as_ref()).await.map_err(api_error)?;
    let (baseline, profile) = (judges.current(), judges.profile.clone());
    // The record's counters are those of this very quote by now; the log it is held against is still the one
    // that replayed.
    let previous = previous_boot(&vm);
    let input = Input {
        vm: vm.clone(),
        evidence: Arc::new(input),
        report: report.clone(),
        judges: Judges { rejection, facts, ..judges.clone() },
    };
    match input.judged(state, previous, false).await {
        Ok(judged) => {
            let attestation = Attestation {
                // The time of its evidence: judging again makes nothing fresher. The id is newer.
                id: new_id(now),
                verdict: judged.outcome.verdict,
                facts: judged.outcome.facts,
                findings: judged.outcome.findings.clone(),
                baseline: baseline.as_ref().map(|current| current.reference.clone()),
                baseline_scope: baseline.as_ref().map(|current| current.scope),
                profile: Some(profile.reference.clone()),
                ..last
            };
            let evidence = attestations::Evidence { context: Some(context(&vm, &judged)), ..evidence };
            Ok(Some(Repeat {
                vm,
                before: last.verdict,
                attestation,
                evidence,
                report,
                judged,
                baseline,
                profile,
                now,
            }))
        }
        Err(error) => Err(unjudged().note(state, &error).await),
    }
}

/// Whether the last attestation was judged by these. By a broken one it is judged again, so that the VM does not stay healthy
/// by what was before.
fn judged_by_these(last: &Attestation, judges: &Judges) -> bool {
    let baseline = judges.baseline.as_ref();
    judges.profile.content.is_ok()
        && baseline.is_none_or(|judging| judging.content.is_ok())
        && last.baseline.as_ref() == baseline.map(|judging| &judging.current.reference)
        && last.profile.as_ref() == Some(&judges.profile.reference)
}

/// What failed on the way to the evidence says nothing about it.
fn api_error(error: ApiError) -> ReappraiseError {
    match error.code() {
        "log-needed" => ReappraiseError::NoEvidence,
        code if code.starts_with("database-") => ReappraiseError::Store(StoreError::Busy),
        code => ReappraiseError::Broken(code.to_owned()),
    }
}
