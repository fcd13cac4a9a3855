//! A baseline in the form that judges: per PCR the accepted sequences by hash.

use std::collections::BTreeSet;
use std::ops::Deref;

use veriboot_eventlog::{Digest, HashAlg, LoaderCommand};

use super::document::{Baseline, Reference, ReferenceBoot};
use super::flaws::Flaw;
use crate::diff::same_kind;
use crate::report::{Entry, LogReport};
use crate::rule::RuleSet;

/// A baseline that is ready to judge. Made once per version.
#[derive(Clone, Debug)]
pub struct CompiledBaseline {
    baseline: Baseline,
    /// By PCR, rising.
    registers: Vec<Register>,
    /// Why it must not judge.
    refusal: Option<Flaw>,
}

/// What is accepted in one PCR.
#[derive(Clone, Debug)]
struct Register {
    pcr: u32,
    sequences: Vec<Sequence>,
}

/// One accepted sequence of measurements.
#[derive(Clone, Debug)]
struct Sequence {
    /// Over the digests. Finds a sequence and proves nothing: it is compared in full.
    hash: u64,
    boot: usize,
    members: Vec<Member>,
}

/// A measurement of an accepted sequence.
#[derive(Clone, Copy, Debug)]
struct Member {
    /// Place in the boot's measurements.
    place: u32,
    /// Whether its words are those of a command of the boot loader that is its value: most of what a boot measures.
    command: bool,
}

impl Member {
    fn of(place: u32, reference: &Reference) -> Self {
        let is_own_value = |value: &String| {
            let called = |c: LoaderCommand<'_>| c.is_called(&reference.name, Some(value));
            LoaderCommand::from_text(value.as_bytes()).is_some_and(called)
        };
        let command = reference.varies.is_none()
            && reference.kind == LoaderCommand::KIND
            && reference.value.as_ref().is_some_and(is_own_value);
        Self { place, command }
    }
}

impl Deref for CompiledBaseline {
    type Target = Baseline;
    fn deref(&self) -> &Baseline {
        &self.baseline
    }
}

impl Baseline {
    /// The form that judges.
    pub fn compile(self) -> CompiledBaseline {
        let mut pcrs: Vec<u32> = self.measurements().map(|reference| reference.pcr).collect();
        pcrs.extend(self.boots.iter().flat_map(|boot| boot.pcrs.iter().flatten()));
        pcrs.sort_unstable();
        pcrs.dedup();
        let mut registers: Vec<Register> =
            pcrs.into_iter().map(|pcr| Register { pcr, sequences: Vec::new() }).collect();
        for (at, boot) in self.boots.iter().enumerate() {
            let mut by_register: Vec<Vec<Member>> = vec![Vec::new(); registers.len()];
            for (place, reference) in (0..).zip(&boot.measurements) {
                if let Ok(register) = registers.binary_search_by_key(&reference.pcr, |r| r.pcr)
                    && let Some(members) = by_register.get_mut(register)
                {
                    members.push(Member::of(place, reference));
                }
            }
            for (register, members) in registers.iter_mut().zip(by_register) {
                if boot.speaks_of(register.pcr) {
                    let digests = members.iter().filter_map(|m| reference(&self, at, *m)).map(|r| &r.digest);
                    register.sequences.push(Sequence { hash: hash(digests), boot: at, members });
                }
            }
        }
        let refusal = self.flaws().into_iter().find(|flaw| flaw.refused);
        CompiledBaseline { baseline: self, registers, refusal }
    }
}

fn reference(baseline: &Baseline, boot: usize, member: Member) -> Option<&Reference> {
    baseline.boots.get(boot)?.measurements.get(usize::try_from(member.place).ok()?)
}

/// Cheap and without a key: whoever makes two sequences collide wins one comparison.
fn hash<'d>(digests: impl Iterator<Item = &'d Digest>) -> u64 {
    digests.fold(0, |state, digest| {
        let head = digest.as_ref().first_chunk().map_or(0, |head| u64::from_le_bytes(*head));
        (state.rotate_left(5) ^ head).wrapping_mul(0x9E37_79B9_7F4A_7C15)
    })
}

fn measures(member: Member, reference: &Reference, entry: &Entry, digest: Option<&Digest>) -> bool {
    let same_text = || entry.command_text() == reference.value.as_deref().map(str::as_bytes);
    digest == Some(&reference.digest)
        && reference.event_type == entry.event_type.0
        && same_kind(reference.kind, entry.kind)
        && (member.command && same_text() || same_words(reference, entry))
}

fn same_words(reference: &Reference, entry: &Entry) -> bool {
    match &reference.varies {
        None => entry.is_called(&reference.name, reference.value.as_deref()),
        Some(varies) => {
            let was = (reference.name.as_str(), reference.value.as_deref());
            varies.meets(was, &entry.name, entry.value.as_deref())
        }
    }
}

/// PCR and place of each entry, by PCR and then by place.
fn by_pcr(entries: &[Entry]) -> Vec<(u32, u32)> {
    // Registers of a log are below 32: one pass tells how many entries come before those of each.
    let mut places = [0_usize; 32];
    let slot = |entry: &Entry| usize::try_from(entry.pcr).unwrap_or(usize::MAX);
    for entry in entries {
        let Some(count) = places.get_mut(slot(entry)) else {
            let mut order: Vec<(u32, u32)> = (0..).zip(entries).map(|(at, e)| (e.pcr, at)).collect();
            order.sort_unstable();
            return order;
        };
        *count += 1;
    }
    let mut before = 0;
    for place in &mut places {
        before += std::mem::replace(place, before);
    }
    let mut order = vec![(0, 0); entries.len()];
    for (at, entry) in (0..).zip(entries) {
        if let Some(place) = places.get_mut(slot(entry))
            && let Some(to) = order.get_mut(*place)
        {
            *to = (entry.pcr, at);
            *place += 1;
        }
    }
    order
}

impl CompiledBaseline {
    /// Why it must not judge, if so.
    pub fn refusal(&self) -> Option<&Flaw> {
        self.refusal.as_ref()
    }

    /// The PCRs of which a boot speaks and whose sequence there is not accepted, rising.
    pub(crate) fn unmatched_of(&self, boot: &ReferenceBoot) -> Vec<u32> {
        let of_registers = self.registers.iter().map(|register| register.pcr);
        let pcrs: BTreeSet<u32> = match &boot.pcrs {
            Some(pcrs) => pcrs.clone(),
            None => boot.measurements.iter().map(|m| m.pcr).chain(of_registers).collect(),
        };
        let accepted = |pcr: u32| {
            let wanted: Vec<&Reference> = boot.measurements.iter().filter(|m| m.pcr == pcr).collect();
            let register = self
                .registers
                .binary_search_by_key(&pcr, |r| r.pcr)
                .ok()
                .and_then(|at| self.registers.get(at));
            let whole = self.boots.iter().any(|boot| boot.pcrs.is_none());
            match register {
                None => wanted.is_empty() && whole,
                Some(register) => register.sequences.iter().any(|sequence| {
                    sequence.members.len() == wanted.len()
                        && sequence.members.iter().zip(&wanted).all(|(member, wanted)| {
                            reference(&self.baseline, sequence.boot, *member)
                                .is_some_and(|is| is.measures_as(wanted))
                        })
                }),
            }
        };
        pcrs.into_iter().filter(|pcr| !accepted(*pcr)).collect()
    }

    /// Its rules, ready to judge.
    pub(crate) fn rule_set(&self) -> RuleSet<'_> {
        RuleSet::new(&self.baseline.rules)
    }

    /// The PCRs of log and baseline whose sequence is not accepted, rising. Linear in the log.
    pub(crate) fn unmatched(&self, report: &LogReport, bank: HashAlg) -> Vec<u32> {
        let digests = report.bank(bank).map(|b| b.digests.as_slice()).unwrap_or_default();
        let order = by_pcr(&report.entries);
        let entry = |at: u32| {
            let at = usize::try_from(at).ok()?;
            Some((report.entries.get(at)?, digests.get(at)?.as_ref()))
        };
        let mut measured = order.chunk_by(|a, b| a.0 == b.0).peekable();
        let mut registers = self.registers.iter().peekable();
        let mut unmatched = Vec::new();
        loop {
            let of_log = measured.peek().and_then(|chunk| chunk.first()).map(|(pcr, _)| *pcr);
            let of_baseline = registers.peek().map(|register| register.pcr);
            let Some(pcr) = of_log.into_iter().chain(of_baseline).min() else { return unmatched };
            let log =
                measured.next_if(|chunk| chunk.first().is_some_and(|(p, _)| *p == pcr)).unwrap_or_default();
            let accepted = registers.next_if(|register| register.pcr == pcr);
            let sequences = accepted.map(|register| register.sequences.as_slice()).unwrap_or_default();
            let log_hash = hash(log.iter().filter_map(|(_, at)| entry(*at)?.1));
            let accepts = |sequence: &Sequence| {
                sequence.hash == log_hash
                    && sequence.members.len() == log.len()
                    && sequence.members.iter().zip(log).all(|(member, (_, at))| {
                        match (reference(&self.baseline, sequence.boot, *member), entry(*at)) {
                            (Some(reference), Some((entry, digest))) => {
                                measures(*member, reference, entry, digest)
                            }
                            _ => false,
                        }
                    })
            };
            if !sequences.iter().any(accepts) {
                unmatched.push(pcr);
            }
        }
    }
}
