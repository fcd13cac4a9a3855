//! Types of expressions.

use std::fmt;

use crate::variables::{Schema, Type};

/// Type of an expression.
#[derive(Clone, Debug)]
pub(crate) enum Ty {
    Bool,
    Int,
    Text,
    List(Box<Self>),
    Numbers,
    Record(&'static Schema),
    Optional(Box<Self>),
    /// Elements of the empty list.
    Nothing,
    /// Something wrong that was reported.
    Wrong,
}

impl From<Type> for Ty {
    fn from(ty: Type) -> Self {
        match ty {
            Type::Bool => Self::Bool,
            Type::Int => Self::Int,
            Type::Text => Self::Text,
            Type::Texts => Self::List(Box::new(Self::Text)),
            Type::Numbers => Self::Numbers,
            Type::Object(schema) => Self::Record(schema),
            Type::Objects(schema) => Self::List(Box::new(Self::Record(schema))),
        }
    }
}

impl fmt::Display for Ty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bool => f.write_str("bool"),
            Self::Int => f.write_str("int"),
            Self::Text => f.write_str("string"),
            Self::List(of) => write!(f, "list({of})"),
            Self::Numbers => f.write_str("map(string, int)"),
            Self::Record(schema) => f.write_str(schema.name),
            Self::Optional(of) => write!(f, "optional({of})"),
            Self::Nothing => f.write_str("nothing"),
            Self::Wrong => f.write_str("unknown"),
        }
    }
}

impl Ty {
    pub(super) fn same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Wrong | Self::Nothing, _) | (_, Self::Wrong | Self::Nothing) => true,
            (Self::Bool, Self::Bool) | (Self::Int, Self::Int) | (Self::Text, Self::Text) => true,
            (Self::Numbers, Self::Numbers) => true,
            (Self::List(a), Self::List(b)) | (Self::Optional(a), Self::Optional(b)) => a.same(b),
            (Self::Record(a), Self::Record(b)) => std::ptr::eq(*a, *b),
            _ => false,
        }
    }

    pub(super) fn is_wrong(&self) -> bool {
        matches!(self, Self::Wrong)
    }

    /// Whether `==` makes sense.
    pub(super) fn comparable(&self) -> bool {
        match self {
            Self::Bool | Self::Int | Self::Text | Self::Nothing | Self::Wrong => true,
            Self::List(of) => of.comparable(),
            Self::Numbers | Self::Record(_) | Self::Optional(_) => false,
        }
    }
}
