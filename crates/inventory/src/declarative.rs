//! The declarative file: `veriboot-inventory/1`, TOML or JSON (docs/schema/inventory.schema.json).
//!
//! It can say everything that an item has, so that it is also how an inventory that was read elsewhere travels:
//! [`to_json`] writes it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use veriboot_wire::{
    Configured, ConfiguredSecurity, INVENTORY_SCHEMA, InventoryFacts, InventoryFormat, PowerState,
};

use crate::bounded::{List, Text};
use crate::json::reason;
use crate::{Listing, ReadError, item, json, tags};

/// The whole document.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    #[serde(rename = "format")]
    _format: Schema,
    #[serde(default)]
    defaults: Defaults,
    #[serde(default)]
    vms: List<Vm>,
}

/// The one schema that is read.
#[derive(Debug)]
struct Schema;

impl<'de> Deserialize<'de> for Schema {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Text::deserialize(deserializer)?;
        if text.0 == INVENTORY_SCHEMA {
            return Ok(Self);
        }
        Err(serde::de::Error::custom(format!("{:?} is not {INVENTORY_SCHEMA:?}", text.0)))
    }
}

/// What holds for every VM that does not say otherwise.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Defaults {
    group: Option<Name>,
    platform: Option<Name>,
    os: Option<Os>,
    region: Option<Text>,
    security_type: Option<ConfiguredSecurity>,
    secure_boot: Option<Configured>,
    vtpm: Option<Configured>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Vm {
    key: Option<Name>,
    name: Name,
    group: Option<Name>,
    scale_set: Option<Name>,
    platform: Option<Name>,
    os: Option<Os>,
    region: Option<Text>,
    power: Option<PowerState>,
    security_type: Option<ConfiguredSecurity>,
    confidential_kind: Option<Kind>,
    secure_boot: Option<Configured>,
    vtpm: Option<Configured>,
    machine_uuid: Option<Uuid>,
    cloud_id: Option<Text>,
    ek_sha256: Option<Sha256>,
    #[serde(default)]
    tags: BTreeMap<String, Text>,
}

/// A [`Text`] that is not empty.
#[derive(Clone, Debug)]
struct Name(String);

/// Declares a text of one form.
macro_rules! form {
    ($(#[$meta:meta])* $name:ident, $read:expr, $what:literal) => {
        $(#[$meta])*
        #[derive(Clone, Debug)]
        struct $name(String);
        form!(@ $name, $read, $what);
    };
    (@ $name:ident, $read:expr, $what:literal) => {
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = Text::deserialize(deserializer)?;
                let read: Option<String> = $read(&text.0);
                read.map(Self).ok_or_else(|| serde::de::Error::custom(format!(concat!("{:?} is not ", $what), text.0)))
            }
        }
    };
}

form!(@ Name, |text: &str| (!text.is_empty()).then(|| text.to_owned()), "a name: it is empty");
form!(
    /// A UUID.
    Uuid, item::uuid, "a UUID"
);
form!(
    /// A SHA-256 in hex.
    Sha256, item::sha256, "a SHA-256 in hex (64 digits)"
);
form!(
    /// An operating system.
    Os, |text: &str| ["linux", "windows"].contains(&text).then(|| text.to_owned()), "one of linux, windows"
);
form!(
    /// A technology of confidential VMs.
    Kind, |text: &str| ["sev", "sev-snp", "tdx"].contains(&text).then(|| text.to_owned()), "one of sev, sev-snp, tdx"
);

pub(crate) fn read(text: &str) -> Result<Listing, ReadError> {
    let document: Document = if text.trim_start().starts_with('{') { json::read(text)? } else { toml(text)? };
    let mut listing = Listing::new(InventoryFormat::Declarative);
    for vm in document.vms.0 {
        let (item, note) = one(vm, &document.defaults);
        listing.push(item, note)?;
    }
    Ok(listing)
}

fn one(vm: Vm, defaults: &Defaults) -> (InventoryFacts, Option<String>) {
    let or = |own: Option<Name>, default: &Option<Name>, last: &str| {
        own.or_else(|| default.clone()).map_or_else(|| last.to_owned(), |name| name.0)
    };
    let group = or(vm.group, &defaults.group, crate::DEFAULT_GROUP);
    let key = vm.key.map_or_else(|| format!("{group}/{}", vm.name.0), |key| key.0);
    let platform = or(vm.platform, &defaults.platform, "other");
    let mut facts = item::unknown(key, vm.name.0, &platform);
    let tags = vm.tags.into_iter().map(|(name, value)| (name, value.0)).collect();
    let note = tags::apply(&mut facts, tags);
    facts.group = group;
    if let Some(set) = vm.scale_set {
        facts.scale_set = Some(set.0);
    }
    facts.os = vm.os.or_else(|| defaults.os.clone()).map(|os| os.0);
    facts.region = Text::some(vm.region.or_else(|| defaults.region.clone()));
    facts.power = vm.power.unwrap_or(PowerState::Unknown);
    facts.confidential_kind = vm.confidential_kind.map(|kind| kind.0);
    facts.secure_boot = vm.secure_boot.or(defaults.secure_boot).unwrap_or(Configured::Unknown);
    facts.vtpm = vm.vtpm.or(defaults.vtpm).unwrap_or(Configured::Unknown);
    facts.security_type =
        vm.security_type.or(defaults.security_type).unwrap_or_else(|| item::security_type(&facts));
    facts.machine_uuid = vm.machine_uuid.map(|uuid| uuid.0);
    facts.cloud_id = Text::some(vm.cloud_id);
    if let Some(ek) = vm.ek_sha256 {
        facts.ek_sha256 = Some(ek.0);
    }
    (facts, note)
}

fn toml(text: &str) -> Result<Document, ReadError> {
    let told = |element: Option<String>, error: &toml::de::Error| {
        let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
        let line = before.matches('\n').count().saturating_add(1);
        let column = before.rsplit('\n').next().map_or(0, |last| last.chars().count()).saturating_add(1);
        let reason = reason(error.message());
        match element {
            Some(element) => ReadError::Element { element, line, column, reason },
            None => ReadError::Syntax { line, column, reason },
        }
    };
    let parser = toml::Deserializer::parse(text).map_err(|error| told(None, &error))?;
    serde_path_to_error::deserialize(parser).map_err(|error| {
        let path = error.path().to_string();
        let element = if path == "." { "the document".to_owned() } else { reason(&path) };
        told(Some(element), error.inner())
    })
}

/// The document as it is written.
#[derive(Serialize)]
struct Written<'a> {
    format: &'static str,
    vms: &'a [InventoryFacts],
}

/// These VMs as a declarative document, JSON: what [`crate::read`] reads as the same items.
///
/// # Errors
/// Never for items that [`crate::read`] gave; the type is that of the writer.
pub fn to_json(items: &[InventoryFacts]) -> Result<String, serde_json::Error> {
    serde_json::to_string(&Written { format: INVENTORY_SCHEMA, vms: items })
}
