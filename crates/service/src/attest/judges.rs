//! What judges a VM now: its baseline and its profile, with their contents.

use std::sync::Arc;

use veriboot_appraisal::CompiledBaseline;
use veriboot_store::baselines::{self, CurrentBaseline};
use veriboot_store::proposals::Rejection;
use veriboot_store::vms::VmRow;
use veriboot_store::{StoreError, judges};

use super::conditions::BootFacts;
use super::examine::Broken;
use super::learn::{self, Learning};
use super::profiles::{JudgingProfile, judging_profile};
use super::work::LONG_BASELINE;
use crate::{ApiError, AppState};

/// What judges a VM now.
#[derive(Clone, Debug)]
pub(crate) struct Judges {
    /// The baseline; `None` when there is none yet.
    pub baseline: Option<Judging>,
    /// The profile.
    pub profile: JudgingProfile,
    /// How far the baseline is learned, while it is.
    pub learning: Option<Learning>,
    /// The rejection of what the VM proposes, once it is known to stand. Whoever records the outcome looks again.
    pub rejection: Option<Rejection>,
    /// What the conditions of the profile may know of the log; `None` without conditions or without a log.
    pub facts: Result<Option<BootFacts>, Broken>,
}

impl Judges {
    /// Which baseline it is.
    pub fn current(&self) -> Option<CurrentBaseline> {
        self.baseline.as_ref().map(|judging| judging.current.clone())
    }
}

/// The baseline that judges a VM now.
#[derive(Clone, Debug)]
pub(crate) struct Judging {
    pub current: CurrentBaseline,
    /// One that cannot be read back is a broken appraisal, not a missing baseline.
    pub content: Result<Arc<CompiledBaseline>, Broken>,
}

/// Finds what judges a VM now; contents are read once.
pub(crate) async fn judging(state: &AppState, vm: &VmRow) -> Result<Judges, ApiError> {
    let learn_boots = state.attest.learn_boots;
    let (current, assigned, learning) = state
        .store
        .read({
            let vm = vm.clone();
            move |tx| {
                let found = judges::for_vm(tx, vm.place())?;
                let learning = match &found.baseline {
                    Some(current) if learn_boots > 1 => learn::progress(tx, current, learn_boots)?,
                    _ => None,
                };
                Ok::<_, StoreError>((found.baseline, found.profile, learning))
            }
        })
        .await?;
    let judges = judges_of(state, judges::Judges { baseline: current, profile: assigned }, &vm.group).await?;
    Ok(Judges { learning, ..judges })
}

/// What was found to judge a VM of this group, with contents; nothing is learned by it.
pub(super) async fn judges_of(
    state: &AppState,
    found: judges::Judges,
    group: &str,
) -> Result<Judges, ApiError> {
    let profile = judging_profile(state, found.profile, group).await?;
    let baseline = match found.baseline {
        Some(current) => Some(content_of(state, current).await?),
        None => None,
    };
    Ok(Judges { baseline, profile, learning: None, rejection: None, facts: Ok(None) })
}

/// The content of a version.
pub(crate) async fn content_of(state: &AppState, current: CurrentBaseline) -> Result<Judging, ApiError> {
    if let Some(content) = state.attest.baselines.get(&current.id) {
        return Ok(Judging { current, content: Ok(content) });
    }
    let id = current.id.clone();
    let content = match state.store.read(move |tx| baselines::by_id(tx, &id)).await {
        Ok(Some(row)) => state.attest.baseline(&row),
        Ok(None) => Err(Broken::Baseline("it is gone".to_owned())),
        Err(StoreError::Corrupt { cause }) => Err(Broken::Baseline(cause)),
        Err(error) => return Err(error.into()),
    };
    Ok(Judging { current, content })
}

impl Judging {
    /// Whether judging by it is long work.
    pub(super) fn is_long(&self) -> bool {
        self.content.as_ref().is_ok_and(|baseline| baseline.measurements().count() > LONG_BASELINE)
    }
}
