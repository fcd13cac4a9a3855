//! What differs between two baselines, in the words of findings.

use veriboot_wire::{Finding, Severity, counted};

use super::compiled::CompiledBaseline;
use super::document::{Baseline, ReferenceBoot, Source, Unlisted};
use super::nearest::nearest;
use crate::code::{self, Code};
use crate::deviation::{self, Sides};
use crate::diff::{Item, diff, of_boot};
use crate::enforcement::Rules;
use crate::profile::Profile;
use crate::rule::Rule;
use crate::structure_checks::SECURE_BOOT_PCR;
use crate::text::{pcr_list, quoted, shortened};

/// Files of a prediction that are named.
const MAX_FILES: usize = 4;

/// What `to` accepts and `from` does not, and the other way round: boots by what they measure, and rules. Empty when
/// both accept the same; names, descriptions and sources are for people and not compared. None of it is an alert.
pub fn diff_baselines(from: &Baseline, to: &Baseline) -> Vec<Finding> {
    if from.bank != to.bank {
        let mut finding = code::BASELINE_BANK_MISMATCH
            .finding("The two baselines are of different banks, so their boots cannot be compared");
        finding.reason = None;
        finding.expected = Some(from.bank.name().to_owned());
        finding.seen = Some(to.bank.name().to_owned());
        return vec![finding];
    }
    let (before, after) = (from.clone().compile(), to.clone().compile());
    let mut findings = Vec::new();
    for (at, boot) in to.boots.iter().enumerate() {
        let pcrs = before.unmatched_of(boot);
        if !pcrs.is_empty() {
            findings.push(told(&code::BOOT_ACCEPTED, at, boot, &pcrs, "is accepted now"));
            findings.extend(changes(&before, boot, &pcrs));
        }
    }
    for (at, boot) in from.boots.iter().enumerate() {
        let pcrs = after.unmatched_of(boot);
        if !pcrs.is_empty() {
            findings.push(told(&code::BOOT_DROPPED, at, boot, &pcrs, "is not accepted any more"));
        }
    }
    findings.extend(missing(&to.rules, &from.rules).map(|rule| of_rule(&code::RULE_ADDED, rule, "added")));
    findings
        .extend(missing(&from.rules, &to.rules).map(|rule| of_rule(&code::RULE_REMOVED, rule, "removed")));
    if from.unlisted != to.unlisted {
        let word = |unlisted| if unlisted == Unlisted::Note { "note" } else { "fail" }.to_owned();
        let mut finding = code::UNLISTED_CHANGED.finding(match to.unlisted {
            Unlisted::Note => "What no boot and no rule speaks of is accepted now",
            Unlisted::Fail => "What no boot and no rule speaks of deviates now",
        });
        finding.expected = Some(word(from.unlisted));
        finding.seen = Some(word(to.unlisted));
        findings.push(finding);
    }
    findings
}

/// How a boot differs from the nearest one of another baseline.
fn changes(baseline: &CompiledBaseline, boot: &ReferenceBoot, pcrs: &[u32]) -> Vec<Finding> {
    let measured: Vec<Item<'_>> = pcrs.iter().flat_map(|pcr| of_boot(boot, *pcr)).collect();
    let by_pcr = nearest(baseline, &measured, pcrs);
    let reference: Vec<Item<'_>> =
        by_pcr.iter().flat_map(|(pcr, boot)| boot.iter().flat_map(|boot| of_boot(boot, *pcr))).collect();
    let secure_boot = by_pcr.get(&SECURE_BOOT_PCR).copied().flatten().and_then(|boot| boot.secure_boot);
    let sides = Sides {
        reference: "the earlier baseline",
        secure_boot_before: secure_boot,
        secure_boot_now: boot.secure_boot,
    };
    let profile = Profile::measured_only();
    let rules = Rules { profile: &profile, bank: baseline.bank, mixed_registers: false };
    let mut findings = deviation::findings(diff(&reference, &measured), &sides, &rules);
    for finding in &mut findings {
        finding.reason = None;
        finding.hint = None;
        finding.severity = finding.severity.min(Severity::Medium);
    }
    findings
}

fn told(code: &Code, at: usize, boot: &ReferenceBoot, pcrs: &[u32], what: &str) -> Finding {
    let mut finding =
        code.finding(format!("boots[{at}], {}, {what} in {}", sentence(&boot.source), pcr_list(pcrs)));
    finding.pcr = pcrs.first().copied();
    finding
}

/// Where a boot comes from, in words.
fn sentence(source: &Source) -> String {
    let log = |sha256: &str| shortened(sha256, 12);
    match source {
        Source::Learned { log_sha256 } => format!("learned from log {}", log(log_sha256)),
        Source::Approved { log_sha256, .. } => format!("approved for log {}", log(log_sha256)),
        Source::Written => "written by hand".to_owned(),
        Source::Predicted { from, .. } => {
            let mut names: Vec<String> =
                from.iter().take(MAX_FILES).map(|file| quoted(&shortened(&file.name, 80))).collect();
            if from.len() > MAX_FILES {
                names.push(counted(from.len() - MAX_FILES, "more file"));
            }
            format!("predicted from {}", names.join(", "))
        }
    }
}

fn missing<'r>(rules: &'r [Rule], from: &'r [Rule]) -> impl Iterator<Item = &'r Rule> {
    rules.iter().filter(|rule| !from.contains(rule))
}

fn of_rule(code: &Code, rule: &Rule, what: &str) -> Finding {
    let mut finding = code.finding(format!(
        "Rule {what}, about {}: {}",
        rule.component.title(),
        shortened(&rule.title(), 160)
    ));
    finding.component = Some(rule.component.title().to_owned());
    finding
}
