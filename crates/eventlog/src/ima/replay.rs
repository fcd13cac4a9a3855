//! What the register must hold when exactly the entries of a list were extended.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::{ImaEntry, ImaList};
use crate::limits::MAX_WARNINGS;
use crate::text::bounded;
use crate::{Digest, HashAlg, PCR_COUNT, Warning};

const BOOT_AGGREGATE: &[u8] = b"boot_aggregate";

/// What kernels extend into a bank that is not SHA-1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Extend {
    /// The digest of the template data in the algorithm of the bank: Linux 5.8 and later.
    #[default]
    OwnDigest,
    /// The SHA-1 digest, padded with zero bytes: Linux before 5.8.
    PaddedSha1,
}

/// The registers of one bank after a list.
#[derive(Clone, Debug)]
pub struct ImaReplay {
    /// The bank.
    pub bank: HashAlg,
    /// Registers that the list extends, with their value.
    pub pcrs: BTreeMap<u32, Digest>,
    /// Entries that IMA marked as violations.
    pub violations: usize,
    /// What was unusual; at most [`MAX_WARNINGS`].
    pub warnings: Vec<Warning>,
}

/// A template digest that does not belong to its data: the list was edited.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct TemplateMismatch {
    /// Entry.
    pub entry: u32,
    /// Register.
    pub pcr: u32,
    /// The digest that the list shows.
    pub listed: Digest,
    /// The digest of the data.
    pub computed: Digest,
}

/// What the first entry says about the boot before the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "state", rename_all = "kebab-case")]
pub enum BootAggregate {
    /// The list has no such entry.
    Absent,
    /// The entry names an algorithm that is not known, or is malformed.
    Unreadable,
    /// The registers of its algorithm are not known here.
    NotComparable {
        /// Algorithm of the entry.
        bank: HashAlg,
    },
    /// It is the digest of the registers.
    Matches {
        /// Algorithm of the entry.
        bank: HashAlg,
    },
    /// It is not: list and registers are of different boots, or one of them was made up.
    Differs {
        /// Algorithm of the entry.
        bank: HashAlg,
        /// Digest of the registers.
        expected: Digest,
        /// Digest of the entry.
        found: Digest,
    },
}

/// The value that one entry extends; `None` when the list does not hold enough to know it.
fn extension(entry: &ImaEntry<'_>, list: &ImaList<'_>, bank: HashAlg, extend: Extend) -> Option<Digest> {
    if entry.is_violation() {
        return Some(Digest::repeat(0xFF, bank.size()));
    }
    if bank == list.digest_alg {
        return Some(entry.digest);
    }
    match extend {
        Extend::OwnDigest => entry.template_digest(bank),
        Extend::PaddedSha1 => {
            let short = match list.digest_alg {
                HashAlg::Sha1 => entry.digest,
                _ => entry.template_digest(HashAlg::Sha1)?,
            };
            let mut padded = [0_u8; Digest::MAX];
            padded.iter_mut().zip(short.as_ref()).for_each(|(to, from)| *to = *from);
            Digest::new(padded.get(..bank.size())?)
        }
    }
}

/// Replays a list into one bank. `start` gives what a register held before, for one that earlier logs extended.
///
/// In the bank of the digests that the list shows, these are extended; [`check_templates`] says whether they belong to
/// the data. In every other bank the template data is hashed.
pub fn replay(
    list: &ImaList<'_>,
    bank: HashAlg,
    extend: Extend,
    start: impl Fn(u32) -> Option<Digest>,
) -> ImaReplay {
    let mut out = ImaReplay { bank, pcrs: BTreeMap::new(), violations: 0, warnings: Vec::new() };
    let mut unknown = BTreeSet::new();
    for entry in &list.entries {
        if entry.pcr >= PCR_COUNT {
            warn(
                &mut out.warnings,
                "pcr-out-of-range",
                entry,
                format!("an entry for register {}, which does not exist; not replayed", entry.pcr),
            );
            continue;
        }
        out.violations += usize::from(entry.is_violation());
        let Some(value) = extension(entry, list, bank, extend) else {
            if unknown.insert(entry.pcr) {
                warn(
                    &mut out.warnings,
                    "template-unknown",
                    entry,
                    format!(
                        "the template {} is not known: what it extended into the {bank} bank cannot be computed, so \
                     register {} cannot match",
                        bounded(&entry.template, 64),
                        entry.pcr
                    ),
                );
            }
            continue;
        };
        let register =
            out.pcrs.entry(entry.pcr).or_insert_with(|| start(entry.pcr).unwrap_or(Digest::zero(bank)));
        *register = bank.extend(register, value.as_ref());
    }
    out
}

/// How many entries from the first lead to `value` in a register: a list grows while a quote is made, so a quote
/// covers a part of it. `Some(0)` when the register did not move yet.
pub fn entries_until(
    list: &ImaList<'_>,
    bank: HashAlg,
    pcr: u32,
    start: Digest,
    value: Digest,
    extend: Extend,
) -> Option<usize> {
    let mut register = start;
    if register == value {
        return Some(0);
    }
    for (count, entry) in (1..).zip(&list.entries) {
        if entry.pcr != pcr {
            continue;
        }
        register = bank.extend(&register, extension(entry, list, bank, extend)?.as_ref());
        if register == value {
            return Some(count);
        }
    }
    None
}

/// Entries whose digest does not belong to their data. Violations have none.
pub fn check_templates(list: &ImaList<'_>) -> Vec<TemplateMismatch> {
    let checked = list.entries.iter().filter(|entry| !entry.is_violation());
    checked
        .filter_map(|entry| {
            let computed = entry.template_digest(list.digest_alg)?;
            (computed != entry.digest).then_some(TemplateMismatch {
                entry: entry.index,
                pcr: entry.pcr,
                listed: entry.digest,
                computed,
            })
        })
        .collect()
}

/// Compares the first `boot_aggregate` with the registers of the boot: PCR 0 to 7 with SHA-1, PCR 0 to 9 with every
/// other algorithm (Linux, ima_calc_boot_aggregate_tfm).
pub fn check_boot_aggregate(
    list: &ImaList<'_>,
    register: impl Fn(HashAlg, u32) -> Option<Digest>,
) -> BootAggregate {
    let decoded = list.entries.iter().map(ImaEntry::decode);
    let Some(aggregate) = decoded.into_iter().find(|t| t.name().is_some_and(|name| name.0 == BOOT_AGGREGATE))
    else {
        return BootAggregate::Absent;
    };
    let Some(found) = aggregate.file_digest() else { return BootAggregate::Unreadable };
    let algorithm = match found.algorithm.0 {
        b"" => Some(HashAlg::Sha1),
        name => std::str::from_utf8(name).ok().and_then(HashAlg::from_name),
    };
    let Some(bank) = algorithm.filter(|alg| alg.size() == found.digest.0.len()) else {
        return BootAggregate::Unreadable;
    };
    let Some(found) = Digest::new(found.digest.0) else { return BootAggregate::Unreadable };
    let count = if bank == HashAlg::Sha1 { 8 } else { 10 };
    let registers: Option<Vec<Digest>> = (0..count).map(|pcr| register(bank, pcr)).collect();
    let Some(registers) = registers else { return BootAggregate::NotComparable { bank } };
    let values: Vec<&[u8]> = registers.iter().map(AsRef::as_ref).collect();
    let expected = bank.hash(&values);
    if expected == found {
        BootAggregate::Matches { bank }
    } else {
        BootAggregate::Differs { bank, expected, found }
    }
}

fn warn(warnings: &mut Vec<Warning>, code: &'static str, entry: &ImaEntry<'_>, message: String) {
    if warnings.len() < MAX_WARNINGS {
        warnings.push(Warning { code, event: Some(entry.index), offset: entry.offset, message });
    }
}
