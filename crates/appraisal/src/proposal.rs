//! Deviations that may be put before an operator instead of failing.

use std::collections::BTreeSet;

use veriboot_eventlog::{Digest, HashAlg};
use veriboot_wire::{ChangeAction, Finding};

use crate::diff::{Change, Item};
use crate::rejection::line;

/// New measurements that one proposal may have. Who boots something with more of them is unhealthy: nobody could look at
/// so many, and what a rejection stands for would have no bound.
pub const MAX_PROPOSED: usize = 512;

/// All enforced deviations of a boot that may be proposed (SPEC section 5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proposed {
    /// SHA-256 over the canonical form of the enforced differences, hex: the same for every VM with the same change.
    pub key: String,
    /// PCRs in which the boot differs from the baseline.
    pub pcrs: BTreeSet<u32>,
    /// What is measured that was not measured before: one line `PCR digest` each, sorted, at most [`MAX_PROPOSED`].
    pub added: Vec<String>,
    /// Those of `added` that a rejection of this change stands for: what a signature fixes, or all when nothing is signed.
    /// Files that come along with a signed kernel are not among them: whoever owns the machine can write others.
    pub marks: Vec<String>,
    /// What differs, most telling first.
    pub findings: Vec<Finding>,
}

impl Proposed {
    /// Of the enforced differences, and the findings that were made of all differences. `is_mark` tells what a signature
    /// fixes.
    pub(crate) fn new(
        changes: &[&Change<'_>],
        findings: &[Finding],
        is_mark: impl Fn(&Change<'_>) -> bool,
    ) -> Self {
        let pcrs = changes.iter().map(|change| change.item().pcr).collect();
        let findings = findings.iter().filter(|f| f.action == Some(ChangeAction::Propose)).cloned().collect();
        let added = lines(changes.iter().copied());
        let signed = lines(changes.iter().copied().filter(|change| is_mark(change)));
        let marks = if signed.is_empty() { added.clone() } else { signed };
        Self { key: key(changes), pcrs, added, marks, findings }
    }
}

/// How many measurements of these differences are new.
pub(crate) fn count_new(changes: &[&Change<'_>]) -> usize {
    changes.iter().filter_map(|change| new(change)).count()
}

/// What is measured now and was not before. What only moved was.
fn new<'c, 'a>(change: &'c Change<'a>) -> Option<&'c Item<'a>> {
    match change {
        Change::Changed(_, item) | Change::Added(item) => Some(item),
        Change::Moved(..) | Change::Described(..) | Change::Removed(_) => None,
    }
}

fn lines<'c, 'a: 'c>(changes: impl Iterator<Item = &'c Change<'a>>) -> Vec<String> {
    let mut lines: Vec<String> = changes.filter_map(new).map(|item| line(item.pcr, item.digest)).collect();
    lines.sort_unstable();
    lines
}

/// One line per side of a difference, in the order of PCRs and of places in them: what is gone, then what is new. Nothing
/// that the log claims is part of it, neither names and types nor which measurement replaces which: paths differ between
/// machines with one change, and whoever owns a machine whose change was rejected could give it another name.
fn key(changes: &[&Change<'_>]) -> String {
    let shown = changes.iter().filter(|change| !matches!(change, Change::Described(..)));
    let mut sides: Vec<(u32, bool, usize, Digest)> = shown
        .flat_map(|change| {
            let side = |new: bool, item: &Item<'_>| (item.pcr, new, item.place, *item.digest);
            let gone = change.earlier().map(|item| side(false, item));
            gone.into_iter().chain(change.later().map(|item| side(true, item)))
        })
        .collect();
    sides.sort_unstable_by_key(|(pcr, new, place, _)| (*pcr, *new, *place));
    let mut canonical = "veriboot-change/2\n".to_owned();
    for (pcr, new, _, digest) in sides {
        canonical.push_str(&format!("{pcr} {} {digest}\n", if new { '+' } else { '-' }));
    }
    HashAlg::Sha256.hash(&[canonical.as_bytes()]).to_string()
}
