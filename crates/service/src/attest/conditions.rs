//! Policy conditions of profiles: compiled once per profile, evaluated on every attestation.
//!
//! A profile without conditions costs nothing: no log is read for it. What conditions may know of a log depends on the
//! log and on the registers that the profile does not hold against it, and is kept by both.

use std::collections::BTreeSet;
use std::sync::Arc;

use tokio::sync::Semaphore;
use veriboot_appraisal::{LogReport, Outcome, Profile};
use veriboot_eventlog::HashAlg;
use veriboot_policy::{Boot, Policy, Problem, Vm};
use veriboot_store::profiles;
use veriboot_store::vms::VmRow;
use veriboot_tpm::peek_selection;
use veriboot_wire::MachineInfo;

use super::cache::Cache;
use super::evidence::{Evidence, Log};
use super::examine::{Broken, bytes_of, examined, guarded};
use super::profiles::{JudgingProfile, judging_profile};
use super::work::{self, LONG_LOG_BYTES};
use crate::problem::kinds;
use crate::{ApiError, AppState};

/// Bytes of memory for what conditions know of logs.
const BOOT_CACHE_BYTES: usize = 32 * 1024 * 1024;
/// Policies that are kept compiled.
const POLICY_CACHE_ENTRIES: usize = 256;

/// A log, the bank that is quoted, and the registers that the profile does not hold against the log.
type BootKey = (String, HashAlg, Vec<u32>);
/// A compiled policy; one that cannot be used stays so.
type Compiled = Result<Policy, Vec<Problem>>;

/// What is kept between attestations.
#[derive(Debug)]
pub(crate) struct Conditions {
    policies: Cache<String, Arc<Compiled>>,
    boots: Cache<BootKey, Arc<Boot>>,
    /// One dry-run or check at a time: evidence does not wait for them.
    dry_runs: Arc<Semaphore>,
}

impl Default for Conditions {
    fn default() -> Self {
        Self {
            policies: Cache::new(POLICY_CACHE_ENTRIES),
            boots: Cache::new(BOOT_CACHE_BYTES),
            dry_runs: Arc::new(Semaphore::new(1)),
        }
    }
}

/// What conditions know of the log of one piece of evidence.
#[derive(Clone, Debug)]
pub(crate) struct BootFacts {
    pub boot: Arc<Boot>,
    key: BootKey,
    /// Whether it is not in memory for the next evidence.
    fresh: bool,
}

impl BootFacts {
    /// Keeps it for evidence to come; only after its quote was believed.
    pub fn keep(&self, state: &AppState) {
        if self.fresh {
            let boot = Arc::clone(&self.boot);
            let weight = boot.weight().saturating_add(self.key.0.len());
            state.attest.conditions.boots.put(self.key.clone(), boot, weight);
        }
    }
}

/// A VM as conditions see it; the machine is what the agent said with the evidence.
pub(crate) fn seen_by_conditions<'a>(vm: &'a VmRow, machine: &'a MachineInfo) -> Vm<'a> {
    Vm {
        name: Some(&vm.name),
        group: Some(&vm.group),
        scale_set: vm.scale_set.as_deref(),
        os: Some(machine.os.as_str()),
    }
}

impl Conditions {
    /// Forgets everything that can be read again.
    pub fn forget(&self) {
        self.policies.clear();
        self.boots.clear();
    }

    /// The conditions of a profile, compiled. `key` names its content.
    fn policy(&self, key: &str, profile: &Profile) -> Result<Arc<Compiled>, Broken> {
        if let Some(policy) = self.policies.get(key) {
            return Ok(policy);
        }
        let policy = Arc::new(guarded(|| Policy::compile(&profile.conditions).map(|(policy, _)| policy))?);
        self.policies.put(key.to_owned(), Arc::clone(&policy), 1);
        Ok(policy)
    }

    /// The outcome with the findings of the profile's conditions. What is not believed is not asked about: it fails by
    /// itself already.
    pub fn judge(
        &self,
        outcome: Outcome,
        (key, profile): (&str, &Profile),
        boot: Option<&Boot>,
        vm: Vm<'_>,
    ) -> Result<Outcome, Broken> {
        if profile.conditions.is_empty() {
            return Ok(outcome);
        }
        let policy = self.policy(key, profile)?;
        guarded(|| veriboot_policy::judge(outcome, (*policy).as_ref().map_err(Vec::as_slice), boot, vm))
    }
}

/// What the conditions of the judging profile may know of a log; `None` when it has no conditions or there is no log.
pub(super) async fn boot_facts(
    state: &AppState,
    profile: &JudgingProfile,
    evidence: &Evidence,
    report: Option<&Arc<LogReport>>,
) -> Result<Result<Option<BootFacts>, Broken>, ApiError> {
    let (Ok(profile), Some(log), Some(report)) = (&profile.content, &evidence.log, report) else {
        return Ok(Ok(None));
    };
    // The same bytes are verified before anything is believed. What cannot be read fails there.
    let claimed = peek_selection(&evidence.quote).unwrap_or_default();
    let bank = claimed.first().and_then(|selection| HashAlg::from_tpm_id(selection.alg));
    let (false, Some(bank)) = (profile.conditions.is_empty(), bank) else { return Ok(Ok(None)) };
    read(state, log, report, bank, &profile.run_time_pcrs).await.map(|facts| facts.map(Some))
}

/// What conditions that are only tried may know of a stored log, or why they know nothing. `profile` is the one that
/// judges the VM, as far as it says which registers are not held against the log.
pub(crate) async fn dry_run_boot(
    state: &AppState,
    vm: &VmRow,
    log_sha256: &str,
    bank: HashAlg,
) -> Result<Result<Arc<Boot>, String>, ApiError> {
    let log = Log { sha256: log_sha256.to_owned(), content: None };
    let gone = || Ok(Err("its event log is not kept any more".to_owned()));
    let report = match examined(state, Some(&log)).await {
        Ok(Ok(Some(examined))) => examined.report,
        Ok(Ok(None)) => return gone(),
        Ok(Err(error)) => return Ok(Err(error.to_string())),
        Err(error) if error.code() == kinds::LOG_NEEDED.code => return gone(),
        Err(error) => return Err(error),
    };
    let place = vm.clone();
    let assigned = state.read(move |tx| Ok(profiles::assigned_for(tx, place.place())?)).await?;
    let profile = judging_profile(state, assigned, &vm.group).await?;
    let registers = match &profile.content {
        Ok(profile) => profile.run_time_pcrs.clone(),
        Err(error) => return Ok(Err(error.to_string())),
    };
    match read(state, &log, &report, bank, &registers).await? {
        Ok(facts) => {
            facts.keep(state);
            Ok(Ok(facts.boot))
        }
        Err(error) => Ok(Err(error.to_string())),
    }
}

/// Runs pure work of checks and dry-runs, beside the network's threads and one at a time.
pub(crate) async fn long_work<T: Send + 'static>(
    state: &AppState,
    task: impl FnOnce() -> T + Send + 'static,
) -> Result<T, ApiError> {
    work::run(&state.attest.conditions.dry_runs, true, task)
        .await
        .map_err(|broken| ApiError::internal(broken.to_string()))
}

/// What conditions may know of a log.
async fn read(
    state: &AppState,
    log: &Log,
    report: &Arc<LogReport>,
    bank: HashAlg,
    run_time_pcrs: &BTreeSet<u32>,
) -> Result<Result<BootFacts, Broken>, ApiError> {
    let key: BootKey = (log.sha256.clone(), bank, run_time_pcrs.iter().copied().collect());
    if let Some(boot) = state.attest.conditions.boots.get(&key) {
        return Ok(Ok(BootFacts { boot, key, fresh: false }));
    }
    let content = match bytes_of(state, log).await? {
        Ok(content) => content,
        Err(broken) => return Ok(Err(broken)),
    };
    let long = content.len() > LONG_LOG_BYTES;
    let (report, registers) = (Arc::clone(report), run_time_pcrs.clone());
    let boot = work::run(&state.attest.long_work, long, move || {
        Boot::read(&content, &report, Some(bank), &registers)
    })
    .await;
    Ok(boot.map(|boot| BootFacts { boot: Arc::new(boot), key, fresh: true }))
}
