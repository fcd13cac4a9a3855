//! What an attestation was judged with beside its evidence, as bundles keep it: another judge comes to the same verdict.

use veriboot_wire::{AlertReason, ChangeAction, PreviousQuote, RejectedProposal, Severity};

use crate::{Judgement, PreviousBoot};

impl PreviousBoot {
    /// For a bundle.
    pub fn to_wire(&self) -> PreviousQuote {
        PreviousQuote {
            reset_count: self.reset_count,
            restart_count: self.restart_count,
            clock_ms: self.clock_ms,
            firmware_version: format!("{:016x}", self.firmware_version),
            log_sha256: self.log_sha256.clone(),
            ak_replaced: self.ak_replaced,
        }
    }

    /// From a bundle. `None` when the firmware version is not hex of at most 64 bits.
    pub fn from_wire(wire: &PreviousQuote) -> Option<Self> {
        Some(Self {
            reset_count: wire.reset_count,
            restart_count: wire.restart_count,
            clock_ms: wire.clock_ms,
            firmware_version: u64::from_str_radix(&wire.firmware_version, 16).ok()?,
            log_sha256: wire.log_sha256.clone(),
            ak_replaced: wire.ak_replaced,
        })
    }
}

impl Judgement {
    /// The judgement while the rejection of what it proposes stands: what could be proposed fails.
    #[must_use]
    pub fn rejected(&self, rejection: &RejectedProposal) -> Self {
        let mut judgement = self.clone();
        judgement.proposed = None;
        let RejectedProposal { id, by, comment, at } = rejection;
        for finding in judgement.findings.iter_mut().filter(|f| f.action == Some(ChangeAction::Propose)) {
            finding.severity = Severity::High;
            finding.reason = Some(AlertReason::BaselineDeviation);
            finding.action = Some(ChangeAction::Fail);
            finding.message.push_str(&format!("; proposal {id} was rejected by {by}"));
            finding.hint = Some(format!(
                "Rejected at {at}: {comment}. Bring the VM back to what the baseline has, or take the rejection back \
                 (`veriboot proposal reopen {id}`)."
            ));
        }
        judgement
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_previous_boot_goes_through_a_bundle() {
        let boot = PreviousBoot {
            reset_count: u32::MAX,
            restart_count: 7,
            clock_ms: 1 << 40,
            firmware_version: u64::MAX - 1,
            log_sha256: Some("ab".repeat(32)),
            ak_replaced: true,
        };
        assert_eq!(PreviousBoot::from_wire(&boot.to_wire()), Some(boot.clone()));
        for wrong in ["", "0x1", "11112222333344445", "g"] {
            let wire = PreviousQuote { firmware_version: wrong.to_owned(), ..boot.to_wire() };
            assert_eq!(PreviousBoot::from_wire(&wire), None, "{wrong}");
        }
    }
}
