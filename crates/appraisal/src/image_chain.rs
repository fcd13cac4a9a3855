//! Whether changed images in PCR 4 can be believed to be what takes their place: the conditions under which a signature
//! is enough.
//!
//! [`crate::authority`] shows that nothing ran that trusted authorities did not admit. That alone does not do: whoever
//! owns the disk may start another image of the same signer, an old kernel in place of the boot loader, say, which
//! measures nothing of what it loads; and may then extend PCRs 4, 8 and 9 with all that the baseline expects. So a
//! changed image counts only
//!
//! 1. at the place in PCR 4 that it had, all others in their order, none added and none gone: what ran first was
//!    measured first, and can be hidden by nothing that ran later;
//! 2. and if whoever took the place of a loader must have been one: the key signs for one owner; or shim held its second
//!    stage against an SBAT level ([`held_against_sbat`]), which no kernel and no loader passes that is older than
//!    measuring; or the only image that changed is the last one, which a known loader measured and started.

use std::collections::{BTreeMap, BTreeSet};

use veriboot_eventlog::{Digest, EventType};

use crate::authority::{admitted, held_against_sbat, own_keys_only};
use crate::diff::{Change, Item};
use crate::report::LogReport;

/// The PCR of images that firmware, shim and boot loaders start.
pub(crate) const IMAGE_PCR: u32 = 4;

/// What differs, as far as places and images go.
#[derive(Clone, Debug)]
pub(crate) struct ImageChain {
    /// Changed measurements that are at the place of what they replace: PCR and place in it.
    in_place: BTreeSet<(u32, usize)>,
    /// PCRs in which the earlier side has anything that takes part in a difference.
    replaced: BTreeSet<u32>,
    /// Whether conditions 1 and 2 hold for what changed in PCR 4.
    sound: bool,
    /// Whether the last image that ran is another one.
    last_changed: bool,
}

impl ImageChain {
    /// Looks at all differences of a boot.
    pub fn new(changes: &[Change<'_>], report: &LogReport) -> Self {
        let in_place = in_place(changes);
        let replaced = changes.iter().filter_map(|c| Some(c.earlier()?.pcr)).collect();
        let images: Vec<&Change<'_>> = changes.iter().filter(|c| touches_image(c)).collect();
        let all_in_place = images.iter().all(|change| match change {
            Change::Changed(old, new) => {
                is_image(old) && is_image(new) && in_place.contains(&(new.pcr, new.place))
            }
            _ => false,
        });
        let changed: BTreeSet<u32> = images.iter().filter_map(|c| c.later()?.event).collect();
        let ran: Vec<u32> = report
            .entries
            .iter()
            .filter(|e| e.pcr == IMAGE_PCR && e.event_type == EventType::EV_EFI_BOOT_SERVICES_APPLICATION)
            .map(|e| e.event)
            .collect();
        let last_changed = ran.last().is_some_and(|event| changed.contains(event));
        let sound = all_in_place
            && admitted(report).is_ok()
            && (own_keys_only(report) || held_against_sbat(report) || only_the_last(&images, &ran, &changed));
        Self { in_place, replaced, sound, last_changed }
    }

    /// Whether this later side is at the place of what it replaces.
    pub fn is_in_place(&self, item: &Item<'_>) -> bool {
        self.in_place.contains(&(item.pcr, item.place))
    }

    /// Whether a boot says what is to be measured in this PCR.
    pub fn is_referenced(&self, item: &Item<'_>) -> bool {
        item.gap > 0 || self.replaced.contains(&item.pcr)
    }

    /// Whether the images of this boot may be believed by their signatures.
    pub fn is_sound(&self) -> bool {
        self.sound
    }

    /// Whether the last image that ran, the kernel, is another one, and may be believed by its signature.
    pub fn has_another_kernel(&self) -> bool {
        self.sound && self.last_changed
    }
}

pub(crate) fn is_image(item: &Item<'_>) -> bool {
    item.pcr == IMAGE_PCR && item.event_type == EventType::EV_EFI_BOOT_SERVICES_APPLICATION.0
}

fn touches_image(change: &Change<'_>) -> bool {
    [change.earlier(), change.later()].into_iter().flatten().any(is_image)
}

/// Changed measurements between the same neighbours as what they replace, in its order.
fn in_place(changes: &[Change<'_>]) -> BTreeSet<(u32, usize)> {
    let mut by_gap: BTreeMap<(u32, usize), Vec<(usize, usize)>> = BTreeMap::new();
    for change in changes {
        if let Change::Changed(old, new) = change
            && old.gap == new.gap
            && old.pcr == new.pcr
        {
            by_gap.entry((new.pcr, new.gap)).or_default().push((new.place, old.place));
        }
    }
    let mut in_place = BTreeSet::new();
    for ((pcr, _), mut places) in by_gap {
        places.sort_unstable();
        if places.is_sorted_by_key(|(_, old)| *old) {
            in_place.extend(places.into_iter().map(|(new, _)| (pcr, new)));
        }
    }
    in_place
}

/// Whether what changed is one image, measured once or twice, with nothing but itself after it and another image before.
fn only_the_last(images: &[&Change<'_>], ran: &[u32], changed: &BTreeSet<u32>) -> bool {
    let Some(first) = ran.iter().position(|event| changed.contains(event)) else { return images.is_empty() };
    let digests: BTreeSet<&Digest> = images.iter().filter_map(|c| Some(c.later()?.digest)).collect();
    first > 0 && digests.len() == 1 && ran.iter().skip(first).all(|event| changed.contains(event))
}
