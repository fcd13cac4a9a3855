//! What is wrong with a profile that can be read: it accepts everything, contradicts itself, or says something that has
//! no effect.

use std::collections::BTreeSet;

use veriboot_eventlog::{ComponentKind, HashAlg};
use veriboot_wire::{ChangeAction, ChangeClass, Severity};

use super::{Enforcement, Learn, Profile, SecureBootDemand};
use crate::baseline::{Baseline, Flaw};
use crate::enforcement::belongs;
use crate::rule::{Says, StateFlag, Switch};
use crate::text::quoted;

/// Kinds of components that run, or decide what runs.
const RUNS: &[ComponentKind] = &[
    ComponentKind::Shim,
    ComponentKind::BootLoader,
    ComponentKind::BootLoaderConfig,
    ComponentKind::Kernel,
    ComponentKind::Initrd,
    ComponentKind::KernelCommandLine,
    ComponentKind::UkiSection,
    ComponentKind::SignatureDb,
    ComponentKind::Authority,
];

fn flaw(code: &'static str, refused: bool, place: String, message: String, hint: &'static str) -> Flaw {
    Flaw { code, refused, place, message, hint }
}

impl Profile {
    /// Everything that is wrong with it; those that are `refused` first.
    pub fn flaws(&self) -> Vec<Flaw> {
        let mut flaws = self.rule_flaws();
        self.accepted_classes(&mut flaws);
        self.loosened_components(&mut flaws);
        self.contradictions(&mut flaws);
        self.conditions(&mut flaws);
        self.learning(&mut flaws);
        flaws.sort_by_key(|flaw| !flaw.refused);
        flaws
    }

    /// A rule means the same in a profile and in a baseline.
    fn rule_flaws(&self) -> Vec<Flaw> {
        let mut baseline = Baseline::new(HashAlg::Sha256);
        baseline.rules.clone_from(&self.rules);
        let mut flaws = baseline.flaws();
        flaws.retain(|flaw| flaw.place.starts_with("rules"));
        flaws
    }

    fn accepted_classes(&self, flaws: &mut Vec<Flaw>) {
        let accepted = |class: &ChangeClass| {
            let rule = self.change(*class);
            rule.action == ChangeAction::Accept && !rule.signed
        };
        if ChangeClass::ALL.iter().all(accepted) {
            flaws.push(flaw(
                "profile-accepts-everything",
                true,
                "changes".to_owned(),
                "Every class of change is accepted without a signature: no boot can fail".to_owned(),
                "keep `accept` for the classes that are harmless to you, and `propose` or `fail` for the others",
            ));
            return;
        }
        for (class, rule) in &self.changes {
            let place = format!("changes.{class}");
            if rule.action == ChangeAction::Accept && !rule.signed {
                flaws.push(flaw(
                    "change-accepted-unsigned",
                    false,
                    place,
                    format!("Any {class} is accepted, whoever made it"),
                    "`signed = true` accepts it only when an authority signed it that the baseline trusts",
                ));
            } else if rule.action == ChangeAction::Propose && !rule.signed {
                flaws.push(flaw(
                    "change-proposed-unsigned",
                    false,
                    place,
                    format!(
                        "A VM with any {class} stays healthy until somebody looks, whoever made the change"
                    ),
                    "`signed = true` proposes it only when an authority signed it that the baseline trusts",
                ));
            } else if rule.action == ChangeAction::Fail && rule.following {
                flaws.push(flaw(
                    "no-effect",
                    false,
                    place,
                    "`following` has no effect on changes that fail".to_owned(),
                    "remove it, or write `action = \"propose\"`",
                ));
            }
        }
    }

    fn loosened_components(&self, flaws: &mut Vec<Flaw>) {
        let loosened = |kind: &ComponentKind| {
            matches!(self.components.get(kind), Some(Enforcement::Note | Enforcement::Ignore))
        };
        if RUNS.iter().all(loosened) {
            flaws.push(flaw(
                "profile-accepts-everything",
                true,
                "components".to_owned(),
                "Everything that runs is noted or ignored: no boot can fail".to_owned(),
                "enforce what runs, and note only what differs harmlessly",
            ));
        }
        for kind in self.components.keys() {
            let place = format!("components.{kind}");
            if !(0..24).any(|pcr| belongs(*kind, pcr)) && loosened(kind) {
                flaws.push(flaw(
                    "no-effect",
                    false,
                    place,
                    format!("`{kind}` is measured nowhere in particular, so it is enforced all the same"),
                    "remove it",
                ));
            } else if RUNS.contains(kind) && loosened(kind) {
                flaws.push(flaw(
                    "component-not-enforced",
                    false,
                    place,
                    format!("Another {} passes, whoever made it", kind.title()),
                    "enforce it, and let updates be proposed: `changes`",
                ));
            }
        }
    }

    fn contradictions(&self, flaws: &mut Vec<Flaw>) {
        for (at, rule) in self.rules.iter().enumerate() {
            let Says::State(state) = &rule.says else { continue };
            let wants = |flag| state.get(&flag).copied();
            let off = wants(StateFlag::SecureBoot) == Some(Switch::Off);
            let on = wants(StateFlag::SecureBoot) == Some(Switch::On);
            if off && self.secure_boot == SecureBootDemand::Required {
                flaws.push(flaw(
                    "profile-contradictory",
                    true,
                    format!("rules[{at}]"),
                    "The profile requires Secure Boot, and this rule demands that it is off".to_owned(),
                    "keep one of the two",
                ));
            } else if on && self.secure_boot == SecureBootDemand::NotRequired {
                flaws.push(flaw(
                    "secure-boot-demanded-by-rule",
                    false,
                    format!("rules[{at}]"),
                    "`secure_boot` says that it is not required, and this rule demands it".to_owned(),
                    "write `secure_boot = \"required\"`",
                ));
            }
        }
        let signed = self.rules.iter().any(|rule| matches!(rule.says, Says::Authorities(_)));
        if signed && self.secure_boot == SecureBootDemand::NotRequired {
            flaws.push(flaw(
                "authorities-without-secure-boot",
                false,
                "secure_boot".to_owned(),
                "Rules by authority permit nothing while Secure Boot is off: nothing is verified then"
                    .to_owned(),
                "write `secure_boot = \"required\"`, or list digests",
            ));
        }
    }

    fn conditions(&self, flaws: &mut Vec<Flaw>) {
        let mut seen = BTreeSet::new();
        for (at, condition) in self.conditions.iter().enumerate() {
            let place = || format!("conditions[{at}]");
            if !seen.insert(condition.id.as_str()) {
                flaws.push(flaw(
                    "condition-twice",
                    true,
                    place(),
                    format!("Two conditions have the id {}", quoted(&condition.id)),
                    "give each its own id",
                ));
            }
            if condition.severity < Severity::Low {
                flaws.push(flaw(
                    "no-effect",
                    false,
                    place(),
                    format!("{} tells something and asks for nothing", quoted(&condition.id)),
                    "`low` and `medium` show it, `high` fails the attestation",
                ));
            }
        }
    }

    fn learning(&self, flaws: &mut Vec<Flaw>) {
        let names_images = self.rules.iter().any(|rule| {
            matches!(rule.says, Says::Authorities(_) | Says::Digests(_)) && RUNS.contains(&rule.component)
        });
        if self.learn == Learn::Never && !names_images {
            flaws.push(flaw(
                "profile-accepts-everything",
                self.secure_boot == SecureBootDemand::NotRequired,
                "learn".to_owned(),
                "Nothing is learned, and no rule says what may run: without a baseline every boot passes"
                    .to_owned(),
                "write `learn = \"first-boots\"`, or rules with authorities or digests",
            ));
        }
    }
}
