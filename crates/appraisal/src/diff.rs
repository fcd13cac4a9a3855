//! What differs between two boots, measurement by measurement.
//!
//! The order of measurements counts within a PCR and not between PCRs: only the former is in the PCR values.

use std::collections::BTreeMap;

use veriboot_eventlog::{ComponentKind, Digest, HashAlg};

use crate::align::align;
use crate::baseline::{ReferenceBoot, Varies};
use crate::content::SignatureId;
use crate::report::{Entry, LogReport};

/// One measurement, from a baseline or from a log.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Item<'a> {
    pub event: Option<u32>,
    pub pcr: u32,
    pub event_type: u32,
    pub kind: ComponentKind,
    pub name: &'a str,
    pub value: Option<&'a str>,
    pub signer: Option<&'a str>,
    pub items: &'a [String],
    pub digest: &'a Digest,
    /// What name and value of a reference may be as well.
    pub varies: Option<&'a Varies>,
    /// Set by [`diff`]: how many measurements of its PCR that both sides have come before it. Two that differ are at the
    /// same place when this is the same.
    pub gap: usize,
    /// Set by [`diff`]: its position in its PCR.
    pub place: usize,
    /// Members of a revocation list, for a measurement of a baseline.
    pub signatures: &'a [SignatureId],
    /// The entry of the log, for a measurement of one.
    pub entry: Option<&'a Entry>,
}

/// One difference. Each measurement of either side is in at most one.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Change<'a> {
    /// The same component with another digest.
    Changed(Item<'a>, Item<'a>),
    /// The same digest, described in another way by the log.
    Described(Item<'a>, Item<'a>),
    /// The same digest at another place in its PCR.
    Moved(Item<'a>, Item<'a>),
    /// Only in the later one.
    Added(Item<'a>),
    /// Only in the earlier one.
    Removed(Item<'a>),
}

impl<'a> Change<'a> {
    pub fn earlier(&self) -> Option<&Item<'a>> {
        match self {
            Self::Changed(old, _) | Self::Described(old, _) | Self::Moved(old, _) | Self::Removed(old) => {
                Some(old)
            }
            Self::Added(_) => None,
        }
    }

    pub fn later(&self) -> Option<&Item<'a>> {
        match self {
            Self::Changed(_, new) | Self::Described(_, new) | Self::Moved(_, new) | Self::Added(new) => {
                Some(new)
            }
            Self::Removed(_) => None,
        }
    }

    /// The later side, or the earlier one of something that is gone.
    pub fn item(&self) -> &Item<'a> {
        match self {
            Self::Changed(_, item)
            | Self::Described(_, item)
            | Self::Moved(_, item)
            | Self::Added(item)
            | Self::Removed(item) => item,
        }
    }
}

/// Measurements of a log in one bank.
pub(crate) fn of_report(report: &LogReport, bank: HashAlg) -> Vec<Item<'_>> {
    let Some(bank) = report.bank(bank) else { return Vec::new() };
    let measured = report.entries.iter().zip(&bank.digests).filter_map(|(entry, digest)| {
        Some(Item {
            event: Some(entry.event),
            pcr: entry.pcr,
            event_type: entry.event_type.0,
            kind: entry.kind,
            name: &entry.name,
            value: entry.value.as_deref(),
            signer: entry.signer.as_deref(),
            items: &entry.items,
            digest: digest.as_ref()?,
            varies: None,
            gap: 0,
            place: 0,
            signatures: &[],
            entry: Some(entry),
        })
    });
    measured.collect()
}

/// What a boot of a baseline measures in one PCR.
pub(crate) fn of_boot(boot: &ReferenceBoot, pcr: u32) -> impl Iterator<Item = Item<'_>> {
    boot.measurements.iter().filter(move |reference| reference.pcr == pcr).map(|reference| Item {
        event: None,
        pcr: reference.pcr,
        event_type: reference.event_type,
        kind: reference.kind,
        name: &reference.name,
        value: reference.value.as_deref(),
        signer: reference.signer.as_deref(),
        items: &reference.items,
        digest: &reference.digest,
        varies: reference.varies.as_ref(),
        gap: 0,
        place: 0,
        signatures: &reference.signatures,
        entry: None,
    })
}

/// Everything that differs, by PCR and then in log order.
pub(crate) fn diff<'a>(from: &[Item<'a>], to: &[Item<'a>]) -> Vec<Change<'a>> {
    if from.len() == to.len() && from.iter().zip(to).all(|(a, b)| a.pcr == b.pcr && identical(a, b)) {
        return Vec::new();
    }
    let mut by_pcr: BTreeMap<u32, (Vec<Item<'a>>, Vec<Item<'a>>)> = BTreeMap::new();
    for item in from {
        let side = &mut by_pcr.entry(item.pcr).or_default().0;
        side.push(Item { place: side.len(), ..*item });
    }
    for item in to {
        let side = &mut by_pcr.entry(item.pcr).or_default().1;
        side.push(Item { place: side.len(), ..*item });
    }
    by_pcr.values().flat_map(|(from, to)| diff_pcr(from, to)).collect()
}

fn identical(a: &Item<'_>, b: &Item<'_>) -> bool {
    a.digest == b.digest && described_alike(a, b)
}

/// Whether `b` is described as `a`, of which a reference may leave some to vary.
fn described_alike(a: &Item<'_>, b: &Item<'_>) -> bool {
    let named_alike = match a.varies {
        None => a.name == b.name && a.value == b.value,
        Some(varies) => varies.meets((a.name, a.value), b.name, b.value),
    };
    a.event_type == b.event_type && same_kind(a.kind, b.kind) && named_alike
}

/// Whether two measurements that are the same in everything else are of one kind. Which image is shim and which the
/// kernel is told from its neighbours in the log, whose order between PCRs nothing proves.
pub(crate) fn same_kind(a: ComponentKind, b: ComponentKind) -> bool {
    use ComponentKind as K;
    let image = |kind| matches!(kind, K::Shim | K::BootLoader | K::Kernel);
    a == b || image(a) && image(b)
}

fn diff_pcr<'a>(from: &[Item<'a>], to: &[Item<'a>]) -> Vec<Change<'a>> {
    let pairs = align(from, to, identical);
    let mut old: Vec<Item<'a>> = left_over(from, pairs.iter().map(|(i, _)| *i));
    let mut new: Vec<Item<'a>> = left_over(to, pairs.iter().map(|(_, j)| *j));
    let mut changes = Vec::new();
    // From the surest correspondence to the loosest.
    pair_up(&mut old, &mut new, identical, |a, b| changes.push(Change::Moved(a, b)));
    let in_place = align(&old, &new, |a, b| a.digest == b.digest && a.gap == b.gap);
    changes
        .extend(in_place.iter().filter_map(|(i, j)| Some(Change::Described(*old.get(*i)?, *new.get(*j)?))));
    old = without(&old, in_place.iter().map(|(i, _)| *i));
    new = without(&new, in_place.iter().map(|(_, j)| *j));
    // Another description does not hide that the order is another one.
    pair_up(&mut old, &mut new, |a, b| a.digest == b.digest, |a, b| changes.push(Change::Moved(a, b)));
    pair_up(
        &mut old,
        &mut new,
        |a, b| a.kind == b.kind && a.name == b.name,
        |a, b| changes.push(Change::Changed(a, b)),
    );
    pair_up(
        &mut old,
        &mut new,
        |a, b| a.kind == b.kind && replaceable(a.kind),
        |a, b| {
            changes.push(Change::Changed(a, b));
        },
    );
    changes.extend(old.into_iter().map(Change::Removed));
    changes.extend(new.into_iter().map(Change::Added));
    changes
}

/// Kinds of which a boot has one or few, so that another one is a replacement and not an addition.
fn replaceable(kind: ComponentKind) -> bool {
    use ComponentKind as K;
    matches!(
        kind,
        K::CrtmVersion
            | K::SecureBootState
            | K::Shim
            | K::BootLoader
            | K::Kernel
            | K::Initrd
            | K::KernelCommandLine
            | K::SbatLevel
            | K::BootOrder
            | K::PartitionTable
            | K::BootLoaderConfig
    )
}

/// What is not paired, each with its gap: the pairs before it.
fn left_over<'a>(side: &[Item<'a>], paired: impl Iterator<Item = usize>) -> Vec<Item<'a>> {
    unpaired(side, paired).map(|(gap, item)| Item { gap, ..*item }).collect()
}

fn without<'a>(side: &[Item<'a>], paired: impl Iterator<Item = usize>) -> Vec<Item<'a>> {
    unpaired(side, paired).map(|(_, item)| *item).collect()
}

/// Elements that are not at the positions of `paired`, which rise, with how many of these come before each.
fn unpaired<T>(side: &[T], paired: impl Iterator<Item = usize>) -> impl Iterator<Item = (usize, &T)> {
    let mut paired = paired.peekable();
    let mut before = 0;
    side.iter().enumerate().filter_map(move |(at, item)| {
        if paired.next_if_eq(&at).is_some() {
            before += 1;
            return None;
        }
        Some((before, item))
    })
}

/// Most left-over measurements for which pairs are looked for; beyond it they are added and removed ones. Keeps the
/// work linear for logs that have nothing in common.
const MAX_PAIRING: usize = 512;

fn pair_up<'a>(
    old: &mut Vec<Item<'a>>,
    new: &mut Vec<Item<'a>>,
    belong: impl Fn(&Item<'a>, &Item<'a>) -> bool,
    mut found: impl FnMut(Item<'a>, Item<'a>),
) {
    if old.is_empty() || new.is_empty() || old.len() > MAX_PAIRING || new.len() > MAX_PAIRING {
        return;
    }
    old.retain(|a| match new.iter().position(|b| belong(a, b)) {
        Some(at) => {
            found(*a, new.remove(at));
            false
        }
        None => true,
    });
}
