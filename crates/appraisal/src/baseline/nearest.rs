//! Which accepted boot a log is explained by, where it deviates.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use veriboot_eventlog::Digest;

use super::document::{Baseline, ReferenceBoot};
use crate::diff::{Change, Item, diff, of_boot};

/// The boot to explain each PCR by; `None` for a PCR of which no boot speaks.
///
/// One boot for all of them, the one that differs least over all, and the newest of several: a kernel and its initrd are
/// then held against one boot. A PCR that this boot does not speak of is held against the boot that is nearest there.
pub(crate) fn nearest<'b>(
    baseline: &'b Baseline,
    measured: &[Item<'_>],
    pcrs: &[u32],
) -> BTreeMap<u32, Option<&'b ReferenceBoot>> {
    let wanted: BTreeSet<u32> = pcrs.iter().copied().collect();
    let log = counted(measured, &wanted);
    // Newest first, so that the first of the least is the newest.
    let costs: Vec<(&ReferenceBoot, BTreeMap<u32, usize>)> =
        baseline.boots.iter().rev().map(|boot| (boot, costs(boot, &log, &wanted))).collect();
    let least_in = |pcr: u32| {
        costs
            .iter()
            .filter_map(|(boot, by_pcr)| Some((*by_pcr.get(&pcr)?, *boot)))
            .min_by_key(|(cost, _)| *cost)
    };
    let fallback: BTreeMap<u32, Option<(usize, &ReferenceBoot)>> =
        wanted.iter().map(|pcr| (*pcr, least_in(*pcr))).collect();
    let total = |by_pcr: &BTreeMap<u32, usize>| -> usize {
        let in_pcr = |pcr: &u32| {
            by_pcr.get(pcr).copied().or_else(|| fallback.get(pcr).copied().flatten().map(|(cost, _)| cost))
        };
        wanted.iter().filter_map(in_pcr).fold(0, usize::saturating_add)
    };
    let best = costs.iter().min_by_key(|(_, by_pcr)| total(by_pcr));
    let explains = |pcr: u32| match best {
        Some((boot, by_pcr)) if by_pcr.contains_key(&pcr) => Some(*boot),
        _ => fallback.get(&pcr).copied().flatten().map(|(_, boot)| boot),
    };
    wanted.iter().map(|pcr| (*pcr, explains(*pcr))).collect()
}

/// Boots that are tried for one PCR before the nearest one has to explain it.
const MAX_TRIED: usize = 8;

/// [`nearest`], but a PCR whose differences from some other boot are all `harmless` is held against that one: a PCR is
/// accepted when it is accepted beside any boot, whatever another PCR looks like.
pub(crate) fn best<'b>(
    baseline: &'b Baseline,
    measured: &[Item<'b>],
    pcrs: &[u32],
    harmless: impl Fn(&[Change<'b>]) -> bool,
) -> BTreeMap<u32, Option<&'b ReferenceBoot>> {
    let mut by_pcr = nearest(baseline, measured, pcrs);
    for (pcr, chosen) in &mut by_pcr {
        let Some(first) = *chosen else { continue };
        let of_log: Vec<Item<'b>> = measured.iter().filter(|item| item.pcr == *pcr).copied().collect();
        let fits = |boot: &'b ReferenceBoot| {
            let reference: Vec<Item<'b>> = of_boot(boot, *pcr).collect();
            harmless(&diff(&reference, &of_log))
        };
        let others =
            || baseline.boots.iter().rev().filter(|boot| boot.speaks_of(*pcr) && !std::ptr::eq(*boot, first));
        if others().next().is_none() || fits(first) {
            continue;
        }
        let (wanted, log) = (BTreeSet::from([*pcr]), counted(&of_log, &BTreeSet::from([*pcr])));
        let mut by_cost: Vec<(Option<usize>, &ReferenceBoot)> =
            others().map(|boot| (costs(boot, &log, &wanted).get(pcr).copied(), boot)).collect();
        by_cost.sort_by_key(|(cost, _)| *cost);
        if let Some((_, boot)) = by_cost.into_iter().take(MAX_TRIED).find(|(_, boot)| fits(boot)) {
            *chosen = Some(boot);
        }
    }
    by_pcr
}

type Counted<'a> = HashMap<(u32, &'a Digest), i64>;

fn counted<'r>(measured: &[Item<'r>], pcrs: &BTreeSet<u32>) -> Counted<'r> {
    let mut counted = Counted::new();
    for item in measured.iter().filter(|item| pcrs.contains(&item.pcr)) {
        *counted.entry((item.pcr, item.digest)).or_default() += 1;
    }
    counted
}

/// By PCR that the boot speaks of: how many digests only one side has. Linear in both.
fn costs(boot: &ReferenceBoot, log: &Counted<'_>, pcrs: &BTreeSet<u32>) -> BTreeMap<u32, usize> {
    let mut costs: BTreeMap<u32, usize> =
        pcrs.iter().filter(|pcr| boot.speaks_of(**pcr)).map(|pcr| (*pcr, 0)).collect();
    let mut left = log.clone();
    for reference in &boot.measurements {
        if let Some(cost) = costs.get_mut(&reference.pcr) {
            match left.get_mut(&(reference.pcr, &reference.digest)) {
                Some(count) if *count > 0 => *count -= 1,
                _ => *cost += 1,
            }
        }
    }
    for ((pcr, _), count) in left {
        if let (Some(cost), Ok(count)) = (costs.get_mut(&pcr), usize::try_from(count)) {
            *cost += count;
        }
    }
    costs
}
