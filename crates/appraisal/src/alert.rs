//! What alerts say: title and remediation by reason, and the finding that explains best.

use veriboot_wire::{AlertReason, Finding};

use crate::code;

/// Headline of an alert.
pub fn alert_title(reason: AlertReason) -> &'static str {
    match reason {
        AlertReason::BaselineDeviation => "VM booted something other than its trusted baseline",
        AlertReason::QuoteUntrusted => {
            "VM attestation cannot be trusted: the quote is not from this VM's TPM"
        }
        AlertReason::LogMismatch => "VM event log does not match its TPM",
        AlertReason::AgentSilent => "VM stopped attesting",
        AlertReason::EndorsementLost => "VM's TPM is no longer endorsed",
    }
}

/// What to do about an alert.
pub fn alert_remediation(reason: AlertReason) -> &'static str {
    match reason {
        AlertReason::BaselineDeviation => {
            "Look at the component that changed. If it comes from an update or a change that you made, accept the boot as \
             the new baseline (`veriboot baseline accept`). If not, isolate the VM, keep its disk for analysis, and \
             redeploy it from a trusted image."
        }
        AlertReason::QuoteUntrusted => {
            "Traffic to the vTPM may be intercepted, or another TPM answers in its place. Check on the hypervisor which \
             vTPM the VM has and whether the VM was cloned or set back to a snapshot. Enrol it again only when its TPM \
             was replaced on purpose."
        }
        AlertReason::LogMismatch => {
            "Do not believe what the event log says about this boot. Reboot the VM and attest again; if the mismatch \
             stays, isolate the VM and compare its log with the one of an earlier boot (`veriboot log diff`)."
        }
        AlertReason::AgentSilent => {
            "Check that the VM runs and that its agent does (`systemctl status veriboot-agent`), and find the broken hop \
             with `veriboot-agent doctor`. A VM that was deleted can be removed from the inventory."
        }
        AlertReason::EndorsementLost => {
            "Find out what changed about the TPM: replaced, its firmware set back, or its certificate revoked. Update the \
             platform, then enrol the VM again."
        }
    }
}

/// The finding that explains a failed attestation best: the most severe, and among those the most telling. `None` when
/// no finding fails.
pub fn primary(findings: &[Finding]) -> Option<&Finding> {
    findings.iter().filter(|f| f.fails()).min_by_key(|f| (std::cmp::Reverse(f.severity), code::rank(&f.code)))
}
