//! What a difference is called, in sentences.

use std::collections::BTreeSet;

use veriboot_eventlog::{ComponentKind, EventType};

use super::following::follows;
use super::topic::Topic;
use super::{Sides, UNNAMED_IMAGE, settings};
use crate::cmdline::CmdlineDiff;
use crate::diff::{Change, Item};
use crate::known_authorities::known_authority;
use crate::lists::counts_hashes;
use crate::text::{MAX_VALUE_CHARS, pcr_list, quoted, shortened};

/// Changes of one component that are looked at for names.
pub(super) const MAX_NAMED_CHANGES: usize = 64;
/// Names listed in one message.
const MAX_NAMES: usize = 4;

impl Topic<'_> {
    pub fn message(&self, primary: &Change<'_>, sides: &Sides<'_>) -> String {
        let what = self.kind.title();
        let mut text = match primary {
            Change::Changed(old, new) => format!("{what} changed: {}", self.difference(old, new, sides)),
            Change::Added(new) => {
                format!("{what} added: {} is not in {}", self.called(new), sides.reference)
            }
            Change::Removed(old) => {
                format!("{what} missing: {} is in {} and was not measured", self.called(old), sides.reference)
            }
            Change::Moved(_, new) => {
                format!(
                    "{what} out of order: {} was measured at another place than in {}",
                    self.called(new),
                    sides.reference
                )
            }
            Change::Described(old, new)
                if (old.kind, old.name, old.value) == (new.kind, new.name, new.value) =>
            {
                format!(
                    "{what}: the log gives {} the event type {} instead of {}, with the same digest",
                    self.called(new),
                    EventType(new.event_type),
                    EventType(old.event_type)
                )
            }
            Change::Described(old, new) => {
                let (was, is) = (described(old), described(new));
                // Long paths that begin alike: what differs is in `expected` and `seen`.
                let is = if was == is { "something else further on".to_owned() } else { is };
                format!(
                    "{what}: the log calls what {} has as {was} now {is}, with the same digest",
                    sides.reference
                )
            }
        };
        text.push_str(&self.others(primary));
        text
    }

    /// How a measurement is named in a message.
    fn called(&self, item: &Item<'_>) -> String {
        match (item.value, item.name) {
            (Some(value), _) if self.kind == ComponentKind::KernelCommandLine => quoted(value),
            (Some(value), _) if self.kind == ComponentKind::BootLoaderConfig => quoted(value),
            (_, "") => format!("digest {}", item.digest),
            (_, name) => quoted(name),
        }
    }

    fn difference(&self, old: &Item<'_>, new: &Item<'_>, sides: &Sides<'_>) -> String {
        if self.kind == ComponentKind::KernelCommandLine && old.value == new.value && old.value.is_some() {
            return "the parameters are the same, what stands before them (command, image path) is not"
                .to_owned();
        }
        if !(old.items.is_empty() && new.items.is_empty()) {
            return list_difference(old, new);
        }
        match (old.value, new.value) {
            (Some(was), Some(is)) if self.kind == ComponentKind::KernelCommandLine => {
                let mut diff = CmdlineDiff::between(was, is);
                let full = diff.describe();
                if diff.drop_image_paths() && !diff.is_empty() { diff.describe() } else { full }
            }
            (Some(was), Some(is)) if was != is => {
                let settings =
                    (self.kind == ComponentKind::WindowsPolicy).then(|| settings::difference(was, is));
                if let Some(told) = settings.flatten() {
                    return told;
                }
                format!("now {} instead of {}", quoted(&readable(is)), quoted(&readable(was)))
            }
            _ if old.name != new.name => format!("{} instead of {}", quoted(new.name), quoted(old.name)),
            _ if new.name.is_empty() => format!("not the digest of {}", sides.reference),
            _ => format!("{} does not have the digest of {}", quoted(new.name), sides.reference),
        }
    }

    /// What else belongs to this finding: other members of the component, and other PCRs that show it.
    fn others(&self, primary: &Change<'_>) -> String {
        let lead = self.called(primary.item());
        let mut names: Vec<String> = Vec::new();
        for change in self.changes.iter().take(MAX_NAMED_CHANGES) {
            let called = self.called(change.item());
            if called != lead
                && change.item().name != UNNAMED_IMAGE
                && !names.contains(&called)
                && !self.says_the_same(primary, change)
            {
                names.push(called);
            }
        }
        let mut text = String::new();
        if !names.is_empty() {
            let total = names.len() + self.changes.len().saturating_sub(MAX_NAMED_CHANGES);
            names.truncate(MAX_NAMES);
            text.push_str(&format!("; likewise {}", names.join(", ")));
            if total > names.len() {
                text.push_str(&format!(" and {} more", total - names.len()));
            }
        }
        let pcrs: BTreeSet<u32> = self.changes.iter().chain(&self.attached).map(|c| c.item().pcr).collect();
        if pcrs.len() > 1 {
            let pcrs: Vec<u32> = pcrs.into_iter().collect();
            text.push_str(&format!(" (seen in {})", pcr_list(&pcrs)));
        }
        text
    }

    /// Whether another measurement of a command line differs in the same parameters.
    fn says_the_same(&self, primary: &Change<'_>, other: &Change<'_>) -> bool {
        let Some((Some(old), Some(new))) = values_of(primary) else { return false };
        if self.kind != ComponentKind::KernelCommandLine {
            return false;
        }
        match values_of(other) {
            Some((Some(other_old), Some(other_new))) => {
                follows(&CmdlineDiff::between(other_old, other_new), &CmdlineDiff::between(old, new))
            }
            // The digest of the same command line, without its text.
            Some(_) => true,
            None => false,
        }
    }
}

fn values_of<'a>(change: &Change<'a>) -> Option<(Option<&'a str>, Option<&'a str>)> {
    match change {
        Change::Changed(old, new) => Some((old.value, new.value)),
        _ => None,
    }
}

/// The content of a measurement: its text, or its digest.
pub(super) fn content(item: &Item<'_>) -> String {
    match item.value {
        Some(value) if !is_image(item.kind) => shortened(&readable(value), MAX_VALUE_CHARS),
        _ => item.digest.to_string(),
    }
}

/// Kinds of which a log knows a file and its digest, and no text that the digest covers.
pub(crate) fn is_image(kind: ComponentKind) -> bool {
    use ComponentKind as K;
    matches!(kind, K::Shim | K::BootLoader | K::Kernel | K::Initrd | K::OptionRom | K::Firmware)
}

/// Escaped line ends of a text of several lines, such as an SBAT level, as separators.
pub(crate) fn readable(value: &str) -> String {
    value.trim_end_matches("\\u{a}").replace("\\u{a}", "; ")
}

fn described(item: &Item<'_>) -> String {
    let name = match item.value {
        Some(value) if value != item.name => {
            format!("{} = {}", shortened(item.name, 60), shortened(value, 60))
        }
        _ => shortened(item.name, 120),
    };
    format!("{} {}", item.kind.title(), quoted(&name))
}

/// Added and removed members of a list.
fn list_difference(old: &Item<'_>, new: &Item<'_>) -> String {
    let roll_over = roll_over(old, new);
    let (old, new) = (old.items, new.items);
    let list = |items: &[String]| {
        let total = items.len();
        let mut text = items.iter().take(MAX_NAMES).map(|i| quoted(i)).collect::<Vec<_>>().join(", ");
        if total > MAX_NAMES {
            text.push_str(&format!(" and {} more", total - MAX_NAMES));
        }
        text
    };
    let counted = |items: &[String]| {
        items.iter().find(|i| counts_hashes(i)).cloned().unwrap_or_else(|| "no hashes".to_owned())
    };
    let named = |of: &[String], not_in: &[String]| -> Vec<String> {
        of.iter().filter(|i| !counts_hashes(i) && !not_in.contains(i)).cloned().collect()
    };
    let (added, removed) = (named(new, old), named(old, new));
    let mut parts = Vec::new();
    if !added.is_empty() {
        parts.push(format!("added {}", list(&added)));
    }
    if !removed.is_empty() {
        parts.push(format!("removed {}", list(&removed)));
    }
    let (hashes_before, hashes_now) = (counted(old), counted(new));
    if hashes_before != hashes_now {
        parts.push(format!("{hashes_now} instead of {hashes_before}"));
    }
    if parts.is_empty() {
        parts.push("members with the same names have other content".to_owned());
    }
    parts.extend(roll_over);
    parts.join("; ")
}

/// Whether Microsoft's certificates of 2023 were added or taken out. A name is anybody's: the certificate itself decides,
/// where there is one.
pub(super) fn roll_over(old: &Item<'_>, new: &Item<'_>) -> Option<String> {
    let named =
        |name: &str| name.contains("2023") && (name.contains("Microsoft") || name.contains("Windows UEFI"));
    let has = |items: &[String]| items.iter().any(|name| named(name));
    match (has(old.items), has(new.items)) {
        (true, false) => Some("Microsoft's 2023 certificates are gone".to_owned()),
        (false, true) => {
            let list = new.entry.and_then(|entry| entry.content.signatures());
            let stranger = list.iter().flat_map(|list| &list.certificates).find(|certificate| {
                named(&certificate.subject)
                    && known_authority(&certificate.sha256).is_none_or(|known| known.who != "Microsoft")
            });
            Some(match stranger {
                Some(certificate) => format!(
                    "{} has the name of a certificate of Microsoft, and is another one (SHA-256 {})",
                    quoted(&certificate.subject),
                    certificate.sha256
                ),
                None => "this is the roll-over to Microsoft's 2023 certificates".to_owned(),
            })
        }
        _ => None,
    }
}
