//! The first baseline of a VM or scale set, and what further boots add while it is learned.
//!
//! With `learn_boots = 1` the first healthy boot is the baseline. With more, version 1 is learned from the first healthy
//! boot all the same and judges from then on: nobody is unjudged while others boot. Up to the N-th boot, what differs
//! *harmlessly* (boot entries, their order, firmware tables, identifiers of disks and network cards in paths) is merged
//! into patterns, as a further version. Whatever else differs is a deviation as ever: it fails, and no number of boots
//! makes it trusted. A boot counts once, when it is healthy by what was learned so far or by what it adds.

use veriboot_appraisal::{Baseline, CompiledBaseline, LogReport, Outcome};
use veriboot_eventlog::HashAlg;
use veriboot_store::baselines::{self, CurrentBaseline, LearnedBoot, name_of};
use veriboot_store::vms::VmRow;
use veriboot_store::{StoreError, Tx};
use veriboot_wire::{AlertReason, BaselineOrigin, Finding, Scope, ScopeKind};

use super::AttestState;
use super::appraise::Input;

/// A baseline that is about to become a version of its scope.
#[derive(Clone, Debug)]
pub(super) struct Learned {
    pub scope: Scope,
    pub name: String,
    /// The document; `None` when this boot adds nothing and is only counted.
    pub document: Option<String>,
    pub components: u32,
    pub baseline: CompiledBaseline,
    /// Which boot of the first ones this is, from 1.
    pub boot: u32,
}

/// How far a baseline is learned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Learning {
    /// Its name.
    pub name: String,
    /// Logs of the boots that it was learned from.
    pub boots: Vec<LearnedBoot>,
}

/// How far the baseline that judges is learned; `None` when all `wanted` boots were seen, or nobody learned it.
pub(super) fn progress(
    tx: &mut dyn Tx,
    current: &CurrentBaseline,
    wanted: u32,
) -> Result<Option<Learning>, StoreError> {
    let Some(summary) = baselines::summary(tx, &current.id)? else { return Ok(None) };
    if summary.origin != BaselineOrigin::Learned {
        return Ok(None);
    }
    let boots = baselines::learned_boots(tx, &summary.name, wanted)?;
    let seen = u32::try_from(boots.len()).unwrap_or(u32::MAX);
    // A baseline that was learned when one boot was enough is done.
    Ok((seen > 0 && seen < wanted).then_some(Learning { name: summary.name, boots }))
}

impl AttestState {
    /// Whether boots to come may still be learned into a version.
    pub(crate) fn is_learning(&self, tx: &mut dyn Tx, current: &CurrentBaseline) -> Result<bool, StoreError> {
        Ok(self.learn_boots > 1 && progress(tx, current, self.learn_boots)?.is_some())
    }
}

/// What a VM's own boots are learned into: its scale set's baseline for a member, else its own.
pub(crate) fn scope_of(vm: &VmRow) -> Scope {
    match &vm.scale_set {
        Some(scale_set) => {
            Scope { kind: ScopeKind::ScaleSet, group: vm.group.clone(), id: scale_set.clone() }
        }
        None => Scope { kind: ScopeKind::Vm, group: vm.group.clone(), id: vm.id.clone() },
    }
}

/// What this boot teaches, if anything. Whether that accepts the boot is for the caller to show. `same_boot`: the TPM was
/// not reset since the last quote.
pub(super) fn from_this_boot(
    input: &Input,
    outcome: &Outcome,
    report: &LogReport,
    bank: HashAlg,
    same_boot: bool,
) -> Option<Learned> {
    let vm = &input.vm;
    match (&input.judges.baseline, &input.judges.learning) {
        (None, _) if outcome.learnable => first(vm, report, bank),
        (Some(judging), Some(learning)) if outcome.learnable || only_deviates(&outcome.findings) => {
            if same_boot && outcome.learnable && counted(vm, learning, report) {
                return None;
            }
            further(vm, judging.content.as_deref().ok()?, learning, report, bank)
        }
        _ => None,
    }
}

/// Whether the VM's present boot was counted before.
fn counted(vm: &VmRow, learning: &Learning, report: &LogReport) -> bool {
    let same = |boot: &LearnedBoot| {
        Some(&boot.boot_id) == vm.current_boot_id.as_ref() && boot.log_sha256 == report.sha256
    };
    learning.boots.iter().any(same)
}

/// Whether nothing but deviations from the baseline fails.
fn only_deviates(findings: &[Finding]) -> bool {
    findings
        .iter()
        .filter(|f| f.fails())
        .all(|f| f.reason == Some(AlertReason::BaselineDeviation) && f.change.is_some())
}

fn first(vm: &VmRow, report: &LogReport, bank: HashAlg) -> Option<Learned> {
    let baseline = Baseline::learn(report, bank)
        .inspect_err(|error| tracing::error!(vm = vm.id, %error, "no baseline was learned"))
        .ok()?;
    let scope = scope_of(vm);
    let document = written(vm, &baseline)?;
    Some(Learned {
        name: name_of(&scope, Some(&vm.name)),
        scope,
        document: Some(document),
        components: components(&baseline),
        baseline: baseline.compile(),
        boot: 1,
    })
}

fn further(
    vm: &VmRow,
    so_far: &Baseline,
    learning: &Learning,
    report: &LogReport,
    bank: HashAlg,
) -> Option<Learned> {
    let next = so_far.let_vary(report, bank).ok().flatten()?;
    let document = if next == *so_far { None } else { Some(written(vm, &next)?) };
    Some(Learned {
        scope: scope_of(vm),
        name: learning.name.clone(),
        document,
        components: components(&next),
        baseline: next.compile(),
        boot: u32::try_from(learning.boots.len()).unwrap_or(u32::MAX).saturating_add(1),
    })
}

fn components(baseline: &Baseline) -> u32 {
    u32::try_from(baseline.components()).unwrap_or(u32::MAX)
}

fn written(vm: &VmRow, baseline: &Baseline) -> Option<String> {
    let document = baseline.to_json();
    document.inspect_err(|error| tracing::error!(vm = vm.id, %error, "a baseline cannot be written")).ok()
}
