//! What differs between two baselines, in the words of findings.

use veriboot_wire::Finding;

use super::document::{Baseline, ReferenceBoot};
use crate::deviation::{self, Sides};
use crate::diff::{Item, diff, of_boot};
use crate::enforcement::Rules;
use crate::profile::Profile;

/// What the newest boot of `b` has that the newest boot of `a` has not, and the other way round.
pub fn diff_baselines(a: &Baseline, b: &Baseline) -> Vec<Finding> {
    let (Some(from), Some(to)) = (a.newest(), b.newest()) else { return Vec::new() };
    let items = |boot| -> Vec<Item<'_>> { all(boot).collect() };
    let changes = diff(&items(from), &items(to));
    let sides = Sides {
        reference: "the earlier baseline",
        secure_boot_before: from.secure_boot,
        secure_boot_now: to.secure_boot,
    };
    let profile = Profile::measured_only();
    let mut findings = deviation::findings(
        changes,
        &sides,
        &Rules { profile: &profile, bank: b.bank, mixed_registers: false },
    );
    for finding in &mut findings {
        finding.reason = None;
    }
    findings
}

fn all(boot: &ReferenceBoot) -> impl Iterator<Item = Item<'_>> {
    let mut pcrs: Vec<u32> = boot.measurements.iter().map(|reference| reference.pcr).collect();
    pcrs.sort_unstable();
    pcrs.dedup();
    pcrs.into_iter().flat_map(|pcr| of_boot(boot, pcr))
}
