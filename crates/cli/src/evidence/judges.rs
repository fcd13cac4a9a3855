//! What judges a bundle: what the operator gives, and where nothing is given what the bundle says judged it before.
//!
//! A bundle is a claim of whoever made it, its profile and baseline included: a lax profile accepts much. So what comes
//! from the bundle is named in a finding, and the operator's own always goes first. Counters, the rejection of a proposal
//! and the PCRs asked for can only make a verdict worse.

use veriboot_appraisal::{
    BASELINE_PAYLOAD_TYPE, Baseline, CompiledBaseline, Envelope, LogReport, Outcome, PreviousBoot, Profile,
    VerifyingKey,
};
use veriboot_eventlog::HashAlg;
use veriboot_policy::{Boot, Policy, Vm};
use veriboot_tpm::PcrSelection;
use veriboot_wire::{
    AlertReason, EvidenceBundle, Finding, JudgedVm, JudgedWith, JudgingDocument, MissingPart,
    RejectedProposal, Severity,
};

use crate::error::CliError;

/// What the operator gives.
#[derive(Default)]
pub(super) struct Given {
    pub profile: Option<Profile>,
    pub baseline: Option<Baseline>,
    /// The key that must have signed the bundle's baseline.
    pub baseline_key: Option<VerifyingKey>,
    /// Leave out what the bundle says judged it.
    pub evidence_only: bool,
}

/// What judges.
pub(super) struct Judges {
    pub profile: Profile,
    pub baseline: Option<CompiledBaseline>,
    pub asked: Option<PcrSelection>,
    pub previous: Option<PreviousBoot>,
    pub rejection: Option<RejectedProposal>,
    /// Why the service found the TPM's endorsement no longer valid.
    pub endorsement_invalid: Option<String>,
    pub vm: JudgedVm,
    /// The service that stored the evidence no longer had the log.
    pub log_not_kept: bool,
    /// PCR values are those that an agent gave beside its quote.
    pub values_are_advisory: bool,
    /// About where all of this comes from.
    pub findings: Vec<Finding>,
}

impl Judges {
    /// A profile and a baseline, and nothing from a bundle.
    pub fn of(profile: Profile, baseline: Option<Baseline>) -> Self {
        Self {
            profile,
            baseline: baseline.map(Baseline::compile),
            asked: None,
            previous: None,
            rejection: None,
            endorsement_invalid: None,
            vm: JudgedVm::default(),
            log_not_kept: false,
            values_are_advisory: false,
            findings: Vec::new(),
        }
    }

    /// What the operator gives goes before what the bundle has.
    pub fn new(given: Given, bundle: &EvidenceBundle) -> Result<Self, CliError> {
        let Given { profile, baseline, baseline_key, evidence_only } = given;
        let Some(with) = bundle.judged_with.as_ref().filter(|_| !evidence_only) else {
            return Ok(Self::of(profile.unwrap_or_default(), baseline));
        };
        let mut findings = Vec::new();
        let mut own = Vec::new();
        let profile = match (profile, &with.profile) {
            (Some(profile), _) => profile,
            (None, Some(document)) => {
                own.push(format!("the profile {}", document.reference));
                let bytes = document.document.to_string();
                Profile::from_json(bytes.as_bytes()).map_err(|error| {
                    CliError::usage(error.code(), in_the_bundle(document, &error)).hint(OWN_INSTEAD)
                })?
            }
            (None, None) => Profile::default(),
        };
        let baseline = match (baseline, &with.baseline) {
            (Some(baseline), _) => Some(baseline),
            (None, Some(document)) => match &baseline_key {
                Some(key) => signed(document, key, &mut findings)?,
                None => {
                    own.push(format!("the baseline {}", document.reference));
                    Some(read_baseline(document, document.document.to_string().as_bytes())?)
                }
            },
            (None, None) => None,
        };
        if !own.is_empty() {
            findings.push(judged_by_bundle(&own.join(" and ")));
        }
        for (part, what) in [(MissingPart::Profile, "profile"), (MissingPart::Baseline, "baseline")] {
            if with.missing.contains(&part) {
                findings.push(part_missing(what));
            }
        }
        Ok(Self {
            asked: with.asked.as_ref().map(|asked| selection(&asked.bank, &asked.pcrs)).transpose()?,
            previous: previous(with)?,
            rejection: with.rejection.clone(),
            endorsement_invalid: with.endorsement_invalid.clone(),
            vm: with.vm.clone(),
            log_not_kept: with.missing.contains(&MissingPart::EventLog),
            values_are_advisory: true,
            findings,
            ..Self::of(profile, baseline)
        })
    }

    /// The outcome with the findings of the profile's conditions, by the rules of the service: what is not believed is not
    /// asked about, and what nobody can evaluate holds for nobody.
    pub fn conditions(
        &self,
        outcome: Outcome,
        log: Option<(&[u8], &LogReport)>,
        bank: Option<HashAlg>,
    ) -> Outcome {
        if self.profile.conditions.is_empty() {
            return outcome;
        }
        let policy = Policy::compile(&self.profile.conditions).map(|(policy, _)| policy);
        let boot = log.map(|(bytes, report)| Boot::read(bytes, report, bank, &self.profile.run_time_pcrs));
        let vm = Vm {
            name: self.vm.name.as_deref(),
            group: self.vm.group.as_deref(),
            scale_set: self.vm.scale_set.as_deref(),
            os: self.vm.os.as_deref(),
        };
        veriboot_policy::judge(outcome, policy.as_ref().map_err(Vec::as_slice), boot.as_ref(), vm)
    }
}

/// What to do about a bundle whose profile or baseline cannot be read.
const OWN_INSTEAD: &str = "Give your own, or judge the evidence alone with --evidence-only.";

fn in_the_bundle(document: &JudgingDocument, why: &dyn std::fmt::Display) -> String {
    format!("{} in the bundle: {why}", document.reference)
}

fn read_baseline(document: &JudgingDocument, bytes: &[u8]) -> Result<Baseline, CliError> {
    Baseline::from_json(bytes)
        .map_err(|error| CliError::usage(error.code(), in_the_bundle(document, &error)).hint(OWN_INSTEAD))
}

/// The baseline out of the envelope; without a good signature there is none, and that fails.
fn signed(
    document: &JudgingDocument,
    key: &VerifyingKey,
    findings: &mut Vec<Finding>,
) -> Result<Option<Baseline>, CliError> {
    let verified = document
        .envelope
        .as_ref()
        .ok_or_else(|| "it has no signature".to_owned())
        .and_then(|envelope| Envelope::from_json(envelope.to_string().as_bytes()).map_err(|e| e.to_string()))
        .and_then(|envelope| envelope.verify(BASELINE_PAYLOAD_TYPE, &[key]).map_err(|e| e.to_string()));
    match verified {
        Ok(verified) => read_baseline(document, &verified.payload).map(Some),
        Err(why) => {
            let message = format!("The bundle's baseline is not signed by the key that was given: {why}");
            let mut finding = Finding::new("bundle-baseline-unsigned", Severity::High, message);
            finding.reason = Some(AlertReason::BaselineDeviation);
            finding.component = Some("baseline".to_owned());
            finding.seen = Some(document.reference.clone());
            findings.push(finding);
            Ok(None)
        }
    }
}

fn judged_by_bundle(what: &str) -> Finding {
    let message = format!("The bundle itself brings {what} that it is judged by: whoever made it chose them");
    let mut finding = Finding::new("judged-by-bundle", Severity::Medium, message);
    finding.hint = Some(
        "Give your own with --profile and --baseline, or the key that must have signed the baseline with \
         --baseline-key."
            .to_owned(),
    );
    finding
}

fn part_missing(what: &str) -> Finding {
    let message =
        format!("The service no longer had the {what} that judged: this verdict is made without it");
    Finding::new("bundle-part-missing", Severity::Medium, message)
}

fn selection(bank: &str, pcrs: &[u32]) -> Result<PcrSelection, CliError> {
    HashAlg::from_name(bank).and_then(|alg| PcrSelection::new(alg.tpm_id(), pcrs.iter().copied())).ok_or_else(
        || CliError::usage("bundle-unreadable", "judged_with.asked names no bank or no PCRs that exist"),
    )
}

fn previous(with: &JudgedWith) -> Result<Option<PreviousBoot>, CliError> {
    let read = |previous| {
        PreviousBoot::from_wire(previous).ok_or_else(|| {
            CliError::usage(
                "bundle-unreadable",
                "judged_with.previous.firmware_version is not 64 bits in hex",
            )
        })
    };
    with.previous.as_ref().map(read).transpose()
}
