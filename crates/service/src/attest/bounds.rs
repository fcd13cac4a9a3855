//! How much of what a hostile log makes of itself is stored and sent.

use veriboot_wire::{Finding, Severity, counted};

/// Findings of one attestation.
const MAX_FINDINGS: usize = 512;
/// Bytes of their texts, together.
const MAX_TEXT_BYTES: usize = 128 * 1024;
/// Code of the finding that counts those that were left out.
const FINDINGS_OMITTED: &str = "findings-omitted";

/// At most so many findings as are worth reading, in their order. The first failing one of every alert reason stays,
/// then the worst ones; a last finding counts what was left out.
pub(super) fn findings(all: Vec<Finding>) -> Vec<Finding> {
    if all.len() <= MAX_FINDINGS && all.iter().map(bytes).sum::<usize>() <= MAX_TEXT_BYTES {
        return all;
    }
    let mut reasons = Vec::new();
    let mut ranked: Vec<(bool, Severity, usize)> = all
        .iter()
        .enumerate()
        .map(|(at, finding)| {
            let first = finding.fails() && !reasons.contains(&finding.reason);
            if first {
                reasons.push(finding.reason);
            }
            (first, finding.severity, at)
        })
        .collect();
    ranked.sort_by_key(|(first, severity, at)| (!first, std::cmp::Reverse(*severity), *at));
    let mut kept = vec![false; all.len()];
    let mut room = MAX_TEXT_BYTES;
    for (_, _, at) in ranked.into_iter().take(MAX_FINDINGS) {
        let Some(left) = all.get(at).and_then(|finding| room.checked_sub(bytes(finding))) else { break };
        room = left;
        if let Some(kept) = kept.get_mut(at) {
            *kept = true;
        }
    }
    let total = all.len();
    let mut findings: Vec<_> =
        all.into_iter().zip(kept).filter_map(|(finding, kept)| kept.then_some(finding)).collect();
    let message = format!("{} left out", counted(total.saturating_sub(findings.len()), "more finding"));
    findings.push(Finding::new(FINDINGS_OMITTED, Severity::Info, message));
    findings
}

fn bytes(finding: &Finding) -> usize {
    let words = [&finding.component, &finding.expected, &finding.seen, &finding.signer, &finding.hint]
        .into_iter()
        .flatten();
    finding.code.len() + finding.message.len() + words.map(String::len).sum::<usize>()
}

#[cfg(test)]
mod tests {
    use super::*;
    use veriboot_wire::AlertReason;

    fn finding(severity: Severity, reason: Option<AlertReason>, message: String) -> Finding {
        Finding { reason, ..Finding::new("x", severity, message) }
    }

    #[test]
    fn few_stay_as_they_are() {
        let all = vec![finding(Severity::Info, None, "a".into()); MAX_FINDINGS];
        assert_eq!(findings(all.clone()), all);
    }

    #[test]
    fn many_are_cut_and_none_of_the_reasons_is_lost() {
        let mut all = vec![finding(Severity::Info, None, "noise".repeat(100)); 50_000];
        all.extend(vec![
            finding(Severity::High, Some(AlertReason::BaselineDeviation), "b".repeat(512));
            50_000
        ]);
        all.push(finding(Severity::High, Some(AlertReason::LogMismatch), "the log".into()));
        all.push(finding(Severity::Critical, Some(AlertReason::QuoteUntrusted), "the quote".into()));
        let kept = findings(all);
        assert!(kept.len() <= MAX_FINDINGS + 1, "{}", kept.len());
        assert!(kept.iter().map(bytes).sum::<usize>() <= MAX_TEXT_BYTES + 100);
        for reason in [AlertReason::BaselineDeviation, AlertReason::LogMismatch, AlertReason::QuoteUntrusted]
        {
            assert!(kept.iter().any(|f| f.reason == Some(reason) && f.fails()), "{reason}");
        }
        assert!(kept.iter().all(|f| f.message != "noise".repeat(100)), "the worst ones first");
        let last = kept.last().unwrap();
        assert_eq!((last.code.as_str(), last.fails()), (FINDINGS_OMITTED, false));
        assert_eq!(last.message, format!("{} more findings left out", 100_002 - (kept.len() - 1)));
    }
}
