//! Who contradicts whom about a VM: its inventory and its evidence, or two sources.
//!
//! Only what both know is compared: `unknown` contradicts nothing.

use veriboot_store::inventory::Enrolled;
use veriboot_wire::{Configured, FactState, InventoryDisagreement, InventoryItem, MatchedBy, Severity};

/// Every code.
pub(crate) const DISAGREEMENTS: [&str; 6] = [
    "inventory-secure-boot-differs",
    "inventory-vtpm-differs",
    "inventory-scale-set-differs",
    "inventory-identity-differs",
    "inventory-sources-disagree",
    "inventory-listed-twice",
];

/// What contradicts an item. `others` are other items that name the same VM.
pub(crate) fn disagreements(
    item: &InventoryItem,
    vm: Option<&Enrolled>,
    others: &[InventoryItem],
) -> Vec<InventoryDisagreement> {
    let mut all = Vec::new();
    if item.gone_at.is_some() {
        return all;
    }
    if let Some(vm) = vm {
        of_evidence(item, vm, &mut all);
    }
    for other in others {
        of_sources(item, other, &mut all);
    }
    all
}

fn attested(fact: FactState) -> Option<bool> {
    match fact {
        FactState::Valid => Some(true),
        FactState::Invalid => Some(false),
        FactState::Unknown | FactState::NotApplicable => None,
    }
}

fn configured(value: Configured) -> Option<bool> {
    match value {
        Configured::On => Some(true),
        Configured::Off | Configured::Unsupported => Some(false),
        Configured::Unknown => None,
    }
}

fn of_evidence(item: &InventoryItem, vm: &Enrolled, all: &mut Vec<InventoryDisagreement>) {
    let (f, word) = (&item.facts, |on: bool| if on { "on" } else { "off" });
    let (said, seen) = (configured(f.secure_boot), attested(vm.facts.secure_boot));
    if let (Some(said), Some(seen)) = (said, seen)
        && said != seen
    {
        let (severity, hint) = if said {
            (
                Severity::Medium,
                "somebody switched it off inside of the guest or its firmware, or the inventory is old: sync it, then look \
                 at the VM's last boot",
            )
        } else {
            (
                Severity::Low,
                "keys may have been enrolled in the guest: sync the inventory, and correct it if it is written by hand",
            )
        };
        all.push(InventoryDisagreement {
            code: "inventory-secure-boot-differs".to_owned(),
            severity,
            message: format!(
                "{} says that Secure Boot of {} is {}, and its evidence says that it is {}",
                item.source,
                f.name,
                f.secure_boot,
                word(seen)
            ),
            configured: f.secure_boot.to_string(),
            other: word(seen).to_owned(),
            other_source: None,
            hint: hint.to_owned(),
        });
    }
    if configured(f.vtpm) == Some(false) && attested(vm.facts.vtpm) == Some(true) {
        all.push(InventoryDisagreement {
            code: "inventory-vtpm-differs".to_owned(),
            severity: Severity::Medium,
            message: format!(
                "{} says that the vTPM of {} is {}, and it attests with a TPM",
                item.source, f.name, f.vtpm
            ),
            configured: f.vtpm.to_string(),
            other: "on".to_owned(),
            other_source: None,
            hint: "the inventory is old, the item is linked to the wrong VM, or the TPM is one that the hypervisor does not \
                   know of: find out which"
                .to_owned(),
        });
    }
    if let (Some(said), Some(joined)) = (&f.scale_set, &vm.scale_set)
        && said != joined
    {
        all.push(InventoryDisagreement {
            code: "inventory-scale-set-differs".to_owned(),
            severity: Severity::Low,
            message: format!(
                "{} says that {} is a member of {said}, and it joined as a member of {joined}",
                item.source, f.name
            ),
            configured: said.clone(),
            other: joined.clone(),
            other_source: None,
            hint: "it is compared with the members of the set that it joined: join it with a token of the right set".to_owned(),
        });
    }
    if let Some(ek) = &f.ek_sha256
        && *ek != vm.ek_sha256
        && item.matched_by != Some(MatchedBy::VerifiedIdentity)
    {
        all.push(InventoryDisagreement {
            code: "inventory-identity-differs".to_owned(),
            severity: Severity::High,
            message: format!(
                "{} declares another endorsement key for {} than that of the VM that it is linked to",
                item.source, f.name
            ),
            configured: ek.clone(),
            other: vm.ek_sha256.clone(),
            other_source: None,
            hint: "the link is wrong, or the VM has another TPM than it should: look before anything else"
                .to_owned(),
        });
    }
}

fn of_sources(item: &InventoryItem, other: &InventoryItem, all: &mut Vec<InventoryDisagreement>) {
    let (a, b) = (&item.facts, &other.facts);
    if item.source == other.source {
        all.push(InventoryDisagreement {
            code: "inventory-listed-twice".to_owned(),
            severity: Severity::Medium,
            message: format!(
                "{} lists {} and {} as the same machine or with the same endorsement key",
                item.source, a.name, b.name
            ),
            configured: a.key.clone(),
            other: b.key.clone(),
            other_source: Some(other.source.clone()),
            hint: "a VM was cloned with its identity, or a key was written down twice: each VM needs its own"
                .to_owned(),
        });
        return;
    }
    let known = |word: &str| word != "unknown";
    let pairs = [
        ("Secure Boot", a.secure_boot.as_str(), b.secure_boot.as_str()),
        ("vTPM", a.vtpm.as_str(), b.vtpm.as_str()),
        ("security type", a.security_type.as_str(), b.security_type.as_str()),
        ("power", a.power.as_str(), b.power.as_str()),
    ];
    for (what, said, others) in pairs {
        if said != others && known(said) && known(others) {
            all.push(InventoryDisagreement {
                code: "inventory-sources-disagree".to_owned(),
                severity: Severity::Low,
                message: format!(
                    "{what} of {} is {said} in {} and {others} in {}",
                    a.name, item.source, other.source
                ),
                configured: said.to_owned(),
                other: others.to_owned(),
                other_source: Some(other.source.clone()),
                hint: "both are kept and neither wins: sync both, and correct the one that is wrong"
                    .to_owned(),
            });
        }
    }
}
