//! Settings that a rule can demand: Secure Boot and its mode, and what Windows measures about its boot.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use veriboot_eventlog::ComponentKind;

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
}

impl StateFlag {
    /// Every setting.
    pub const ALL: &'static [Self] = &[
        Self::SecureBoot,
        Self::ShimValidation,
        Self::SetupMode,
        Self::AuditMode,
        Self::DeployedMode,
        Self::BootDebugging,
        Self::KernelDebugging,
        Self::HypervisorDebugging,
        Self::CodeIntegrity,
        Self::TestSigning,
        Self::FlightSigning,
        Self::SafeMode,
        Self::WinPe,
    ];

    /// The word in rules.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::SecureBoot => "secure-boot",
            Self::ShimValidation => "shim-validation",
            Self::SetupMode => "setup-mode",
            Self::AuditMode => "audit-mode",
            Self::DeployedMode => "deployed-mode",
            Self::BootDebugging => "boot-debugging",
            Self::KernelDebugging => "kernel-debugging",
            Self::HypervisorDebugging => "hypervisor-debugging",
            Self::CodeIntegrity => "code-integrity",
            Self::TestSigning => "test-signing",
            Self::FlightSigning => "flight-signing",
            Self::SafeMode => "safe-mode",
            Self::WinPe => "win-pe",
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
            _ => ComponentKind::WindowsPolicy,
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
