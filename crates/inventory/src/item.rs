//! Facts about one VM, with what is derived from others.

use std::collections::BTreeMap;

use veriboot_wire::{Configured, ConfiguredSecurity, InventoryFacts, PowerState};

use crate::DEFAULT_GROUP;

/// Facts of which nothing is known but key and name.
pub(crate) fn unknown(key: String, name: String, platform: &str) -> InventoryFacts {
    InventoryFacts {
        key,
        name,
        group: DEFAULT_GROUP.to_owned(),
        scale_set: None,
        platform: platform.to_owned(),
        os: None,
        region: None,
        power: PowerState::Unknown,
        security_type: ConfiguredSecurity::Unknown,
        confidential_kind: None,
        secure_boot: Configured::Unknown,
        vtpm: Configured::Unknown,
        machine_uuid: None,
        cloud_id: None,
        ek_sha256: None,
        tags: BTreeMap::new(),
    }
}

/// On or off, or not said.
pub(crate) fn switched(value: Option<bool>) -> Configured {
    match value {
        Some(true) => Configured::On,
        Some(false) => Configured::Off,
        None => Configured::Unknown,
    }
}

/// The security type that follows from what is configured, where the source has no word of its own for it.
pub(crate) fn security_type(item: &InventoryFacts) -> ConfiguredSecurity {
    use Configured::{Off, On, Unknown, Unsupported};
    match (item.confidential_kind.is_some(), item.secure_boot, item.vtpm) {
        (true, _, _) => ConfiguredSecurity::Confidential,
        (false, On, On) => ConfiguredSecurity::TrustedLaunch,
        (false, Off | Unsupported, _) | (false, _, Off | Unsupported) => ConfiguredSecurity::Standard,
        (false, Unknown, _) | (false, _, Unknown) => ConfiguredSecurity::Unknown,
    }
}

/// A UUID in lower case; `None` for what is none.
pub(crate) fn uuid(text: &str) -> Option<String> {
    let text = text.trim();
    let groups: Vec<usize> = text.split('-').map(str::len).collect();
    let hex = text.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-');
    (hex && groups == [8, 4, 4, 4, 12]).then(|| text.to_ascii_lowercase())
}

/// A SHA-256 in lower case hex; `None` for what is none.
pub(crate) fn sha256(text: &str) -> Option<String> {
    let text = text.trim();
    (text.len() == 64 && text.bytes().all(|b| b.is_ascii_hexdigit())).then(|| text.to_ascii_lowercase())
}

/// `linux` or `windows` of a word that a source uses.
pub(crate) fn os(word: &str) -> Option<String> {
    let word = word.to_ascii_lowercase();
    ["linux", "windows"].into_iter().find(|known| word.contains(known)).map(str::to_owned)
}

/// Last segment of a path or URL, and the segment behind a named one.
pub(crate) fn last_segment(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// The segment behind `name`, whatever its case.
pub(crate) fn segment_after<'p>(path: &'p str, name: &str) -> Option<&'p str> {
    let mut segments = path.split('/');
    segments.find(|s| s.eq_ignore_ascii_case(name))?;
    segments.next().filter(|s| !s.is_empty())
}
