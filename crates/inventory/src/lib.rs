//! Which virtual machines exist, and what is configured for them: reads what clouds, hypervisors and people write.
//!
//! [`read`] takes a document and gives a [`Listing`]: one [`InventoryFacts`] for each VM. The document is what a tool
//! printed, as it is; a format is recognised by its shape or named. What a document does not say stays `unknown`:
//! nothing is guessed that somebody could take for a fact. docs/inventory.md says for each format what is read.
//!
//! | format | file |
//! |---|---|
//! | `veriboot` | [`mod@declarative`] |
//! | `libvirt` | `libvirt.rs`, bounded by `xml_bounds.rs` |
//! | `az-vm`, `az-vmss`, `az-vmss-instances` | `azure_vm.rs`, `azure_scale_set.rs` |
//! | `gcloud` | `gcloud.rs` |
//! | `aws-ec2` | `aws.rs` |
//! | `proxmox` | `proxmox.rs` |
//!
//! Bounds: [`MAX_DOCUMENT_BYTES`], [`MAX_ITEMS`], [`MAX_TEXT_CHARS`], [`MAX_TAGS`]; JSON and TOML nest at most as deep
//! as their parsers allow (128 and 80), XML 64 deep. Work is linear in the document. Nothing here panics, reads files
//! or knows the time.

mod aws;
mod azure_scale_set;
mod azure_vm;
mod bounded;
mod declarative;
mod error;
mod gcloud;
mod item;
mod json;
mod libvirt;
mod merge;
mod place;
mod proxmox;
mod recognise;
mod tags;
mod xml_bounds;

use std::collections::HashMap;

pub use declarative::to_json;
pub use error::ReadError;
pub use merge::{Listing, ScaleSetModel, merge};
pub use recognise::recognise;
pub use veriboot_wire::{InventoryFacts, InventoryFormat};

/// Longest document, bytes.
pub const MAX_DOCUMENT_BYTES: usize = 256 * 1024 * 1024;
/// Longest XML document, bytes: a tree is larger than its text.
pub const MAX_XML_BYTES: usize = 32 * 1024 * 1024;
/// VMs of one document, and of documents together.
pub const MAX_ITEMS: usize = 200_000;
/// Characters of a name, an id or another text.
pub const MAX_TEXT_CHARS: usize = 512;
/// Tags of one VM; those beyond are left out, in the order of their names.
pub const MAX_TAGS: usize = 64;
/// Group of VMs for which neither document nor caller names one.
pub const DEFAULT_GROUP: &str = "default";

/// How a document is read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options<'a> {
    /// Its format; recognised when absent.
    pub format: Option<InventoryFormat>,
    /// Group of all its VMs, in place of what it says.
    pub group: Option<&'a str>,
}

/// Reads a document.
///
/// # Errors
/// [`ReadError`], which names the element and, where there is one, line and column.
pub fn read(bytes: &[u8], options: &Options<'_>) -> Result<Listing, ReadError> {
    if bytes.len() > MAX_DOCUMENT_BYTES {
        return Err(ReadError::TooLarge { bytes: bytes.len(), max: MAX_DOCUMENT_BYTES });
    }
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let text = std::str::from_utf8(bytes).map_err(|e| ReadError::NotUtf8 { offset: e.valid_up_to() })?;
    let format = match options.format {
        Some(format) => format,
        None => recognise(text)?,
    };
    let mut listing = by_format(text, format).map_err(|error| place::told(error, text))?;
    if let Some(group) = options.group {
        for item in &mut listing.items {
            group.clone_into(&mut item.group);
        }
        for set in &mut listing.scale_sets {
            group.clone_into(&mut set.group);
        }
    }
    Ok(listing)
}

fn by_format(text: &str, format: InventoryFormat) -> Result<Listing, ReadError> {
    let listing = match format {
        InventoryFormat::Declarative => declarative::read(text),
        InventoryFormat::Libvirt => libvirt::read(text),
        InventoryFormat::AzVm => azure_vm::read(text),
        InventoryFormat::AzVmss => azure_scale_set::read_sets(text),
        InventoryFormat::AzVmssInstances => azure_scale_set::read_instances(text),
        InventoryFormat::Gcloud => gcloud::read(text),
        InventoryFormat::AwsEc2 => aws::read(text),
        InventoryFormat::Proxmox => proxmox::read(text),
    }?;
    distinct(&listing)?;
    Ok(listing)
}

/// Where keys were read, for documents of which some elements are left out.
#[derive(Debug, Default)]
pub(crate) struct Seen(HashMap<String, String>);

impl Seen {
    /// Refuses a key that another element has already; `path` as in [`place`].
    pub(crate) fn note(&mut self, key: &str, path: &str) -> Result<(), ReadError> {
        match self.0.insert(key.to_owned(), path.to_owned()) {
            None => Ok(()),
            Some(first) => {
                let (element, key) = (path.to_owned(), key.to_owned());
                Err(ReadError::DuplicateElement { element, line: 0, column: 0, first, key })
            }
        }
    }
}

/// Refuses a document that has two VMs of one key. Only documents that are put together may say of one VM twice.
fn distinct(listing: &Listing) -> Result<(), ReadError> {
    let mut seen: HashMap<&str, usize> = HashMap::with_capacity(listing.items.len());
    for (n, item) in listing.items.iter().enumerate() {
        if let Some(first) = seen.insert(&item.key, n) {
            let element = |n: usize| match listing.format {
                InventoryFormat::Declarative => format!("vms[{n}]"),
                InventoryFormat::Libvirt => format!("domain[{}]", n.saturating_add(1)),
                InventoryFormat::AzVm
                | InventoryFormat::AzVmss
                | InventoryFormat::AzVmssInstances
                | InventoryFormat::Gcloud => format!("[{n}]"),
                // Some of their elements are left out: their places are not those of the items, and [`Seen`] knows them.
                InventoryFormat::AwsEc2 | InventoryFormat::Proxmox => {
                    listing.items.get(n).map(|item| format!("VM {:?}", item.name)).unwrap_or_default()
                }
            };
            let (element, first) = (element(n), element(first));
            let key = item.key.clone();
            return Err(ReadError::DuplicateElement { element, line: 0, column: 0, first, key });
        }
    }
    Ok(())
}
