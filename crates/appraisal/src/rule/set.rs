//! Rules made ready to be held against many logs.

use std::collections::{BTreeSet, HashMap};

use veriboot_eventlog::{ComponentKind, Digest, EventType};
use veriboot_wire::Finding;

use super::evidence::Evidence;
use super::{Pattern, Rule, Says, demands, keys};
use crate::authority::admitted_by;
use crate::deviation::is_configuration_file;
use crate::diff::{Change, Item};
use crate::enforcement::{belongs, is_known_action};
use crate::image_chain::is_image;
use crate::report::LogReport;
use crate::structure_checks::SECURE_BOOT_PCR;
use crate::weigher::FILE_PCR;

/// Rules of a baseline or of a profile, by what they speak of. Made for each judgement: it borrows, and looks digests up,
/// so neither making nor asking it costs more when rules list many.
#[derive(Clone, Debug, Default)]
pub(crate) struct RuleSet<'r> {
    digests: HashMap<ComponentKind, Vec<&'r BTreeSet<Digest>>>,
    authorities: HashMap<ComponentKind, BTreeSet<Digest>>,
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

    /// Whether a rule explains this difference.
    pub fn permits(&self, change: &Change<'_>, evidence: &Evidence<'_>) -> bool {
        if evidence.mixes_registers() {
            return false;
        }
        self.permits_itself(change, evidence) || self.follows_from_text(change, evidence)
    }

    fn permits_itself(&self, change: &Change<'_>, evidence: &Evidence<'_>) -> bool {
        self.permits_digest(change, evidence)
            || self.permits_any(change, evidence)
            || self.permits_admitted(change, evidence)
            || self.meets_demand(change, evidence.report)
    }

    /// The file that the boot loader read a command line from, and the command line as the kernel's stub measures it again:
    /// GRUB measures as text all that it does with that file, so both say nothing new where every difference in that text
    /// is explained.
    fn follows_from_text(&self, change: &Change<'_>, evidence: &Evidence<'_>) -> bool {
        use ComponentKind as K;
        let Change::Changed(old, new) = change else { return false };
        let same = old.kind == new.kind && old.event_type == new.event_type && old.name == new.name;
        let follows = new.pcr == FILE_PCR
            && match new.kind {
                K::BootLoaderFile | K::BootLoaderConfig => is_configuration_file(new.name),
                K::KernelCommandLine => new.event_type == EventType::EV_EVENT_TAG.0,
                _ => false,
            };
        same && follows
            && evidence.images.is_in_place(new)
            && !evidence.commands.is_empty()
            && evidence.commands.iter().all(|command| self.permits_itself(command, evidence))
    }

    /// One of the digests at the place of another one; or anywhere in a PCR of which no boot speaks.
    fn permits_digest(&self, change: &Change<'_>, evidence: &Evidence<'_>) -> bool {
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
    fn permits_any(&self, change: &Change<'_>, evidence: &Evidence<'_>) -> bool {
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

    fn permits_admitted(&self, change: &Change<'_>, evidence: &Evidence<'_>) -> bool {
        use ComponentKind as K;
        let Some(new) = change.later() else {
            // An authority that admits nothing any more.
            return self.removes_authority(change, evidence.report);
        };
        if matches!(change, Change::Described(..)) {
            return false;
        }
        match (new.kind, new.entry.map(|entry| &entry.content)) {
            (K::Authority, Some(content)) if new.pcr == SECURE_BOOT_PCR => {
                content.certificate().is_some_and(|by| self.trusts(K::Authority, &by.sha256))
            }
            (K::PlatformKey | K::KeyExchangeKey | K::SignatureDb, Some(content))
                if new.pcr == SECURE_BOOT_PCR =>
            {
                let Some(list) = content.signatures() else { return false };
                list.complete
                    && list.members.len() == list.certificates.len()
                    && !list.certificates.is_empty()
                    && list.certificates.iter().all(|by| self.trusts(new.kind, &by.sha256))
            }
            (K::Shim | K::BootLoader | K::Kernel, _) if is_image(new) => {
                if self.complains_of_authorities(new.kind, evidence.report) {
                    return true;
                }
                let trusted = self.of_images(&[K::Shim, K::BootLoader, K::Kernel], new.kind);
                let replaces = evidence.images.is_referenced(new);
                trusted.is_some_and(|trusted| admitted_by(evidence.report, &trusted))
                    && (!replaces || matches!(change, Change::Changed(..)) && evidence.images.is_sound())
            }
            (K::OptionRom, _) if is_driver(new) => {
                let trusted = self.of_images(&[K::OptionRom], K::OptionRom);
                trusted.is_some_and(|trusted| admitted_by(evidence.report, &trusted))
            }
            _ => false,
        }
    }

    /// Whether a rule demands that known authorities admitted everything, and its violation is told: then that images were
    /// not admitted is told as well.
    fn complains_of_authorities(&self, kind: ComponentKind, report: &LogReport) -> bool {
        self.authorities.contains_key(&kind)
            && self
                .authorities
                .get(&ComponentKind::Authority)
                .is_some_and(|trusted| keys::violations(ComponentKind::Authority, trusted, report).is_some())
    }

    fn removes_authority(&self, change: &Change<'_>, report: &LogReport) -> bool {
        matches!(change, Change::Removed(old) if old.kind == ComponentKind::Authority && old.pcr == SECURE_BOOT_PCR)
            && self
                .authorities
                .get(&ComponentKind::Authority)
                .is_some_and(|trusted| admitted_by(report, trusted))
    }

    fn trusts(&self, kind: ComponentKind, certificate: &Digest) -> bool {
        self.authorities.get(&kind).is_some_and(|trusted| trusted.contains(certificate))
    }

    /// PCR 7 tells who admitted the images of a boot and not which, so the authorities of all kinds of images count
    /// together, where a rule speaks of `kind` at all.
    fn of_images(&self, kinds: &[ComponentKind], kind: ComponentKind) -> Option<BTreeSet<Digest>> {
        self.authorities.get(&kind)?;
        let all = kinds.iter().filter_map(|kind| self.authorities.get(kind)).flatten();
        Some(all.copied().collect())
    }

    /// Whether the later side is what a demand asks for.
    fn meets_demand(&self, change: &Change<'_>, report: &LogReport) -> bool {
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

fn is_driver(item: &Item<'_>) -> bool {
    item.pcr == 2
        && [EventType::EV_EFI_BOOT_SERVICES_DRIVER, EventType::EV_EFI_RUNTIME_SERVICES_DRIVER]
            .iter()
            .any(|driver| driver.0 == item.event_type)
}
