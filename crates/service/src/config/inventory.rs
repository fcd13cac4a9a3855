//! Sources of the inventory as the configuration names them.

use std::path::PathBuf;

/// A source of the inventory, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct InventorySetting {
    /// Name.
    pub name: String,
    /// Format; recognised when absent.
    pub format: Option<veriboot_wire::InventoryFormat>,
    /// File or folder.
    pub path: PathBuf,
}

impl InventorySetting {
    /// Reads `NAME=PATH` or `NAME=FORMAT:PATH`.
    pub(super) fn read(text: &str) -> Result<Self, String> {
        let form = "is not of the form NAME=PATH or NAME=FORMAT:PATH";
        let (name, rest) = text.split_once('=').ok_or_else(|| format!("{text:?} {form}"))?;
        if !crate::api::is_name(name) {
            return Err(format!("{name:?} is not 1 to 63 characters of A-Z a-z 0-9 . _ -"));
        }
        let (format, path) = match rest.split_once(':') {
            Some((word, path)) if !word.contains('/') => {
                (Some(word.parse().map_err(|e: veriboot_wire::UnknownWord| e.to_string())?), path)
            }
            _ => (None, rest),
        };
        if path.is_empty() {
            return Err(format!("{text:?} {form}"));
        }
        Ok(Self { name: name.to_owned(), format, path: PathBuf::from(path) })
    }
}
