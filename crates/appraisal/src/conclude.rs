//! The verdict over one piece of evidence: quote, log and judgement together.
//!
//! Order of belief. The quote comes first: when it is not believed, nothing is. Then the log, register by register,
//! as far as the quote proves it. Then what the judgement says about a log that is proven. Fail closed: whatever is
//! missing or unexplained becomes a finding.

use std::borrow::Cow;
use std::collections::BTreeSet;

use veriboot_eventlog::HashAlg;
use veriboot_tpm::{Quote, QuoteError};
use veriboot_wire::{AlertReason, FactState, Facts, Finding, Severity, Verdict, VmStatus};

use crate::counters;
use crate::judge::Judgement;
use crate::profile::{Profile, SecureBootDemand};
use crate::proof::{PcrValues, Proof, Unnamed, prove, selected};
use crate::report::LogReport;
use crate::structure_checks::SECURE_BOOT_PCR;
use crate::text::{pcr_list, shortened};
use crate::{code, primary};

/// The evidence and what is known about it.
#[derive(Clone, Copy, Debug)]
pub struct Conclude<'a> {
    /// The verified quote, or why it is not believed.
    pub quote: Result<&'a Quote, &'a QuoteError>,
    /// PCR values that came beside the quote. Advisory: used to say which PCR differs, and only when they are the
    /// values that the TPM signed.
    pub pcr_values: Option<&'a PcrValues>,
    /// The examined log; `None` when the evidence has none.
    pub report: Option<&'a LogReport>,
    /// Why there is no log, in the agent's words.
    pub log_absent_because: Option<&'a str>,
    /// What profile and baseline say about the log.
    pub judgement: Option<&'a Judgement>,
    /// The profile that judged.
    pub profile: &'a Profile,
    /// The last attestation of this VM whose quote was believed.
    pub previous: Option<&'a PreviousBoot>,
}

/// What the last believed quote of the same TPM said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PreviousBoot {
    /// resetCount.
    pub reset_count: u32,
    /// restartCount.
    pub restart_count: u32,
    /// Clock in milliseconds.
    pub clock_ms: u64,
    /// Firmware version of the TPM.
    pub firmware_version: u64,
    /// SHA-256 of the log, hex, if that log replayed to that quote.
    pub log_sha256: Option<String>,
    /// Whether the VM enrolled with another attestation key since. What the TPM counted before still binds it.
    pub ak_replaced: bool,
}

/// The verdict.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// Accepted or refused.
    pub verdict: Verdict,
    /// The separate facts of SPEC section 2.
    pub facts: Facts,
    /// Everything that was noticed, most severe first.
    pub findings: Vec<Finding>,
    /// Alert reasons of the findings that fail the attestation, each once, most telling first.
    pub reasons: Vec<AlertReason>,
    /// Whether a baseline may be learned from this boot: accepted, and the quote proves the whole log.
    pub learnable: bool,
}

impl Outcome {
    /// Status of the VM after this attestation: a machine whose only fault is that it has no log has a platform
    /// fault (SPEC section 2), which is no pass either.
    pub fn status(&self) -> VmStatus {
        let mut failing = self.findings.iter().filter(|f| f.fails()).peekable();
        match self.verdict {
            Verdict::Healthy => VmStatus::Healthy,
            Verdict::Unhealthy
                if failing.peek().is_some() && failing.all(|f| f.code == code::LOG_MISSING.code) =>
            {
                VmStatus::Error
            }
            Verdict::Unhealthy => VmStatus::Unhealthy,
        }
    }

    /// The outcome with more findings, such as those of policy conditions: the verdict can only become worse.
    #[must_use]
    pub fn and(mut self, more: Vec<Finding>) -> Self {
        if more.is_empty() {
            return self;
        }
        self.findings.extend(more);
        finish(self.facts, self.findings)
    }

    /// The failing finding that explains the verdict best.
    pub fn primary(&self) -> Option<&Finding> {
        primary(&self.findings)
    }
}

/// Concludes.
pub fn conclude(input: Conclude<'_>) -> Outcome {
    let quote = match input.quote {
        Ok(quote) => quote,
        Err(error) => return refused_quote(error),
    };
    let mut findings = Vec::new();
    let mut facts = Facts { vtpm: FactState::Valid, quote: FactState::Valid, ..Facts::UNKNOWN };
    if let Some(previous) = input.previous {
        findings.extend(counters::check(quote, previous));
    }
    if selected(quote).next().is_none() {
        findings.push(code::SELECTION_EMPTY.finding("The quote covers no PCR"));
    }
    if findings.iter().any(Finding::fails) {
        facts.quote = FactState::Invalid;
    }
    match input.report.filter(|report| !report.is_missing()) {
        Some(report) => with_log(&input, quote, report, &mut facts, &mut findings),
        None => without_log(&input, &mut findings),
    }
    finish(facts, findings)
}

fn refused_quote(error: &QuoteError) -> Outcome {
    let mut finding = Finding::new(
        error.code(),
        Severity::Critical,
        format!("The quote cannot be shown to come from this VM's TPM: {error}"),
    );
    finding.reason = Some(AlertReason::QuoteUntrusted);
    finding.component = Some("TPM quote".to_owned());
    finding.hint = Some(hint_for(error).to_owned());
    if let QuoteError::SelectionMismatch { asked, seen } = error {
        finding.expected = Some(asked.clone());
        finding.seen = Some(seen.clone());
    }
    finish(Facts { quote: FactState::Invalid, ..Facts::UNKNOWN }, vec![finding])
}

fn hint_for(error: &QuoteError) -> &'static str {
    match error {
        QuoteError::SignatureInvalid => {
            "Another key signed this quote. Find out whether the vTPM was replaced or its traffic is intercepted; \
             enrol the VM again only when its TPM was changed on purpose."
        }
        QuoteError::NonceMismatch => {
            "The quote answers another challenge: it is old, or made for another VM. Look for something that replays \
             evidence between agent and service."
        }
        QuoteError::SelectionMismatch { .. } => {
            "The quote covers other PCRs than were asked. Check that the agent is genuine and the PCR bank is still \
             switched on in the TPM."
        }
        _ => {
            "The evidence is not what a TPM makes. Check that the agent is genuine and that nothing between the TPM \
             and the service changes its messages."
        }
    }
}

fn without_log(input: &Conclude<'_>, findings: &mut Vec<Finding>) {
    let why = input.log_absent_because.map(|why| shortened(why, 200));
    let in_report =
        input.report.and_then(|r| r.findings.iter().find(|f| f.code == code::LOG_MISSING.code)).cloned();
    let mut finding = in_report.unwrap_or_else(|| {
        code::LOG_MISSING.finding(match why {
            Some(why) => format!("There is a quote and no event log: the agent says \"{why}\""),
            None => "There is a quote and no event log".to_owned(),
        })
    });
    finding.component = Some("event log".to_owned());
    finding.hint = Some(
        "Give the agent access to the firmware's event log (Linux: \
         /sys/kernel/security/tpm0/binary_bios_measurements, kernel built with securityfs). Some clouds hand out \
         empty logs: ask the provider for a machine type with a measured-boot log."
            .to_owned(),
    );
    findings.push(finding);
}

fn with_log(
    input: &Conclude<'_>,
    quote: &Quote,
    report: &LogReport,
    facts: &mut Facts,
    findings: &mut Vec<Finding>,
) {
    findings.extend(report.findings.iter().cloned());
    findings.extend(log_changed(input.previous, quote, report));
    let proof = prove(quote, report, input.pcr_values);
    explained(&proof, findings);
    let mismatch = mismatch(input, quote, report, &proof, findings);
    let log_broken = mismatch || report.findings.iter().any(|f| f.reason == Some(AlertReason::LogMismatch));

    let judgement = input.judgement.filter(|j| proof.proves_bank(j.bank) || mismatch);
    let bank = judgement.map(|j| j.bank).or_else(|| proof.proven.iter().map(|(bank, _)| *bank).min());
    let proven: Vec<u32> =
        proof.proven.iter().filter(|(b, _)| Some(*b) == bank).map(|(_, pcr)| *pcr).collect();
    if !mismatch {
        not_proven(input, report, bank, &proven, findings);
    }
    secure_boot(input, report, &proven, facts, findings);
    match judgement {
        Some(judgement) => {
            // What an unproven register says is a claim of the log, not a deviation of the machine.
            let believed = |f: &&Finding| !mismatch || f.pcr.is_some_and(|pcr| proven.contains(&pcr));
            let is_secure_boot = |f: &&Finding| is_secure_boot_verdict(f);
            findings
                .extend(judgement.findings.iter().filter(believed).filter(|f| !is_secure_boot(f)).cloned());
        }
        None if mismatch => {}
        None => findings.push(
            code::NOT_JUDGED
                .finding("Neither a profile nor a baseline judged the log for a bank that is quoted"),
        ),
    }
    let fails = |reason| findings.iter().any(|f| f.fails() && f.reason == Some(reason));
    facts.log = match log_broken || fails(AlertReason::LogMismatch) {
        true => FactState::Invalid,
        false => FactState::Valid,
    };
    let with_baseline = judgement.is_some_and(|j| j.with_baseline);
    facts.baseline = match () {
        () if !with_baseline || facts.log != FactState::Valid => FactState::Unknown,
        () if fails(AlertReason::BaselineDeviation) => FactState::Invalid,
        () => FactState::Valid,
    };
}

/// Findings of a judgement that say how Secure Boot is; they are believed only when PCR 7 is proven.
fn is_secure_boot_verdict(finding: &Finding) -> bool {
    finding.code == code::SECURE_BOOT_DISABLED.code || finding.code == code::SECURE_BOOT_UNKNOWN.code
}

fn secure_boot(
    input: &Conclude<'_>,
    report: &LogReport,
    proven: &[u32],
    facts: &mut Facts,
    findings: &mut Vec<Finding>,
) {
    if proven.contains(&SECURE_BOOT_PCR) {
        facts.secure_boot = match report.secure_boot {
            Some(true) => FactState::Valid,
            Some(false) => FactState::Invalid,
            None => FactState::Unknown,
        };
        let said = input.judgement.into_iter().flat_map(|j| &j.findings);
        findings.extend(said.filter(|f| is_secure_boot_verdict(f)).cloned());
    } else if input.profile.secure_boot == SecureBootDemand::Required {
        let mut finding = code::SECURE_BOOT_UNKNOWN
            .finding("Nothing shows that Secure Boot is on: PCR 7 is not proven by the quote");
        finding.pcr = Some(SECURE_BOOT_PCR);
        finding.component = Some("Secure Boot".to_owned());
        findings.push(finding);
    }
}

/// Same boot, another log: firmware writes one log per boot.
fn log_changed(previous: Option<&PreviousBoot>, quote: &Quote, report: &LogReport) -> Option<Finding> {
    let previous = previous.filter(|p| counters::same_boot(quote, p))?;
    let before = previous.log_sha256.as_ref().filter(|sha256| **sha256 != report.sha256)?;
    let mut finding = code::LOG_CHANGED.finding(
        "The TPM was not reset since the last attestation, yet the event log is another one: the log was edited",
    );
    finding.component = Some("event log".to_owned());
    finding.expected = Some(format!("log with SHA-256 {before}"));
    finding.seen = Some(format!("log with SHA-256 {}", report.sha256));
    Some(finding)
}

fn explained(proof: &Proof, findings: &mut Vec<Finding>) {
    if proof.exit_boot_services_added {
        let mut finding = code::LOG_ENDS_EARLY.finding(
            "The log was saved before the ExitBootServices events; PCR 5 holds exactly these in addition",
        );
        finding.pcr = Some(5);
        findings.push(finding);
    }
    if !proof.phases.is_empty() {
        let mut finding = code::OS_PHASES.finding(format!(
            "PCR 11 holds the log and the boot phases of systemd up to \"{}\"",
            proof.phases.last().copied().unwrap_or_default()
        ));
        finding.pcr = Some(11);
        finding.seen = Some(proof.phases.join(":"));
        findings.push(finding);
    }
}

/// Adds findings for registers that are not what the log says. True when the log cannot be believed.
fn mismatch(
    input: &Conclude<'_>,
    quote: &Quote,
    report: &LogReport,
    proof: &Proof,
    findings: &mut Vec<Finding>,
) -> bool {
    let (run_time, differing): (Vec<_>, Vec<_>) =
        proof.differing.iter().partition(|d| input.profile.run_time_pcrs.contains(&d.pcr));
    if !run_time.is_empty() {
        let pcrs: BTreeSet<u32> = run_time.iter().map(|d| d.pcr).collect();
        let pcrs: Vec<u32> = pcrs.into_iter().collect();
        let mut finding = code::RUN_TIME_PCR.finding(format!(
            "{} was extended by the running system; the boot log does not cover that",
            pcr_list(&pcrs)
        ));
        finding.pcr = pcrs.first().copied();
        findings.push(finding);
    }
    if !proof.banks_missing.is_empty() {
        let mut finding = code::BANK_MISSING.finding(format!(
            "The quote covers the {} bank, which the event log does not extend: nothing explains these PCRs",
            proof.banks_missing.join(" and ")
        ));
        finding.seen = Some(quote.selection_text());
        // With another bank proven, the bank without events is only left out.
        if !proof.proven.is_empty() {
            finding.severity = Severity::Medium;
            finding.reason = None;
        }
        findings.push(finding);
    }
    let same_boot_before = input.previous.is_some_and(|p| {
        counters::same_boot(quote, p) && p.log_sha256.as_deref() == Some(report.sha256.as_str())
    });
    let mut finding = match (differing.as_slice(), proof.unnamed) {
        ([], None) => return proof.proven.is_empty() && !proof.banks_missing.is_empty(),
        ([], Some(unnamed)) => unnamed_mismatch(unnamed, same_boot_before),
        ([first, ..], _) => {
            let pcrs: BTreeSet<u32> = differing.iter().map(|d| d.pcr).collect();
            let pcrs: Vec<u32> = pcrs.into_iter().collect();
            let mut finding = named_mismatch(&pcrs, same_boot_before, report);
            finding.pcr = Some(first.pcr);
            finding.expected = Some(match first.replayed {
                Some(value) => format!("{value} (PCR {} by the log)", first.pcr),
                None => format!("no value: the log has no register {}", first.pcr),
            });
            finding.seen = Some(format!("{} (PCR {} in the TPM)", first.quoted, first.pcr));
            finding
        }
    };
    finding.component.get_or_insert_with(|| "event log".to_owned());
    finding.hint = Some(if same_boot_before {
        "Find out what extended the PCR (a boot component that ran late, a tool, an intruder) and reboot: a PCR \
         cannot be set back without a reset."
            .to_owned()
    } else {
        "Treat the log as edited until shown otherwise: compare it with the one of an earlier boot (`veriboot log \
         diff`) and with a log read from the machine by other means."
            .to_owned()
    });
    findings.push(finding);
    true
}

fn unnamed_mismatch(unnamed: Unnamed, same_boot_before: bool) -> Finding {
    let why = match unnamed {
        Unnamed::NoValues => "no PCR values came with the quote, so it cannot be said which PCR differs",
        Unnamed::ForeignValues => {
            "the PCR values that came with the quote are not those that the TPM signed, so it cannot be said which \
             PCR differs"
        }
    };
    if same_boot_before {
        let mut finding = code::RUNTIME_EXTEND.finding(format!(
            "A PCR was extended after boot: this log explained the PCRs earlier in the same boot and does not any more; {why}"
        ));
        finding.change = Some(veriboot_wire::ChangeClass::RuntimeExtend);
        return finding;
    }
    code::LOG_MISMATCH.finding(format!("The event log does not replay to the quoted PCRs; {why}"))
}

fn named_mismatch(pcrs: &[u32], same_boot_before: bool, report: &LogReport) -> Finding {
    let meaning = pcrs.first().map_or("", |pcr| pcr_meaning(*pcr));
    if same_boot_before {
        let mut finding = code::RUNTIME_EXTEND.finding(format!(
            "{} was extended after boot: the log is the same as earlier in this boot and explained {} then",
            pcr_list(pcrs),
            if pcrs.len() == 1 { "it" } else { "them" },
        ));
        finding.change = Some(veriboot_wire::ChangeClass::RuntimeExtend);
        finding.component = Some(meaning.to_owned()).filter(|m| !m.is_empty());
        return finding;
    }
    let extended = |pcr: &u32| report.banks.iter().any(|b| b.replay.extended.contains(pcr));
    let all =
        report.banks.iter().flat_map(|b| &b.replay.extended).filter(|pcr| !pcrs.contains(pcr)).count() == 0;
    let why = match pcrs {
        _ if all && pcrs.len() > 2 => "the log is of another boot or of another machine",
        [pcr] if !extended(pcr) => "it was extended, and the log has no event for it",
        _ => "an event was changed, added, removed or moved, or the log is of another boot",
    };
    let meaning = match pcrs {
        [_] if !meaning.is_empty() => format!(" ({meaning})"),
        _ => String::new(),
    };
    code::LOG_MISMATCH
        .finding(format!("The event log does not replay to the quoted {}{meaning}: {why}", pcr_list(pcrs)))
}

/// Registers that the log extends and the quote does not prove.
fn not_proven(
    input: &Conclude<'_>,
    report: &LogReport,
    bank: Option<HashAlg>,
    proven: &[u32],
    findings: &mut Vec<Finding>,
) {
    let extended = match bank.and_then(|bank| report.bank(bank)) {
        Some(bank) => Cow::Borrowed(&bank.replay.extended),
        None => Cow::Owned(report.banks.iter().flat_map(|b| b.replay.extended.iter().copied()).collect()),
    };
    if !extended.iter().any(|pcr| proven.contains(pcr)) {
        findings.push(
            code::PROVES_NOTHING
                .finding("The quote covers none of the PCRs that the event log extends: it proves nothing"),
        );
        return;
    }
    let open: Vec<u32> = extended.iter().copied().filter(|pcr| !proven.contains(pcr)).collect();
    let Some(first) = open.first() else { return };
    let mut finding = code::NOT_PROVEN.finding(format!(
        "The quote does not prove {}: what the log says about {} is a claim",
        pcr_list(&open),
        if open.len() == 1 { "it" } else { "them" },
    ));
    finding.pcr = Some(*first);
    let only_run_time = open.iter().all(|pcr| input.profile.run_time_pcrs.contains(pcr));
    if only_run_time || !input.judgement.is_some_and(|j| j.with_baseline) {
        finding.severity = Severity::Medium;
        finding.reason = None;
    }
    findings.push(finding);
}

/// What firmware and boot loaders measure where (PC Client Platform Firmware Profile 1.06, table 1; UAPI group TPM2
/// PCR registry for 8 to 15).
fn pcr_meaning(pcr: u32) -> &'static str {
    match pcr {
        0 => "firmware code",
        1 => "firmware configuration",
        2 => "option ROMs and drivers",
        3 => "configuration of option ROMs",
        4 => "boot loaders and EFI applications",
        5 => "partition table and boot manager configuration",
        6 => "events of the platform maker",
        7 => "Secure Boot configuration",
        8 => "boot loader commands and kernel command line",
        9 => "files that the boot loader read, kernel and initrd",
        11 => "unified kernel image",
        12 => "kernel command line and credentials",
        13 => "system extensions",
        14 => "machine owner keys (MOK)",
        _ => "",
    }
}

impl Proof {
    fn proves_bank(&self, bank: HashAlg) -> bool {
        self.proven.iter().any(|(b, _)| *b == bank)
    }
}

fn finish(mut facts: Facts, mut findings: Vec<Finding>) -> Outcome {
    findings.sort_by_key(|f| (std::cmp::Reverse(f.severity), code::rank(&f.code)));
    let failing = || findings.iter().filter(|f| f.fails());
    let verdict = if failing().next().is_some() { Verdict::Unhealthy } else { Verdict::Healthy };
    let mut reasons: Vec<AlertReason> = Vec::new();
    for reason in failing().filter_map(|f| f.reason) {
        if !reasons.contains(&reason) {
            reasons.push(reason);
        }
    }
    if reasons.contains(&AlertReason::EndorsementLost) {
        facts.endorsement = FactState::Invalid;
    }
    let learnable = verdict == Verdict::Healthy
        && facts.quote == FactState::Valid
        && facts.log == FactState::Valid
        && !findings.iter().any(|f| f.code == code::NOT_PROVEN.code);
    Outcome { verdict, facts, findings, reasons, learnable }
}
