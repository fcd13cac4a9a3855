//! Rules made ready to be held against many logs.

use std::collections::{BTreeSet, HashMap};

use veriboot_eventlog::{ComponentKind, Digest, EventType};
use veriboot_wire::Finding;

use super::evidence::Evidence;
use super::{Authority, Pattern, Rule, Says, demands, keys};
use crate::diff::{Change, Item};
use crate::enforcement::{belongs, is_known_action};
use crate::report::LogReport;

/// Rules of a baseline or of a profile, by what they speak of. Made for each judgement: it borrows, and looks digests up,
/// so neither making nor asking it costs more when rules list many.
#[derive(Clone, Debug, Default)]
pub(crate) struct RuleSet<'r> {
    digests: HashMap<ComponentKind, Vec<&'r BTreeSet<Digest>>>,
    pub(super) authorities: HashMap<ComponentKind, BTreeSet<Digest>>,
    patterns: HashMap<ComponentKind, Vec<&'r Pattern>>,
    demands: Vec<&'r Rule>,
}

impl<'r> RuleSet<'r> {
    /// Several rules about one component permit what any of them permits and demand what each demands.
    pub fn new(rules: impl IntoIterator<Item = &'r Rule>) -> Self {
        let mut set = Self::default();
        for rule in rules {
            match &rule.says {
                Says::Digests(digests) => set.digests.entry(rule.component).or_default().push(digests),
                Says::Authorities(listed) => {
                    let known = set.authorities.entry(rule.component).or_default();
                    known.extend(listed.iter().map(|authority| authority.sha256));
                }
                Says::Any(patterns) => set.patterns.entry(rule.component).or_default().extend(patterns),
                Says::Minimum(_) | Says::Parameters(_) | Says::State(_) => set.demands.push(rule),
            }
        }
        set
    }

    /// Whether no rule is in it.
    pub fn is_empty(&self) -> bool {
        self.digests.is_empty()
            && self.authorities.is_empty()
            && self.patterns.is_empty()
            && self.demands.is_empty()
    }

    /// What the rules demand and the log does not show.
    pub fn violations(&self, report: &LogReport) -> Vec<Finding> {
        let listed = self.authorities.iter().filter(|(kind, _)| keys::are_demanded(**kind));
        let mut found: Vec<Finding> =
            listed.flat_map(|(kind, by)| keys::violations(*kind, by, report)).collect();
        found.sort_by_key(|violation| violation.event);
        found.extend(self.demands.iter().flat_map(|rule| demands::violations(rule, report)));
        found
    }

    /// One of the digests at the place of another one; or anywhere in a PCR of which no boot speaks.
    pub(super) fn permits_digest(&self, change: &Change<'_>, evidence: &Evidence<'_>) -> bool {
        let listed = |item: &Item<'_>| {
            belongs(item.kind, item.pcr)
                && self
                    .digests
                    .get(&item.kind)
                    .is_some_and(|lists| lists.iter().any(|digests| digests.contains(item.digest)))
        };
        match change {
            Change::Changed(old, new) => {
                old.kind == new.kind && listed(new) && evidence.images.is_in_place(new)
            }
            Change::Added(new) => listed(new) && !evidence.images.is_referenced(new),
            Change::Described(..) | Change::Moved(..) | Change::Removed(_) => false,
        }
    }

    /// Harmless variation: both sides are of that kind and name, where nothing else is measured.
    pub(super) fn permits_any(&self, change: &Change<'_>, evidence: &Evidence<'_>) -> bool {
        let sides = [change.earlier(), change.later()];
        !matches!(change, Change::Described(..))
            && sides.into_iter().flatten().all(|item| {
                belongs(item.kind, item.pcr)
                    && says_its_kind(item, evidence)
                    && self
                        .patterns
                        .get(&item.kind)
                        .is_some_and(|patterns| patterns.iter().any(|pattern| pattern.meets(item.name)))
            })
    }

    pub(super) fn trusts(&self, kind: ComponentKind, certificate: &Digest) -> bool {
        self.authorities.get(&kind).is_some_and(|trusted| trusted.contains(certificate))
    }

    /// Whether nothing ran that the authorities of these kinds did not admit. PCR 7 tells who admitted the images of a boot
    /// and not which, so those of all kinds of images count together.
    pub(super) fn of_kinds(&self, kinds: &[ComponentKind], evidence: &Evidence<'_>) -> bool {
        let trusted: Vec<&BTreeSet<Digest>> =
            kinds.iter().filter_map(|kind| self.authorities.get(kind)).collect();
        let trusts = |by: &Authority| trusted.iter().any(|listed| listed.contains(&by.sha256));
        evidence.admitted.as_ref().is_ok_and(|all| all.iter().all(|by| trusts(by)))
    }

    /// Whether the later side is what a demand asks for.
    pub(super) fn meets_demand(&self, change: &Change<'_>, report: &LogReport) -> bool {
        self.demands.iter().any(|rule| demands::explains(rule, change, report))
    }
}

/// Kinds whose name a log gives to anything, in a PCR where other things are measured too, count by what the digest
/// shows.
fn says_its_kind(item: &Item<'_>, evidence: &Evidence<'_>) -> bool {
    use ComponentKind as K;
    match item.kind {
        K::FirmwareAction | K::ExitBootServices => is_known_action(item, evidence.bank),
        K::PartitionTable => item.event_type == EventType::EV_EFI_GPT_EVENT.0,
        _ => true,
    }
}
