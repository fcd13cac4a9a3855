//! Which differences of one log a set of rules explains.

use std::cell::OnceCell;

use veriboot_eventlog::{ComponentKind, EventType};

use super::evidence::Evidence;
use super::set::RuleSet;
use crate::deviation::is_configuration_file;
use crate::diff::{Change, Item};
use crate::image_chain::is_image;
use crate::structure_checks::SECURE_BOOT_PCR;
use crate::weigher::FILE_PCR;

/// What rules explain of one log. Whoever wrote the log decides how many differences are asked about, so what does not
/// depend on the difference is found out once.
pub(crate) struct Explains<'e, 'r, 'a> {
    rules: &'e RuleSet<'r>,
    evidence: &'e Evidence<'a>,
    /// Whether the authorities of images admitted all that ran.
    images: OnceCell<bool>,
    /// Whether those of option ROMs did.
    drivers: OnceCell<bool>,
    /// Whether those that may have admitted anything did.
    anything: OnceCell<bool>,
    /// Whether every difference in what the boot loader measures as text is explained.
    commands: OnceCell<bool>,
}

impl<'e, 'r, 'a> Explains<'e, 'r, 'a> {
    /// Rules beside a log.
    pub fn new(rules: &'e RuleSet<'r>, evidence: &'e Evidence<'a>) -> Self {
        Self {
            rules,
            evidence,
            images: OnceCell::new(),
            drivers: OnceCell::new(),
            anything: OnceCell::new(),
            commands: OnceCell::new(),
        }
    }

    /// Whether a rule explains this difference.
    pub fn permits(&self, change: &Change<'_>) -> bool {
        if self.evidence.mixes_registers() {
            return false;
        }
        self.permits_itself(change) || self.follows_from_text(change)
    }

    fn permits_itself(&self, change: &Change<'_>) -> bool {
        self.rules.permits_digest(change, self.evidence)
            || self.rules.permits_any(change, self.evidence)
            || self.permits_admitted(change)
            || self.rules.meets_demand(change, self.evidence.report)
    }

    /// The file that the boot loader read a command line from, and the command line as the kernel's stub measures it again:
    /// GRUB measures as text all that it does with that file, so both say nothing new where every difference in that text
    /// is explained.
    fn follows_from_text(&self, change: &Change<'_>) -> bool {
        use ComponentKind as K;
        let Change::Changed(old, new) = change else { return false };
        let same = old.kind == new.kind && old.event_type == new.event_type && old.name == new.name;
        let follows = new.pcr == FILE_PCR
            && match new.kind {
                K::BootLoaderFile | K::BootLoaderConfig => is_configuration_file(new.name),
                K::KernelCommandLine => new.event_type == EventType::EV_EVENT_TAG.0,
                _ => false,
            };
        let commands = &self.evidence.commands;
        let explained =
            || !commands.is_empty() && commands.iter().all(|command| self.permits_itself(command));
        same && follows && self.evidence.images.is_in_place(new) && *self.commands.get_or_init(explained)
    }

    fn permits_admitted(&self, change: &Change<'_>) -> bool {
        use ComponentKind as K;
        let Some(new) = change.later() else {
            // An authority that admits nothing any more.
            return self.removes_authority(change);
        };
        if matches!(change, Change::Described(..)) {
            return false;
        }
        match (new.kind, new.entry.map(|entry| &entry.content)) {
            (K::Authority, Some(content)) if new.pcr == SECURE_BOOT_PCR => {
                content.certificate().is_some_and(|by| self.rules.trusts(K::Authority, &by.sha256))
            }
            (K::PlatformKey | K::KeyExchangeKey | K::SignatureDb, Some(content))
                if new.pcr == SECURE_BOOT_PCR =>
            {
                let Some(list) = content.signatures() else { return false };
                list.complete
                    && list.members.len() == list.certificates.len()
                    && !list.certificates.is_empty()
                    && list.certificates.iter().all(|by| self.rules.trusts(new.kind, &by.sha256))
            }
            (K::Shim | K::BootLoader | K::Kernel, _) if is_image(new) => {
                if !self.rules.authorities.contains_key(&new.kind) {
                    return false;
                }
                if self.complains_of_authorities() {
                    return true;
                }
                let replaces = self.evidence.images.is_referenced(new);
                let by_images = || self.rules.of_kinds(&[K::Shim, K::BootLoader, K::Kernel], self.evidence);
                *self.images.get_or_init(by_images)
                    && (!replaces || matches!(change, Change::Changed(..)) && self.evidence.images.is_sound())
            }
            (K::OptionRom, _) if is_driver(new) => {
                *self.drivers.get_or_init(|| self.rules.of_kinds(&[K::OptionRom], self.evidence))
            }
            _ => false,
        }
    }

    /// Whether a rule demands that known authorities admitted everything, and its violation is told: then that images were
    /// not admitted is told as well.
    fn complains_of_authorities(&self) -> bool {
        self.rules.authorities.contains_key(&ComponentKind::Authority) && !self.all_admitted()
    }

    fn removes_authority(&self, change: &Change<'_>) -> bool {
        matches!(change, Change::Removed(old) if old.kind == ComponentKind::Authority && old.pcr == SECURE_BOOT_PCR)
            && self.all_admitted()
    }

    fn all_admitted(&self) -> bool {
        *self.anything.get_or_init(|| self.rules.of_kinds(&[ComponentKind::Authority], self.evidence))
    }
}

fn is_driver(item: &Item<'_>) -> bool {
    item.pcr == 2
        && [EventType::EV_EFI_BOOT_SERVICES_DRIVER, EventType::EV_EFI_RUNTIME_SERVICES_DRIVER]
            .iter()
            .any(|driver| driver.0 == item.event_type)
}
