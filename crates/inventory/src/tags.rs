//! Tags and labels: kept for people, and a few of them read.

use std::collections::BTreeMap;

use veriboot_wire::InventoryFacts;

use crate::{MAX_TAGS, MAX_TEXT_CHARS, item};

/// Tag with the group, in place of what the cloud calls one.
const GROUP: &str = "veriboot-group";
/// Tag with the scale set.
const SCALE_SET: &str = "veriboot-scale-set";
/// Tag with the SHA-256 of the endorsement key's public area.
const EK: &str = "veriboot-ek-sha256";

/// Puts tags in, bounded, and what they say for Veriboot. Gives a note when some were left out or one cannot be used.
pub(crate) fn apply(facts: &mut InventoryFacts, tags: BTreeMap<String, String>) -> Option<String> {
    let mut note = None;
    let left_out = tags.len().saturating_sub(MAX_TAGS);
    if left_out > 0 {
        note = Some(format!("{}: {left_out} of its tags are left out", facts.name));
    }
    // Clouds differ in which characters a name may have.
    let of = |wanted: &str| {
        tags.iter()
            .find(|(name, _)| {
                name.eq_ignore_ascii_case(wanted) || name.replacen(':', "-", 1).eq_ignore_ascii_case(wanted)
            })
            .map(|(_, value)| value.trim())
            .filter(|value| !value.is_empty())
    };
    if let Some(group) = of(GROUP) {
        facts.group = plain(group);
    }
    if let Some(set) = of(SCALE_SET) {
        facts.scale_set = Some(plain(set));
    }
    if let Some(ek) = of(EK) {
        facts.ek_sha256 = item::sha256(ek);
        if facts.ek_sha256.is_none() {
            note = Some(format!("{}: the tag {EK} is no SHA-256", facts.name));
        }
    }
    facts.tags = tags.into_iter().take(MAX_TAGS).map(|(name, value)| (plain(&name), plain(&value))).collect();
    note
}

/// A text for people: bounded, without control characters.
fn plain(text: &str) -> String {
    text.chars()
        .take(MAX_TEXT_CHARS)
        .map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c })
        .collect()
}
