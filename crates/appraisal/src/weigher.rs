//! Whether a deviation fails, is proposed or accepted.
//!
//! A profile trusts classes of change; an attacker chooses what a change is called. So a class that the profile trusts
//! only when signed counts where the digests show one of these, and nothing else changed in PCR 7 and PCR 14:
//!
//! * an image in PCR 4 that trusted authorities admitted, where [`crate::image_chain`] finds it sound;
//! * the file of that kernel where the boot loader reads it;
//! * an SBAT level that is higher than before;
//! * a dbx that has all that it had, and more.
//!
//! A profile that also trusts what follows from a signed kernel gets initrd, configuration and image path at the places
//! where they were. Nobody signs those: such a profile is weaker, and says so. It gets unified kernel images as well: their
//! sections are in PCR 11, which the running system extends, so that these are of the image in PCR 4 is a claim.

use veriboot_eventlog::sbat::{LevelChange, Sbat, compare_levels};
use veriboot_eventlog::{ComponentKind, Digest, EventType};
use veriboot_wire::{ChangeAction, ChangeClass};

use crate::class;
use crate::cmdline::CmdlineDiff;
use crate::content::Content;
use crate::deviation::{is_configuration_file, subject};
use crate::diff::{Change, Item};
use crate::enforcement::Rules;
use crate::image_chain::is_image;
use crate::profile::Enforcement;
use crate::report::Entry;
use crate::rule::Evidence;
use crate::structure_checks::{SECURE_BOOT_PCR, SHIM_STATE_PCR};

/// The PCR of systemd-stub's sections.
pub(crate) const UKI_PCR: u32 = 11;
/// The PCR of GRUB's commands.
pub(crate) const COMMAND_PCR: u32 = 8;
/// The PCR of files that GRUB and the kernel's stub read.
pub(crate) const FILE_PCR: u32 = 9;

/// What decides about the deviations of one boot.
pub(crate) struct Weigher<'w> {
    evidence: &'w Evidence<'w>,
    rules: &'w Rules<'w>,
    switched_off: bool,
    /// Whether the authorities of this boot are those that the baseline trusts.
    trusted: bool,
    /// Digests of changed sections of a unified kernel image.
    sections: Vec<Digest>,
    /// Whether the section of the kernel is among them.
    kernel_section: bool,
}

impl<'w> Weigher<'w> {
    /// `changes` are all that no rule explains.
    pub fn new(
        evidence: &'w Evidence<'w>,
        rules: &'w Rules<'w>,
        changes: &[Change<'_>],
        switched_off: bool,
    ) -> Self {
        let trusted = evidence.keys_unchanged && !evidence.mixes_registers() && evidence.admitted.is_ok();
        let changed = || {
            let later = changes.iter().filter_map(Change::later);
            later.filter(|item| item.pcr == UKI_PCR && item.kind == ComponentKind::UkiSection)
        };
        let kernel_section = changed().any(|item| subject(item) == ComponentKind::Kernel);
        let sections = changed().map(|item| *item.digest).collect();
        Self { evidence, rules, switched_off, trusted, sections, kernel_section }
    }

    /// What becomes of differences that belong together: the strictest that any of them asks for.
    pub fn action<'c, 'a: 'c>(&self, changes: impl Iterator<Item = &'c Change<'a>>) -> ChangeAction {
        changes
            .filter(|change| self.rules.of(change) == Enforcement::Enforce)
            .map(|change| self.action_of(change))
            .min()
            .unwrap_or(ChangeAction::Fail)
    }

    fn action_of(&self, change: &Change<'_>) -> ChangeAction {
        let rule = self.rules.profile.change(self.class_of(change));
        let shown = || {
            self.trusted && (self.is_signed(change) || (rule.following && self.follows_from_kernel(change)))
        };
        if rule.action == ChangeAction::Fail || (rule.signed && !shown()) {
            ChangeAction::Fail
        } else {
            rule.action
        }
    }

    /// Whether a signature fixes what is new here: an image as firmware and shim verified it, or a list of Secure Boot. The
    /// file that a boot loader read is not such a thing: it has bytes that no signature covers.
    pub fn is_fixed_by_a_signature(&self, change: &Change<'_>) -> bool {
        let by_firmware = |item: &Item<'_>| is_image(item) || item.pcr == SECURE_BOOT_PCR;
        self.trusted && change.later().is_some_and(by_firmware)
    }

    /// Parts of a signed unified kernel image with another kernel belong to the update of the kernel.
    fn class_of(&self, change: &Change<'_>) -> ChangeClass {
        let another = self.evidence.images.has_another_signed_kernel() && self.kernel_section;
        if another && self.is_part_of_unified_image(change) {
            return ChangeClass::KernelUpdate;
        }
        class::of(subject(change.item()), change, self.switched_off)
    }

    fn is_signed(&self, change: &Change<'_>) -> bool {
        let images = &self.evidence.images;
        let Some(new) = change.later() else { return false };
        if is_image(new) {
            return images.is_sound();
        }
        match (new.pcr, new.kind) {
            (SECURE_BOOT_PCR, _) => is_raised(change) || only_grew(change),
            (FILE_PCR, ComponentKind::Kernel) => images.has_another_kernel() && self.replaces(change),
            _ => false,
        }
    }

    /// A section as systemd-stub measures it, or what the kernel's stub measures of one again; no command line.
    fn is_part_of_unified_image(&self, change: &Change<'_>) -> bool {
        let item = change.item();
        let section = self.evidence.images.was_unified()
            && item.pcr == UKI_PCR
            && item.kind == ComponentKind::UkiSection
            && item.event_type == EventType::EV_IPL.0
            && subject(item) != ComponentKind::KernelCommandLine;
        let again = item.pcr == FILE_PCR
            && item.kind == ComponentKind::Initrd
            && item.event_type == EventType::EV_EVENT_TAG.0
            && self.replaces(change)
            && self.sections.contains(item.digest);
        section || again
    }

    /// Whether it is at the place of what it replaces, and the log gives both the same kind and type.
    fn replaces(&self, change: &Change<'_>) -> bool {
        let Change::Changed(old, new) = change else { return false };
        old.kind == new.kind && old.event_type == new.event_type && self.evidence.images.is_in_place(new)
    }

    /// What a package manager changes together with a kernel, and nobody signs.
    fn follows_from_kernel(&self, change: &Change<'_>) -> bool {
        use ComponentKind as K;
        let item = change.item();
        let images = &self.evidence.images;
        // A unified kernel image brings the sections of another kernel along.
        if images.has_another_signed_kernel() && images.was_unified() && !self.kernel_section {
            return false;
        }
        if change.later().is_some_and(is_image) {
            return images.is_signed();
        }
        if !images.has_another_signed_kernel() {
            return false;
        }
        if self.is_part_of_unified_image(change) {
            return true;
        }
        match (item.pcr, item.kind) {
            (FILE_PCR, K::Kernel | K::Initrd) => self.replaces(change),
            (FILE_PCR, K::BootLoaderFile | K::BootLoaderConfig) => is_configuration_file(item.name),
            (COMMAND_PCR, K::BootLoaderConfig | K::KernelCommandLine) => is_of_another_version(change),
            _ => false,
        }
    }
}

/// Whether the authorities of a boot, and the keys that they were found in, are those of the baseline. `changes` are all
/// differences: a PCR of which no boot of the baseline speaks differs in everything.
pub(crate) fn keys_unchanged(changes: &[Change<'_>]) -> bool {
    changes.iter().all(|change| match change.item().pcr {
        SECURE_BOOT_PCR => is_raised(change) || only_grew(change),
        SHIM_STATE_PCR => false,
        _ => true,
    })
}

/// A command that only lists another kernel or says what is done, or that loads the same with another path.
fn is_of_another_version(change: &Change<'_>) -> bool {
    let proven = |item: &Item<'_>| item.entry.is_none_or(|entry| entry.content == Content::Text);
    let sides = [change.earlier(), change.later()];
    if !sides.into_iter().flatten().all(proven) {
        return false;
    }
    let command = |item: &Item<'_>| item.value.and_then(|v| v.split_whitespace().next()).map(str::to_owned);
    let lists = |item: &Item<'_>| matches!(command(item).as_deref(), Some("menuentry" | "submenu" | "echo"));
    if sides.into_iter().flatten().all(lists) {
        return true;
    }
    let Change::Changed(old, new) = change else { return false };
    let (Some(was), Some(is)) = (old.value, new.value) else { return false };
    old.gap == new.gap && old.kind == new.kind && command(old) == command(new) && differs_in_paths(was, is)
}

/// Whether nothing but paths of images differ.
fn differs_in_paths(was: &str, is: &str) -> bool {
    let mut diff = CmdlineDiff::between(was, is);
    // The kernel's stub loads what this names.
    if diff.added.iter().any(|parameter| parameter.starts_with("initrd=")) {
        return false;
    }
    diff.drop_image_paths();
    let path = |parameter: &str| parameter.starts_with(['/', '(']) && !parameter.contains('=');
    let rest = diff.added.iter().chain(&diff.removed).all(|parameter| path(parameter));
    rest && diff.changed.iter().all(|(old, new)| path(old) && path(new)) && !diff.reordered
}

/// Whether this is an SBAT level that refuses what it refused, and more.
fn is_raised(change: &Change<'_>) -> bool {
    let Change::Changed(old, new) = change else { return false };
    let (Some(before), Some(Content::Sbat(now))) = (old.value, new.entry.map(|e| &e.content)) else {
        return false;
    };
    let text = before.replace("\\u{a}", "\n");
    let Some(before) = Sbat::parse(text.as_bytes()) else { return false };
    // A level drops what it says of a vendor's loader when it raises the loader itself.
    let raised = |component: &str| {
        let of = |level: &Sbat| level.generations.get(component).copied().unwrap_or(0);
        of(now) > of(&before)
    };
    let superseded = |component: &str| component.split_once('.').is_some_and(|(parent, _)| raised(parent));
    let lowered = compare_levels(&before, now).into_iter().any(|change| match change {
        LevelChange::Lowered { component, to: None, .. } => !superseded(&component),
        LevelChange::Lowered { .. } => true,
        LevelChange::Raised { .. } => false,
    });
    new.pcr == SECURE_BOOT_PCR
        && old.kind == ComponentKind::SbatLevel
        && new.kind == ComponentKind::SbatLevel
        && before.malformed_lines + now.malformed_lines == 0
        && before.date < now.date
        && !lowered
}

/// Whether this is a dbx that revokes all that it revoked, and more.
fn only_grew(change: &Change<'_>) -> bool {
    let Change::Changed(old, new) = change else { return false };
    let known = !old.signatures.is_empty() || old.value == Some("empty");
    let now = new.entry.map(Entry::revoked).unwrap_or_default();
    new.pcr == SECURE_BOOT_PCR
        && old.kind == ComponentKind::RevocationDb
        && new.kind == ComponentKind::RevocationDb
        && known
        && now.len() > old.signatures.len()
        && old.signatures.iter().all(|id| now.binary_search(id).is_ok())
}
