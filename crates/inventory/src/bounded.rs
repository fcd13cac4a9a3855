//! Texts and lists that are bounded while they are read, so that a mistake is told with its place.

use std::fmt;
use std::marker::PhantomData;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Unexpected, Visitor};

use crate::{MAX_ITEMS, MAX_TEXT_CHARS};

/// A text of at most [`MAX_TEXT_CHARS`] characters without control characters.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Text(pub(crate) String);

/// What is wrong with a text.
pub(crate) fn flaw(text: &str) -> Option<String> {
    if text.chars().nth(MAX_TEXT_CHARS).is_some() {
        return Some(format!("it has more than {MAX_TEXT_CHARS} characters"));
    }
    text.chars().any(char::is_control).then(|| "it has control characters".to_owned())
}

struct TextVisitor;

impl Visitor<'_> for TextVisitor {
    type Value = Text;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Text, E> {
        match flaw(text) {
            Some(flaw) => Err(E::custom(flaw)),
            None => Ok(Text(text.to_owned())),
        }
    }
}

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(TextVisitor)
    }
}

impl Text {
    /// The text, unless it is empty.
    pub(crate) fn some(text: Option<Self>) -> Option<String> {
        text.map(|t| t.0).filter(|t| !t.is_empty())
    }
}

/// A list of at most [`MAX_ITEMS`].
#[derive(Clone, Debug)]
pub(crate) struct List<T>(pub(crate) Vec<T>);

impl<T> Default for List<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

struct ListVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for ListVisitor<T> {
    type Value = List<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<List<T>, A::Error> {
        let mut all = Vec::new();
        while let Some(one) = seq.next_element()? {
            if all.len() >= MAX_ITEMS {
                return Err(A::Error::custom(format!("it has more than {MAX_ITEMS} elements")));
            }
            all.push(one);
        }
        Ok(List(all))
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for List<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(ListVisitor(PhantomData))
    }
}

/// A list that may stand in `{"data": […]}`, as an API gives it.
#[derive(Clone, Debug)]
pub(crate) struct DataList<T>(pub(crate) Vec<T>);

struct DataListVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for DataListVisitor<T> {
    type Value = DataList<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list, or an object with the list `data`")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<DataList<T>, A::Error> {
        ListVisitor(PhantomData).visit_seq(seq).map(|list| DataList(list.0))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<DataList<T>, A::Error> {
        let mut found: Option<List<T>> = None;
        while let Some(name) = map.next_key::<String>()? {
            if name == "data" {
                found = Some(map.next_value()?);
            } else {
                map.next_value::<serde::de::IgnoredAny>()?;
            }
        }
        found.map(|list| DataList(list.0)).ok_or_else(|| A::Error::missing_field("data"))
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for DataList<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(DataListVisitor(PhantomData))
    }
}

/// An object of texts, numbers and booleans, all as text; what is nested is left out, except for `data`, which may
/// hold the object itself.
#[derive(Clone, Debug, Default)]
pub(crate) struct Flat(pub(crate) std::collections::BTreeMap<String, String>);

struct FlatVisitor;

/// Reads one value of a [`Flat`].
enum Scalar {
    Text(String),
    Nested(Flat),
    Nothing,
}

struct ScalarSeed;

impl<'de> DeserializeSeed<'de> for ScalarSeed {
    type Value = Scalar;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Scalar, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for ScalarSeed {
    type Value = Scalar;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Scalar, E> {
        // Descriptions have many lines and are not read.
        Ok(Scalar::Text(text.chars().take(MAX_TEXT_CHARS).collect()))
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Scalar, E> {
        Ok(Scalar::Text(u8::from(value).to_string()))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Scalar, E> {
        Ok(Scalar::Text(value.to_string()))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Scalar, E> {
        Ok(Scalar::Text(value.to_string()))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Scalar, E> {
        Ok(Scalar::Text(value.to_string()))
    }

    fn visit_unit<E: Error>(self) -> Result<Scalar, E> {
        Ok(Scalar::Nothing)
    }

    fn visit_none<E: Error>(self) -> Result<Scalar, E> {
        Ok(Scalar::Nothing)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Scalar, A::Error> {
        while seq.next_element::<serde::de::IgnoredAny>()?.is_some() {}
        Ok(Scalar::Nothing)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Scalar, A::Error> {
        FlatVisitor.visit_map(map).map(Scalar::Nested)
    }
}

impl<'de> Visitor<'de> for FlatVisitor {
    type Value = Flat;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Flat, A::Error> {
        let mut flat = Flat::default();
        while let Some(name) = map.next_key::<String>()? {
            match map.next_value_seed(ScalarSeed)? {
                Scalar::Text(value) => {
                    flat.0.insert(name, value);
                }
                Scalar::Nested(inner) if name == "data" => flat.0.extend(inner.0),
                Scalar::Nested(_) | Scalar::Nothing => {}
            }
        }
        Ok(flat)
    }
}

impl<'de> Deserialize<'de> for Flat {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(FlatVisitor)
    }
}

/// A number or a text, as text: ids are written as either.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Id(pub(crate) String);

struct IdVisitor;

impl Visitor<'_> for IdVisitor {
    type Value = Id;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an id: a text or a whole number")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Id, E> {
        if text.is_empty() {
            return Err(E::invalid_value(Unexpected::Str(text), &self));
        }
        TextVisitor.visit_str(text).map(|text| Id(text.0))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Id, E> {
        Ok(Id(value.to_string()))
    }
}

impl<'de> Deserialize<'de> for Id {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(IdVisitor)
    }
}
