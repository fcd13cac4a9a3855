//! What profile and baseline say about an examined log.

use std::collections::BTreeSet;

use veriboot_eventlog::{ComponentKind, EventType, Format, HashAlg};
use veriboot_wire::{ChangeAction, ChangeClass, Finding};

use crate::baseline::{CompiledBaseline, Flaw, Unlisted, best, governs};
use crate::class;
use crate::code;
use crate::deviation::{self, SWITCH_ON, Sides};
use crate::diff::{Change, Item, diff, of_boot, of_report};
use crate::enforcement::Rules;
use crate::profile::{Enforcement, Learn, Profile, SecureBootDemand};
use crate::proposal::Proposed;
use crate::report::{LogReport, MAX_EVENTS};
use crate::rule::{Evidence, Explains, RuleSet};
use crate::structure_checks::SECURE_BOOT_PCR;

/// A judged log. Depends on log, bank, baseline and profile only, so it can be cached by them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judgement {
    /// The bank whose digests were compared.
    pub bank: HashAlg,
    /// Whether a baseline was there to judge.
    pub with_baseline: bool,
    /// What deviates.
    pub findings: Vec<Finding>,
    /// Set when all that deviates may be put before an operator instead of failing.
    pub proposed: Option<Proposed>,
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
    let mut judgement =
        Judgement { bank, with_baseline: baseline.is_some(), findings: Vec::new(), proposed: None };
    if let Some(unusable) = unusable(report, bank) {
        judgement.findings.push(unusable);
    } else if let Some(cannot) = baseline.and_then(|baseline| cannot_judge(baseline, bank)) {
        judgement.findings.push(cannot);
    } else {
        let held = Held { report, bank, baseline, profile };
        held.judge(&mut judgement);
    }
    if baseline.is_none() && profile.learn != Learn::Never {
        let missing = code::BASELINE_MISSING.finding("No baseline is there yet to hold this boot against");
        judgement.findings.push(missing);
    }
    if profile.secure_boot == SecureBootDemand::Required {
        demand_secure_boot(report, &mut judgement.findings);
    }
    // What fails for another reason is not put before anybody.
    if !judgement.accepts() {
        judgement.proposed = None;
    }
    judgement
}

/// Why nothing can be said about what was measured in a bank.
fn unusable(report: &LogReport, bank: HashAlg) -> Option<Finding> {
    if report.events > MAX_EVENTS {
        return Some(code::NOT_JUDGED.finding("The event log has more events than are judged"));
    }
    if report.bank(bank).is_none() {
        let text = format!("The event log does not extend the {} bank", bank.name());
        return Some(code::BANK_MISSING.finding(text));
    }
    digest_missing(report, bank)
}

fn cannot_judge(baseline: &CompiledBaseline, bank: HashAlg) -> Option<Finding> {
    if baseline.bank != bank {
        return Some(another_bank(bank, baseline));
    }
    baseline.refusal().map(flawed)
}

/// A log that is held against a baseline and a profile.
struct Held<'a> {
    report: &'a LogReport,
    bank: HashAlg,
    baseline: Option<&'a CompiledBaseline>,
    profile: &'a Profile,
}

impl Held<'_> {
    fn judge(&self, judgement: &mut Judgement) {
        let of_profile = RuleSet::new(&self.profile.rules);
        let without_rules = of_profile.is_empty();
        let rules: Vec<RuleSet<'_>> =
            self.baseline.map(CompiledBaseline::rule_set).into_iter().chain([of_profile]).collect();
        for rules in &rules {
            judgement.findings.extend(rules.violations(self.report));
        }
        let unmatched = match self.baseline {
            Some(baseline) => baseline.unmatched(self.report, self.bank),
            None if without_rules => return,
            None => registers(self.report),
        };
        if unmatched.is_empty() {
            return;
        }
        let mut measured = of_report(self.report, self.bank);
        let enforcement =
            Rules { profile: self.profile, bank: self.bank, mixed_registers: self.mixed_registers() };
        let by_pcr = match self.baseline {
            Some(baseline) => best(baseline, &measured, &unmatched, |changes| {
                let evidence = Evidence::new(self.report, self.bank, changes);
                let explains: Vec<_> = rules.iter().map(|rules| Explains::new(rules, &evidence)).collect();
                let permitted = |change| explains.iter().any(|rules| rules.permits(change));
                changes.iter().all(|c| permitted(c) || enforcement.of(c) != Enforcement::Enforce)
            }),
            None => unmatched.iter().map(|pcr| (*pcr, None)).collect(),
        };
        let reference: Vec<Item<'_>> =
            by_pcr.iter().flat_map(|(pcr, boot)| boot.iter().flat_map(|boot| of_boot(boot, *pcr))).collect();
        measured.retain(|item| by_pcr.contains_key(&item.pcr));
        let secure_boot = by_pcr.get(&SECURE_BOOT_PCR).copied().flatten().and_then(|boot| boot.secure_boot);
        let sides = Sides {
            reference: if self.baseline.is_some() { "the baseline" } else { "the rules of the profile" },
            secure_boot_before: secure_boot,
            secure_boot_now: self.report.secure_boot,
        };
        let mut uncovered: Vec<Change<'_>> = Vec::new();
        let mut changes = diff(&reference, &measured);
        let evidence = Evidence::new(self.report, self.bank, &changes);
        let explains: Vec<_> = rules.iter().map(|rules| Explains::new(rules, &evidence)).collect();
        changes.retain(|change| {
            if explains.iter().any(|rules| rules.permits(change)) {
                return false;
            }
            let spoken_of = by_pcr.get(&change.item().pcr).is_some_and(Option::is_some);
            let enforced = enforcement.of(change) == Enforcement::Enforce;
            if spoken_of || enforced && !self.may_be_unlisted(change.item()) {
                return true;
            }
            uncovered.push(*change);
            false
        });
        let weighed = deviation::weigh(changes, &sides, &enforcement, Some(&evidence));
        judgement.findings.extend(weighed.findings);
        judgement.proposed = weighed.proposed;
        judgement.findings.extend(not_covered(&uncovered, self.bank));
    }

    fn mixed_registers(&self) -> bool {
        self.report.format == Some(Format::Ccel)
    }

    /// Whether a measurement of which neither a boot nor a rule speaks is accepted. What the log calls it decides
    /// nothing: where a rule lists what may be measured, everything else of that PCR deviates.
    fn may_be_unlisted(&self, item: &Item<'_>) -> bool {
        if is_separator(item, self.bank) {
            return true;
        }
        let noted = self.baseline.is_none_or(|baseline| baseline.unlisted == Unlisted::Note);
        let rules = self.baseline.map(|baseline| baseline.rules.as_slice()).unwrap_or_default();
        noted
            && !rules
                .iter()
                .chain(&self.profile.rules)
                .any(|rule| governs(rule, item.pcr, self.mixed_registers()))
    }
}

/// PCRs that a log extends.
fn registers(report: &LogReport) -> Vec<u32> {
    let pcrs: BTreeSet<u32> = report.entries.iter().map(|entry| entry.pcr).collect();
    pcrs.into_iter().collect()
}

/// The content says all that there is: 0 or 0xFFFFFFFF (PC Client Platform Firmware Profile 1.06, section 3.3.2.2).
fn is_separator(item: &Item<'_>, bank: HashAlg) -> bool {
    item.event_type == EventType::EV_SEPARATOR.0
        && [[0; 4], [0xFF; 4]].iter().any(|content| *item.digest == bank.hash(&[content]))
}

/// One finding for all that no boot and no rule speaks of.
fn not_covered(changes: &[Change<'_>], bank: HashAlg) -> Option<Finding> {
    let told: Vec<&Item<'_>> =
        changes.iter().map(Change::item).filter(|item| !is_separator(item, bank)).collect();
    let first = told.first()?;
    let kinds: BTreeSet<ComponentKind> = told.iter().map(|item| item.kind).collect();
    let kinds: Vec<&str> = kinds.into_iter().map(ComponentKind::title).collect();
    let mut finding = code::NOT_COVERED.finding(format!(
        "{} {} covered by no boot and no rule: {}",
        told.len(),
        if told.len() == 1 { "measurement is" } else { "measurements are" },
        kinds.join(", ")
    ));
    finding.pcr = Some(first.pcr);
    finding.event = first.event;
    Some(finding)
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
    finding.pcr = Some(SECURE_BOOT_PCR);
    finding.event = state.map(|e| e.event);
    finding.component = Some("Secure Boot".to_owned());
    finding.expected = Some("on".to_owned());
    finding.seen = Some(if report.secure_boot == Some(false) { "off" } else { "unknown" }.to_owned());
    if report.secure_boot.is_some() {
        classify(&mut finding, ChangeClass::SecureBootDisabled);
    }
    finding.hint = Some(SWITCH_ON.to_owned());
    findings.push(finding);
}

/// A state that no profile lets pass as a change.
fn classify(finding: &mut Finding, class: ChangeClass) {
    finding.change = Some(class);
    finding.action = Some(ChangeAction::Fail);
    finding.risk = Some(class::risk(class).to_owned());
}

fn shim_validation_off(report: &LogReport) -> Finding {
    let mut finding = code::SHIM_VALIDATION_OFF
        .finding("Secure Boot is on, but shim was told not to verify what it starts (MokSBState is 1)");
    let state =
        report.entries.iter().find(|e| e.kind == ComponentKind::MokState && e.name.contains("MokSBState"));
    finding.pcr = Some(state.map_or(SECURE_BOOT_PCR, |e| e.pcr));
    finding.event = state.map(|e| e.event);
    finding.component = Some("shim".to_owned());
    finding.expected = Some("verifies".to_owned());
    finding.seen = Some("verification is off".to_owned());
    classify(&mut finding, ChangeClass::MokChange);
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
