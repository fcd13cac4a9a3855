//! Whether changed images in PCR 4 can be believed to be what takes their place: the conditions under which a signature
//! is enough.
//!
//! [`crate::authority`] shows that nothing ran that trusted authorities did not admit. That alone does not do: whoever
//! owns the disk may start another image of the same signer, an old kernel in place of the boot loader, say, which
//! measures nothing of what it loads; and may then extend PCRs 4, 8, 9 and 11 with all that the baseline expects, or with
//! what looks like an update. So a changed image is **signed** only
//!
//! 1. at the place in PCR 4 that it had, all others in their order, none added and none gone: what ran first was
//!    measured first, and can be hidden by nothing that ran later;
//! 2. and if whoever took the place of a loader must have been one: the key signs for one owner; or shim held its second
//!    stage against an SBAT level ([`held_against_sbat`]), which no kernel and no loader passes that is older than
//!    measuring; or the only image that changed is the last one, which a known loader measured and started.
//!
//! Nobody signs an initrd, and no digest shows whether a signed image is a unified one, or a kernel that takes an initrd
//! and measures nothing of it. So what was signed is **sound**, and may pass by its signature alone, only
//!
//! 3. if what it loads is measured by something that did not change: a new kernel by GRUB, which is where it was, and
//!    which the accepted boot shows to read kernel and initrd; a new loader by nothing but its SBAT generations, so the
//!    kernel behind it is the old one.

use std::collections::{BTreeMap, BTreeSet};

use veriboot_eventlog::{ComponentKind, Digest, EventType};

use crate::authority::{admitted, held_against_sbat, own_keys_only};
use crate::diff::{Change, Item};
use crate::report::LogReport;
use crate::weigher::{FILE_PCR, UKI_PCR};

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
    signed: bool,
    /// Whether condition 3 holds as well.
    sound: bool,
    /// Whether the last image that ran is another one.
    last_changed: bool,
    /// Whether the accepted boot shows sections of a unified kernel image.
    was_unified: bool,
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
        let was_unified = accepted_boot_has(changes, report, |kind, pcr, _| {
            kind == ComponentKind::UkiSection && pcr == UKI_PCR
        });
        let by_sbat = held_against_sbat(report);
        let alone = only_the_last(&images, &ran, &changed);
        let signed = all_in_place && admitted(report).is_ok() && (own_keys_only(report) || by_sbat || alone);
        let sound = signed
            && match last_changed {
                true => alone && loader_measures_files(changes, report),
                false => images.is_empty() || by_sbat,
            };
        Self { in_place, replaced, signed, sound, last_changed, was_unified }
    }

    /// Whether this later side is at the place of what it replaces.
    pub fn is_in_place(&self, item: &Item<'_>) -> bool {
        self.in_place.contains(&(item.pcr, item.place))
    }

    /// Whether a boot says what is to be measured in this PCR.
    pub fn is_referenced(&self, item: &Item<'_>) -> bool {
        item.gap > 0 || self.replaced.contains(&item.pcr)
    }

    /// Whether the images of this boot are signed; what they load may be hidden.
    pub fn is_signed(&self) -> bool {
        self.signed
    }

    /// Whether the images of this boot may be believed by their signatures.
    pub fn is_sound(&self) -> bool {
        self.sound
    }

    /// Whether the last image that ran, the kernel, is another one, and may be believed by its signature.
    pub fn has_another_kernel(&self) -> bool {
        self.sound && self.last_changed
    }

    /// Whether the kernel of the accepted boot was a unified image.
    pub fn was_unified(&self) -> bool {
        self.was_unified
    }

    /// Whether the last image that ran, the kernel, is another one, and signed.
    pub fn has_another_signed_kernel(&self) -> bool {
        self.signed && self.last_changed
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

/// Whether the accepted boot shows a boot loader that measures the kernel and the initrd that it reads, as GRUB does.
fn loader_measures_files(changes: &[Change<'_>], report: &LogReport) -> bool {
    accepted_boot_has(changes, report, |kind, pcr, event_type| {
        pcr == FILE_PCR
            && event_type == EventType::EV_IPL
            && matches!(kind, ComponentKind::Kernel | ComponentKind::Initrd)
    })
}

/// Whether the accepted boot measured such a thing. What of a log takes part in no difference is what that boot has.
fn accepted_boot_has(
    changes: &[Change<'_>],
    report: &LogReport,
    is: impl Fn(ComponentKind, u32, EventType) -> bool,
) -> bool {
    let new: BTreeSet<u32> = changes.iter().filter_map(|c| c.later()?.event).collect();
    let mut same = report.entries.iter().filter(|entry| !new.contains(&entry.event));
    let mut old = changes.iter().filter_map(Change::earlier);
    same.any(|entry| is(entry.kind, entry.pcr, entry.event_type))
        || old.any(|item| is(item.kind, item.pcr, EventType(item.event_type)))
}
