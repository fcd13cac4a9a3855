//! What an operator usually does about a difference.

use veriboot_eventlog::ComponentKind;

use super::topic::Topic;
use super::words::{MAX_NAMED_CHANGES, roll_over};
use crate::cmdline::CmdlineDiff;
use crate::diff::Change;

/// What becomes of a change that may be proposed.
pub(super) const APPROVE: &str = "If this is an update that you rolled out, approve the proposal (`veriboot proposal list`, `veriboot \
     proposal approve`): then it belongs to the baseline. Otherwise reject it, and find out who changed the machine.";

/// How to turn Secure Boot on.
pub(crate) const SWITCH_ON: &str = "Switch Secure Boot on in the VM's firmware settings (QEMU/libvirt: OVMF with \
     `secure-boot` and enrolled Microsoft keys; clouds: trusted launch / shielded VM options) and reboot. If this VM must \
     run without it, put it in a group that the service's setting `measured_only_groups` names.";

impl Topic<'_> {
    fn is_roll_over(&self) -> bool {
        let told = |change: &Change<'_>| match change {
            Change::Changed(old, new) => {
                roll_over(old, new).is_some_and(|told| told.starts_with("this is the roll-over"))
            }
            _ => false,
        };
        self.changes.iter().take(MAX_NAMED_CHANGES).any(told)
    }

    pub fn hint(&self, off: bool) -> String {
        use ComponentKind as K;
        let text = match self.kind {
            _ if off => SWITCH_ON,
            K::KernelCommandLine => {
                let danger =
                    self.primary_values().and_then(|(old, new)| CmdlineDiff::between(old, new).danger());
                if let Some(danger) = danger {
                    return format!("{danger}. Find out who changed the boot loader's configuration.");
                }
                "If you changed the boot configuration on purpose, accept this boot as the new baseline."
            }
            K::Kernel | K::Initrd | K::UkiSection | K::BootLoader | K::Shim | K::BootLoaderFile => {
                "If this follows from an update that you rolled out, accept this boot as the new baseline; otherwise \
                 treat the machine as compromised."
            }
            K::Firmware | K::CrtmVersion | K::OptionRom => {
                "If the hypervisor's or machine's firmware was updated, accept this boot as the new baseline."
            }
            K::KeyExchangeKey | K::SignatureDb if self.is_roll_over() => {
                "Firmware updates, `fwupdmgr update` and Windows Update add these before those of 2011 expire in 2026. If one of \
                 them ran, accept this boot as the new baseline, for all VMs of the scale set at once."
            }
            K::PlatformKey
            | K::KeyExchangeKey
            | K::SignatureDb
            | K::SecureBootVariable
            | K::Authority
            | K::MokState => {
                "Whoever holds these keys can sign what boots here: find out who changed them before you accept it."
            }
            K::RevocationDb | K::SbatLevel => {
                "Revocations are normally added by updates; if some are gone, old vulnerable loaders can boot again."
            }
            K::BootLoaderConfig => {
                "Compare the boot loader's configuration with the one that you deployed; accept this boot if the change \
                 is yours."
            }
            K::SecureBootState => {
                "Look into the VM's firmware settings: outside of the enrolment of keys, Secure Boot is in user or deployed mode."
            }
            K::WindowsPolicy => {
                "Compare `bcdedit /enum all` and the group policy of the machine with what you deployed. If the change is yours, \
                 accept this boot as the new baseline; otherwise treat the machine as compromised."
            }
            K::WindowsModule => {
                "If Windows Update or a driver that you rolled out ran, accept this boot as the new baseline; otherwise treat \
                 the machine as compromised."
            }
            K::BootOrder | K::BootEntry => {
                "Firmware settings, `efibootmgr` and installers change boot entries. If one of them ran, or a disk was exchanged, \
                 accept this boot as the new baseline; what was started is told by findings of its own."
            }
            K::PartitionTable => {
                "If the disk was exchanged, resized or partitioned again, accept this boot as the new baseline."
            }
            K::PlatformConfig | K::FirmwareAction | K::ExitBootServices => {
                "If the VM's hardware or firmware settings were changed on purpose, accept this boot as the new baseline."
            }
            K::Separator => {
                "Separators end what the firmware measures before it starts anything; only another firmware changes them. Find out \
                 which firmware this VM runs."
            }
            K::Unknown => {
                "Find out what measured this (`veriboot log show --events`) before you accept it: it runs before the operating system."
            }
        };
        text.to_owned()
    }
}
