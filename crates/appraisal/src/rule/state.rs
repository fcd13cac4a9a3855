//! Settings that a rule can demand: Secure Boot and its mode, and what Windows measures about its boot.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use veriboot_eventlog::ComponentKind;

use veriboot_wire::ChangeClass;

use super::RuleError;

/// On or off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Switch {
    /// On.
    On,
    /// Off.
    Off,
}

impl From<bool> for Switch {
    fn from(on: bool) -> Self {
        if on { Self::On } else { Self::Off }
    }
}

impl Switch {
    /// The word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::On => "on",
            Self::Off => "off",
        }
    }
}

/// A setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StateFlag {
    /// Secure Boot (SecureBoot).
    SecureBoot,
    /// shim verifies what it starts (MokSBState).
    ShimValidation,
    /// Setup mode: no platform key (SetupMode).
    SetupMode,
    /// Audit mode: what is not admitted runs all the same (AuditMode).
    AuditMode,
    /// Deployed mode (DeployedMode).
    DeployedMode,
    /// Somebody enrolled a machine owner key in shim (MokList).
    MachineOwnerKeys,
    /// KEK or db holds a key that signs for everybody (Microsoft's), or one admitted something.
    ThirdPartyKeys,
    /// Windows: the boot manager and loader can be debugged.
    BootDebugging,
    /// Windows: the kernel can be debugged.
    KernelDebugging,
    /// Windows: the hypervisor can be debugged.
    HypervisorDebugging,
    /// Windows: code integrity checks drivers.
    CodeIntegrity,
    /// Windows: test-signed drivers load.
    TestSigning,
    /// Windows: pre-release drivers load.
    FlightSigning,
    /// Windows: safe mode.
    SafeMode,
    /// Windows: preinstallation environment.
    WinPe,
    /// Windows: hypervisor-enforced code integrity.
    Hvci,
}

impl StateFlag {
    /// Every setting.
    pub const ALL: &'static [Self] = &[
        Self::SecureBoot,
        Self::ShimValidation,
        Self::SetupMode,
        Self::AuditMode,
        Self::DeployedMode,
        Self::MachineOwnerKeys,
        Self::ThirdPartyKeys,
        Self::BootDebugging,
        Self::KernelDebugging,
        Self::HypervisorDebugging,
        Self::CodeIntegrity,
        Self::TestSigning,
        Self::FlightSigning,
        Self::SafeMode,
        Self::WinPe,
        Self::Hvci,
    ];

    /// The word in rules.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::SecureBoot => "secure-boot",
            Self::ShimValidation => "shim-validation",
            Self::SetupMode => "setup-mode",
            Self::AuditMode => "audit-mode",
            Self::DeployedMode => "deployed-mode",
            Self::MachineOwnerKeys => "machine-owner-keys",
            Self::ThirdPartyKeys => "third-party-keys",
            Self::BootDebugging => "boot-debugging",
            Self::KernelDebugging => "kernel-debugging",
            Self::HypervisorDebugging => "hypervisor-debugging",
            Self::CodeIntegrity => "code-integrity",
            Self::TestSigning => "test-signing",
            Self::FlightSigning => "flight-signing",
            Self::SafeMode => "safe-mode",
            Self::WinPe => "win-pe",
            Self::Hvci => "hvci",
        }
    }

    /// What is believed where a boot measures both: the reading that protects least.
    pub(crate) const fn weakest(self) -> Switch {
        match self {
            Self::SecureBoot
            | Self::ShimValidation
            | Self::DeployedMode
            | Self::CodeIntegrity
            | Self::Hvci => Switch::Off,
            Self::SetupMode
            | Self::AuditMode
            | Self::MachineOwnerKeys
            | Self::ThirdPartyKeys
            | Self::BootDebugging
            | Self::KernelDebugging
            | Self::HypervisorDebugging
            | Self::TestSigning
            | Self::FlightSigning
            | Self::SafeMode
            | Self::WinPe => Switch::On,
        }
    }

    /// The kind of component that measures it.
    pub const fn component(self) -> ComponentKind {
        match self {
            Self::SecureBoot
            | Self::ShimValidation
            | Self::SetupMode
            | Self::AuditMode
            | Self::DeployedMode => ComponentKind::SecureBootState,
            Self::MachineOwnerKeys => ComponentKind::MokState,
            Self::ThirdPartyKeys => ComponentKind::SignatureDb,
            _ => ComponentKind::WindowsPolicy,
        }
    }

    /// Plain words for people.
    pub const fn title(self) -> &'static str {
        match self {
            Self::SecureBoot => "Secure Boot",
            Self::ShimValidation => "verification by shim",
            Self::SetupMode => "setup mode",
            Self::AuditMode => "audit mode",
            Self::DeployedMode => "deployed mode",
            Self::MachineOwnerKeys => "a machine owner key (MOK)",
            Self::ThirdPartyKeys => "a key that signs for everybody",
            Self::BootDebugging => "boot debugging",
            Self::KernelDebugging => "kernel debugging",
            Self::HypervisorDebugging => "hypervisor debugging",
            Self::CodeIntegrity => "code integrity",
            Self::TestSigning => "test signing",
            Self::FlightSigning => "flight signing",
            Self::SafeMode => "safe mode",
            Self::WinPe => "Windows PE",
            Self::Hvci => "hypervisor-enforced code integrity (HVCI)",
        }
    }

    /// What is wrong when it is `is` and must be `wanted`.
    pub(crate) fn complaint(self, wanted: Switch, is: Option<Switch>) -> String {
        match (self, is) {
            (Self::MachineOwnerKeys, None) if wanted == Switch::Off => {
                "shim's list of keys (MokList) cannot be shown to hold the vendor's certificate alone: somebody enrolled a \
                 machine owner key, or shim does not measure its list"
                    .to_owned()
            }
            (Self::ThirdPartyKeys, Some(Switch::On)) => {
                "KEK or db holds a key that signs loaders of everybody, or one admitted something".to_owned()
            }
            (_, Some(is)) => format!("{} is {} and must be {}", self.title(), is.as_str(), wanted.as_str()),
            (_, None) => format!("Nothing shows that {} is {}", self.title(), wanted.as_str()),
        }
    }

    /// Class of a change of this setting.
    pub(crate) const fn change(self) -> ChangeClass {
        match self {
            Self::SecureBoot | Self::ShimValidation => ChangeClass::SecureBootDisabled,
            Self::SetupMode | Self::AuditMode | Self::DeployedMode | Self::ThirdPartyKeys => {
                ChangeClass::SecureBootKeyChange
            }
            Self::MachineOwnerKeys => ChangeClass::MokChange,
            _ => ChangeClass::WindowsPolicyChange,
        }
    }

    /// How to set it right.
    pub(crate) const fn hint(self) -> &'static str {
        match self {
            Self::SecureBoot => crate::deviation::SWITCH_ON,
            Self::ShimValidation => {
                "Run `mokutil --enable-validation` in the VM, reboot, and confirm in MokManager's screen."
            }
            Self::SetupMode | Self::AuditMode | Self::DeployedMode => {
                "Enrol the platform key (PK) in the VM's firmware settings, which leaves setup and audit mode."
            }
            Self::MachineOwnerKeys => {
                "List the keys with `mokutil --list-enrolled`. If they are yours, learn a baseline for this VM or name \
                 them in a rule; otherwise `mokutil --reset` and reboot."
            }
            Self::ThirdPartyKeys => {
                "Enrol your own keys alone in PK, KEK and db, or put the VM into a group with another profile."
            }
            Self::CodeIntegrity | Self::TestSigning => {
                "Run `bcdedit /set testsigning off` and `bcdedit /set nointegritychecks off` as administrator, then reboot."
            }
            Self::FlightSigning => "Run `bcdedit /set flightsigning off` as administrator, then reboot.",
            Self::BootDebugging => "Run `bcdedit /bootdebug off` as administrator, then reboot.",
            Self::KernelDebugging => "Run `bcdedit /debug off` as administrator, then reboot.",
            Self::HypervisorDebugging => {
                "Run `bcdedit /set hypervisordebug off` as administrator, then reboot."
            }
            Self::SafeMode => "Run `bcdedit /deletevalue safeboot` as administrator, then reboot.",
            Self::WinPe => {
                "Find out who booted the preinstallation environment instead of the installed system."
            }
            Self::Hvci => {
                "Switch memory integrity on in Windows Security (device security, core isolation) or by the policy \"Turn on \
                 virtualization based security\", then reboot."
            }
        }
    }
}

pub(super) fn check(component: ComponentKind, state: &BTreeMap<StateFlag, Switch>) -> Result<(), RuleError> {
    match state.keys().find(|flag| flag.component() != component) {
        Some(flag) => Err(RuleError::Contradiction {
            component,
            what: format!("`{}` is a setting of `{}`", flag.as_str(), flag.component()),
        }),
        None => Ok(()),
    }
}
