//! Recorded answers of the API of Proxmox VE: the list of VMs and the configuration of each.
//!
//! ```json
//! { "resources": GET /cluster/resources?type=vm, "configs": { "NODE/VMID": GET /nodes/NODE/qemu/VMID/config } }
//! ```
//! Each answer may stand in `{"data": …}`, as the API gives it, or bare, as `pvesh` prints it. For a single node,
//! `resources` may be `GET /nodes/NODE/qemu`, and `node` its name.

use std::collections::BTreeMap;

use serde::Deserialize;
use veriboot_wire::{Configured, InventoryFacts, InventoryFormat, PowerState};

use crate::bounded::{DataList, Flat, Id, Text};
use crate::{Listing, ReadError, Seen, item, json, tags};

#[derive(Deserialize)]
struct Document {
    node: Option<Text>,
    resources: DataList<Resource>,
    configs: BTreeMap<String, Flat>,
}

#[derive(Deserialize)]
struct Resource {
    vmid: Id,
    #[serde(rename = "type")]
    kind: Option<Text>,
    node: Option<Text>,
    name: Option<Text>,
    status: Option<Text>,
    template: Option<u64>,
    tags: Option<Text>,
}

pub(crate) fn read(text: &str) -> Result<Listing, ReadError> {
    let document: Document = json::read(text)?;
    let mut listing = Listing::new(InventoryFormat::Proxmox);
    let (mut containers, mut templates, mut unread) = (0_usize, 0_usize, 0_usize);
    let mut seen = Seen::default();
    for (n, resource) in document.resources.0.into_iter().enumerate() {
        if resource.kind.as_ref().is_some_and(|kind| kind.0 != "qemu") {
            containers += 1;
            continue;
        }
        if resource.template == Some(1) {
            templates += 1;
            continue;
        }
        let node = Text::some(resource.node.clone()).or_else(|| Text::some(document.node.clone()));
        let id = &resource.vmid.0;
        let of_node = node.as_ref().and_then(|node| document.configs.get(&format!("{node}/{id}")));
        let config = of_node.or_else(|| document.configs.get(id));
        unread += usize::from(config.is_none());
        let (item, note) = one(resource, node, config)?;
        seen.note(&item.key, &format!("resources[{n}]"))?;
        listing.push(item, note)?;
    }
    for (count, what) in [
        (containers, "containers are left out"),
        (templates, "templates are left out"),
        (unread, "VMs have no configuration in `configs`: what is configured for them is not known"),
    ] {
        if count > 0 {
            listing.note(format!("{count} {what}"));
        }
    }
    Ok(listing)
}

/// Value of `name=` in `storage:volume,name=value,…`.
fn option<'v>(text: &'v str, name: &str) -> Option<&'v str> {
    text.split(',').filter_map(|part| part.split_once('=')).find(|(known, _)| *known == name).map(|(_, v)| v)
}

fn one(
    resource: Resource,
    node: Option<String>,
    config: Option<&Flat>,
) -> Result<(InventoryFacts, Option<String>), ReadError> {
    let id = resource.vmid.0;
    let value = |name: &str| config.and_then(|c| c.0.get(name)).map(String::as_str);
    let name = Text::some(resource.name)
        .or_else(|| value("name").map(str::to_owned))
        .filter(|name| !name.is_empty())
        .unwrap_or_else(|| format!("vm-{id}"));
    if let Some(reason) = crate::bounded::flaw(&name) {
        let element = format!("configs[{id:?}].name");
        return Err(ReadError::Element { element, line: 0, column: 0, reason });
    }
    let mut facts = item::unknown(format!("qemu/{id}"), name, "proxmox");
    facts.region = node;
    facts.power = match resource.status.as_ref().map(|status| status.0.as_str()) {
        Some("running" | "paused") => PowerState::Running,
        Some("stopped" | "suspended") => PowerState::Stopped,
        _ => PowerState::Unknown,
    };
    if config.is_some() {
        (facts.secure_boot, facts.vtpm) = (secure_boot(&value), vtpm(&value));
        let kind = |name: &str| value(name).map(|text| option(text, "type").unwrap_or(text));
        facts.confidential_kind = match (kind("amd-sev"), kind("intel-tdx")) {
            (Some("snp"), _) => Some("sev-snp".to_owned()),
            (Some(_), _) => Some("sev".to_owned()),
            (None, Some(_)) => Some("tdx".to_owned()),
            (None, None) => None,
        };
        facts.security_type = item::security_type(&facts);
        facts.os = match value("ostype") {
            Some("l24" | "l26") => Some("linux".to_owned()),
            Some(word)
                if word.starts_with("win") || matches!(word, "wxp" | "w2k" | "w2k3" | "w2k8" | "wvista") =>
            {
                Some("windows".to_owned())
            }
            _ => None,
        };
        facts.machine_uuid = value("smbios1").and_then(|text| option(text, "uuid")).and_then(item::uuid);
    }
    // A tag is a word; `veriboot-group--web` would be no better than the group of the source.
    let words =
        resource.tags.map(|tags| tags.0).or_else(|| value("tags").map(str::to_owned)).unwrap_or_default();
    let words: BTreeMap<String, String> = words
        .split([';', ',', ' '])
        .filter(|word| !word.is_empty())
        .map(|word| (word.to_owned(), String::new()))
        .collect();
    let note = tags::apply(&mut facts, words);
    Ok((facts, note))
}

fn secure_boot<'v>(value: &impl Fn(&str) -> Option<&'v str>) -> Configured {
    match (value("bios"), value("efidisk0")) {
        (None | Some("seabios"), _) => Configured::Unsupported,
        // Without a disk the variables, and with them all keys, are forgotten at every start.
        (Some(_), None) => Configured::Off,
        (Some(_), Some(disk)) if option(disk, "pre-enrolled-keys") == Some("1") => Configured::On,
        (Some(_), Some(_)) => Configured::Off,
    }
}

fn vtpm<'v>(value: &impl Fn(&str) -> Option<&'v str>) -> Configured {
    match value("tpmstate0") {
        // The default is version 1.2 where none is named.
        Some(disk) if option(disk, "version") == Some("v2.0") => Configured::On,
        Some(_) | None => Configured::Off,
    }
}
