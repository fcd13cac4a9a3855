//! What is wrong with a baseline that can be read: it accepts nothing, too much, or contradicts itself.

use std::collections::{BTreeMap, BTreeSet};

use veriboot_eventlog::ComponentKind;

use super::document::{Baseline, ReferenceBoot, Unlisted};
use super::govern::governs;
use crate::cmdline::parameters;
use crate::enforcement::belongs;
use crate::profile::{Enforcement, default_enforcement};
use crate::rule::{Pattern, Rule, Says, StateFlag, Switch};
use crate::structure_checks::SECURE_BOOT_PCR;
use crate::text::{pcr_list, quoted};

/// PCRs of a TPM (PC Client Platform TPM Profile, section 4.6).
pub(super) const PCRS: std::ops::Range<u32> = 0..24;
/// PCRs that firmware and boot loaders extend.
const BOOT_PCRS: std::ops::Range<u32> = 0..10;

/// Something that a baseline should not say.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Flaw {
    /// Stable identifier in kebab case.
    pub code: &'static str,
    /// Whether the baseline must not judge. What is not refused is a warning.
    pub refused: bool,
    /// Where in the document: `rules[2]`, `boots[0]`; empty for the whole.
    pub place: String,
    /// What is wrong, in one sentence.
    pub message: String,
    /// What to do.
    pub hint: &'static str,
}

/// A kind of flaw.
struct Kind {
    code: &'static str,
    refused: bool,
    hint: &'static str,
}

impl Kind {
    fn at(&self, place: impl Into<String>, message: impl Into<String>) -> Flaw {
        let (place, message) = (place.into(), message.into());
        Flaw { code: self.code, refused: self.refused, place, message, hint: self.hint }
    }
}

const fn refused(code: &'static str, hint: &'static str) -> Kind {
    Kind { code, refused: true, hint }
}

const fn warned(code: &'static str, hint: &'static str) -> Kind {
    Kind { code, refused: false, hint }
}

const EMPTY: Kind =
    refused("baseline-empty", "learn it from a boot (`veriboot baseline learn`), or write boots or rules");
const ACCEPTS_EVERYTHING: Kind = refused(
    "baseline-accepts-everything",
    "write `unlisted = \"fail\"`, or rules with digests or authorities for what may run",
);
const RULE_ACCEPTS_EVERYTHING: Kind = refused(
    "rule-accepts-everything",
    "list digests or authorities instead; `any` with `*` is for boot entries, their order, tables and partitions",
);
const CONTRADICTION: Kind = refused("baseline-contradictory", "keep one of the two");
const BOOT_EMPTY: Kind = refused("boot-empty", "remove the boot, or say with `pcrs` which PCRs it speaks of");
const BOOT_STRAY: Kind =
    refused("boot-pcr-contradictory", "add the PCR to `pcrs`, or remove the measurement");
const PCR_UNKNOWN: Kind =
    refused("pcr-unknown", "a TPM has PCRs 0 to 23; registers of confidential VMs are 0 to 4");
const DIGEST_OF_NOTHING: Kind = refused(
    "digest-of-nothing",
    "it is the digest of an empty file: compute it again from the file that is meant",
);
const NEVER_ACCEPTED: Kind = warned("boot-never-accepted", "remove the boot, or the rule that it breaks");
const ANY_BY_NAME: Kind = warned(
    "rule-accepts-by-name",
    "names are the log's word: whoever owns the machine can give them to anything. List digests or authorities",
);
const SIGNED_ANYTHING: Kind = warned(
    "baseline-accepts-all-signed",
    "that is a policy for Secure Boot, not for what runs: add digests or authorities to narrow it",
);
const UNLISTED_PCRS: Kind =
    warned("pcrs-not-covered", "learn a whole boot, or write rules for what these PCRs measure");
const NO_EFFECT: Kind = warned("no-effect", "remove it, or write what it should do");
const TWICE: Kind = warned("boot-twice", "remove one of them");
const NOT_AS_MEASURED: Kind =
    warned("secure-boot-not-as-measured", "correct `secure_boot` of the boot: what it measures decides");

impl Baseline {
    /// Everything that is wrong with it; those that are `refused` first.
    pub fn flaws(&self) -> Vec<Flaw> {
        let mut flaws = Vec::new();
        self.whole(&mut flaws);
        for (at, boot) in self.boots.iter().enumerate() {
            self.boot(&format!("boots[{at}]"), at, boot, &mut flaws);
        }
        for (at, rule) in self.rules.iter().enumerate() {
            self.rule(&format!("rules[{at}]"), rule, &mut flaws);
        }
        self.contradictions(&mut flaws);
        flaws.sort_by_key(|flaw| !flaw.refused);
        flaws
    }

    fn whole(&self, flaws: &mut Vec<Flaw>) {
        if self.boots.is_empty() && self.rules.is_empty() {
            flaws.push(match self.unlisted {
                Unlisted::Fail => EMPTY.at("", "It has no boot and no rule, so it accepts no boot at all"),
                Unlisted::Note => {
                    ACCEPTS_EVERYTHING.at("", "It has no boot and no rule, and `unlisted` accepts all else")
                }
            });
            return;
        }
        let whole = self.boots.iter().any(|boot| boot.pcrs.is_none());
        if self.unlisted == Unlisted::Fail {
            return;
        }
        if whole {
            flaws.push(NO_EFFECT.at(
                "unlisted",
                "`unlisted` accepts nothing here: a whole boot says what is measured in every PCR",
            ));
            return;
        }
        let listed = |pcr: &u32| {
            self.boots.iter().any(|boot| boot.speaks_of(*pcr))
                || self.rules.iter().any(|rule| governs(rule, *pcr, false))
        };
        let open: Vec<u32> = BOOT_PCRS.filter(|pcr| !listed(pcr)).collect();
        let demands = self.rules.iter().any(|rule| demanded(rule, StateFlag::SecureBoot) == Some(Switch::On));
        match open.len() {
            0 => {}
            all if all == BOOT_PCRS.len() && demands => flaws.push(SIGNED_ANYTHING.at(
                "unlisted",
                "It demands Secure Boot and lists nothing of what may run: whatever any trusted key signed is accepted",
            )),
            all if all == BOOT_PCRS.len() => flaws.push(ACCEPTS_EVERYTHING.at(
                "unlisted",
                "No boot and no rule lists what may run, and `unlisted` accepts all else",
            )),
            _ => flaws.push(UNLISTED_PCRS.at(
                "unlisted",
                format!("Whatever is measured in {} is accepted", pcr_list(&open)),
            )),
        }
    }

    fn boot(&self, place: &str, at: usize, boot: &ReferenceBoot, flaws: &mut Vec<Flaw>) {
        let says_nothing = boot.measurements.is_empty() && boot.pcrs.as_ref().is_none_or(BTreeSet::is_empty);
        if says_nothing {
            flaws.push(
                BOOT_EMPTY
                    .at(place, "The boot measures nothing, so a machine that measures nothing is accepted"),
            );
        }
        let pcrs = boot.measurements.iter().map(|m| m.pcr).chain(boot.pcrs.iter().flatten().copied());
        let unknown: BTreeSet<u32> = pcrs.filter(|pcr| !PCRS.contains(pcr)).collect();
        if let Some(pcr) = unknown.first() {
            flaws.push(PCR_UNKNOWN.at(place, format!("There is no PCR {pcr}")));
        }
        if let Some((m, stray)) = boot.measurements.iter().enumerate().find(|(_, m)| !boot.speaks_of(m.pcr)) {
            let message =
                format!("It measures something in PCR {}, which is not among its `pcrs`", stray.pcr);
            flaws.push(BOOT_STRAY.at(format!("{place}.measurements[{m}]"), message));
        }
        let nothing = self.bank.hash(&[]);
        let of_nothing =
            |(_, m): &(usize, &super::Reference)| m.digest == nothing && images_run(m.kind) && m.pcr == 4;
        if let Some((m, image)) = boot.measurements.iter().enumerate().find(of_nothing) {
            let message = format!("The {} has the digest of an empty file", image.kind.title());
            flaws.push(DIGEST_OF_NOTHING.at(format!("{place}.measurements[{m}].digest"), message));
        }
        let same = |other: &ReferenceBoot| other.pcrs == boot.pcrs && other.measurements == boot.measurements;
        if let Some(earlier) = self.boots.iter().take(at).position(same) {
            flaws.push(TWICE.at(place, format!("It is the same boot as boots[{earlier}]")));
        }
        let measured = boot.measurements.iter().find(|m| m.kind == ComponentKind::SecureBootState);
        let on =
            measured.filter(|m| m.pcr == SECURE_BOOT_PCR).and_then(|m| m.value.as_deref()).and_then(switched);
        if let (Some(says), Some(on)) = (boot.secure_boot, on)
            && says != on
        {
            let word = |on| if on { "on" } else { "off" };
            let message =
                format!("It says Secure Boot is {}, and measures that it is {}", word(says), word(on));
            flaws.push(NOT_AS_MEASURED.at(place, message));
        }
    }

    fn rule(&self, place: &str, rule: &Rule, flaws: &mut Vec<Flaw>) {
        let kind = rule.component;
        match &rule.says {
            Says::Any(patterns) if runs(kind) => {
                let (flaw, message) = match patterns.iter().find(|pattern| pattern.meets_everything()) {
                    Some(_) => (RULE_ACCEPTS_EVERYTHING, format!("It accepts every {}", kind.title())),
                    None => (
                        ANY_BY_NAME,
                        format!("It accepts whatever the log calls a {} of these names", kind.title()),
                    ),
                };
                flaws.push(flaw.at(place, message));
            }
            Says::Digests(digests) if digests.contains(&self.bank.hash(&[])) => {
                flaws.push(DIGEST_OF_NOTHING.at(place, "It accepts the digest of an empty file"));
            }
            Says::Parameters(parameters) if parameters.allowed.iter().any(Pattern::meets_everything) => {
                let message = "It allows every parameter, so the kernel command line is not held to anything";
                let narrowed = !parameters.forbidden.is_empty() || parameters.forbid_dangerous;
                flaws.push(if narrowed {
                    ANY_BY_NAME.at(place, message)
                } else {
                    RULE_ACCEPTS_EVERYTHING.at(place, message)
                });
            }
            Says::Authorities(_) => {
                let off = self.rules.iter().any(|r| demanded(r, StateFlag::SecureBoot) == Some(Switch::Off));
                let all_off =
                    !self.boots.is_empty() && self.boots.iter().all(|b| b.secure_boot == Some(false));
                if off || all_off {
                    flaws.push(NO_EFFECT.at(
                        place,
                        "Authorities admit images only while Secure Boot is on, and here it is off",
                    ));
                }
            }
            _ => {}
        }
    }

    fn contradictions(&self, flaws: &mut Vec<Flaw>) {
        let mut switches: BTreeMap<StateFlag, (usize, Switch)> = BTreeMap::new();
        let mut forbidden: Vec<(usize, &Pattern)> = Vec::new();
        let mut required: Vec<(usize, &Pattern)> = Vec::new();
        for (at, rule) in self.rules.iter().enumerate() {
            match &rule.says {
                Says::State(state) => {
                    for (flag, switch) in state {
                        let (first, before) = *switches.entry(*flag).or_insert((at, *switch));
                        if before != *switch {
                            let message = format!(
                                "rules[{first}] wants {} {}, and this rule wants it {}",
                                flag.as_str(),
                                before.as_str(),
                                switch.as_str()
                            );
                            flaws.push(CONTRADICTION.at(format!("rules[{at}]"), message));
                        }
                    }
                }
                Says::Parameters(parameters) => {
                    forbidden.extend(parameters.forbidden.iter().map(|pattern| (at, pattern)));
                    required.extend(parameters.required.iter().map(|pattern| (at, pattern)));
                }
                _ => {}
            }
        }
        for (at, pattern) in &required {
            // A required pattern with a star may still be met by what is not forbidden.
            let excluded = forbidden.iter().find(|(_, no)| no == pattern || no.meets(pattern.as_str()));
            if let Some((other, no)) = excluded {
                let message = format!(
                    "It requires {}, and rules[{other}] forbids {}",
                    quoted(pattern.as_str()),
                    quoted(no.as_str())
                );
                flaws.push(CONTRADICTION.at(format!("rules[{at}]"), message));
            }
        }
        self.boots_against_rules(switches.get(&StateFlag::SecureBoot), &required, &forbidden, flaws);
    }

    /// A boot that breaks a demanding rule is never accepted; when that is so for every boot, nothing is.
    fn boots_against_rules(
        &self,
        secure_boot: Option<&(usize, Switch)>,
        required: &[(usize, &Pattern)],
        forbidden: &[(usize, &Pattern)],
        flaws: &mut Vec<Flaw>,
    ) {
        let mut never = Vec::new();
        for (at, boot) in self.boots.iter().enumerate() {
            let place = format!("boots[{at}]");
            if let (Some((rule, wanted)), Some(on)) = (secure_boot, boot.secure_boot)
                && boot.speaks_of(SECURE_BOOT_PCR)
                && Switch::from(on) != *wanted
            {
                let message = format!(
                    "rules[{rule}] wants secure-boot {}, and in this boot it is {}",
                    wanted.as_str(),
                    Switch::from(on).as_str()
                );
                never.push((at, place, message));
                continue;
            }
            let broken =
                boot.measurements.iter().filter(|m| m.kind == ComponentKind::KernelCommandLine).find_map(
                    |m| {
                        let has = parameters(m.value.as_deref()?);
                        let bad = forbidden.iter().find_map(|(rule, no)| {
                            let met = has.iter().find(|parameter| no.meets(parameter))?;
                            Some(format!(
                                "rules[{rule}] forbids {}, and this boot has {}",
                                quoted(no.as_str()),
                                quoted(met)
                            ))
                        });
                        let missing = || {
                            let (rule, wanted) =
                                required.iter().find(|(_, yes)| !has.iter().any(|p| yes.meets(p)))?;
                            Some(format!(
                                "rules[{rule}] requires {}, and this boot does not have it",
                                quoted(wanted.as_str())
                            ))
                        };
                        bad.or_else(missing)
                    },
                );
            if let Some(message) = broken {
                never.push((at, place, message));
            }
        }
        let whole: Vec<usize> =
            self.boots.iter().enumerate().filter(|(_, boot)| boot.pcrs.is_none()).map(|(at, _)| at).collect();
        let all = !whole.is_empty() && whole.iter().all(|at| never.iter().any(|(boot, _, _)| boot == at));
        let kind = if all { CONTRADICTION } else { NEVER_ACCEPTED };
        flaws.extend(never.into_iter().map(|(_, place, message)| kind.at(place, message)));
    }
}

fn demanded(rule: &Rule, flag: StateFlag) -> Option<Switch> {
    match &rule.says {
        Says::State(state) => state.get(&flag).copied(),
        _ => None,
    }
}

/// The words in which a log shows a Secure Boot variable of one byte.
fn switched(value: &str) -> Option<bool> {
    match value {
        "on" => Some(true),
        "off" => Some(false),
        _ => None,
    }
}

/// Kinds of which the digest is that of a file that runs.
fn images_run(kind: ComponentKind) -> bool {
    use ComponentKind as K;
    matches!(kind, K::Shim | K::BootLoader | K::Kernel | K::Initrd | K::OptionRom)
}

/// Whether a kind is more than configuration that differs from machine to machine, or what is run can be called it.
fn runs(kind: ComponentKind) -> bool {
    let noted = |pcr| default_enforcement(kind, pcr) != Enforcement::Enforce;
    let harmless = PCRS.filter(|pcr| belongs(kind, *pcr)).all(|pcr| noted(pcr) && pcr != 4);
    !harmless
}
