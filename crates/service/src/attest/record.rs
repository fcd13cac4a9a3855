//! The one transaction of an attestation.

use std::borrow::Cow;

use serde_json::json;
use veriboot_store::judges::Judges;
use veriboot_store::proposals::{Followed, Rejection};
use veriboot_store::{
    StoreError, Tx, attestations, audit, baselines, boots, events, judges, logs, new_id, scale_sets, vms,
};
use veriboot_wire::{Attestation, BaselineOrigin, FactState, ScopeKind, Verdict, VmStatus};

use super::appraise::{Judged, Plan, previous_boot};
use super::kernel;
use crate::challenge::ChallengeError;
use crate::{alerts, posture, proposals};

/// Logs of failed attestations that are kept for each VM.
const MAX_SUSPECT_LOGS: usize = 8;

/// What the transaction came to.
#[derive(Debug)]
pub(super) enum Recorded {
    /// Everything is stored.
    Done(Done),
    /// The challenge was used meanwhile. Nothing was written.
    Refused(ChallengeError),
    /// The log is known by digest only, and not here. Nothing was written.
    LogNeeded,
    /// The VM is gone, or its agent has another token by now. Nothing was written.
    NoLonger,
    /// Another rejection stands for what the evidence proposes than was known. Nothing was written.
    Rejection(Option<Rejection>),
    /// What was decided rests on a record that is no longer the current one. Nothing was written.
    Changed(Box<vms::VmRow>),
}

/// What was stored.
#[derive(Debug)]
pub(super) struct Done {
    pub attestation_id: String,
    pub boot_id: Option<String>,
    pub baseline: Option<String>,
    pub status: VmStatus,
    pub alerts: alerts::AlertChanges,
    pub proposals: Followed,
}

/// Writes the outcome, unless the record that it was decided on has changed.
pub(super) fn record(tx: &mut dyn Tx, plan: &Plan) -> Result<Recorded, StoreError> {
    let Some(vm) = vms::by_id(tx, &plan.vm.id)? else { return Ok(Recorded::NoLonger) };
    if vm.agent_token_sha256 != plan.vm.agent_token_sha256 {
        return Ok(Recorded::NoLonger);
    }
    if let Err(error) = plan.challenge.unused(vm.challenge_used_us) {
        return Ok(Recorded::Refused(error));
    }
    let Judges { baseline, profile } = judges::for_vm(tx, vm.place())?;
    let same_record = vm.challenge_used_us == plan.vm.challenge_used_us
        && vm.ak_public == plan.vm.ak_public
        && vm.ek_certificate == plan.vm.ek_certificate
        && vm.monitoring == plan.vm.monitoring
        && baseline == plan.judges.current()
        && profile == plan.judges.profile.assigned;
    if !same_record {
        return Ok(Recorded::Changed(Box::new(vm)));
    }
    if let (Some(shown), Some(baseline)) = (&plan.judged.shown, &baseline) {
        let stands = shown.rejection(tx, baseline.name())?;
        if stands != shown.rejected {
            return Ok(Recorded::Rejection(stands));
        }
    }
    let log_sha256 = match stored_log(tx, plan)? {
        StoredLog::None => None,
        StoredLog::Known(sha256) => Some(sha256),
        StoredLog::Unknown => return Ok(Recorded::LogNeeded),
    };
    if !vms::use_challenge(tx, &vm.id, plan.challenge.issued_us)? {
        return Ok(Recorded::Refused(ChallengeError::Used));
    }
    // Events come last, as where VMs are judged again and where they are silent: none of these waits for an incident while others
    // wait for it to tell.
    events::hold(tx, |tx| write(tx, plan, &vm, log_sha256)).map(Recorded::Done)
}

enum StoredLog {
    None,
    Known(String),
    Unknown,
}

/// Keeps the log of a believed quote. Logs beside quotes that are not believed are not kept: anybody who got hold
/// of an agent token could fill the disk with them.
fn stored_log(tx: &mut dyn Tx, plan: &Plan) -> Result<StoredLog, StoreError> {
    let (Some(log), Some(_)) = (&plan.evidence.log, plan.quote_believed()) else {
        return Ok(StoredLog::None);
    };
    let new = match &log.content {
        Some(content) => logs::put_if_absent(tx, &log.sha256, content, plan.now)?,
        None if !logs::has(tx, &log.sha256)? => return Ok(StoredLog::Unknown),
        None => false,
    };
    match plan.judged.outcome.verdict {
        // A guest can make any number of logs that its quotes believe or do not: the last ones are worth looking at.
        Verdict::Unhealthy if new => {
            logs::suspect(tx, &plan.vm.id, &log.sha256, MAX_SUSPECT_LOGS, plan.now)?;
        }
        Verdict::Healthy if !new && (log.content.is_some() || plan.vm.status != VmStatus::Healthy) => {
            logs::accepted(tx, &log.sha256)?;
        }
        _ => {}
    }
    Ok(StoredLog::Known(log.sha256.clone()))
}

/// `row` is the VM's record as it is in this transaction.
fn write(
    tx: &mut dyn Tx,
    plan: &Plan,
    row: &vms::VmRow,
    log_sha256: Option<String>,
) -> Result<Done, StoreError> {
    let (vm, outcome) = (&plan.vm, &plan.judged.outcome);
    let attestation_id = new_id(plan.now);
    let quote = plan.quote_believed();
    let boot = match quote {
        Some(quote) => Some(boots::record(
            tx,
            &boots::BootSeen {
                vm_id: &vm.id,
                reset_count: quote.reset_count,
                restart_count: quote.restart_count,
                log_sha256: log_sha256.as_deref(),
                at: plan.now,
                verdict: outcome.verdict,
                components: &plan.judged.components,
            },
        )?),
        None => None,
    };
    let boot_id = boot.map(|boot| boot.id);
    let (baseline, scope) = match learned(tx, plan, boot_id.as_deref())? {
        Some((reference, scope)) => (Some(reference), Some(scope)),
        None => plan.judges.current().map(|current| (current.reference, current.scope)).unzip(),
    };
    let profile = Some(plan.judges.profile.reference.clone());
    attestations::insert(
        tx,
        &Attestation {
            id: attestation_id.clone(),
            vm_id: vm.id.clone(),
            boot_id: boot_id.clone(),
            at: plan.now,
            verdict: outcome.verdict,
            facts: outcome.facts,
            findings: outcome.findings.clone(),
            baseline: baseline.clone(),
            baseline_scope: scope,
            profile: profile.clone(),
            log_sha256: log_sha256.clone(),
        },
        &attestations::Evidence {
            ak_public: vm.ak_public.clone(),
            quote: plan.evidence.quote.clone(),
            signature: plan.evidence.signature.clone(),
            nonce: plan.evidence.nonce.clone(),
            bank: plan.judged.bank.map(|bank| bank.name().to_owned()),
            pcrs: plan.evidence.pcrs.clone(),
            log_absent_because: plan.evidence.log_absent_because.clone(),
            context: Some(context(vm, &plan.judged)),
        },
    )?;
    // Whoever got hold of the agent token says nothing about the machine.
    let machine = if quote.is_some() { &plan.evidence.machine } else { &row.machine };
    let kernel = match quote {
        Some(quote) => {
            kernel::after(row.kernel.as_ref(), &row.ak_name, quote.reset_count, plan.evidence.kernel.as_ref())
        }
        None => row.kernel.as_ref().map(Cow::Borrowed),
    };
    let status = if vm.monitoring { plan.judged.status } else { VmStatus::Unmonitored };
    // The log that later evidence of this boot is held against is the one that replayed to a believed quote.
    let replayed = match outcome.facts.log {
        FactState::Valid => log_sha256.as_deref(),
        _ => vm.log_sha256.as_deref().filter(|_| {
            quote.is_some_and(|q| {
                Some((q.reset_count, q.restart_count)) == vm.reset_count.zip(vm.restart_count)
            })
        }),
    };
    let position = quote.zip(boot_id.as_deref()).map(|(quote, boot_id)| vms::BootPosition {
        boot_id,
        reset_count: quote.reset_count,
        restart_count: quote.restart_count,
        clock_ms: quote.clock_ms,
        firmware_version: quote.firmware_version,
        log_sha256: replayed,
    });
    vms::update_after_attestation(
        tx,
        &vm.id,
        &vms::AfterAttestation {
            attestation_id: &attestation_id,
            at: plan.now,
            status,
            // One that is not monitored keeps the sentence that says why.
            status_detail: if vm.monitoring {
                plan.judged.detail.as_deref()
            } else {
                vm.status_detail.as_deref()
            },
            facts: &outcome.facts,
            machine,
            kernel: kernel.as_deref(),
            baseline: baseline.as_deref(),
            baseline_scope: scope,
            profile: profile.as_deref(),
            boot: position,
        },
    )?;
    if let Some(endorsement) = &plan.endorsement {
        vms::set_endorsement(tx, &vm.id, endorsement)?;
    }
    crate::status::changed(
        tx,
        row,
        status,
        plan.judged.detail.as_deref().filter(|_| vm.monitoring),
        plan.now,
    )?;
    if (vm.interval_s, vm.silence_limit_s) != (plan.interval_s, plan.silence_limit_s) {
        vms::set_cadence(tx, &vm.id, plan.interval_s, plan.silence_limit_s)?;
    }
    let alerts = if vm.monitoring {
        let attested = alerts::Attested {
            vm_id: &vm.id,
            before: vm.status,
            outcome,
            attestation_id: &attestation_id,
            quote_believed: quote.is_some(),
            reopen_window_s: plan.reopen_window_s,
            at: plan.now,
        };
        alerts::after_attestation(tx, &attested)?
    } else {
        alerts::AlertChanges::default()
    };
    if row.boot_key != plan.judged.boot_key {
        scale_sets::set_boot_key(tx, &vm.id, plan.judged.boot_key.as_deref())?;
    }
    let judged_by = plan.judges.current();
    let followed = proposals::follow(
        tx,
        &proposals::Attested {
            vm_id: &vm.id,
            vm_name: &vm.name,
            member_of: row.proposal_id.as_deref(),
            attestation_id: &attestation_id,
            boot_id: boot_id.as_deref(),
            log_sha256: log_sha256.as_deref(),
            baseline_id: judged_by.as_ref().map(|current| current.id.as_str()),
            at: plan.now,
        },
        plan.judged.shown.as_ref().filter(|_| vm.monitoring),
    )?;
    let assessed = posture::After {
        status,
        status_detail: plan.judged.detail.as_deref().filter(|_| vm.monitoring),
        facts: &outcome.facts,
        endorsement_detail: vm.endorsement.as_ref().and_then(|e| e.why(outcome.facts.endorsement)),
        machine,
        kernel: kernel.as_deref().map(|said| &said.report),
        log_sha256: if position.is_some() { replayed } else { row.log_sha256.as_deref() },
    };
    posture::after_attestation(tx, row, &assessed, plan.report.as_deref(), plan.now)?;
    Ok(Done { attestation_id, boot_id, baseline, status, alerts, proposals: followed })
}

/// What the verdict rests on beside evidence, baseline and profile; `vm` is the record that it was decided on.
pub(super) fn context(vm: &vms::VmRow, judged: &Judged) -> attestations::Context {
    let rejected = judged.shown.as_ref().and_then(|shown| shown.rejected.as_ref());
    attestations::Context {
        previous: previous_boot(vm).map(|previous| previous.to_wire()),
        rejection: rejected.map(proposals::rejection_for_a_bundle),
        endorsement_invalid: vm
            .endorsement
            .as_ref()
            .filter(|endorsement| endorsement.state == FactState::Invalid)
            .map(|endorsement| endorsement.detail.clone().unwrap_or_default()),
    }
}

/// Stores what was learned: the first baseline of the scope, or what a further boot adds. That the baseline is still the
/// one that judged was read in this transaction; the unique constraint decides between two that read so at the same time,
/// and the other is run again.
fn learned(
    tx: &mut dyn Tx,
    plan: &Plan,
    boot_id: Option<&str>,
) -> Result<Option<(String, ScopeKind)>, StoreError> {
    let Some(learned) = &plan.judged.learned else { return Ok(None) };
    let log_sha256 = plan.evidence.log.as_ref().map(|log| log.sha256.clone());
    if let (Some(boot_id), Some(log_sha256), true) = (boot_id, &log_sha256, plan.learn_boots > 1) {
        let boot = baselines::LearnedBoot { boot_id: boot_id.to_owned(), log_sha256: log_sha256.clone() };
        let new = baselines::note_learned_boot(tx, &learned.name, &boot, plan.now)?;
        if !new && learned.document.is_none() {
            return Ok(None);
        }
    }
    let Some(document) = &learned.document else { return Ok(None) };
    let comment = match (plan.learn_boots, learned.boot) {
        (1, _) => "learned from the first healthy boot".to_owned(),
        (wanted, boot) => format!("learned from healthy boot {boot} of {wanted}"),
    };
    let row = baselines::insert_next(
        tx,
        &baselines::NewBaseline {
            name: &learned.name,
            scope: &learned.scope,
            origin: BaselineOrigin::Learned,
            document,
            components: learned.components,
            boot_id,
            comment: Some(&comment),
            created_by: "service",
            created_at: plan.now,
        },
        &plan.signer,
    )?;
    audit::append(
        tx,
        &audit::NewEntry {
            at: plan.now,
            actor: "service",
            action: "baseline.learn",
            target: &format!("baseline:{}", row.reference()),
            detail: &json!({
                "vm": plan.vm.id,
                "vm_name": plan.vm.name,
                "boot": boot_id,
                "boots": learned.boot,
                "log_sha256": log_sha256,
                "document_sha256": row.summary.sha256,
            }),
        },
    )?;
    Ok(Some((row.reference(), learned.scope.kind)))
}
