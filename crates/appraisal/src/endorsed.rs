//! What the endorsement of a TPM means for the verdict: it stands beside the evidence, and no quote shows it.

use veriboot_wire::FactState;

use crate::code;
use crate::conclude::Outcome;

impl Outcome {
    /// The outcome of a VM whose TPM's endorsement is this, whatever its quote says. One that is no longer valid fails,
    /// and `detail` says why.
    #[must_use]
    pub fn endorsed(mut self, state: FactState, detail: Option<&str>) -> Self {
        if self.facts.endorsement != FactState::Invalid {
            self.facts.endorsement = state;
        }
        if state != FactState::Invalid {
            return self;
        }
        let mut finding = code::ENDORSEMENT_INVALID.finding(match detail {
            Some(detail) => format!("The endorsement of the TPM is no longer valid: {detail}"),
            None => "The endorsement of the TPM is no longer valid".to_owned(),
        });
        finding.component = Some("TPM endorsement".to_owned());
        finding.hint = Some(
            "Ask who runs the platform why the TPM lost its endorsement; enrol the VM again with a TPM that has one."
                .to_owned(),
        );
        self.and(vec![finding])
    }
}
