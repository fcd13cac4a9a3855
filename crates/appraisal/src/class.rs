//! Classes of change (SPEC section 5): what belongs to each, what it means, and what a profile does with it.

use serde::{Deserialize, Serialize};
use veriboot_eventlog::ComponentKind;
use veriboot_wire::{ChangeAction, ChangeClass};

use crate::diff::Change;
use crate::enforcement::is_from_another_disk;

/// What a profile does with changes of a class.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChangeRule {
    /// Fail, propose or accept.
    pub action: ChangeAction,
    /// Whether only changes count that authorities admitted which the baseline already trusts; others fail.
    #[serde(default = "yes")]
    pub signed: bool,
    /// Whether what follows from a signed kernel counts as well, although nobody signs it: the initrd, the boot loader's
    /// configuration, paths of images.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub following: bool,
}

const fn yes() -> bool {
    true
}

impl ChangeRule {
    /// Fails.
    pub const FAIL: Self = Self { action: ChangeAction::Fail, signed: true, following: false };
    /// Proposed where it is shown to be an update.
    pub const PROPOSE_SIGNED: Self = Self { action: ChangeAction::Propose, ..Self::FAIL };

    /// What happens with a class when the profile does not speak of it: proposed where a signature, or the direction of
    /// the change, shows that it is an update.
    pub const fn default_for(class: ChangeClass) -> Self {
        match class {
            ChangeClass::KernelUpdate
            | ChangeClass::BootloaderUpdate
            | ChangeClass::ShimUpdate
            | ChangeClass::SbatUpdate
            | ChangeClass::DbxUpdate => Self::PROPOSE_SIGNED,
            _ => Self::FAIL,
        }
    }
}

/// The class of a change of a component. `switched_off`: the change is that of Secure Boot from on to off.
pub(crate) fn of(kind: ComponentKind, change: &Change<'_>, switched_off: bool) -> ChangeClass {
    use ComponentKind as K;
    match kind {
        _ if switched_off && kind == K::SecureBootState => ChangeClass::SecureBootDisabled,
        _ if is_from_another_disk(change) => ChangeClass::BootOrderChange,
        K::CrtmVersion | K::Firmware | K::OptionRom => ChangeClass::FirmwareUpdate,
        K::PlatformConfig | K::BootOrder | K::BootEntry | K::PartitionTable => ChangeClass::BootOrderChange,
        K::SecureBootState | K::PlatformKey | K::KeyExchangeKey | K::SignatureDb | K::SecureBootVariable => {
            ChangeClass::SecureBootKeyChange
        }
        K::Authority => ChangeClass::SecureBootKeyChange,
        K::RevocationDb => ChangeClass::DbxUpdate,
        K::Shim => ChangeClass::ShimUpdate,
        K::SbatLevel => ChangeClass::SbatUpdate,
        K::MokState => ChangeClass::MokChange,
        // A loader where none was before is no update.
        K::BootLoader | K::BootLoaderFile if matches!(change, Change::Added(_)) => {
            ChangeClass::UnknownComponent
        }
        K::BootLoader | K::BootLoaderConfig | K::BootLoaderFile => ChangeClass::BootloaderUpdate,
        K::Kernel => ChangeClass::KernelUpdate,
        K::UkiSection => ChangeClass::KernelUpdate,
        K::Initrd => ChangeClass::InitrdChange,
        K::KernelCommandLine => ChangeClass::CmdlineChange,
        K::WindowsPolicy | K::WindowsModule => ChangeClass::WindowsPolicyChange,
        K::FirmwareAction | K::ExitBootServices | K::Separator | K::Unknown => ChangeClass::UnknownComponent,
    }
}

/// What somebody who attacks a machine gains by a change of a class.
pub(crate) const fn risk(class: ChangeClass) -> &'static str {
    use ChangeClass as C;
    match class {
        C::KernelUpdate => {
            "Another kernel runs everything else: one with a known hole, or an attacker's own, takes the machine over."
        }
        C::InitrdChange => {
            "Nobody signs the initrd, and it runs first as root: an attacker's own can read the disk's key and change any file."
        }
        C::CmdlineChange => {
            "Parameters can start another first process, or switch off lockdown, SELinux, auditing and disk verification."
        }
        C::BootloaderUpdate => {
            "The boot loader decides which kernel runs with which parameters; an old one can be made to run anything."
        }
        C::ShimUpdate => {
            "shim decides which keys admit loaders and kernels; an old one can be made to admit anything."
        }
        C::SbatUpdate => "A lower level admits loaders again that have known holes.",
        C::DbxUpdate => "What is no longer revoked can be booted again, loaders with known holes among them.",
        C::SecureBootKeyChange => "Whoever holds a key in db, KEK or PK can sign what boots on this machine.",
        C::MokChange => {
            "Whoever holds an enrolled machine owner key can sign loaders, kernels and kernel modules."
        }
        C::FirmwareUpdate => "Firmware runs before everything else, measures it, and can lie about it.",
        C::BootOrderChange => {
            "Another disk or loader may be tried first; what is started is measured by itself."
        }
        C::SecureBootDisabled => "Nothing is verified any more: any loader and any kernel runs.",
        C::RuntimeExtend => {
            "Somebody with access to the TPM hides what the PCR held, or binds secrets to a state of their own."
        }
        C::UnknownComponent => "Something ran, or was read, that nobody has accepted.",
        C::WindowsPolicyChange => {
            "Test signing, debugging or a weaker code integrity policy lets an attacker's drivers run in the kernel."
        }
    }
}
