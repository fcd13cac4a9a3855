//! Domain XML of libvirt: one `<domain>`, `<domains>` with several, or the status file of a running one.
//!
//! * Secure Boot is on where the firmware has keys and enforces them: the features `secure-boot` and `enrolled-keys`, or
//!   a loader with `secure='yes'` and variables from a template that has keys. It is off where a feature says `no`, or
//!   UEFI has no protected variables; unsupported under BIOS.
//! * The vTPM is on where there is a TPM 2.0, emulated or passed through.
//! * The file does not say whether the domain runs, unless it is the status file.

use std::collections::{BTreeMap, HashMap};

use roxmltree::{Document, Node, ParsingOptions};
use veriboot_wire::{Configured, InventoryFacts, InventoryFormat, PowerState};

use crate::bounded::flaw;
use crate::json::reason;
use crate::{Listing, MAX_XML_BYTES, ReadError, item, tags, xml_bounds};

/// Most nodes of a document, so that a tree stays below a few hundred MiB.
const MAX_NODES: u32 = 4_000_000;
/// Namespace of the element in `<metadata>` that Veriboot reads.
const METADATA: &str = "https://veriboot.dev/inventory/1";

pub(crate) fn read(text: &str) -> Result<Listing, ReadError> {
    if text.len() > MAX_XML_BYTES {
        return Err(ReadError::TooLarge { bytes: text.len(), max: MAX_XML_BYTES });
    }
    xml_bounds::check(text)?;
    let options = ParsingOptions { allow_dtd: false, nodes_limit: MAX_NODES, ..ParsingOptions::default() };
    let document = Document::parse_with_options(text, options).map_err(|error| {
        let (place, said) = (error.pos(), error.to_string());
        let said = said.rsplit_once(" at ").map_or(said.as_str(), |(before, _)| before);
        let line = usize::try_from(place.row).unwrap_or(0);
        ReadError::Syntax { line, column: usize::try_from(place.col).unwrap_or(0), reason: reason(said) }
    })?;
    let root = document.root_element();
    let mut listing = Listing::new(InventoryFormat::Libvirt);
    let domains: Vec<(String, Node<'_, '_>)> = match root.tag_name().name() {
        "domain" => vec![("domain".to_owned(), root)],
        "domains" | "domstatus" => named(root, "domain")
            .enumerate()
            .map(|(n, domain)| (format!("domain[{}]", n.saturating_add(1)), domain))
            .collect(),
        other => {
            let reason = format!("it is <{}>, not <domain> or <domains>", reason(other));
            return Err(ReadError::Unrecognised { reason });
        }
    };
    let power = match root.attribute("state") {
        Some("running" | "paused" | "blocked") if root.has_tag_name("domstatus") => PowerState::Running,
        Some("shutoff" | "crashed" | "pmsuspended") if root.has_tag_name("domstatus") => PowerState::Stopped,
        _ => PowerState::Unknown,
    };
    let mut seen: HashMap<String, String> = HashMap::with_capacity(domains.len());
    for (path, domain) in domains {
        let (mut item, note) = one(&path, domain)?;
        if let Some(first) = seen.insert(item.key.clone(), path.clone()) {
            let (line, column) = place(domain);
            return Err(ReadError::DuplicateElement { element: path, line, column, first, key: item.key });
        }
        if item.power == PowerState::Unknown {
            item.power = power;
        }
        listing.push(item, note)?;
    }
    Ok(listing)
}

fn named<'a, 'i: 'a>(
    node: Node<'a, 'i>,
    name: &'static str,
) -> impl Iterator<Item = Node<'a, 'i>> + use<'a, 'i> {
    node.children().filter(move |child| child.is_element() && child.tag_name().name() == name)
}

fn child<'a, 'i: 'a>(node: Node<'a, 'i>, name: &'static str) -> Option<Node<'a, 'i>> {
    named(node, name).next()
}

fn wrong(path: &str, node: Node<'_, '_>, reason: impl Into<String>) -> ReadError {
    let (line, column) = place(node);
    ReadError::Element { element: path.to_owned(), line, column, reason: reason.into() }
}

/// Line and column, from 1, at which a node begins.
fn place(node: Node<'_, '_>) -> (usize, usize) {
    let place = node.document().text_pos_at(node.range().start);
    (usize::try_from(place.row).unwrap_or(0), usize::try_from(place.col).unwrap_or(0))
}

/// The text of a child that must be there.
fn required(path: &str, domain: Node<'_, '_>, name: &'static str) -> Result<String, ReadError> {
    let node = child(domain, name).ok_or_else(|| wrong(path, domain, format!("<{name}> is missing")))?;
    let text = node.text().unwrap_or_default().trim();
    let path = format!("{path}/{name}");
    match flaw(text) {
        Some(flaw) => Err(wrong(&path, node, flaw)),
        None if text.is_empty() => Err(wrong(&path, node, "it is empty")),
        None => Ok(text.to_owned()),
    }
}

fn yes_no(path: &str, node: Node<'_, '_>, name: &str) -> Result<Option<bool>, ReadError> {
    match node.attribute(name) {
        None => Ok(None),
        Some("yes") => Ok(Some(true)),
        Some("no") => Ok(Some(false)),
        Some(other) => Err(wrong(path, node, format!("{name} is {:?}, neither yes nor no", reason(other)))),
    }
}

fn one(path: &str, domain: Node<'_, '_>) -> Result<(InventoryFacts, Option<String>), ReadError> {
    let name = required(path, domain, "name")?;
    let uuid = required(path, domain, "uuid")?;
    let uuid = item::uuid(&uuid).ok_or_else(|| {
        let node = child(domain, "uuid").unwrap_or(domain);
        wrong(&format!("{path}/uuid"), node, format!("{uuid:?} is not a UUID"))
    })?;
    let mut facts = item::unknown(uuid.clone(), name, "libvirt");
    facts.machine_uuid = Some(uuid);
    facts.secure_boot = secure_boot(path, domain)?;
    facts.vtpm = vtpm(path, domain)?;
    if let Some(node) = child(domain, "launchSecurity") {
        facts.confidential_kind = match node.attribute("type") {
            Some("sev-snp") => Some("sev-snp".to_owned()),
            Some("sev") => Some("sev".to_owned()),
            Some("tdx") => Some("tdx".to_owned()),
            // Protected virtualisation of s390 measures nothing into a TPM.
            _ => None,
        };
    }
    let note = metadata(path, domain, &mut facts)?;
    facts.security_type = item::security_type(&facts);
    Ok((facts, note))
}

fn secure_boot(path: &str, domain: Node<'_, '_>) -> Result<Configured, ReadError> {
    let Some(os) = child(domain, "os") else { return Ok(Configured::Unknown) };
    let path = format!("{path}/os");
    let loader = child(os, "loader");
    let firmware = os.attribute("firmware");
    let pflash = loader.and_then(|l| l.attribute("type")) == Some("pflash");
    let uefi = firmware == Some("efi") || (firmware.is_none() && pflash);
    if !uefi {
        // A loader that is no flash can be any firmware; without one it is BIOS.
        let other = firmware.is_none() && loader.is_some_and(|l| l.attribute("type").is_none());
        return Ok(if other { Configured::Unknown } else { Configured::Unsupported });
    }
    let (mut enabled, mut keys) = (None, None);
    if let Some(features) = child(os, "firmware") {
        for feature in named(features, "feature") {
            let on = yes_no(&format!("{path}/firmware/feature"), feature, "enabled")?;
            match feature.attribute("name") {
                Some("secure-boot") => enabled = on,
                Some("enrolled-keys") => keys = on,
                _ => {}
            }
        }
    }
    let secure = match loader {
        Some(loader) => yes_no(&format!("{path}/loader"), loader, "secure")?,
        None => None,
    };
    if let Some(template) = child(os, "nvram").and_then(|n| n.attribute("template")) {
        // Distributions name the variables with keys so: OVMF_VARS_4M.ms.fd, OVMF_VARS.secboot.fd, …-with-keys….
        let file = item::last_segment(template).to_ascii_lowercase();
        let with_keys = [".ms.", ".secboot.", "ms-code", "ms-vars", "snakeoil", "enrolled"];
        keys = keys.or_else(|| with_keys.iter().any(|part| file.contains(part)).then_some(true));
    }
    Ok(match (enabled.or(secure), keys) {
        (Some(false), _) | (_, Some(false)) => Configured::Off,
        (Some(true), Some(true)) => Configured::On,
        (Some(true), None) => Configured::Unknown,
        // Firmware that libvirt chooses by itself may enforce it; firmware that is named and not secure does not.
        (None, _) if loader.is_some() => Configured::Off,
        (None, _) => Configured::Unknown,
    })
}

fn vtpm(path: &str, domain: Node<'_, '_>) -> Result<Configured, ReadError> {
    let Some(devices) = child(domain, "devices") else { return Ok(Configured::Unknown) };
    let Some(tpm) = child(devices, "tpm") else { return Ok(Configured::Off) };
    let path = format!("{path}/devices/tpm");
    let backend = child(tpm, "backend").ok_or_else(|| wrong(&path, tpm, "<backend> is missing"))?;
    Ok(match (backend.attribute("type"), backend.attribute("version")) {
        (Some("emulator"), None | Some("2.0")) => Configured::On,
        // TPM 1.2 attests nothing that could be checked here.
        (Some("emulator"), Some(_)) => Configured::Off,
        (Some("passthrough" | "external"), _) => Configured::On,
        (Some(other), _) => {
            let path = format!("{path}/backend");
            return Err(wrong(&path, backend, format!("type {:?} is not known", reason(other))));
        }
        (None, _) => return Err(wrong(&format!("{path}/backend"), backend, "it has no type")),
    })
}

/// `<veriboot:vm xmlns:veriboot="…" group="…" scale-set="…" ek-sha256="…" os="…"/>`, and the operating system as
/// libosinfo notes it.
fn metadata(
    path: &str,
    domain: Node<'_, '_>,
    facts: &mut InventoryFacts,
) -> Result<Option<String>, ReadError> {
    let Some(metadata) = child(domain, "metadata") else { return Ok(None) };
    for node in metadata.descendants().filter(Node::is_element) {
        if node.tag_name().name() == "os" {
            facts.os = node.attribute("id").and_then(osinfo);
        }
    }
    let Some(own) = metadata
        .children()
        .find(|n| n.tag_name().namespace() == Some(METADATA) && n.tag_name().name() == "vm")
    else {
        return Ok(None);
    };
    let path = format!("{path}/metadata/vm");
    let mut all = BTreeMap::new();
    for attribute in own.attributes() {
        let value = attribute.value();
        if let Some(flaw) = flaw(value) {
            return Err(wrong(&path, own, format!("{}: {flaw}", reason(attribute.name()))));
        }
        match attribute.name() {
            name @ ("group" | "scale-set" | "ek-sha256") => {
                all.insert(format!("veriboot-{name}"), value.to_owned());
            }
            "os" => facts.os = item::os(value),
            other => return Err(wrong(&path, own, format!("there is no attribute {:?}", reason(other)))),
        }
    }
    let note = tags::apply(facts, all);
    facts.tags.clear();
    Ok(note)
}

/// The operating system of an id such as `http://debian.org/debian/12` or `http://microsoft.com/win/11`.
fn osinfo(id: &str) -> Option<String> {
    if id.contains("microsoft.com/win") {
        return Some("windows".to_owned());
    }
    let linux = [
        "debian.org",
        "ubuntu.com",
        "redhat.com",
        "fedoraproject.org",
        "centos.org",
        "opensuse.org",
        "suse.com",
        "almalinux.org",
        "rockylinux.org",
        "archlinux.org",
        "alpinelinux.org",
        "oracle.com",
        "gentoo.org",
        "nixos.org",
    ];
    linux.iter().any(|site| id.contains(site)).then(|| "linux".to_owned())
}
