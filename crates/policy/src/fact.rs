//! Values of variables: a tree that follows the table of [`crate::variables`].

use std::collections::BTreeMap;

use serde::ser::{SerializeMap as _, SerializeSeq as _};
use serde::{Serialize, Serializer};

use crate::variables::Schema;

/// One value.
#[derive(Clone, Debug, PartialEq)]
pub enum Fact {
    /// Truth value.
    Bool(bool),
    /// Whole number.
    Int(i64),
    /// Text.
    Text(String),
    /// List of values of one type.
    List(Vec<Self>),
    /// Map from text to values of one type.
    Map(BTreeMap<String, Self>),
    /// Record.
    Record(Record),
}

/// A record whose members follow a schema; each may be absent.
#[derive(Clone, Debug)]
pub struct Record {
    schema: &'static Schema,
    members: Vec<Option<Fact>>,
}

impl PartialEq for Record {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self.schema, other.schema) && self.members == other.members
    }
}

impl Record {
    /// All members absent.
    pub fn new(schema: &'static Schema) -> Self {
        Self { schema, members: vec![None; schema.members.len()] }
    }

    /// Its schema.
    pub fn schema(&self) -> &'static Schema {
        self.schema
    }

    /// Sets a member. One that the schema does not have is ignored, which a debug build does not forgive.
    pub fn set(&mut self, name: &str, fact: impl Into<Fact>) {
        let at = self.schema.find(name).map(|(at, _)| at);
        debug_assert!(at.is_some(), "{} has no member {name}", self.schema.name);
        if let Some(slot) = at.and_then(|at| self.members.get_mut(at)) {
            *slot = Some(fact.into());
        }
    }

    /// Sets a member where there is a value.
    pub fn set_some<T: Into<Fact>>(&mut self, name: &str, fact: Option<T>) {
        if let Some(fact) = fact {
            self.set(name, fact);
        }
    }

    /// With a member set.
    #[must_use]
    pub fn with(mut self, name: &str, fact: impl Into<Fact>) -> Self {
        self.set(name, fact);
        self
    }

    /// With a member set where there is a value.
    #[must_use]
    pub fn with_some<T: Into<Fact>>(mut self, name: &str, fact: Option<T>) -> Self {
        self.set_some(name, fact);
        self
    }

    /// A member by its position in the schema.
    pub(crate) fn at(&self, index: usize) -> Option<&Fact> {
        self.members.get(index).and_then(Option::as_ref)
    }

    pub(crate) fn slot(&mut self, index: usize) -> Option<&mut Option<Fact>> {
        self.members.get_mut(index)
    }

    /// A member by its name.
    pub fn get(&self, name: &str) -> Option<&Fact> {
        self.schema.find(name).and_then(|(at, _)| self.at(at))
    }

    /// Bytes that it takes in memory, estimated from above.
    pub fn weight(&self) -> usize {
        self.members.iter().flatten().map(Fact::weight).sum::<usize>()
            + self.members.len() * size_of::<Option<Fact>>()
            + size_of::<Self>()
    }
}

impl Fact {
    fn weight(&self) -> usize {
        size_of::<Self>()
            + match self {
                Self::Bool(_) | Self::Int(_) => 0,
                Self::Text(text) => text.capacity() + 16,
                Self::List(items) => items.iter().map(Self::weight).sum::<usize>() + 16,
                Self::Map(map) => map.iter().map(|(k, v)| k.capacity() + 64 + v.weight()).sum(),
                Self::Record(record) => record.weight(),
            }
    }
}

impl From<bool> for Fact {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl From<i64> for Fact {
    fn from(value: i64) -> Self {
        Self::Int(value)
    }
}

impl From<usize> for Fact {
    fn from(value: usize) -> Self {
        Self::Int(i64::try_from(value).unwrap_or(i64::MAX))
    }
}

impl From<u64> for Fact {
    fn from(value: u64) -> Self {
        Self::Int(i64::try_from(value).unwrap_or(i64::MAX))
    }
}

impl From<&str> for Fact {
    fn from(value: &str) -> Self {
        Self::Text(value.to_owned())
    }
}

impl From<String> for Fact {
    fn from(value: String) -> Self {
        Self::Text(value)
    }
}

impl From<Record> for Fact {
    fn from(value: Record) -> Self {
        Self::Record(value)
    }
}

impl<T: Into<Self>> From<Vec<T>> for Fact {
    fn from(values: Vec<T>) -> Self {
        Self::List(values.into_iter().map(Into::into).collect())
    }
}

impl Serialize for Fact {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Bool(value) => serializer.serialize_bool(*value),
            Self::Int(value) => serializer.serialize_i64(*value),
            Self::Text(value) => serializer.serialize_str(value),
            Self::List(items) => {
                let mut out = serializer.serialize_seq(Some(items.len()))?;
                items.iter().try_for_each(|item| out.serialize_element(item))?;
                out.end()
            }
            Self::Map(map) => map.serialize(serializer),
            Self::Record(record) => record.serialize(serializer),
        }
    }
}

impl Serialize for Record {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut out = serializer.serialize_map(None)?;
        for (member, fact) in self.schema.members.iter().zip(&self.members) {
            if let Some(fact) = fact {
                out.serialize_entry(member.name, fact)?;
            }
        }
        out.end()
    }
}
