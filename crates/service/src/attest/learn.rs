//! The first baseline of a VM or scale set.

use veriboot_appraisal::{Baseline, CompiledBaseline, LearnError, LogReport};
use veriboot_eventlog::HashAlg;
use veriboot_store::vms::VmRow;
use veriboot_wire::{Scope, ScopeKind};

/// A baseline that is about to become version 1 of its scope.
#[derive(Clone, Debug)]
pub(super) struct Learned {
    pub scope: Scope,
    pub name: String,
    pub document: String,
    pub components: u32,
    pub baseline: CompiledBaseline,
}

/// Why nothing was learned.
#[derive(Debug, thiserror::Error)]
pub(super) enum NotLearned {
    #[error(transparent)]
    Learn(#[from] LearnError),
    #[error("the baseline cannot be written: {0}")]
    Document(#[from] serde_json::Error),
}

/// What a VM's own boots are learned into: its scale set's baseline for a member, else its own.
pub(super) fn scope_of(vm: &VmRow) -> Scope {
    match &vm.scale_set {
        Some(scale_set) => {
            Scope { kind: ScopeKind::ScaleSet, group: vm.group.clone(), id: scale_set.clone() }
        }
        None => Scope { kind: ScopeKind::Vm, group: vm.group.clone(), id: vm.id.clone() },
    }
}

/// Name of that baseline: `scale-set/default/web`, `vm/default/db-0`.
pub(super) fn name_of(vm: &VmRow) -> String {
    match &vm.scale_set {
        Some(scale_set) => format!("scale-set/{}/{scale_set}", vm.group),
        None => format!("vm/{}/{}", vm.group, vm.name),
    }
}

/// Makes a baseline of what was booted.
pub(super) fn learn(vm: &VmRow, report: &LogReport, bank: HashAlg) -> Result<Learned, NotLearned> {
    let baseline = Baseline::learn(report, bank)?;
    let document = baseline.to_json()?;
    Ok(Learned {
        scope: scope_of(vm),
        name: name_of(vm),
        document,
        components: u32::try_from(baseline.components()).unwrap_or(u32::MAX),
        baseline: baseline.compile(),
    })
}
