//! The one transaction of VMs that were judged again.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use veriboot_store::baselines::CurrentBaseline;
use veriboot_store::judges::Judges;
use veriboot_store::proposals::{Followed, Rejection};
use veriboot_store::{StoreError, Tx, assessments, attestations, boots, events, judges, logs, vms};
use veriboot_wire::{FactState, Verdict, VmStatus};

use super::judge::Repeat;
use crate::attest::profiles::JudgingProfile;
use crate::{alerts, posture, proposals, status};

/// What the transaction came to for one VM.
pub(super) enum Recorded {
    Done(Box<Done>),
    /// The VM attested meanwhile, or what judges it is another one. Nothing was written of it.
    Overtaken,
    /// Another rejection stands for what it shows than was known. Nothing was written of it.
    Rejection(Option<Rejection>),
}

/// What was stored.
pub(super) struct Done {
    pub status: VmStatus,
    pub alerts: alerts::AlertChanges,
    pub proposals: Followed,
}

/// Whether a VM has sent nothing since it was looked at (`before`), and is judged by the same.
pub(super) fn stands(
    vm: &vms::VmRow,
    before: &vms::VmRow,
    now: &Judges,
    baseline: Option<&CurrentBaseline>,
    profile: &JudgingProfile,
) -> bool {
    vm.last_attestation_id == before.last_attestation_id
        && vm.ak_public == before.ak_public
        && vm.ek_certificate == before.ek_certificate
        && now.baseline.as_ref() == baseline
        && now.profile == profile.assigned
}

/// A VM that is written: its record in this transaction, and what it becomes.
struct Writing<'a> {
    repeat: &'a Repeat,
    row: vms::VmRow,
    /// Whether its status is what its evidence says.
    follows: bool,
    status: VmStatus,
    detail: Option<String>,
}

/// Writes what became of VMs, each once, in bulk; says what became of each, in their order.
pub(super) fn record_all(
    tx: &mut dyn Tx,
    repeats: &[Arc<Repeat>],
    reopen_window_s: u32,
) -> Result<Vec<Recorded>, StoreError> {
    assessments::read_along_indexes(tx)?;
    let ids: Vec<&str> = repeats.iter().map(|repeat| repeat.vm.id.as_str()).collect();
    let rows = vms::by_ids(tx, &ids)?;
    let places: Vec<_> = rows.iter().map(vms::VmRow::place).collect();
    let judges = judges::for_vms(tx, &places)?;
    let mut now: HashMap<String, (vms::VmRow, Judges)> =
        rows.iter().cloned().zip(judges).map(|(row, judges)| (row.id.clone(), (row, judges))).collect();
    let mut recorded = Vec::with_capacity(repeats.len());
    let mut writing = Vec::with_capacity(repeats.len());
    for repeat in repeats {
        recorded.push(match now.remove(&repeat.vm.id) {
            Some((row, judges))
                if stands(&row, &repeat.vm, &judges, repeat.baseline.as_ref(), &repeat.profile) =>
            {
                let other = repeat.other_rejection(tx)?;
                if other.is_none() {
                    writing.push(Writing::of(repeat, row));
                }
                other
            }
            _ => Some(Recorded::Overtaken),
        });
    }
    let mut done = events::hold(tx, |tx| write(tx, &writing, reopen_window_s))?.into_iter();
    let done = recorded.into_iter().map(|not_written| match not_written {
        Some(because) => because,
        None => done.next().map_or(Recorded::Overtaken, |done| Recorded::Done(Box::new(done))),
    });
    Ok(done.collect())
}

impl Repeat {
    /// The rejection of what the VM shows, where that is another one than it was judged with.
    fn other_rejection(&self, tx: &mut dyn Tx) -> Result<Option<Recorded>, StoreError> {
        let (Some(shown), Some(baseline)) = (&self.judged.shown, &self.baseline) else { return Ok(None) };
        let stands = shown.rejection(tx, baseline.name())?;
        Ok((stands != shown.rejected).then_some(Recorded::Rejection(stands)))
    }
}

impl<'a> Writing<'a> {
    fn of(repeat: &'a Repeat, row: vms::VmRow) -> Self {
        let follows = status::follows_evidence(&row);
        let (status, detail) = match follows {
            true => (repeat.judged.status, repeat.judged.detail.clone()),
            false => (row.status, row.status_detail.clone()),
        };
        // A fault that the agent reports stays until it attests.
        let (status, detail) = match (&row.fault, status::with_fault(status)) {
            (Some(fault), VmStatus::Error) => (VmStatus::Error, Some(fault.clone())),
            _ => (status, detail),
        };
        Self { repeat, row, follows, status, detail }
    }

    fn boot(&self) -> Option<boots::BootSeen<'_>> {
        let judged = &self.repeat.judged;
        let quote = judged.quote.as_ref().filter(|_| judged.outcome.facts.quote == FactState::Valid)?;
        self.repeat.attestation.boot_id.as_ref()?;
        Some(boots::BootSeen {
            vm_id: &self.row.id,
            reset_count: quote.reset_count,
            restart_count: quote.restart_count,
            log_sha256: self.repeat.attestation.log_sha256.as_deref(),
            at: self.repeat.attestation.at,
            verdict: judged.outcome.verdict,
            components: &judged.components,
        })
    }

    fn after<'w>(&'w self, posture_key: &'w str) -> vms::JudgedAgain<'w> {
        vms::JudgedAgain {
            before: &self.row,
            attestation_id: &self.repeat.attestation.id,
            status: self.status,
            status_detail: self.detail.as_deref(),
            facts: &self.repeat.attestation.facts,
            baseline: self.repeat.attestation.baseline.as_deref(),
            baseline_scope: self.repeat.attestation.baseline_scope,
            profile: &self.repeat.profile.reference,
            boot_key: self.repeat.judged.boot_key.as_deref(),
            posture_key: Some(posture_key),
        }
    }

    /// What its alerts follow from; `None` when they stay as they are.
    fn attested(&self, reopen_window_s: u32) -> Option<alerts::Attested<'_>> {
        let outcome = &self.repeat.judged.outcome;
        let told = self.row.monitoring && (self.follows || outcome.verdict == Verdict::Unhealthy);
        told.then_some(alerts::Attested {
            vm_id: &self.row.id,
            before: self.row.status,
            outcome,
            attestation_id: &self.repeat.attestation.id,
            quote_believed: false,
            reopen_window_s,
            at: self.repeat.now,
        })
    }

    fn follow(&self, tx: &mut dyn Tx) -> Result<Followed, StoreError> {
        let Repeat { judged, baseline, now, .. } = self.repeat;
        proposals::follow(
            tx,
            &proposals::Attested {
                vm_id: &self.row.id,
                vm_name: &self.row.name,
                member_of: self.row.proposal_id.as_deref(),
                attestation_id: &self.repeat.attestation.id,
                boot_id: self.repeat.attestation.boot_id.as_deref(),
                log_sha256: self.repeat.attestation.log_sha256.as_deref(),
                baseline_id: baseline.as_ref().map(|current| current.id.as_str()),
                at: *now,
            },
            judged.shown.as_ref().filter(|_| self.row.monitoring),
        )
    }

    fn assessed(&self) -> posture::After<'_> {
        posture::After {
            status: self.status,
            status_detail: self.detail.as_deref(),
            facts: &self.repeat.attestation.facts,
            endorsement_detail: self
                .row
                .endorsement
                .as_ref()
                .and_then(|e| e.why(self.repeat.attestation.facts.endorsement)),
            machine: &self.row.machine,
            kernel: self.row.kernel.as_ref().map(|said| &said.report),
            log_sha256: self.row.log_sha256.as_deref(),
        }
    }
}

fn write(tx: &mut dyn Tx, writing: &[Writing<'_>], reopen_window_s: u32) -> Result<Vec<Done>, StoreError> {
    // The VMs' rows come first, as where agents attest: whoever is in the way of whom is found out before all the rest.
    let keys: Vec<String> = writing.iter().map(|one| one.assessed().key(&one.row)).collect();
    let after: Vec<_> = writing.iter().zip(&keys).map(|(one, key)| one.after(key)).collect();
    vms::judged_again(tx, &after)?;
    let boots: Vec<_> = writing.iter().filter_map(Writing::boot).collect();
    boots::record_all(tx, &boots)?;
    let attestations: Vec<_> =
        writing.iter().map(|one| (&one.repeat.attestation, &one.repeat.evidence)).collect();
    attestations::insert_all(tx, &attestations)?;
    let healthy = writing.iter().filter(|one| one.repeat.attestation.verdict == Verdict::Healthy);
    let accepted: BTreeSet<&str> =
        healthy.filter_map(|one| one.repeat.attestation.log_sha256.as_deref()).collect();
    for sha256 in accepted {
        logs::accepted(tx, sha256)?;
    }
    for one in writing {
        status::changed(tx, &one.row, one.status, one.detail.as_deref(), one.repeat.now)?;
    }
    let attested: Vec<Option<alerts::Attested<'_>>> =
        writing.iter().map(|one| one.attested(reopen_window_s)).collect();
    let told: Vec<alerts::Attested<'_>> = attested.iter().flatten().copied().collect();
    let mut changes = alerts::after_attestations(tx, &told)?.into_iter();
    let mut done = Vec::with_capacity(writing.len());
    for (one, attested) in writing.iter().zip(&attested) {
        done.push(Done {
            status: one.status,
            alerts: attested.and_then(|_| changes.next()).unwrap_or_default(),
            proposals: one.follow(tx)?,
        });
    }
    let other = writing.iter().zip(&keys).filter(|(one, key)| one.row.posture_key.as_ref() != Some(key));
    let other: Vec<_> = other.map(|(one, _)| (one.row.id.as_str(), one.repeat.report.as_deref())).collect();
    if let (Some(last), false) = (writing.last(), other.is_empty()) {
        posture::after_judging(tx, &other, last.repeat.now)?;
    }
    Ok(done)
}
