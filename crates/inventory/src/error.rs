//! Why a document cannot be read.

/// Why a document cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// It is longer than any inventory.
    #[error("the document has {bytes} bytes; at most {max} are read")]
    TooLarge {
        /// Its length.
        bytes: usize,
        /// The bound.
        max: usize,
    },
    /// It is not UTF-8.
    #[error("the document is not UTF-8: byte {offset}")]
    NotUtf8 {
        /// The first byte that is not.
        offset: usize,
    },
    /// It has none of the shapes that are known.
    #[error("the format of the document is not recognised: {reason}")]
    Unrecognised {
        /// What was seen.
        reason: String,
    },
    /// It is not JSON, TOML or XML, or was cut off.
    #[error("the document cannot be read: line {line}, column {column}: {reason}")]
    Syntax {
        /// Line from 1.
        line: usize,
        /// Column from 1.
        column: usize,
        /// What the parser said.
        reason: String,
    },
    /// An element has a value that it cannot have.
    #[error("{element}{}: {reason}", place(.line, .column))]
    Element {
        /// Path of the element: `[3].securityProfile`, `domain[2]/os/loader`.
        element: String,
        /// Line from 1; 0 where it is not known.
        line: usize,
        /// Column from 1; 0 where it is not known.
        column: usize,
        /// What is wrong.
        reason: String,
    },
    /// Too many VMs.
    #[error("there are more than {max} VMs")]
    TooMany {
        /// The bound.
        max: usize,
    },
    /// One key names two VMs that are not the same.
    #[error("two VMs have the key {key:?}: {first:?} and {second:?}")]
    Duplicate {
        /// The key.
        key: String,
        /// Name of the one.
        first: String,
        /// Name of the other.
        second: String,
    },
    /// One document has two VMs of one key.
    #[error("{element}{}: the key {key:?} is that of {first} already", place(.line, .column))]
    DuplicateElement {
        /// The second of the two: `vms[3]`.
        element: String,
        /// Line from 1; 0 where it is not known.
        line: usize,
        /// Column from 1; 0 where it is not known.
        column: usize,
        /// The first.
        first: String,
        /// Their key.
        key: String,
    },
}

fn place(line: &usize, column: &usize) -> String {
    if *line == 0 { String::new() } else { format!(" (line {line}, column {column})") }
}

impl ReadError {
    /// Stable identifier in kebab case.
    pub fn code(&self) -> &'static str {
        match self {
            Self::TooLarge { .. } => "inventory-too-large",
            Self::NotUtf8 { .. } => "inventory-not-utf8",
            Self::Unrecognised { .. } => "inventory-format-unknown",
            Self::Syntax { .. } => "inventory-malformed",
            Self::Element { .. } => "inventory-element",
            Self::TooMany { .. } => "inventory-too-many",
            Self::Duplicate { .. } | Self::DuplicateElement { .. } => "inventory-duplicate",
        }
    }

    /// What to do.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::TooLarge { .. } | Self::TooMany { .. } => {
                "give one document for each subscription, project or account, each as a source of its own"
            }
            Self::NotUtf8 { .. } => {
                "write the export in UTF-8; PowerShell redirects in UTF-16 unless told otherwise"
            }
            Self::Unrecognised { .. } => {
                "name the format; docs/inventory.md has the command that makes each export"
            }
            Self::Syntax { .. } => {
                "the export was cut off or changed: make it again with the command in docs/inventory.md"
            }
            Self::Element { .. } => {
                "docs/inventory.md says what each format holds; make the export with its command, as JSON, without --query"
            }
            Self::Duplicate { .. } => "a key names one VM: leave one of the two out",
            Self::DuplicateElement { .. } => {
                "a key names one VM (where none is given it is group and name): leave one of the two out, or give it a key"
            }
        }
    }
}
