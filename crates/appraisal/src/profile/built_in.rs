//! The profiles that come with Veriboot. docs/profiles.md tells operators what each is for.

use std::collections::{BTreeMap, BTreeSet};

use veriboot_eventlog::ComponentKind;
use veriboot_wire::ChangeClass;

use super::{Learn, Profile, SecureBootDemand, default_run_time_pcrs};
use crate::class::ChangeRule;
use crate::known_authorities::{AuthorityRole, with_roles};
use crate::rule::{Minimum, Parameters, Rule, Says, StateFlag, Switch};

/// The first SBAT level that shim's project published: a shim that measures it holds loaders against revocations.
const FIRST_SBAT_LEVEL: u64 = 2_021_030_218;

impl Profile {
    /// Names of the profiles that come with Veriboot.
    pub const NAMES: &'static [&'static str] =
        &["secure-boot-required", "measured-only", "own-keys", "by-authority", "distribution-updates"];

    /// One of [`Profile::NAMES`].
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "secure-boot-required" => Some(Self::secure_boot_required()),
            "measured-only" => Some(Self::measured_only()),
            "own-keys" => Some(Self::own_keys()),
            "by-authority" => Some(Self::by_authority()),
            "distribution-updates" => Some(Self::distribution_updates()),
            _ => None,
        }
    }

    /// The default: Secure Boot must be on, and everything is held to the baseline.
    pub fn secure_boot_required() -> Self {
        Self {
            name: "secure-boot-required".to_owned(),
            description: "Secure Boot must be on, and every boot is held to the baseline; updates that a trusted authority \
                          signed are proposed."
                .to_owned(),
            secure_boot: SecureBootDemand::Required,
            components: BTreeMap::new(),
            run_time_pcrs: default_run_time_pcrs(),
            changes: BTreeMap::new(),
            rules: Vec::new(),
            conditions: Vec::new(),
            learn: Learn::FirstBoots,
        }
    }

    /// The profile for machines that must run without Secure Boot: measured, and held to their baseline.
    pub fn measured_only() -> Self {
        Self {
            name: "measured-only".to_owned(),
            description: "Secure Boot may be off: every boot is measured and held to the baseline, and nothing is trusted by \
                          its signature."
                .to_owned(),
            secure_boot: SecureBootDemand::NotRequired,
            ..Self::secure_boot_required()
        }
    }

    /// The profile for machines with the operator's own keys: nothing that signs for everybody may admit anything.
    pub fn own_keys() -> Self {
        let no_strangers = says(
            ComponentKind::SignatureDb,
            "nobody else's keys admit what boots",
            Says::State(BTreeMap::from([(StateFlag::ThirdPartyKeys, Switch::Off)])),
        );
        Self {
            name: "own-keys".to_owned(),
            description: "Secure Boot with the operator's own keys: Microsoft's in KEK or db fail. Add rules that name your \
                          certificates by SHA-256."
                .to_owned(),
            rules: vec![no_strangers, modes()],
            ..Self::secure_boot_required()
        }
    }

    /// The profile that needs no baseline: known authorities admitted what ran, and nothing is weakened.
    pub fn by_authority() -> Self {
        let signers = with_roles(&[AuthorityRole::Everybody, AuthorityRole::Vendor]);
        let by = |component, description| says(component, description, Says::Authorities(signers.clone()));
        let off = |flags: &[StateFlag]| Says::State(flags.iter().map(|flag| (*flag, Switch::Off)).collect());
        let mut windows = BTreeMap::from([(StateFlag::CodeIntegrity, Switch::On)]);
        windows.extend(
            [
                StateFlag::TestSigning,
                StateFlag::BootDebugging,
                StateFlag::KernelDebugging,
                StateFlag::HypervisorDebugging,
                StateFlag::SafeMode,
                StateFlag::WinPe,
            ]
            .map(|flag| (flag, Switch::Off)),
        );
        Self {
            name: "by-authority".to_owned(),
            description: "Needs no baseline: Secure Boot on, everything that ran admitted by known authorities, revocations in \
                          place, no debugging and no dangerous parameters. Nobody signs an initrd: it is not covered."
                .to_owned(),
            rules: vec![
                modes(),
                by(ComponentKind::SignatureDb, "db as machines are delivered"),
                by(ComponentKind::Authority, "known authorities"),
                by(ComponentKind::Shim, "images by known authorities"),
                by(ComponentKind::BootLoader, "images by known authorities"),
                by(ComponentKind::Kernel, "images by known authorities"),
                says(
                    ComponentKind::RevocationDb,
                    "dbx is not empty",
                    Says::Minimum(Minimum { entries: Some(1), ..Minimum::default() }),
                ),
                says(
                    ComponentKind::SbatLevel,
                    "shim applies SBAT",
                    Says::Minimum(Minimum { level: Some(FIRST_SBAT_LEVEL), ..Minimum::default() }),
                ),
                says(ComponentKind::MokState, "no machine owner keys", off(&[StateFlag::MachineOwnerKeys])),
                says(
                    ComponentKind::KernelCommandLine,
                    "no dangerous parameters",
                    Says::Parameters(Parameters { forbid_dangerous: true, ..Parameters::default() }),
                ),
                says(ComponentKind::WindowsPolicy, "Windows without debugging", Says::State(windows)),
            ],
            learn: Learn::Never,
            ..Self::secure_boot_required()
        }
    }

    /// The default, and a kernel that a trusted authority signed may bring its initrd, boot loader configuration and image
    /// paths along. Nobody signs those.
    pub fn distribution_updates() -> Self {
        let following = ChangeRule { following: true, ..ChangeRule::PROPOSE_SIGNED };
        Self {
            name: "distribution-updates".to_owned(),
            description: "Like secure-boot-required; a signed kernel may bring its initrd and boot loader configuration, \
                          which nobody signs: all of it is proposed together."
                .to_owned(),
            changes: BTreeMap::from([
                (ChangeClass::KernelUpdate, following),
                (ChangeClass::InitrdChange, following),
                (ChangeClass::BootloaderUpdate, following),
                (ChangeClass::CmdlineChange, following),
            ]),
            ..Self::secure_boot_required()
        }
    }

    /// PCRs that the running system extends, as profiles have them unless they say otherwise.
    pub fn default_run_time_pcrs() -> BTreeSet<u32> {
        default_run_time_pcrs()
    }
}

fn says(component: ComponentKind, description: &str, says: Says) -> Rule {
    Rule { description: Some(description.to_owned()), ..Rule::new(component, says) }
}

fn modes() -> Rule {
    let state = [
        (StateFlag::SecureBoot, Switch::On),
        (StateFlag::ShimValidation, Switch::On),
        (StateFlag::SetupMode, Switch::Off),
        (StateFlag::AuditMode, Switch::Off),
    ];
    says(ComponentKind::SecureBootState, "Secure Boot in force", Says::State(BTreeMap::from(state)))
}
