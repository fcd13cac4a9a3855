//! Deviations that may be put before an operator instead of failing.

use std::collections::BTreeSet;

use veriboot_wire::Finding;

/// All enforced deviations of a boot that may be proposed (SPEC section 5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proposed {
    /// SHA-256 over the canonical form of the enforced differences, hex: the same for every VM with the same change.
    pub key: String,
    /// PCRs in which the boot differs from the baseline.
    pub pcrs: BTreeSet<u32>,
    /// What differs, most telling first.
    pub findings: Vec<Finding>,
}
