//! Which format a document is written in, by its shape.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use veriboot_wire::{INVENTORY_SCHEMA, InventoryFormat};

use crate::{ReadError, json};

/// Names that are looked at in one object.
const MAX_NAMES: usize = 256;

/// The format of a document.
///
/// # Errors
/// [`ReadError::Unrecognised`], or what keeps JSON from being read.
pub fn recognise(text: &str) -> Result<InventoryFormat, ReadError> {
    let unknown = |reason: &str| Err(ReadError::Unrecognised { reason: reason.to_owned() });
    match text.trim_start().chars().next() {
        None => unknown("it is empty"),
        Some('<') => Ok(InventoryFormat::Libvirt),
        Some('{') => match json::read::<Shape>(text)? {
            Shape::Object(names) => of_object(&names),
            _ => unknown("it is no object"),
        },
        // A TOML document can begin with `[defaults]` or `[[vms]]`.
        Some('[') if !is_toml_header(text) => match json::read::<Shape>(text)? {
            Shape::ListOf(names) => of_element(&names),
            Shape::Empty => unknown("it is an empty list, which every cloud prints alike"),
            _ => unknown("it is a list of something else than objects"),
        },
        Some(_) if text.contains(INVENTORY_SCHEMA) => Ok(InventoryFormat::Declarative),
        Some(_) => {
            unknown("it is neither JSON nor XML, nor TOML that says `format = \"veriboot-inventory/1\"`")
        }
    }
}

fn is_toml_header(text: &str) -> bool {
    let line = text.trim_start().lines().next().unwrap_or_default().trim();
    let inner = line.trim_start_matches('[').trim_end_matches(']');
    line.ends_with(']')
        && !inner.is_empty()
        && inner.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.'))
}

fn of_object(names: &Names) -> Result<InventoryFormat, ReadError> {
    if names.schema.as_deref() == Some(INVENTORY_SCHEMA) {
        return Ok(InventoryFormat::Declarative);
    }
    if names.has("Reservations") {
        return Ok(InventoryFormat::AwsEc2);
    }
    if names.has("configs") && names.has("resources") {
        return Ok(InventoryFormat::Proxmox);
    }
    let reason = match &names.schema {
        Some(schema) => {
            format!("its format is {:?}, and this version reads {INVENTORY_SCHEMA:?}", json::reason(schema))
        }
        None if names.has("vms") => format!("it has no member `format` with {INVENTORY_SCHEMA:?}"),
        None => "it has none of the members format, Reservations, resources and configs".to_owned(),
    };
    Err(ReadError::Unrecognised { reason })
}

fn of_element(names: &Names) -> Result<InventoryFormat, ReadError> {
    let id = names.id.as_deref().unwrap_or_default().to_ascii_lowercase();
    let kind = names.kind.as_deref().unwrap_or_default();
    if kind == "compute#instance" || names.has("selfLink") {
        return Ok(InventoryFormat::Gcloud);
    }
    if names.has("instanceId") && id.contains("/virtualmachinescalesets/") {
        return Ok(InventoryFormat::AzVmssInstances);
    }
    if names.has("virtualMachineProfile") || (id.contains("/virtualmachinescalesets/") && names.has("sku")) {
        return Ok(InventoryFormat::AzVmss);
    }
    if id.contains("/microsoft.compute/virtualmachines/") || names.has("hardwareProfile") {
        return Ok(InventoryFormat::AzVm);
    }
    if names.has("Instances") {
        return Err(ReadError::Unrecognised {
            reason:
                "it is the list inside of `Reservations`; give the whole output of aws ec2 describe-instances"
                    .to_owned(),
        });
    }
    Err(ReadError::Unrecognised { reason: "its first element is of no kind that is known".to_owned() })
}

/// What a document is made of at its top.
#[derive(Default)]
enum Shape {
    Object(Names),
    ListOf(Names),
    Empty,
    #[default]
    Other,
}

/// Names of an object's members, and the values of a few.
#[derive(Default)]
struct Names {
    all: Vec<String>,
    schema: Option<String>,
    kind: Option<String>,
    id: Option<String>,
}

impl Names {
    fn has(&self, name: &str) -> bool {
        self.all.iter().any(|known| known == name)
    }
}

/// A text, or something else that is passed over.
#[derive(Default)]
struct Word(Option<String>);

struct WordVisitor;

macro_rules! nothing {
    ($($name:ident: $type:ty),+) => { $(fn $name<E: Error>(self, _: $type) -> Result<Self::Value, E> { Ok(Default::default()) })+ };
}

impl<'de> Visitor<'de> for WordVisitor {
    type Value = Word;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("anything")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Word, E> {
        Ok(Word(Some(text.chars().take(1024).collect())))
    }

    nothing!(visit_bool: bool, visit_i64: i64, visit_u64: u64, visit_f64: f64);

    fn visit_unit<E: Error>(self) -> Result<Word, E> {
        Ok(Word(None))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Word, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Word(None))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Word, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Word(None))
    }
}

impl<'de> Deserialize<'de> for Word {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(WordVisitor)
    }
}

struct ShapeVisitor;

impl<'de> Visitor<'de> for ShapeVisitor {
    type Value = Shape;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("anything")
    }

    nothing!(visit_bool: bool, visit_i64: i64, visit_u64: u64, visit_f64: f64, visit_str: &str);

    fn visit_unit<E: Error>(self) -> Result<Shape, E> {
        Ok(Shape::Other)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Shape, A::Error> {
        let first = seq.next_element::<Shape>()?;
        // The rest is passed over, so that a list that was cut off is told here already.
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(match first {
            None => Shape::Empty,
            Some(Shape::Object(names)) => Shape::ListOf(names),
            Some(_) => Shape::Other,
        })
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Shape, A::Error> {
        let mut names = Names::default();
        while let Some(name) = map.next_key::<String>()? {
            match name.as_str() {
                "format" => names.schema = map.next_value::<Word>()?.0,
                "kind" => names.kind = map.next_value::<Word>()?.0,
                "id" => names.id = map.next_value::<Word>()?.0,
                _ => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
            if names.all.len() < MAX_NAMES && name.len() <= 64 {
                names.all.push(name);
            }
        }
        Ok(Shape::Object(names))
    }
}

impl<'de> Deserialize<'de> for Shape {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ShapeVisitor)
    }
}
