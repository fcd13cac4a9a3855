//! What alerts say: title and remediation by reason (the words are in `veriboot_wire::REASONS`), and the finding that
//! explains best.

use veriboot_wire::{AlertReason, Finding, reason_words};

use crate::code;

/// Headline of an alert.
pub fn alert_title(reason: AlertReason) -> &'static str {
    reason_words(reason).title
}

/// What to do about an alert.
pub fn alert_remediation(reason: AlertReason) -> &'static str {
    reason_words(reason).remediation
}

/// The finding that explains a failed attestation best: the most severe, and among those the most telling. `None` when
/// no finding fails.
pub fn primary(findings: &[Finding]) -> Option<&Finding> {
    findings.iter().filter(|f| f.fails()).min_by_key(|f| (std::cmp::Reverse(f.severity), code::rank(&f.code)))
}
