//! What the verdict over stored evidence would be. Nothing is written, learned or kept in memory.

use std::sync::Arc;

use veriboot_appraisal::CompiledBaseline;
use veriboot_store::baselines::CurrentBaseline;
use veriboot_wire::{Finding, PreviewVm, ScopeKind};

use super::appraise::{Input, previous_boot};
use super::conditions::boot_facts;
use super::evidence::{Evidence, Log};
use super::examine::{Broken, examined};
use super::judges::{Judging, judges_of};
use super::profiles::JudgingProfile;
use super::reappraise::{ReappraiseError, Stored, stored};
use crate::{ApiError, AppState};

/// How a document that is not stored is called. No baseline is: these have a version behind their name.
const DOCUMENT: &str = "document";
/// Findings of a VM that are listed on each side.
const MAX_FINDINGS: usize = 32;

/// What evidence is held against in place of what judges now; `None` keeps that.
#[derive(Clone, Debug)]
pub(crate) struct Against {
    pub baseline: Option<Judging>,
    pub profile: Option<JudgingProfile>,
}

impl Judging {
    /// A document that is not stored. Its id is in no database, and a new one each time: nothing is remembered under it.
    pub(crate) fn of_document(baseline: CompiledBaseline) -> Self {
        let current = CurrentBaseline {
            id: format!("document:{}", uuid::Uuid::now_v7()),
            reference: DOCUMENT.to_owned(),
            scope: ScopeKind::Group,
        };
        Self { current, content: Ok(Arc::new(baseline)) }
    }

    fn is_document(&self) -> bool {
        self.current.reference == DOCUMENT
    }
}

/// What would become of a VM; `None` when there is none.
pub(crate) async fn preview(
    state: &AppState,
    vm_id: &str,
    against: &Against,
) -> Result<Option<PreviewVm>, ApiError> {
    let row = {
        let id = vm_id.to_owned();
        state.store.read(move |tx| veriboot_store::vms::by_id(tx, &id)).await?
    };
    let Some(row) = row else { return Ok(None) };
    let mut vm = PreviewVm {
        vm_id: row.id,
        name: row.name,
        group: row.group,
        before: None,
        after: None,
        judged_by: row.baseline,
        profile: None,
        appear: Vec::new(),
        disappear: Vec::new(),
        without_evidence: None,
    };
    match judged(state, vm_id, against, &mut vm).await {
        Ok(()) => {}
        Err(ReappraiseError::Store(error)) => return Err(error.into()),
        Err(ReappraiseError::Broken(cause)) => {
            tracing::warn!(vm = vm_id, cause, "evidence cannot be judged");
            vm.without_evidence = Some("the stored evidence cannot be appraised".to_owned());
        }
        Err(error) => vm.without_evidence = Some(error.to_string()),
    }
    Ok(Some(vm))
}

async fn judged(
    state: &AppState,
    vm_id: &str,
    against: &Against,
    answer: &mut PreviewVm,
) -> Result<(), ReappraiseError> {
    let Stored { vm, last, evidence, judges } = stored(state, vm_id).await?;
    let broken = |error: ApiError| ReappraiseError::Broken(error.code().to_owned());
    let evidence = Evidence {
        nonce: evidence.nonce,
        quote: evidence.quote,
        signature: evidence.signature,
        pcrs: evidence.pcrs,
        log: last.log_sha256.clone().map(|sha256| Log { sha256, content: None }),
        log_absent_because: evidence.log_absent_because,
        machine: vm.machine.clone(),
        kernel: None,
    };
    let report = examined(state, evidence.log.as_ref()).await.map_err(broken)?.map_err(cannot)?;
    let mut judges = judges_of(state, judges, &vm.group).await.map_err(broken)?;
    // Rejections are of a baseline by its name. A document has none: it is to take the place of what judges now.
    let present = judges.current().map(|current| current.name().to_owned());
    let mut name = present;
    if let Some(baseline) = &against.baseline {
        if !baseline.is_document() {
            name = Some(baseline.current.name().to_owned());
        }
        judges.baseline = Some(baseline.clone());
    }
    if let Some(profile) = &against.profile {
        judges.profile = profile.clone();
    }
    answer.profile = Some(judges.profile.reference.clone());
    let of_log = report.as_ref().map(|examined| &examined.report);
    judges.facts = boot_facts(state, &judges.profile, &evidence, of_log).await.map_err(broken)?;
    let previous = previous_boot(&vm);
    let mut input =
        Input { vm, evidence: Arc::new(evidence), report: report.map(|examined| examined.report), judges };
    let mut judged = input.clone().judged(state, previous.clone(), false).await.map_err(cannot)?;
    if let (Some(shown), Some(name)) = (judged.shown.take(), name) {
        let rejection = state.store.read(move |tx| shown.rejection(tx, &name)).await?;
        if rejection.is_some() {
            input.judges.rejection = rejection;
            judged = input.judged(state, previous, false).await.map_err(cannot)?;
        }
    }
    answer.before = Some(last.verdict);
    answer.after = Some(judged.outcome.verdict);
    answer.judged_by.clone_from(&last.baseline);
    answer.appear = missing_in(&judged.outcome.findings, &last.findings);
    answer.disappear = missing_in(&last.findings, &judged.outcome.findings);
    Ok(())
}

fn cannot(error: Broken) -> ReappraiseError {
    ReappraiseError::Broken(error.to_string())
}

/// Findings of `these` that are not among `those`.
fn missing_in(these: &[Finding], those: &[Finding]) -> Vec<Finding> {
    these.iter().filter(|finding| !those.contains(finding)).take(MAX_FINDINGS).cloned().collect()
}
