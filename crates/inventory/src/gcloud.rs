//! `gcloud compute instances list --format=json`.

use std::collections::BTreeMap;

use serde::Deserialize;
use veriboot_wire::{Configured, InventoryFacts, InventoryFormat, PowerState};

use crate::bounded::{Id, List, Text};
use crate::{Listing, ReadError, item, json, tags};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Instance {
    id: Id,
    name: Text,
    // Every instance has a zone and a status: what lacks them is the export of something else.
    zone: Text,
    status: Text,
    self_link: Option<Text>,
    shielded_instance_config: Option<Shielded>,
    confidential_instance_config: Option<Confidential>,
    metadata: Option<Metadata>,
    #[serde(default)]
    disks: Vec<Disk>,
    labels: Option<BTreeMap<String, String>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Shielded {
    enable_secure_boot: Option<bool>,
    enable_vtpm: Option<bool>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Confidential {
    enable_confidential_compute: Option<bool>,
    confidential_instance_type: Option<Text>,
}

#[derive(Deserialize)]
struct Metadata {
    #[serde(default)]
    items: Vec<Entry>,
}

/// Values can be whole scripts; only that of `created-by` is looked at.
#[derive(Deserialize)]
struct Entry {
    key: Option<String>,
    value: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Disk {
    boot: Option<bool>,
    #[serde(default)]
    licenses: Vec<String>,
    #[serde(default)]
    guest_os_features: Vec<Feature>,
}

#[derive(Deserialize)]
struct Feature {
    #[serde(rename = "type")]
    kind: Option<String>,
}

pub(crate) fn read(text: &str) -> Result<Listing, ReadError> {
    let instances: List<Instance> = json::read(text)?;
    let mut listing = Listing::new(InventoryFormat::Gcloud);
    for instance in instances.0 {
        let (item, note) = one(instance);
        listing.push(item, note)?;
    }
    Ok(listing)
}

fn power(status: &str) -> PowerState {
    match status {
        "RUNNING" | "PROVISIONING" | "STAGING" | "REPAIRING" => PowerState::Running,
        // TERMINATED is how a stopped instance is called; one that was deleted is not listed.
        "TERMINATED" | "STOPPING" | "SUSPENDING" | "SUSPENDED" | "STOPPED" => PowerState::Stopped,
        _ => PowerState::Unknown,
    }
}

fn one(instance: Instance) -> (InventoryFacts, Option<String>) {
    let name = if instance.name.0.is_empty() { instance.id.0.clone() } else { instance.name.0 };
    let mut facts = item::unknown(instance.id.0, name, "gcp");
    let zone = instance.zone.0.as_str();
    let link = instance.self_link.as_ref().map(|link| link.0.as_str());
    let project = link
        .and_then(|l| item::segment_after(l, "projects"))
        .or_else(|| item::segment_after(zone, "projects"));
    if let Some(project) = project {
        project.clone_into(&mut facts.group);
    }
    facts.region = Some(item::last_segment(zone).to_owned()).filter(|zone| !zone.is_empty());
    facts.power = power(&instance.status.0);
    match instance.shielded_instance_config {
        Some(config) => {
            facts.secure_boot = item::switched(config.enable_secure_boot);
            facts.vtpm = item::switched(config.enable_vtpm);
        }
        // Images without UEFI have no such configuration.
        None => (facts.secure_boot, facts.vtpm) = (Configured::Unsupported, Configured::Unsupported),
    }
    if let Some(config) = instance.confidential_instance_config {
        let kind = config.confidential_instance_type.map(|kind| kind.0);
        facts.confidential_kind = match (kind.as_deref(), config.enable_confidential_compute) {
            (Some("SEV_SNP"), _) => Some("sev-snp".to_owned()),
            (Some("TDX"), _) => Some("tdx".to_owned()),
            (Some("SEV"), _) | (None, Some(true)) => Some("sev".to_owned()),
            _ => None,
        };
    }
    facts.security_type = item::security_type(&facts);
    let creator = instance.metadata.map(|m| m.items).unwrap_or_default();
    facts.scale_set = creator
        .into_iter()
        .find(|entry| entry.key.as_deref() == Some("created-by"))
        .and_then(|entry| entry.value)
        .and_then(|value| item::segment_after(&value, "instanceGroupManagers").map(str::to_owned))
        .filter(|name| crate::bounded::flaw(name).is_none());
    let boot = instance.disks.iter().find(|disk| disk.boot == Some(true)).or_else(|| instance.disks.first());
    facts.os = boot.and_then(|disk| {
        let windows = disk.guest_os_features.iter().any(|f| f.kind.as_deref() == Some("WINDOWS"))
            || disk.licenses.iter().any(|l| l.contains("/windows-cloud/"));
        // A disk of a custom image has no licence: it can be anything.
        let known = windows || !disk.licenses.is_empty();
        known.then(|| if windows { "windows" } else { "linux" }.to_owned())
    });
    facts.cloud_id = link.map(|link| link.split_once("/v1/").map_or(link, |(_, path)| path).to_owned());
    let note = tags::apply(&mut facts, instance.labels.unwrap_or_default());
    (facts, note)
}
