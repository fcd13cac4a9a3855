//! The golden files of `cargo xtask capture`: event logs, quotes and PCR values of machines that booted for real.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

/// One captured boot.
#[derive(Clone, Debug)]
pub struct Golden {
    /// Name of the variant, the name of its folder: `secure-boot`, `uki`.
    pub name: String,
    /// The event log as the kernel gave it.
    pub event_log: Vec<u8>,
    /// PCR values by bank and index, lower hex, as the kernel read them from the TPM.
    pub pcrs: BTreeMap<String, BTreeMap<u32, String>>,
    /// What `veriboot-agent evidence` wrote.
    pub bundle: serde_json::Value,
    /// How it was made: packages, command line, and digests of files taken by coreutils.
    pub meta: serde_json::Value,
}

/// Folder of the golden files.
pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus")
}

/// One variant.
pub fn golden(name: &str) -> Result<Golden> {
    let folder = folder().join(name);
    let read = |file: &str| {
        let path = folder.join(file);
        fs::read(&path).with_context(|| format!("cannot read {}", path.display()))
    };
    Ok(Golden {
        name: name.to_owned(),
        event_log: read("eventlog.bin")?,
        pcrs: serde_json::from_slice(&read("pcrs.json")?).context("pcrs.json")?,
        bundle: serde_json::from_slice(&read("bundle.json")?).context("bundle.json")?,
        meta: serde_json::from_slice(&read("meta.json")?).context("meta.json")?,
    })
}

/// All variants, by name.
pub fn all() -> Result<Vec<Golden>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder())? {
        let entry = entry?;
        if entry.path().is_dir() {
            names.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    if names.is_empty() {
        bail!("the corpus is empty: run `cargo xtask capture`");
    }
    names.sort();
    names.iter().map(|name| golden(name)).collect()
}
