//! What a boot must look like whatever its baseline says, and how much each kind of component matters.

mod built_in;
mod flaws;
mod read;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use veriboot_eventlog::ComponentKind;
use veriboot_wire::{ChangeClass, Severity};

use crate::class::ChangeRule;
use crate::enforcement::belongs;
use crate::rule::Rule;

pub use read::ProfileError;

/// Bytes of a document that [`Profile::from_json`] and [`Profile::from_toml`] read.
pub const MAX_PROFILE_BYTES: usize = 1024 * 1024;
/// Conditions that a profile may have.
pub const MAX_CONDITIONS: usize = 64;

/// A profile (SPEC section 5). docs/profiles.md explains the document, docs/schema/profile.schema.json is its JSON Schema.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    /// Name, for people and for cache keys.
    pub name: String,
    /// What it is for.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// Whether Secure Boot must be on.
    pub secure_boot: SecureBootDemand,
    /// How much deviations of a kind matter, where it differs from [`default_enforcement`]. `note` and `ignore` hold in
    /// the PCRs where that kind is measured.
    #[serde(default)]
    pub components: BTreeMap<ComponentKind, Enforcement>,
    /// PCRs that the running system extends, so that the boot log cannot explain them. A difference there is
    /// reported and does not fail.
    #[serde(default = "default_run_time_pcrs")]
    pub run_time_pcrs: BTreeSet<u32>,
    /// What happens with changes of a class, where it differs from [`ChangeRule::default_for`].
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub changes: BTreeMap<ChangeClass, ChangeRule>,
    /// Rules beside those of the baseline.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<Rule>,
    /// Conditions that are evaluated over boot story and findings.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    /// Whether a VM without a baseline gets one from its first boots.
    #[serde(default)]
    pub learn: Learn,
}

/// A condition in CEL. Data only: what evaluates it is another crate.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Condition {
    /// Names it in findings, kebab case.
    pub id: String,
    /// CEL expression; the condition holds when it is true.
    pub expression: String,
    /// Severity of the finding when it does not hold.
    pub severity: Severity,
    /// What the finding says.
    pub message: String,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

/// Where a baseline comes from when nobody gave one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Learn {
    /// From the first boots.
    #[default]
    FirstBoots,
    /// None is learned: the profile judges alone.
    Never,
}

/// What a profile asks of Secure Boot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SecureBootDemand {
    /// It must be shown to be on.
    Required,
    /// It may be off: the machine is measured, and held to its baseline.
    NotRequired,
}

/// How much a deviation from the baseline matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Enforcement {
    /// The attestation fails.
    Enforce,
    /// It is reported.
    Note,
    /// It is not reported.
    Ignore,
}

impl Enforcement {
    /// The stricter of two.
    pub(crate) fn stricter(self, other: Self) -> Self {
        match (self, other) {
            (Self::Enforce, _) | (_, Self::Enforce) => Self::Enforce,
            (Self::Note, _) | (_, Self::Note) => Self::Note,
            (Self::Ignore, Self::Ignore) => Self::Ignore,
        }
    }
}

impl Default for Profile {
    /// `secure-boot-required`.
    fn default() -> Self {
        Self::secure_boot_required()
    }
}

impl Profile {
    /// What happens with changes of a class.
    pub fn change(&self, class: ChangeClass) -> ChangeRule {
        self.changes.get(&class).copied().unwrap_or(ChangeRule::default_for(class))
    }

    /// How much a deviation of this component matters, as far as kind and PCR say. A kind that the profile loosens is
    /// loosened where it is measured; elsewhere a log that says so is not believed.
    pub fn enforcement(&self, kind: ComponentKind, pcr: u32) -> Enforcement {
        match self.components.get(&kind) {
            Some(Enforcement::Enforce) => Enforcement::Enforce,
            Some(loosened) if belongs(kind, pcr) => *loosened,
            _ => default_enforcement(kind, pcr),
        }
    }
}

/// The default: everything is enforced but what differs from machine to machine or from boot to boot without anybody's
/// doing, in the PCRs where nothing else than configuration is measured.
pub fn default_enforcement(kind: ComponentKind, pcr: u32) -> Enforcement {
    use ComponentKind as K;
    match (kind, pcr) {
        // Tables hold addresses, serial numbers and the VM's size.
        (K::PlatformConfig | K::BootOrder | K::BootEntry, 1) => Enforcement::Note,
        (K::PartitionTable | K::ExitBootServices, 5) => Enforcement::Note,
        // A boot option that is tried again is a normal boot; what it starts is measured by itself.
        (K::FirmwareAction, 4 | 5) => Enforcement::Note,
        _ => Enforcement::Enforce,
    }
}

/// PCRs that the running system extends: 10 (IMA), 15 (machine id and volume keys by systemd), 16 and 23 (debug and application, resettable), 17 to 22
/// (dynamic launch). PCR 11 is not among them: the phases that systemd adds there are known and checked.
fn default_run_time_pcrs() -> BTreeSet<u32> {
    [10, 15].into_iter().chain(16..=23).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn profiles_round_trip_and_refuse_unknown_members() {
        for name in Profile::NAMES {
            let profile = Profile::named(name).unwrap();
            let json = serde_json::to_string(&profile).unwrap();
            assert_eq!(serde_json::from_str::<Profile>(&json).unwrap(), profile);
            assert_eq!(profile.name, *name);
        }
        let strange = r#"{"name":"x","secure_boot":"required","secureboot":"off"}"#;
        assert!(serde_json::from_str::<Profile>(strange).is_err());
        assert!(serde_json::from_str::<Profile>(r#"{"name":"x"}"#).is_err(), "the demand is never implied");
        let changed = r#"{"name":"x","secure_boot":"not-required","components":{"boot-order":"enforce"}}"#;
        let profile: Profile = serde_json::from_str(changed).unwrap();
        assert_eq!(profile.enforcement(ComponentKind::BootOrder, 1), Enforcement::Enforce);
        assert_eq!(profile.run_time_pcrs, default_run_time_pcrs());
    }

    #[test]
    fn everything_that_runs_is_enforced() {
        use ComponentKind as K;
        for kind in [
            K::Firmware,
            K::OptionRom,
            K::Shim,
            K::BootLoader,
            K::BootLoaderConfig,
            K::Kernel,
            K::Initrd,
            K::KernelCommandLine,
            K::UkiSection,
            K::SignatureDb,
            K::Authority,
            K::MokState,
            K::Unknown,
        ] {
            for pcr in 0..24 {
                assert_eq!(default_enforcement(kind, pcr), Enforcement::Enforce, "{kind}");
            }
        }
    }

    /// What a kind is called is the log's word, so it counts only where nothing that runs is measured.
    #[test]
    fn a_loosened_kind_is_loosened_in_its_own_pcrs() {
        let mut profile = Profile::default();
        profile.components.insert(ComponentKind::BootOrder, Enforcement::Ignore);
        profile.components.insert(ComponentKind::Initrd, Enforcement::Note);
        profile.components.insert(ComponentKind::Unknown, Enforcement::Ignore);
        let of = |kind, pcr| profile.enforcement(kind, pcr);
        assert_eq!(of(ComponentKind::BootOrder, 1), Enforcement::Ignore);
        assert_eq!(of(ComponentKind::Initrd, 9), Enforcement::Note);
        for pcr in (0..24).filter(|pcr| *pcr != 1) {
            assert_eq!(of(ComponentKind::BootOrder, pcr), Enforcement::Enforce, "{pcr}");
        }
        for pcr in (0..24).filter(|pcr| *pcr != 9) {
            assert_eq!(of(ComponentKind::Initrd, pcr), Enforcement::Enforce, "{pcr}");
            assert_eq!(of(ComponentKind::Unknown, pcr), Enforcement::Enforce, "{pcr}");
        }
    }
}
