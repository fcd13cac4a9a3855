//! What differs between boots without anybody's doing, and becomes a rule instead of one more accepted boot.

use std::collections::{BTreeMap, BTreeSet};

use veriboot_eventlog::{ComponentKind, Digest, Format};

use super::document::{Baseline, MAX_MERGED, Merged, Varies};
use super::nearest::best;
use super::varying::common;
use crate::diff::{Change, Item, diff, of_boot, of_report};
use crate::enforcement::{Rules, belongs};
use crate::profile::{Enforcement, Profile};
use crate::report::LogReport;
use crate::rule::{Evidence, Explains, MAX_RULE_MEMBERS, MAX_RULES, Pattern, Rule, Says};

/// Kinds that differ between machines and boots of one image, and why that is harmless.
const HARMLESS: &[(ComponentKind, &str)] = &[
    (ComponentKind::PlatformConfig, "tables hold addresses, serial numbers and sizes of the machine"),
    (
        ComponentKind::BootOrder,
        "the order decides what is tried first; what is started is measured by itself",
    ),
    (
        ComponentKind::BootEntry,
        "entries hold device paths of the machine; what is started is measured by itself",
    ),
    (
        ComponentKind::PartitionTable,
        "tables hold the disk's own identifiers; what is started from it is measured by itself",
    ),
];
const NOTED: &str = "it is reported and fails no attestation";
const PATHS: &str = "identifiers of disks and network cards differ between machines; the digest is the same";

/// What to write into a baseline so that a log differs in less.
#[derive(Default)]
pub(super) struct Merge {
    any: BTreeMap<ComponentKind, BTreeSet<Pattern>>,
    varies: Vec<(Place, Varies)>,
    said: Vec<Merged>,
    /// PCRs whose differences are not merged.
    pub left: BTreeSet<u32>,
}

/// What tells references of one component apart.
#[derive(PartialEq)]
struct Place {
    pcr: u32,
    event_type: u32,
    kind: ComponentKind,
    name: String,
    value: Option<String>,
    digest: Digest,
}

impl Merge {
    /// Sorts what a log has and the baseline has not.
    pub fn of(baseline: &Baseline, report: &LogReport) -> Self {
        let bank = baseline.bank;
        let compiled = baseline.clone().compile();
        let unmatched = compiled.unmatched(report, bank);
        let mut measured = of_report(report, bank);
        let mixed_registers = report.format == Some(Format::Ccel);
        let profile = Profile::default();
        let rules = Rules { profile: &profile, bank, mixed_registers };
        let own = compiled.rule_set();
        let by_pcr = best(&compiled, &measured, &unmatched, |changes| {
            let evidence = Evidence::new(report, bank, changes);
            let explains = Explains::new(&own, &evidence);
            let passes =
                |change: &Change<'_>| explains.permits(change) || rules.of(change) != Enforcement::Enforce;
            changes.iter().all(passes)
        });
        let reference: Vec<Item<'_>> =
            by_pcr.iter().flat_map(|(pcr, boot)| boot.iter().flat_map(|boot| of_boot(boot, *pcr))).collect();
        measured.retain(|item| by_pcr.contains_key(&item.pcr));
        let mut merge = Self::default();
        let changes = diff(&reference, &measured);
        let evidence = Evidence::new(report, bank, &changes);
        let explains = Explains::new(&own, &evidence);
        for change in &changes {
            if !explains.permits(change) && !merge.takes(change, &rules) {
                merge.left.insert(change.item().pcr);
            }
        }
        merge
    }

    fn takes(&mut self, change: &Change<'_>, rules: &Rules<'_>) -> bool {
        let item = change.item();
        if rules.mixed_registers {
            return false;
        }
        if let Change::Described(old, new) = change {
            return self.takes_description(old, new);
        }
        let sides = || change.earlier().into_iter().chain(change.later());
        let because =
            HARMLESS.iter().find(|(kind, _)| sides().all(|i| i.kind == *kind && belongs(*kind, i.pcr)));
        if rules.of(change) == Enforcement::Enforce {
            return false;
        }
        let Some((kind, because)) = because else {
            self.say(item.kind, format!("{} differs in PCR {}", named(item), item.pcr), NOTED);
            return true;
        };
        // What is there under one name may be there under another one next time.
        let same_name =
            !item.name.is_empty() && sides().count() == 2 && sides().all(|side| side.name == item.name);
        let Ok(pattern) = Pattern::try_from(if same_name { item.name } else { "*" }.to_owned()) else {
            return false;
        };
        let known = self.any.entry(*kind).or_default();
        if pattern.meets_everything() {
            known.clear();
        }
        if !known.iter().any(Pattern::meets_everything) {
            known.insert(pattern);
        }
        let what = if same_name { named(item) } else { kind.title().to_owned() };
        self.say(*kind, format!("{what} differs in PCR {}", item.pcr), because);
        true
    }

    /// The same digest at the same place, described by a path with other identifiers.
    fn takes_description(&mut self, old: &Item<'_>, new: &Item<'_>) -> bool {
        if old.event_type != new.event_type || old.kind != new.kind {
            return false;
        }
        let Some(name) = varying(old.name, new.name, old.varies.and_then(|v| v.name.as_ref())) else {
            return false;
        };
        let value = match (old.value, new.value) {
            (None, None) => None,
            (Some(a), Some(b)) => match varying(a, b, old.varies.and_then(|v| v.value.as_ref())) {
                Some(pattern) => pattern,
                None => return false,
            },
            _ => return false,
        };
        let place = Place {
            pcr: old.pcr,
            event_type: old.event_type,
            kind: old.kind,
            name: old.name.to_owned(),
            value: old.value.map(str::to_owned),
            digest: *old.digest,
        };
        self.varies.push((place, Varies { name, value }));
        self.say(old.kind, format!("identifiers in the path of {} differ", named(old)), PATHS);
        true
    }

    fn say(&mut self, component: ComponentKind, what: String, because: &str) {
        let merged = Merged { component, what, because: because.to_owned() };
        if !self.said.contains(&merged) {
            self.said.push(merged);
        }
    }

    /// Writes it into the baseline.
    pub fn into(self, baseline: &mut Baseline) {
        for (kind, mut patterns) in self.any {
            let may_grow = baseline.rules.len() < MAX_RULES;
            let known = baseline.rules.iter_mut().find_map(|rule| match &mut rule.says {
                Says::Any(known) if rule.component == kind => Some(known),
                _ => None,
            });
            match known {
                Some(known) if known.iter().any(Pattern::meets_everything) => {}
                Some(known) if patterns.iter().any(Pattern::meets_everything) => *known = patterns,
                Some(known) if known.len() + patterns.len() <= MAX_RULE_MEMBERS => {
                    known.append(&mut patterns)
                }
                None if may_grow => {
                    let mut rule = Rule::new(kind, Says::Any(patterns));
                    rule.description =
                        Some("differs between the boots that this was learned from".to_owned());
                    baseline.rules.push(rule);
                }
                _ => {}
            }
        }
        for (place, varies) in self.varies {
            let references = baseline.boots.iter_mut().flat_map(|boot| &mut boot.measurements);
            for reference in references {
                let here = Place {
                    pcr: reference.pcr,
                    event_type: reference.event_type,
                    kind: reference.kind,
                    name: reference.name.clone(),
                    value: reference.value.clone(),
                    digest: reference.digest,
                };
                if here == place {
                    reference.varies = Some(varies.clone());
                }
            }
        }
        for merged in self.said {
            if baseline.merged.len() < MAX_MERGED && !baseline.merged.contains(&merged) {
                baseline.merged.push(merged);
            }
        }
    }
}

/// `Some(None)` when the texts are the same, `Some(pattern)` when one pattern meets both, `None` when they differ in
/// more than identifiers.
fn varying(old: &str, new: &str, known: Option<&Pattern>) -> Option<Option<Pattern>> {
    if known.is_some_and(|pattern| pattern.meets(new)) || old == new {
        return Some(known.cloned());
    }
    common(old, new).map(Some)
}

fn named(item: &Item<'_>) -> String {
    match item.name {
        "" => item.kind.title().to_owned(),
        name => format!("{} {}", item.kind.title(), crate::text::quoted(name)),
    }
}
