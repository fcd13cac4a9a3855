//! Deviations that may be put before an operator instead of failing.

use std::collections::BTreeSet;

use veriboot_eventlog::HashAlg;
use veriboot_wire::{ChangeAction, Finding};

use crate::diff::{Change, Item};

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

impl Proposed {
    /// Of the enforced differences, and the findings that were made of all differences.
    pub(crate) fn new(changes: &[&Change<'_>], findings: &[Finding]) -> Self {
        let pcrs = changes.iter().map(|change| change.item().pcr).collect();
        let findings = findings.iter().filter(|f| f.action == Some(ChangeAction::Propose)).cloned().collect();
        Self { key: key(changes), pcrs, findings }
    }
}

/// One line per difference, in the order of PCRs and of places in them. Names and texts are no part of it: they are
/// claims of one machine's log, and paths differ between machines with one change.
fn key(changes: &[&Change<'_>]) -> String {
    let side = |item: Option<&Item<'_>>| match item {
        Some(item) => format!("{:08x}:{}", item.event_type, item.digest),
        None => "-".to_owned(),
    };
    let mut lines: Vec<(u32, usize, String)> = changes
        .iter()
        .map(|change| {
            let item = change.item();
            let line = format!("{} {} {}\n", item.pcr, side(change.earlier()), side(change.later()));
            (item.pcr, item.place, line)
        })
        .collect();
    lines.sort();
    let mut canonical = "veriboot-change/1\n".to_owned();
    canonical.extend(lines.into_iter().map(|(_, _, line)| line));
    HashAlg::Sha256.hash(&[canonical.as_bytes()]).to_string()
}
