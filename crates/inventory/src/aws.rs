//! `aws ec2 describe-instances`.

use std::collections::BTreeMap;

use serde::Deserialize;
use veriboot_wire::{Configured, InventoryFacts, InventoryFormat, PowerState};

use crate::azure_vm::named;
use crate::bounded::{List, Text};
use crate::{Listing, ReadError, Seen, item, json, tags};

#[derive(Deserialize)]
struct Document {
    #[serde(rename = "Reservations")]
    reservations: List<Reservation>,
    #[serde(rename = "NextToken")]
    next_token: Option<String>,
}

#[derive(Deserialize)]
struct Reservation {
    #[serde(rename = "Instances", default)]
    instances: List<Instance>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Instance {
    instance_id: Text,
    state: Option<State>,
    boot_mode: Option<Text>,
    current_instance_boot_mode: Option<Text>,
    tpm_support: Option<Text>,
    cpu_options: Option<Cpu>,
    placement: Option<Placement>,
    platform: Option<Text>,
    platform_details: Option<Text>,
    #[serde(default)]
    tags: Vec<Tag>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct State {
    name: Text,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Cpu {
    amd_sev_snp: Option<Text>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Placement {
    availability_zone: Option<Text>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Tag {
    key: String,
    value: Option<String>,
}

pub(crate) fn read(text: &str) -> Result<Listing, ReadError> {
    let document: Document = json::read(text)?;
    let mut listing = Listing::new(InventoryFormat::AwsEc2);
    let mut terminated = 0_usize;
    let mut seen = Seen::default();
    for (r, reservation) in document.reservations.0.into_iter().enumerate() {
        for (i, instance) in reservation.instances.0.into_iter().enumerate() {
            // Listed for an hour after it was deleted.
            if instance.state.as_ref().is_some_and(|state| state.name.0 == "terminated") {
                terminated += 1;
                continue;
            }
            let path = format!("Reservations[{r}].Instances[{i}]");
            let (item, note) = one(&path, instance)?;
            seen.note(&item.key, &path)?;
            listing.push(item, note)?;
        }
    }
    if terminated > 0 {
        listing.note(format!("{terminated} terminated instances are left out"));
    }
    if document.next_token.is_some() {
        listing.note("the export has a NextToken: it is one page of several; leave --max-items out, or sync it as partial");
    }
    Ok(listing)
}

fn one(path: &str, instance: Instance) -> Result<(InventoryFacts, Option<String>), ReadError> {
    let id = named(format!("{path}.InstanceId"), instance.instance_id)?;
    let tags: BTreeMap<String, String> =
        instance.tags.into_iter().map(|tag| (tag.key, tag.value.unwrap_or_default())).collect();
    let tag = |name: &str| {
        tags.get(name)
            .map(|value| value.trim())
            .filter(|v| !v.is_empty() && crate::bounded::flaw(v).is_none())
    };
    let name = tag("Name").unwrap_or(&id).to_owned();
    let scale_set = tag("aws:autoscaling:groupName").map(str::to_owned);
    let mut facts = item::unknown(id.clone(), name, "aws");
    facts.scale_set = scale_set;
    facts.cloud_id = Some(id);
    facts.region = Text::some(instance.placement.and_then(|p| p.availability_zone));
    facts.power = match instance.state.as_ref().map(|state| state.name.0.as_str()) {
        Some("running" | "pending") => PowerState::Running,
        Some("stopped" | "stopping" | "shutting-down") => PowerState::Stopped,
        _ => PowerState::Unknown,
    };
    let booted = instance.current_instance_boot_mode.or(instance.boot_mode).map(|mode| mode.0);
    let legacy = booted.as_deref() == Some("legacy-bios");
    // describe-instances says nothing about keys: under UEFI, Secure Boot may be on or off.
    facts.secure_boot = if legacy { Configured::Unsupported } else { Configured::Unknown };
    facts.vtpm = match instance.tpm_support {
        Some(version) if version.0.starts_with("v2") => Configured::On,
        Some(_) | None if legacy => Configured::Unsupported,
        // NitroTPM comes with the image: an instance cannot be given one.
        Some(_) | None => Configured::Off,
    };
    let snp = instance.cpu_options.and_then(|cpu| cpu.amd_sev_snp);
    facts.confidential_kind = snp.filter(|s| s.0 == "enabled").map(|_| "sev-snp".to_owned());
    facts.security_type = item::security_type(&facts);
    facts.os = match (instance.platform, instance.platform_details) {
        (Some(platform), _) => item::os(&platform.0),
        (None, Some(details)) => Some(item::os(&details.0).unwrap_or_else(|| "linux".to_owned())),
        (None, None) => None,
    };
    let note = tags::apply(&mut facts, tags);
    Ok((facts, note))
}
