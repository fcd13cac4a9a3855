//! Every finding that this crate can make: its code, how much it matters, and what it means.
//!
//! One table. docs/findings.md lists the same codes for operators; a test holds the two together. Findings about the
//! quote itself carry the codes of `veriboot_tpm::QuoteError`.

use veriboot_wire::{AlertReason, Finding, Severity};

/// A kind of finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Code {
    /// Stable identifier in kebab case.
    pub code: &'static str,
    /// How much it matters, unless the profile says otherwise.
    pub severity: Severity,
    /// The alert reason it belongs to when it fails the attestation.
    pub reason: Option<AlertReason>,
    /// What it means, in one sentence.
    pub meaning: &'static str,
}

impl Code {
    /// A finding of this kind.
    pub(crate) fn finding(&self, message: impl Into<String>) -> Finding {
        let mut finding = Finding::new(self.code, self.severity, message);
        finding.reason = self.reason.filter(|_| finding.fails());
        finding
    }
}

macro_rules! codes {
    ($($name:ident = $code:literal, $severity:ident, $reason:expr, $meaning:literal;)+) => {
        $(pub(crate) const $name: Code =
            Code { code: $code, severity: Severity::$severity, reason: $reason, meaning: $meaning };)+
        /// Every kind of finding that this crate makes, most telling first: [`crate::primary`] follows this order
        /// among findings of one severity.
        pub const CODES: &[Code] = &[$($name,)+];
    };
}

const QUOTE: Option<AlertReason> = Some(AlertReason::QuoteUntrusted);
const LOG: Option<AlertReason> = Some(AlertReason::LogMismatch);
const BASELINE: Option<AlertReason> = Some(AlertReason::BaselineDeviation);
const ENDORSEMENT: Option<AlertReason> = Some(AlertReason::EndorsementLost);

codes! {
    CLOCK_WENT_BACK = "clock-went-back", Critical, QUOTE,
        "The TPM's clock is earlier than in an earlier quote: a snapshot was restored, or another copy of the vTPM answers.";
    RESET_COUNT_WENT_BACK = "reset-count-went-back", Critical, QUOTE,
        "The TPM's reset counter is lower than in an earlier quote: a snapshot was restored, the TPM was cleared, or another copy of the vTPM answers.";
    RESTART_COUNT_WENT_BACK = "restart-count-went-back", Critical, QUOTE,
        "The TPM's restart counter is lower than in an earlier quote of the same boot.";
    TPM_FIRMWARE_CHANGED_WHILE_RUNNING = "tpm-firmware-changed-while-running", Critical, QUOTE,
        "The TPM's firmware version changed without a reset, which no TPM does.";
    AK_NOT_COMPARABLE = "ak-not-comparable", Critical, QUOTE,
        "The attestation key was replaced and the TPM's firmware version is another one: its counters cannot be held against the earlier ones.";
    SELECTION_EMPTY = "quote-selection-empty", Critical, QUOTE,
        "The quote covers no PCR and proves nothing.";
    PROVES_NOTHING = "quote-proves-nothing", Critical, QUOTE,
        "The quote covers none of the PCRs that the event log extends.";
    TPM_FIRMWARE_WENT_BACK = "tpm-firmware-went-back", High, ENDORSEMENT,
        "The TPM runs older firmware than before.";
    ENDORSEMENT_INVALID = "endorsement-invalid", High, ENDORSEMENT,
        "The endorsement certificate of the TPM was revoked, or has expired where the service refuses that.";
    RUNTIME_EXTEND = "runtime-extend", Critical, LOG,
        "A PCR was extended after boot: same boot and same log as before, but the log no longer explains the PCR.";
    LOG_CHANGED = "log-changed-without-reboot", Critical, LOG,
        "The TPM was not reset since the last attestation, yet the event log is another one.";
    DIGEST_MISMATCH = "log-digest-mismatch", Critical, LOG,
        "An event's data does not have the digest that the event carries: the data was edited.";
    LOG_MISMATCH = "log-mismatch", Critical, LOG,
        "The event log does not replay to the quoted PCRs.";
    LOG_UNREADABLE = "log-unreadable", Critical, LOG,
        "The event log cannot be read.";
    BANK_MISSING = "log-bank-missing", Critical, LOG,
        "The quoted bank is not in the event log, or no event extends it.";
    DIGEST_MISSING = "log-digest-missing", Critical, LOG,
        "An event has no digest of the quoted bank: nothing says what was measured.";
    REGISTER_UNKNOWN = "log-register-unknown", Critical, LOG,
        "An event extends a register that does not exist: no quote can prove it.";
    TOO_MANY_EVENTS = "log-too-many-events", High, LOG,
        "The event log has more events than are judged.";
    LOG_CUT = "log-cut", High, LOG,
        "Reading the event log stopped at a malformed event; what follows is unknown.";
    LOG_MISSING = "log-missing", High, LOG,
        "There is a quote and no event log: nothing explains the PCRs.";
    SEPARATOR_ERROR = "separator-error", High, BASELINE,
        "A separator holds an error value: firmware or a boot component says that measuring failed.";
    SECURE_BOOT_AMBIGUOUS = "secure-boot-ambiguous", High, BASELINE,
        "The log measures the SecureBoot variable more than once with different values.";
    UNBOUND_EVENT = "secure-boot-event-unbound", High, BASELINE,
        "PCR 7 has an event whose digest does not cover its data: it could hide another Secure Boot state.";
    MEASURED_AFTER_SEPARATOR = "measured-after-separator", High, BASELINE,
        "Secure Boot configuration was measured after the separator that closes it: the operating system could have written it.";
    SEPARATOR_MISSING = "separator-missing", High, BASELINE,
        "PCR 7 has no separator: nothing shows where the firmware's own measurements end.";
    SEPARATOR_DOUBLED = "separator-doubled", High, BASELINE,
        "A PCR has more than one separator.";
    SECURE_BOOT_DISABLED = "secure-boot-disabled", High, BASELINE,
        "Secure Boot is off and the profile or the baseline wants it on.";
    SECURE_BOOT_UNKNOWN = "secure-boot-unknown", High, BASELINE,
        "Nothing shows whether Secure Boot is on and the profile wants it on.";
    SHIM_VALIDATION_OFF = "shim-validation-disabled", High, BASELINE,
        "Secure Boot is on, but shim was told not to verify what it starts (MokSBState).";
    COMPONENT_CHANGED = "component-changed", High, BASELINE,
        "A component differs from the baseline.";
    COMPONENT_ADDED = "component-added", High, BASELINE,
        "Something was measured that the baseline does not have.";
    COMPONENT_REMOVED = "component-removed", High, BASELINE,
        "Something that the baseline has was not measured.";
    COMPONENT_REORDERED = "component-reordered", High, BASELINE,
        "The same components were measured in another order.";
    DESCRIPTION_CHANGED = "description-changed", High, BASELINE,
        "An event has the digest of the baseline, but the log describes it in another way.";
    BASELINE_BANK_MISMATCH = "baseline-bank-mismatch", High, BASELINE,
        "The baseline was learned in another PCR bank than the quoted one: no quote proved what it says there.";
    BASELINE_FLAWED = "baseline-flawed", High, BASELINE,
        "The baseline is empty, contradictory or would accept everything, so it judges nothing.";
    RULE_VIOLATED = "rule-violated", High, BASELINE,
        "A rule of the baseline or the profile demands what the log does not show.";
    POLICY_CONDITION = "policy-condition", High, BASELINE,
        "A condition of the profile does not hold for this boot; the condition sets the severity.";
    POLICY_DATA_ABSENT = "policy-data-absent", High, BASELINE,
        "A condition of the profile asks for something that this boot does not show; the condition sets the severity.";
    POLICY_CONDITION_ERROR = "policy-condition-error", High, BASELINE,
        "A condition of the profile could not be evaluated; the condition sets the severity.";
    MORE_CHANGES = "more-changes", High, BASELINE,
        "There are more differences than are listed.";
    NOT_PROVEN = "pcr-not-proven", High, BASELINE,
        "The log has events for a PCR that the quote does not prove: they are claims, not evidence.";
    NOT_JUDGED = "not-judged", High, BASELINE,
        "Neither a profile nor a baseline judged the log for the quoted bank.";
    NOT_COVERED = "not-covered", Low, None,
        "No boot, rule or authority says anything about some measurements; they are accepted as they are.";
    TPM_FIRMWARE_CHANGED = "tpm-firmware-changed", Medium, None,
        "The TPM runs newer firmware than before.";
    LOG_TRAILING = "log-trailing-bytes", Low, None,
        "Bytes that are neither events nor padding follow the last event.";
    LOG_ENDS_EARLY = "log-ends-early", Low, None,
        "The log was saved before the ExitBootServices events; PCR 5 holds exactly these in addition.";
    RUN_TIME_PCR = "run-time-pcr", Low, None,
        "A PCR that the operating system extends while it runs is not covered by the boot log.";
    AK_REPLACED = "ak-replaced", Info, None,
        "The VM enrolled again with another attestation key; this is the first quote of that key.";
    BANK_INACTIVE = "log-bank-inactive", Info, None,
        "The log names a bank that no event extends; it is not compared.";
    LOG_WARNING = "log-warning", Info, None,
        "Something in the event log is unusual and harmless.";
    OS_PHASES = "os-phases", Info, None,
        "PCR 11 holds the boot phases that systemd measures after hand-over, and nothing else beside the log.";
    BASELINE_MISSING = "baseline-missing", Info, None,
        "No baseline judged this boot.";
    BOOT_ACCEPTED = "boot-accepted", Info, None,
        "Between two baselines: the later one accepts a boot that the earlier one does not.";
    BOOT_DROPPED = "boot-dropped", Info, None,
        "Between two baselines: the later one does not accept a boot that the earlier one does.";
    RULE_ADDED = "rule-added", Info, None,
        "Between two baselines: the later one has a rule more.";
    RULE_REMOVED = "rule-removed", Info, None,
        "Between two baselines: the later one has a rule less.";
    UNLISTED_CHANGED = "unlisted-changed", Low, None,
        "Between two baselines: what no boot and no rule speaks of is treated in another way.";
}

/// Position of a code in [`CODES`]; codes of the quote come first, unknown ones last.
pub(crate) fn rank(code: &str) -> usize {
    match CODES.iter().position(|known| known.code == code) {
        Some(at) => at + 1,
        None if code.starts_with("quote-") => 0,
        None => usize::MAX,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_unique_and_kebab_case() {
        for (at, code) in CODES.iter().enumerate() {
            assert!(code.code.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-'));
            assert!(!CODES[..at].iter().any(|other| other.code == code.code), "{}", code.code);
        }
    }

    #[test]
    fn what_fails_has_a_reason() {
        for code in CODES {
            assert_eq!(code.severity >= Severity::High, code.reason.is_some(), "{}", code.code);
        }
    }
}
