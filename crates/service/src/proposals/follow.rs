//! What an attestation shows, as a member of a proposal.

use std::sync::Arc;

use veriboot_appraisal::{Booted, CompiledBaseline, Judgement, LogReport, Proposed, Rejected};
use veriboot_eventlog::HashAlg;
use veriboot_store::proposals::{self, Followed, Rejection, Showing};
use veriboot_store::{StoreError, Tx};
use veriboot_wire::{ChangeClass, RejectedProposal, Time};

use super::words::{self, words};

/// A boot whose enforced deviations may all be proposed, with what it was judged by.
#[derive(Clone, Debug)]
pub(crate) struct Proposing {
    pub proposed: Proposed,
    pub report: Arc<LogReport>,
    pub bank: HashAlg,
    pub baseline: Option<Arc<CompiledBaseline>>,
}

impl Proposing {
    /// The newest rejection that refuses it: one of any version of the baseline with this name.
    pub fn rejection(&self, tx: &mut dyn Tx, baseline_name: &str) -> Result<Option<Rejection>, StoreError> {
        let standing = proposals::rejections(tx, baseline_name, &self.proposed.key)?;
        let baseline = self.baseline.as_deref().map(|compiled| &**compiled);
        let booted = Booted::new(&self.proposed, &self.report, self.bank, baseline);
        let refuses = |one: &proposals::StandingRejection| {
            booted.is_refused_by(Rejected { key: &one.change_key, marks: &one.marks })
        };
        Ok(standing.into_iter().find(refuses).map(|one| one.rejection))
    }
}

/// A boot that proposes something, and that is healthy but for the rejection.
#[derive(Clone, Debug)]
pub(crate) struct Shown {
    proposing: Proposing,
    pcrs: Vec<u32>,
    title: String,
    signer: Option<String>,
    classes: Vec<ChangeClass>,
    profile: String,
    /// The rejection that made it unhealthy.
    pub rejected: Option<Rejection>,
}

impl Shown {
    /// What a judgement proposes of a log.
    pub fn new(proposing: Proposing, profile: &str, rejected: Option<Rejection>) -> Self {
        let proposed = &proposing.proposed;
        let words::Words { title, signer, classes } = words(&proposed.findings, Some(&proposing.report));
        let pcrs = proposed.pcrs.iter().copied().collect();
        Self { pcrs, title, signer, classes, profile: profile.to_owned(), rejected, proposing }
    }

    /// The rejection that stands for it now: the caller decided on another one when it is not [`Shown::rejected`].
    pub fn rejection(&self, tx: &mut dyn Tx, baseline_name: &str) -> Result<Option<Rejection>, StoreError> {
        self.proposing.rejection(tx, baseline_name)
    }
}

/// An attestation as far as proposals are concerned. It is stored already, as the VM's last one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Attested<'a> {
    pub vm_id: &'a str,
    pub vm_name: &'a str,
    /// What its row says of its membership.
    pub member_of: Option<&'a str>,
    pub attestation_id: &'a str,
    pub boot_id: Option<&'a str>,
    pub log_sha256: Option<&'a str>,
    pub baseline_id: Option<&'a str>,
    pub at: Time,
}

/// Makes the VM a member of what its last attestation shows, and of nothing else. `None` for an attestation that shows
/// nothing: a VM that fails for any other reason, or that is not monitored, is part of no proposal.
pub(crate) fn follow(
    tx: &mut dyn Tx,
    attested: &Attested<'_>,
    shown: Option<&Shown>,
) -> Result<Followed, StoreError> {
    let showing = match (shown, attested.boot_id, attested.log_sha256, attested.baseline_id) {
        (Some(shown), Some(boot_id), Some(log_sha256), Some(baseline_id)) => Some(Showing {
            vm_id: attested.vm_id,
            vm_name: attested.vm_name,
            boot_id,
            attestation_id: attested.attestation_id,
            log_sha256,
            baseline_id,
            profile: &shown.profile,
            change_key: &shown.proposing.proposed.key,
            classes: &shown.classes,
            title: &shown.title,
            signer: shown.signer.as_deref(),
            pcrs: &shown.pcrs,
            marks: &shown.proposing.proposed.marks,
            findings: &shown.proposing.proposed.findings,
            at: attested.at,
        }),
        _ => None,
    };
    if showing.is_none() && attested.member_of.is_none() {
        return Ok(Followed::default());
    }
    let rejected = shown.and_then(|shown| shown.rejected.as_ref()).map(|rejection| rejection.id.as_str());
    proposals::follow(tx, attested.vm_id, attested.member_of, showing.as_ref(), rejected, attested.at)
}

/// The judgement while a rejection stands: what could be proposed fails.
pub(crate) fn refused(judgement: &Judgement, rejection: &Rejection) -> Judgement {
    judgement.rejected(&rejection_for_a_bundle(rejection))
}

/// The rejection as attestations keep it.
pub(crate) fn rejection_for_a_bundle(rejection: &Rejection) -> RejectedProposal {
    let Rejection { id, by, comment, at } = rejection.clone();
    RejectedProposal { id, by, comment, at }
}
