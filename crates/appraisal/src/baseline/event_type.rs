//! Event types in documents: their names in the specification, or their numbers.

use serde::{Deserialize, Deserializer, Serializer, de::Error as _};
use veriboot_eventlog::EventType;

#[derive(Deserialize)]
#[serde(untagged, expecting = "an event type is a name such as EV_IPL, or a number")]
enum Word {
    Number(u32),
    Name(String),
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde asks for it")]
pub(super) fn serialize<S: Serializer>(event_type: &u32, serializer: S) -> Result<S::Ok, S::Error> {
    match EventType(*event_type).name() {
        Some(name) => serializer.serialize_str(name),
        None => serializer.serialize_u32(*event_type),
    }
}

pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
    match Word::deserialize(deserializer)? {
        Word::Number(number) => Ok(number),
        Word::Name(name) => EventType::ALL
            .iter()
            .find(|known| known.name() == Some(name.as_str()))
            .map(|known| known.0)
            .ok_or_else(|| {
                D::Error::custom(format_args!(
                    "{:?} is no event type",
                    name.chars().take(64).collect::<String>()
                ))
            }),
    }
}
