//! What a machine booted, as one value: members of a scale set that booted the same have the same one.

use std::collections::BTreeMap;

use veriboot_eventlog::{Digest, Format, HashAlg};

use crate::diff::{Change, of_report};
use crate::enforcement::{Rules, is_boot_loader_environment};
use crate::profile::{Enforcement, Profile};
use crate::report::{LogReport, MAX_EVENTS};

/// SHA-256 over everything that a log measures in `bank` and the profile enforces, register by register. `None` when
/// the log does not say what was measured there: not in this bank, not for every event, or in too many events.
///
/// Names are no part of it: no digest covers them, and paths differ between machines of one image. A measurement that
/// the profile notes or ignores is left out by the same rules that judge, so nothing is left out because the log gives
/// it a harmless name. The content of GRUB's environment block is left out where that file was read.
pub fn boot_key(report: &LogReport, bank: HashAlg, profile: &Profile) -> Option<Digest> {
    let measured = of_report(report, bank);
    if report.events > MAX_EVENTS || measured.is_empty() || measured.len() != report.entries.len() {
        return None;
    }
    let rules = Rules { profile, bank, mixed_registers: report.format == Some(Format::Ccel) };
    let mut registers: BTreeMap<u32, Vec<u8>> = BTreeMap::new();
    for item in measured {
        let register = registers.entry(item.pcr).or_default();
        let environment = is_boot_loader_environment(&item)
            && !profile.components.contains_key(&item.kind)
            && !rules.mixed_registers;
        if environment {
            register.extend([0; 64].get(..bank.size()).unwrap_or_default());
        } else if rules.of(&Change::Added(item)) == Enforcement::Enforce {
            register.extend(item.digest.as_ref());
        }
    }
    let mut canonical = format!("veriboot-boot-key/1 {}\n", bank.name()).into_bytes();
    for (pcr, digests) in registers.iter().filter(|(_, digests)| !digests.is_empty()) {
        canonical.extend(pcr.to_be_bytes());
        canonical.extend(u64::try_from(digests.len()).unwrap_or(u64::MAX).to_be_bytes());
        canonical.extend(digests);
    }
    Some(HashAlg::Sha256.hash(&[&canonical]))
}
