//! A condition after checking: every name is resolved and every type is right, so that evaluation can fail only where data
//! is absent or a number does not fit.

use regex::Regex;

/// One operation.
#[derive(Clone, Debug)]
pub(crate) enum Code {
    Bool(bool),
    Int(i64),
    Text(String),
    /// A top-level variable, by its position in the table.
    Variable {
        index: usize,
        path: String,
    },
    /// A variable of an enclosing macro, counted from the outermost.
    Element(usize),
    /// A member of a record, by its position in the schema.
    Member {
        of: Box<Self>,
        index: usize,
        path: String,
    },
    /// Whether a record has a member.
    HasMember {
        of: Box<Self>,
        index: usize,
    },
    /// `record.?member`.
    OptionalMember {
        of: Box<Self>,
        index: usize,
    },
    /// The value of a map for a key, or the element of a list.
    At {
        of: Box<Self>,
        key: Box<Self>,
        path: String,
    },
    /// Whether a map has a key.
    HasKey {
        of: Box<Self>,
        key: Box<Self>,
    },
    /// `map[?key]`, `list[?index]`.
    OptionalAt {
        of: Box<Self>,
        key: Box<Self>,
    },
    /// `optional.orValue(default)`.
    Or {
        of: Box<Self>,
        default: Box<Self>,
    },
    /// `optional.hasValue()`.
    HasValue(Box<Self>),
    Not(Box<Self>),
    And(Box<Self>, Box<Self>),
    Either(Box<Self>, Box<Self>),
    If {
        condition: Box<Self>,
        then: Box<Self>,
        otherwise: Box<Self>,
    },
    Equal(Box<Self>, Box<Self>),
    Compare {
        order: Order,
        left: Box<Self>,
        right: Box<Self>,
    },
    /// Whether a list has an element, or a map a key.
    In {
        what: Box<Self>,
        of: Box<Self>,
    },
    Arithmetic {
        operator: Operator,
        left: Box<Self>,
        right: Box<Self>,
    },
    Size(Box<Self>),
    Search {
        kind: Search,
        text: Box<Self>,
        part: Box<Self>,
    },
    Matches {
        text: Box<Self>,
        pattern: Regex,
    },
    ToInt(Box<Self>),
    ToText(Box<Self>),
    List(Vec<Self>),
    Macro {
        kind: Macro,
        list: Box<Self>,
        filter: Option<Box<Self>>,
        body: Box<Self>,
    },
}

/// `<` and its kin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// Arithmetic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operator {
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
}

/// Where a part of a text is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Search {
    Contains,
    StartsWith,
    EndsWith,
}

/// A macro over a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Macro {
    All,
    Exists,
    ExistsOne,
    /// `filter` and `map`: the body for each element that the filter lets pass.
    Collect,
}

impl Code {
    /// The operands.
    pub fn parts(&self) -> Vec<&Self> {
        match self {
            Self::Bool(_) | Self::Int(_) | Self::Text(_) | Self::Variable { .. } | Self::Element(_) => {
                Vec::new()
            }
            Self::Member { of, .. }
            | Self::HasMember { of, .. }
            | Self::OptionalMember { of, .. }
            | Self::HasValue(of)
            | Self::Not(of)
            | Self::Size(of)
            | Self::ToInt(of)
            | Self::ToText(of)
            | Self::Matches { text: of, .. } => vec![of],
            Self::At { of: a, key: b, .. }
            | Self::HasKey { of: a, key: b }
            | Self::OptionalAt { of: a, key: b }
            | Self::Or { of: a, default: b }
            | Self::And(a, b)
            | Self::Either(a, b)
            | Self::Equal(a, b)
            | Self::Compare { left: a, right: b, .. }
            | Self::In { what: a, of: b }
            | Self::Arithmetic { left: a, right: b, .. }
            | Self::Search { text: a, part: b, .. } => vec![a, b],
            Self::If { condition, then, otherwise } => vec![condition, then, otherwise],
            Self::List(items) => items.iter().collect(),
            Self::Macro { list, filter, body, .. } => {
                [Some(list), filter.as_ref(), Some(body)].into_iter().flatten().map(|part| &**part).collect()
            }
        }
    }

    /// Calls `see` for this and everything in it.
    pub fn walk<'a>(&'a self, see: &mut impl FnMut(&'a Self)) {
        see(self);
        self.parts().into_iter().for_each(|part| part.walk(see));
    }
}
