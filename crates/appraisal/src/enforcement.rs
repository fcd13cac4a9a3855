//! How much one difference matters.
//!
//! Most of what a log says about an event is in no digest: its type, its name, and the data of images, files and
//! tables. Whoever has the machine can therefore call any measurement anything, extend the PCR with what a trusted boot
//! would have measured, and send a log that replays. So a description never makes a difference harmless where something
//! harmful can be measured:
//!
//! 1. a kind is noted or ignored only in the PCRs where the specification puts it ([`belongs`]);
//! 2. actions and ExitBootServices are noted only when their digest is that of a text that the specification defines;
//! 3. both sides of a difference are asked, and the stricter answer counts;
//! 4. an image is noted when it has the digest, the type and the name that it had, from another disk;
//! 5. GRUB's environment block is noted only when the baseline has that very file at that very place of the PCR: another
//!    one, or one elsewhere, is an addition like any other.

use veriboot_eventlog::{ComponentKind, EventType, HashAlg};

use crate::diff::{Change, Item};
use crate::image_chain::is_image;
use crate::profile::{Enforcement, Profile};

/// Actions that say which step of a boot was reached and start nothing themselves, by PCR (PC Client Platform Firmware
/// Profile 1.06, sections 3.3.4.5, 3.3.4.6 and 10.4.4).
const ACTIONS: &[(u32, &str)] = &[
    (4, "Calling EFI Application from Boot Option"),
    (4, "Returning from EFI Application from Boot Option"),
    (5, "Exit Boot Services Invocation"),
    (5, "Exit Boot Services Returned with Failure"),
    (5, "Exit Boot Services Returned with Success"),
];
/// PCRs of the files that GRUB reads.
const BOOT_LOADER_FILE_PCRS: std::ops::RangeInclusive<u32> = 8..=9;

/// What decides about differences: the profile, and how the two boots measured.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules<'a> {
    pub profile: &'a Profile,
    /// The bank that both sides have their digests of.
    pub bank: HashAlg,
    /// Registers of a confidential VM hold several PCRs each: nothing in them is harmless by its place.
    pub mixed_registers: bool,
}

impl Rules<'_> {
    /// How much this difference matters.
    pub fn of(&self, change: &Change<'_>) -> Enforcement {
        if self.mixed_registers {
            return Enforcement::Enforce;
        }
        if is_from_another_disk(change) {
            return Enforcement::Note;
        }
        if is_environment_block(change) && !self.profile.components.contains_key(&change.item().kind) {
            return Enforcement::Note;
        }
        change
            .earlier()
            .into_iter()
            .chain(change.later())
            .map(|item| self.of_item(item, change))
            .fold(Enforcement::Ignore, Enforcement::stricter)
    }

    fn of_item(&self, item: &Item<'_>, change: &Change<'_>) -> Enforcement {
        let harmless = match item.kind {
            ComponentKind::FirmwareAction | ComponentKind::ExitBootServices => {
                is_known_action(item, self.bank)
            }
            ComponentKind::PartitionTable => is_partition_table(item, change),
            _ => true,
        };
        if harmless { self.profile.enforcement(item.kind, item.pcr) } else { Enforcement::Enforce }
    }
}

/// Whether the digest is that of an action that starts nothing.
pub(crate) fn is_known_action(item: &Item<'_>, bank: HashAlg) -> bool {
    ACTIONS
        .iter()
        .filter(|(pcr, _)| *pcr == item.pcr)
        .any(|(_, text)| *item.digest == bank.hash(&[text.as_bytes()]))
}

/// EV_EFI_GPT_EVENT is checked against its digest; what the digest of the other type covers is left open, so it counts
/// only as the successor of one.
fn is_partition_table(item: &Item<'_>, change: &Change<'_>) -> bool {
    item.event_type == EventType::EV_EFI_GPT_EVENT.0
        || matches!(change, Change::Changed(old, new) if old.event_type == new.event_type)
}

/// The same image by the same name, from another disk or partition: what ran is the same.
pub(crate) fn is_from_another_disk(change: &Change<'_>) -> bool {
    let Change::Described(old, new) = change else { return false };
    is_image(old) && is_image(new) && old.kind == new.kind && old.name == new.name
}

/// GRUB's environment block counts boots, so it differs between boots; what its variables cause is measured as commands.
fn is_environment_block(change: &Change<'_>) -> bool {
    let Change::Changed(old, new) = change else { return false };
    is_boot_loader_environment(new)
        && old.kind == new.kind
        && old.pcr == new.pcr
        && old.event_type == new.event_type
        && old.name == new.name
        && old.gap == new.gap
}

/// Whether the log calls this GRUB's environment block, where GRUB's files are measured.
pub(crate) fn is_boot_loader_environment(item: &Item<'_>) -> bool {
    item.kind == ComponentKind::BootLoaderFile
        && BOOT_LOADER_FILE_PCRS.contains(&item.pcr)
        && item.name.rsplit(['/', '\\', ')']).next() == Some("grubenv")
}

/// Whether a kind is measured in this PCR (PC Client Platform Firmware Profile 1.06, section 3.3.4; UAPI group TPM2 PCR
/// registry for 8 to 15). A kind that a profile notes or ignores is noted or ignored here and enforced elsewhere.
pub(crate) fn belongs(kind: ComponentKind, pcr: u32) -> bool {
    use ComponentKind as K;
    let pcrs: &[u32] = match kind {
        K::CrtmVersion => &[0],
        K::Firmware => &[0, 2],
        K::OptionRom => &[2],
        K::PlatformConfig | K::BootOrder | K::BootEntry => &[1],
        K::SecureBootState
        | K::PlatformKey
        | K::KeyExchangeKey
        | K::SignatureDb
        | K::RevocationDb
        | K::SecureBootVariable
        | K::SbatLevel => &[7],
        K::Authority | K::MokState => &[7, 14],
        K::PartitionTable | K::ExitBootServices => &[5],
        K::FirmwareAction => &[4, 5],
        K::Separator => &[],
        K::Shim | K::BootLoader => &[4],
        K::BootLoaderConfig => &[5, 8, 9],
        K::BootLoaderFile => &[8, 9],
        K::Kernel => &[4, 9],
        K::Initrd => &[9],
        K::KernelCommandLine => &[8, 9, 12],
        K::UkiSection => &[11, 12, 13],
        K::WindowsPolicy => &[11, 12],
        K::WindowsModule => &[13],
        K::Unknown => &[],
    };
    pcrs.contains(&pcr)
}
