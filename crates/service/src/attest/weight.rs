//! How much memory the values of the caches take, estimated from above: what a log makes of itself counts, not its
//! own size.

use std::mem::size_of;

use veriboot_appraisal::{
    BankReport, CompiledBaseline, Entry, Judgement, LogReport, Reference, ReferenceBoot, Rule, Says,
};
use veriboot_eventlog::Digest;
use veriboot_wire::Finding;

/// What an allocation costs beside its content.
const ALLOCATION: usize = 32;
/// A key and value of a map, with its share of the nodes.
const MAP_ENTRY: usize = 2 * (size_of::<u32>() + size_of::<Digest>());

fn text(text: &str) -> usize {
    text.len().saturating_add(ALLOCATION)
}

fn optional(value: Option<&String>) -> usize {
    value.map_or(0, |value| text(value))
}

fn texts(items: &[String]) -> usize {
    items.iter().map(|item| size_of::<String>() + text(item)).sum()
}

fn finding(finding: &Finding) -> usize {
    let words =
        [&finding.component, &finding.expected, &finding.seen, &finding.signer, &finding.hint, &finding.risk];
    size_of::<Finding>()
        + text(&finding.code)
        + text(&finding.message)
        + words.into_iter().map(|word| optional(word.as_ref())).sum::<usize>()
}

fn findings(findings: &[Finding]) -> usize {
    findings.iter().map(finding).sum()
}

fn entry(entry: &Entry) -> usize {
    size_of::<Entry>() + entry.heap_bytes()
}

fn bank(bank: &BankReport) -> usize {
    let warnings: usize = bank.replay.warnings.iter().map(|w| size_of_val(w) + text(&w.message)).sum();
    size_of::<BankReport>()
        + bank.replay.pcrs.len() * MAP_ENTRY
        + bank.replay.extended.len() * MAP_ENTRY
        + bank.digests.len() * size_of::<Option<Digest>>()
        + warnings
}

/// Bytes of a difference of two logs with its key.
pub(super) fn differences(all: &[Finding]) -> usize {
    2 * (64 + ALLOCATION) + findings(all)
}

/// Bytes of an examined log.
pub(super) fn report(report: &LogReport) -> usize {
    size_of::<LogReport>()
        + text(&report.sha256)
        + findings(&report.findings)
        + report.entries.iter().map(entry).sum::<usize>()
        + report.banks.iter().map(bank).sum::<usize>()
}

/// Bytes of a judgement with its key.
pub(super) fn judgement(judgement: &Judgement) -> usize {
    let proposed = judgement
        .proposed
        .as_ref()
        .map_or(0, |proposed| findings(&proposed.findings) + texts(&proposed.added) + texts(&proposed.marks));
    size_of::<Judgement>()
        + size_of::<super::JudgementKey>()
        + 8 * ALLOCATION
        + findings(&judgement.findings)
        + proposed
}

fn reference(reference: &Reference) -> usize {
    size_of::<Reference>()
        + text(&reference.name)
        + optional(reference.value.as_ref())
        + optional(reference.signer.as_ref())
        + texts(&reference.items)
        + size_of::<u32>()
}

/// A rule twice: as it is written, and in the form that judges.
fn rule(rule: &Rule) -> usize {
    let members = match &rule.says {
        Says::Digests(digests) => digests.len() * (2 * size_of::<Digest>() + ALLOCATION),
        Says::Authorities(authorities) => authorities.len() * (size_of::<Digest>() + 8 * ALLOCATION),
        Says::Minimum(_) | Says::Parameters(_) | Says::State(_) | Says::Any(_) => 64 * ALLOCATION,
    };
    2 * (size_of::<Rule>() + optional(rule.description.as_ref()) + members)
}

/// Bytes of a baseline.
pub(super) fn baseline(baseline: &CompiledBaseline) -> usize {
    size_of::<CompiledBaseline>()
        + baseline.boots.len() * (size_of::<ReferenceBoot>() + 2 * ALLOCATION)
        + baseline.measurements().map(reference).sum::<usize>()
        + baseline.rules.iter().map(rule).sum::<usize>()
}

#[cfg(test)]
mod tests {
    use veriboot_appraisal::{Profile, examine, judge};
    use veriboot_eventlog::HashAlg;

    use super::*;

    /// A log of `events` events without data in the SHA-1 format of TCG 1.2.
    fn log(events: u32) -> Vec<u8> {
        let event = |n: u32| {
            let mut bytes = 8_u32.to_le_bytes().to_vec();
            bytes.extend(0xd_u32.to_le_bytes());
            bytes.extend([n.to_le_bytes(); 5].concat());
            bytes.extend(0_u32.to_le_bytes());
            bytes
        };
        (0..events).flat_map(event).collect()
    }

    #[test]
    fn what_a_log_makes_of_itself_counts() {
        let (small, large) = (examine(&log(10)), examine(&log(5000)));
        assert_eq!(large.entries.len(), 5000);
        assert!(report(&large) > 4 * large.bytes, "{} of {} bytes", report(&large), large.bytes);
        assert!(report(&large) > 100 * report(&small));
        let baseline_of =
            |report| veriboot_appraisal::Baseline::learn(report, HashAlg::Sha1).unwrap().compile();
        let (few, many) = (baseline_of(&small), baseline_of(&large));
        assert!(baseline(&many) > 5000 * size_of::<Reference>());
        let judged = judge(&large, HashAlg::Sha1, Some(&few), &Profile::default());
        assert!(judgement(&judged) > judged.findings.len() * size_of::<Finding>());
    }
}
