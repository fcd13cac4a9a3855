//! `az vmss list -o json`: scale sets as a whole; and `az vmss list-instances -o json`: the members of one.

use std::collections::BTreeMap;

use serde::Deserialize;
use veriboot_wire::{ConfiguredSecurity, InventoryFacts, InventoryFormat, PowerState};

use crate::azure_vm::{Hardware, Security, Storage, group, named, plain_tags, power, resource, technology};
use crate::bounded::{Id, List, Text};
use crate::merge::ScaleSetModel;
use crate::{Listing, ReadError, item, json, tags};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Set {
    id: Text,
    name: Text,
    resource_group: Option<Text>,
    sku: Option<Sku>,
    virtual_machine_profile: Option<Profile>,
}

#[derive(Deserialize)]
struct Sku {
    name: Option<Text>,
    capacity: Option<u64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Profile {
    security_profile: Option<Security>,
    storage_profile: Option<Storage>,
}

/// Reads scale sets. They are no VMs: they say what their members say nothing about, and how many there should be.
pub(crate) fn read_sets(text: &str) -> Result<Listing, ReadError> {
    let sets: List<Set> = json::read(text)?;
    let mut listing = Listing::new(InventoryFormat::AzVmss);
    for (n, set) in sets.0.into_iter().enumerate() {
        let id = resource(n, set.id, "virtualMachineScaleSets/")?;
        if let Some(name) = item::segment_after(&id, "virtualMachines") {
            let reason = format!("it is the VM {:?}, not a scale set", json::reason(name));
            return Err(ReadError::Element { element: format!("[{n}].id"), line: 0, column: 0, reason });
        }
        let name = named(format!("[{n}].name"), set.name)?;
        let profile = set.virtual_machine_profile;
        let os = profile.as_ref().and_then(|p| p.storage_profile.as_ref()).and_then(Storage::os);
        let security = profile.and_then(|p| p.security_profile).unwrap_or_default();
        let (security_type, secure_boot, vtpm) = security.facts();
        let size = set.sku.as_ref().and_then(|sku| sku.name.as_ref()).map(|name| name.0.as_str());
        let confidential = security_type == ConfiguredSecurity::Confidential;
        listing.scale_sets.push(ScaleSetModel {
            group: group(set.resource_group, &id).unwrap_or_else(|| crate::DEFAULT_GROUP.to_owned()),
            name,
            capacity: set.sku.as_ref().and_then(|sku| sku.capacity),
            os,
            security_type,
            confidential_kind: if confidential { technology(size) } else { None },
            secure_boot,
            vtpm,
        });
    }
    Ok(listing)
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Instance {
    id: Text,
    instance_id: Id,
    name: Option<Text>,
    resource_group: Option<Text>,
    location: Option<Text>,
    vm_id: Option<Text>,
    os_profile: Option<Os>,
    power_state: Option<Text>,
    instance_view: Option<View>,
    hardware_profile: Option<Hardware>,
    security_profile: Option<Security>,
    storage_profile: Option<Storage>,
    tags: Option<BTreeMap<String, Option<String>>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Os {
    computer_name: Option<Text>,
}

#[derive(Deserialize)]
struct View {
    #[serde(default)]
    statuses: Vec<Status>,
}

#[derive(Deserialize)]
struct Status {
    code: Option<Text>,
}

/// Reads the members of a scale set.
pub(crate) fn read_instances(text: &str) -> Result<Listing, ReadError> {
    let instances: List<Instance> = json::read(text)?;
    let mut listing = Listing::new(InventoryFormat::AzVmssInstances);
    for (n, instance) in instances.0.into_iter().enumerate() {
        let (item, note) = one(n, instance)?;
        listing.push(item, note)?;
    }
    Ok(listing)
}

fn one(n: usize, instance: Instance) -> Result<(InventoryFacts, Option<String>), ReadError> {
    // Instances of a flexible set are VMs.
    let id = resource(n, instance.id, "virtualMachine")?;
    let set = item::segment_after(&id, "virtualMachineScaleSets").map(str::to_owned);
    let uuid = instance.vm_id.and_then(|id| item::uuid(&id.0));
    let key = uuid.clone().unwrap_or_else(|| id.to_ascii_lowercase());
    // Guests know themselves by their computer name.
    let name = Text::some(instance.os_profile.and_then(|os| os.computer_name))
        .or_else(|| Text::some(instance.name))
        .unwrap_or_else(|| format!("{}_{}", set.as_deref().unwrap_or("instance"), instance.instance_id.0));
    let mut facts = item::unknown(key, name, "azure");
    if let Some(group) = group(instance.resource_group, &id) {
        facts.group = group;
    }
    facts.scale_set = set;
    facts.machine_uuid = uuid;
    facts.region = Text::some(instance.location);
    facts.os = instance.storage_profile.and_then(|storage| storage.os());
    let seen = instance.instance_view.map(|view| view.statuses).unwrap_or_default();
    let code = seen.into_iter().filter_map(|s| s.code).find(|code| code.0.starts_with("PowerState/"));
    facts.power = instance.power_state.or(code).map_or(PowerState::Unknown, |state| power(&state.0));
    // An instance without a profile of its own has that of its set, which is another document.
    if let Some(security) = instance.security_profile {
        (facts.security_type, facts.secure_boot, facts.vtpm) = security.facts();
        if facts.security_type == ConfiguredSecurity::Confidential {
            facts.confidential_kind = instance.hardware_profile.and_then(|hardware| hardware.technology());
        }
    }
    facts.cloud_id = Some(id);
    let note = tags::apply(&mut facts, plain_tags(instance.tags));
    Ok((facts, note))
}
