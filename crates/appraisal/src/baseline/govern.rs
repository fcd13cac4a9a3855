//! Where a rule lists everything that may be measured.

use crate::enforcement::belongs;
use crate::rule::{Rule, Says};

/// PCRs of images that firmware started or loaded: what runs there was admitted by the authorities in PCR 7.
const IMAGE_PCRS: std::ops::RangeInclusive<u32> = 2..=4;

/// Whether this rule says what may be measured in this PCR. What a log calls a measurement is a claim, so a rule about
/// one kind of component means nothing unless whatever else is measured beside it is spoken of as well. Registers of a
/// confidential VM hold several PCRs each (`mixed_registers`), so there it speaks of all of them.
pub(crate) fn governs(rule: &Rule, pcr: u32, mixed_registers: bool) -> bool {
    match &rule.says {
        Says::Digests(_) | Says::Authorities(_) if mixed_registers => true,
        Says::Digests(_) => belongs(rule.component, pcr),
        Says::Authorities(_) => belongs(rule.component, pcr) && IMAGE_PCRS.contains(&pcr),
        // The command line is measured as text beside commands of the boot loader, of which nobody lists all.
        Says::Parameters(_) => false,
        Says::Any(_) | Says::Minimum(_) | Says::State(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use veriboot_eventlog::ComponentKind;

    use crate::enforcement::belongs;

    /// docs/baseline.md lists every component with its PCRs.
    #[test]
    fn components_are_documented_with_their_pcrs() {
        let document = include_str!("../../../../docs/baseline.md");
        for kind in ComponentKind::ALL {
            let pcrs: Vec<String> =
                (0..24).filter(|pcr| belongs(*kind, *pcr)).map(|pcr| pcr.to_string()).collect();
            let pcrs = match pcrs.as_slice() {
                [] => "none: cannot be permitted by a rule".to_owned(),
                pcrs => pcrs.join(", "),
            };
            let row = format!("| `{kind}`: {} | {pcrs} |", kind.title());
            assert!(document.contains(&row), "docs/baseline.md lacks {row}");
        }
    }
}
