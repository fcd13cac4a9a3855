//! `az vm list -d -o json`.

use std::collections::BTreeMap;

use serde::Deserialize;
use veriboot_wire::{Configured, ConfiguredSecurity, InventoryFacts, InventoryFormat, PowerState, counted};

use crate::bounded::{List, Text};
use crate::{Listing, ReadError, item, json, tags};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Vm {
    id: Text,
    name: Text,
    resource_group: Option<Text>,
    location: Option<Text>,
    vm_id: Option<Text>,
    power_state: Option<Text>,
    hardware_profile: Option<Hardware>,
    security_profile: Option<Security>,
    storage_profile: Option<Storage>,
    virtual_machine_scale_set: Option<Reference>,
    tags: Option<BTreeMap<String, Option<String>>>,
}

#[derive(Deserialize)]
struct Reference {
    id: Text,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Hardware {
    vm_size: Option<Text>,
}

/// `securityProfile` of a VM, an instance, or the model of a scale set.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Security {
    security_type: Option<Text>,
    uefi_settings: Option<Uefi>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Uefi {
    secure_boot_enabled: Option<bool>,
    v_tpm_enabled: Option<bool>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Storage {
    os_disk: Option<Disk>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Disk {
    os_type: Option<Text>,
}

impl Storage {
    /// Operating system.
    pub(crate) fn os(&self) -> Option<String> {
        item::os(&self.os_disk.as_ref()?.os_type.as_ref()?.0)
    }
}

impl Security {
    /// Security type, Secure Boot and vTPM.
    pub(crate) fn facts(&self) -> (ConfiguredSecurity, Configured, Configured) {
        let word = self.security_type.as_ref().map(|t| t.0.to_ascii_lowercase());
        let kind = match word.as_deref() {
            Some("trustedlaunch") => ConfiguredSecurity::TrustedLaunch,
            Some("confidentialvm") => ConfiguredSecurity::Confidential,
            None | Some("standard") => {
                // VMs of the security type Standard have neither.
                return (ConfiguredSecurity::Standard, Configured::Unsupported, Configured::Unsupported);
            }
            Some(_) => ConfiguredSecurity::Unknown,
        };
        let uefi = self.uefi_settings.as_ref();
        let secure_boot = item::switched(uefi.and_then(|u| u.secure_boot_enabled));
        (kind, secure_boot, item::switched(uefi.and_then(|u| u.v_tpm_enabled)))
    }
}

/// Technology of a confidential VM by its size: `Standard_DC4as_v5` is AMD, `Standard_EC8es_v6` is Intel.
pub(crate) fn technology(size: Option<&str>) -> Option<String> {
    let size = size?.to_ascii_lowercase();
    let family = size.strip_prefix("standard_")?;
    let rest = family.strip_prefix("dc").or_else(|| family.strip_prefix("ec"))?;
    let letters: String = rest.split('_').next()?.chars().filter(char::is_ascii_alphabetic).collect();
    match letters.chars().next()? {
        'a' => Some("sev-snp".to_owned()),
        'e' => Some("tdx".to_owned()),
        _ => None,
    }
}

impl Hardware {
    /// Technology of a confidential VM.
    pub(crate) fn technology(&self) -> Option<String> {
        technology(self.vm_size.as_ref().map(|size| size.0.as_str()))
    }
}

/// `VM running`, `VM deallocated`, `VM stopped`, or `PowerState/running`.
pub(crate) fn power(word: &str) -> PowerState {
    match item::last_segment(word).trim_start_matches("VM ").to_ascii_lowercase().as_str() {
        "running" | "starting" => PowerState::Running,
        "stopped" | "stopping" | "deallocated" | "deallocating" | "hibernated" => PowerState::Stopped,
        _ => PowerState::Unknown,
    }
}

/// Names of resource groups have no case, and the tools print them in one or another.
pub(crate) fn group(named: Option<Text>, id: &str) -> Option<String> {
    Text::some(named)
        .or_else(|| item::segment_after(id, "resourceGroups").map(str::to_owned))
        .map(|group| group.to_ascii_lowercase())
}

pub(crate) fn plain_tags(tags: Option<BTreeMap<String, Option<String>>>) -> BTreeMap<String, String> {
    tags.unwrap_or_default().into_iter().map(|(name, value)| (name, value.unwrap_or_default())).collect()
}

pub(crate) fn read(text: &str) -> Result<Listing, ReadError> {
    let vms: List<Vm> = json::read(text)?;
    let mut listing = Listing::new(InventoryFormat::AzVm);
    let mut without_power = 0_usize;
    for (n, vm) in vms.0.into_iter().enumerate() {
        without_power += usize::from(vm.power_state.is_none());
        let (item, note) = one(n, vm)?;
        listing.push(item, note)?;
    }
    if without_power > 0 {
        listing.note(format!(
            "{} without powerState: make the export with `az vm list -d`",
            counted(without_power, "VM")
        ));
    }
    Ok(listing)
}

/// An element that must not be empty.
pub(crate) fn named(path: String, text: Text) -> Result<String, ReadError> {
    if text.0.is_empty() {
        return Err(ReadError::Element {
            element: path,
            line: 0,
            column: 0,
            reason: "it is empty".to_owned(),
        });
    }
    Ok(text.0)
}

/// The id of an element, which must be that of a resource of Azure whose type begins so.
pub(crate) fn resource(n: usize, id: Text, kind: &str) -> Result<String, ReadError> {
    let id = named(format!("[{n}].id"), id)?;
    let wanted = format!("/microsoft.compute/{kind}");
    if id.to_ascii_lowercase().contains(&wanted.to_ascii_lowercase()) {
        return Ok(id);
    }
    let element = format!("[{n}].id");
    let reason = format!("{:?} is no id of Azure: it has no /Microsoft.Compute/{kind}", json::reason(&id));
    Err(ReadError::Element { element, line: 0, column: 0, reason })
}

fn one(n: usize, vm: Vm) -> Result<(InventoryFacts, Option<String>), ReadError> {
    let id = resource(n, vm.id, "virtualMachines/")?;
    let name = named(format!("[{n}].name"), vm.name)?;
    let uuid = vm.vm_id.and_then(|id| item::uuid(&id.0));
    let key = uuid.clone().unwrap_or_else(|| id.to_ascii_lowercase());
    let mut facts = item::unknown(key, name, "azure");
    if let Some(group) = group(vm.resource_group, &id) {
        facts.group = group;
    }
    facts.machine_uuid = uuid;
    facts.scale_set = vm
        .virtual_machine_scale_set
        .as_ref()
        .and_then(|set| item::segment_after(&set.id.0, "virtualMachineScaleSets"))
        .map(str::to_owned);
    facts.region = Text::some(vm.location);
    facts.power = vm.power_state.map_or(PowerState::Unknown, |state| power(&state.0));
    facts.os = vm.storage_profile.and_then(|storage| storage.os());
    (facts.security_type, facts.secure_boot, facts.vtpm) = vm.security_profile.unwrap_or_default().facts();
    if facts.security_type == ConfiguredSecurity::Confidential {
        facts.confidential_kind = vm.hardware_profile.and_then(|hardware| hardware.technology());
    }
    facts.cloud_id = Some(id);
    let note = tags::apply(&mut facts, plain_tags(vm.tags));
    Ok((facts, note))
}
