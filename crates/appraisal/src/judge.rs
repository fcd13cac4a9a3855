//! What profile and baseline say about an examined log.

use veriboot_eventlog::{ComponentKind, Format, HashAlg};
use veriboot_wire::Finding;

use crate::baseline::{CompiledBaseline, Flaw, nearest};
use crate::code;
use crate::deviation::{self, SWITCH_ON, Sides};
use crate::diff::{Item, diff, of_boot, of_report};
use crate::enforcement::Rules;
use crate::profile::{Profile, SecureBootDemand};
use crate::report::{LogReport, MAX_EVENTS};

/// A judged log. Depends on log, bank, baseline and profile only, so it can be cached by them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judgement {
    /// The bank whose digests were compared.
    pub bank: HashAlg,
    /// Whether a baseline was there to judge.
    pub with_baseline: bool,
    /// What deviates.
    pub findings: Vec<Finding>,
}

impl Judgement {
    /// Whether nothing in it fails the attestation.
    pub fn accepts(&self) -> bool {
        !self.findings.iter().any(Finding::fails)
    }
}

/// Judges a log by the digests of one bank. Whether the log is true is not asked here: [`crate::conclude`] believes a
/// judgement only as far as the quote proves the log.
pub fn judge(
    report: &LogReport,
    bank: HashAlg,
    baseline: Option<&CompiledBaseline>,
    profile: &Profile,
) -> Judgement {
    let mut findings = Vec::new();
    if report.events > MAX_EVENTS {
        findings.push(code::NOT_JUDGED.finding("The event log has more events than are judged"));
    } else if report.bank(bank).is_none() {
        findings.push(
            code::BANK_MISSING.finding(format!("The event log does not extend the {} bank", bank.name())),
        );
    } else if let Some(missing) = digest_missing(report, bank) {
        findings.push(missing);
    } else if let Some(baseline) = baseline {
        findings.extend(deviations(report, bank, baseline, profile));
    }
    if baseline.is_none() {
        findings.push(code::BASELINE_MISSING.finding("No baseline is there yet to hold this boot against"));
    }
    if profile.secure_boot == SecureBootDemand::Required {
        demand_secure_boot(report, &mut findings);
    }
    Judgement { bank, with_baseline: baseline.is_some(), findings }
}

fn deviations(
    report: &LogReport,
    bank: HashAlg,
    baseline: &CompiledBaseline,
    profile: &Profile,
) -> Vec<Finding> {
    if baseline.bank != bank {
        return vec![another_bank(bank, baseline)];
    }
    if let Some(flaw) = baseline.refusal() {
        return vec![flawed(flaw)];
    }
    let unmatched = baseline.unmatched(report, bank);
    if unmatched.is_empty() {
        return Vec::new();
    }
    let by_pcr = nearest(baseline, report, bank, &unmatched);
    let reference: Vec<Item<'_>> = by_pcr
        .iter()
        .filter_map(|(pcr, boot)| Some((*pcr, (*boot)?)))
        .flat_map(|(pcr, boot)| of_boot(boot, pcr))
        .collect();
    let mut measured = of_report(report, bank);
    measured.retain(|item| by_pcr.contains_key(&item.pcr));
    let changes = diff(&reference, &measured);
    let secure_boot_pcr = &crate::structure_checks::SECURE_BOOT_PCR;
    let sides = Sides {
        reference: "the baseline",
        secure_boot_before: by_pcr.get(secure_boot_pcr).copied().flatten().and_then(|boot| boot.secure_boot),
        secure_boot_now: report.secure_boot,
    };
    let rules = Rules { profile, bank, mixed_registers: report.format == Some(Format::Ccel) };
    deviation::findings(changes, &sides, &rules)
}

fn flawed(flaw: &Flaw) -> Finding {
    let mut finding =
        code::BASELINE_FLAWED.finding(format!("The baseline cannot judge ({}): {}", flaw.code, flaw.message));
    finding.component = Some("baseline".to_owned());
    finding.hint = Some(flaw.hint.to_owned());
    finding
}

/// What another bank says about an event is not what the quote proves.
fn digest_missing(report: &LogReport, bank: HashAlg) -> Option<Finding> {
    let digests = &report.bank(bank)?.digests;
    let missing = || report.entries.iter().zip(digests).filter(|(_, digest)| digest.is_none());
    let (first, _) = missing().next()?;
    let count = missing().count();
    let mut finding = code::DIGEST_MISSING.finding(format!(
        "{count} {} of the log no digest of the {} bank, which is the quoted one: nothing says what was measured there",
        if count == 1 { "event has" } else { "events have" },
        bank.name()
    ));
    finding.pcr = Some(first.pcr);
    finding.event = Some(first.event);
    finding.component = Some(first.kind.title().to_owned());
    Some(finding)
}

fn another_bank(bank: HashAlg, baseline: &CompiledBaseline) -> Finding {
    let learned = baseline.bank.name();
    let mut finding = code::BASELINE_BANK_MISMATCH.finding(format!(
        "The baseline is of {learned}, and the quote proves {}: no quote proved what the baseline says there",
        bank.name()
    ));
    finding.component = Some("PCR bank".to_owned());
    finding.expected = Some(learned.to_owned());
    finding.seen = Some(bank.name().to_owned());
    finding.hint = Some(
        "Find out why the VM quotes another bank. If that is on purpose, check the boot and accept it as the new \
         baseline."
            .to_owned(),
    );
    finding
}

fn demand_secure_boot(report: &LogReport, findings: &mut Vec<Finding>) {
    let said = findings.iter().any(|f| f.code == code::SECURE_BOOT_DISABLED.code);
    let mut finding = match report.secure_boot {
        Some(true) if report.shim_validation_off => {
            findings.push(shim_validation_off(report));
            return;
        }
        Some(true) => return,
        Some(false) if said => return,
        Some(false) => code::SECURE_BOOT_DISABLED.finding("Secure Boot is off"),
        None => code::SECURE_BOOT_UNKNOWN.finding("The event log does not show whether Secure Boot is on"),
    };
    let state = report.first(ComponentKind::SecureBootState);
    finding.pcr = Some(crate::structure_checks::SECURE_BOOT_PCR);
    finding.event = state.map(|e| e.event);
    finding.component = Some("Secure Boot".to_owned());
    finding.expected = Some("on".to_owned());
    finding.seen = Some(if report.secure_boot == Some(false) { "off" } else { "unknown" }.to_owned());
    finding.change = report.secure_boot.map(|_| veriboot_wire::ChangeClass::SecureBootDisabled);
    finding.hint = Some(SWITCH_ON.to_owned());
    findings.push(finding);
}

fn shim_validation_off(report: &LogReport) -> Finding {
    let mut finding = code::SHIM_VALIDATION_OFF
        .finding("Secure Boot is on, but shim was told not to verify what it starts (MokSBState is 1)");
    let state =
        report.entries.iter().find(|e| e.kind == ComponentKind::MokState && e.name.contains("MokSBState"));
    finding.pcr = Some(state.map_or(crate::structure_checks::SECURE_BOOT_PCR, |e| e.pcr));
    finding.event = state.map(|e| e.event);
    finding.component = Some("shim".to_owned());
    finding.expected = Some("verifies".to_owned());
    finding.seen = Some("verification is off".to_owned());
    finding.hint = Some(
        "Run `mokutil --enable-validation` in the VM, reboot, and confirm in MokManager's screen.".to_owned(),
    );
    finding
}

/// What differs between two boots, in the words of findings, most telling first. Severities are those that the default
/// profile would give; bytes of the logs are compared in the best bank that both have.
pub fn compare(from: &LogReport, to: &LogReport) -> Vec<Finding> {
    if [from, to].iter().any(|report| report.events > MAX_EVENTS) {
        return vec![
            code::TOO_MANY_EVENTS
                .finding(format!("A log has more than {MAX_EVENTS} events; it is not compared")),
        ];
    }
    let preference = [HashAlg::Sha384, HashAlg::Sha512, HashAlg::Sha256, HashAlg::Sm3_256, HashAlg::Sha1];
    let Some(bank) = preference.into_iter().find(|b| from.bank(*b).is_some() && to.bank(*b).is_some()) else {
        return vec![
            code::BANK_MISSING.finding("The two logs have no bank in common, so they cannot be compared"),
        ];
    };
    let changes = diff(&of_report(from, bank), &of_report(to, bank));
    let sides = Sides {
        reference: "the earlier boot",
        secure_boot_before: from.secure_boot,
        secure_boot_now: to.secure_boot,
    };
    let mixed_registers = [from, to].iter().any(|report| report.format == Some(Format::Ccel));
    let rules = Rules { profile: &Profile::measured_only(), bank, mixed_registers };
    let mut findings = deviation::findings(changes, &sides, &rules);
    for finding in &mut findings {
        finding.reason = None;
    }
    findings
}
