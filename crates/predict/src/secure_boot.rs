//! What the files change in PCR 7 and 14: the SBAT level that shim applies, and the certificates inside shim.

use veriboot_eventlog::sbat::Sbat;
use veriboot_eventlog::{ComponentKind as K, Digest, EventType, HashAlg};

use crate::engine::Engine;
use crate::input::{Artifact, What};
use crate::label::{Event, labels};
use crate::pe::{Image, ImageRole};
use crate::prediction::{RowChange, Slot};
use crate::shim;

/// 605DAB50-E046-4300-ABB6-3DD810DD8B23 as stored.
const SHIM_LOCK: [u8; 16] =
    [0x50, 0xab, 0x5d, 0x60, 0x46, 0xe0, 0x00, 0x43, 0xab, 0xb6, 0x3d, 0xd8, 0x10, 0xdd, 0x8b, 0x23];

/// A certificate that the reference boot measured as an authority.
pub(crate) struct Known {
    pub subject: String,
    pub sha256: Digest,
}

/// The authorities of the reference boot. Their values read `SUBJECT, SHA-256 HEX`.
pub(crate) fn authorities(slots: &[Slot]) -> Vec<Known> {
    let authority = |slot: &Slot| {
        let (subject, hex) = slot.reference.value.as_deref()?.rsplit_once(", SHA-256 ")?;
        Some(Known { subject: subject.to_owned(), sha256: Digest::from_hex(hex)? })
    };
    slots.iter().filter(|slot| slot.reference.kind == K::Authority).filter_map(authority).collect()
}

/// The SBAT level of the next boot: that of the reference boot, or a newer one that the new shim brings.
pub(crate) fn level_in_force(engine: &Engine<'_>) -> Option<Sbat> {
    let before = engine.slots.iter().find(|slot| slot.reference.kind == K::SbatLevel);
    let text = unescaped(before?.reference.value.as_deref()?);
    let level = Sbat::parse(text.as_bytes())?;
    match raised(engine, &level) {
        Some(newer) => Sbat::parse(&newer),
        None => Some(level),
    }
}

/// The new shim's own level, when it is newer than this one.
fn raised(engine: &Engine<'_>, level: &Sbat) -> Option<Vec<u8>> {
    let shim = new_shim(engine)?;
    let image = Image::parse(&shim.bytes).ok()?;
    let automatic = shim::automatic_level(&image)?;
    let newer = Sbat::parse(automatic)?;
    (newer.date > level.date).then(|| automatic.to_vec())
}

fn new_shim(engine: &Engine<'_>) -> Option<Artifact> {
    let shims = engine.inputs.artifacts.iter().filter(|a| a.what == What::Image(ImageRole::Shim));
    if let Some(given) = shims.clone().next() {
        return Some(given.clone());
    }
    let slot = engine.slots.iter().find(|slot| slot.reference.kind == K::Shim && slot.from.is_some())?;
    let (_, disk) = engine.inputs.disk.as_ref()?;
    disk.all_partitions()
        .into_iter()
        .find_map(|partition| engine.inputs.on_disk(Some(partition), &slot.reference.name).ok().flatten())
}

/// Replaces the SBAT level, and says when certificates of shim are new.
pub(crate) fn predict(engine: &mut Engine<'_>) {
    let Some(shim) = new_shim(engine) else { return };
    let Ok(image) = Image::parse(&shim.bytes) else { return };
    let changed = engine.slots.iter().any(|s| s.reference.kind == K::Shim && s.change != RowChange::Same);
    let vendor = shim::vendor_certificates(&image);
    let known = authorities(&engine.slots);
    let strange = !vendor.is_empty()
        && !vendor.iter().any(|anchor| {
            let sha256 = HashAlg::Sha256.hash(&[&anchor.der]);
            known.iter().any(|known| known.sha256 == sha256)
        });
    if changed && strange && engine.secure_boot == Some(true) {
        engine.problem(
            "vendor-certificate-changed",
            Some(7),
            K::Authority,
            format!(
                "{} carries no certificate that the reference boot measured as an authority",
                shim.origin
            ),
            "PCR 7 and 14 will change: boot one machine and approve what it measures",
        );
    }
    let Some(at) = engine.slots.iter().position(|slot| slot.reference.kind == K::SbatLevel) else { return };
    let Some(reference) = engine.slots.get(at).map(|slot| slot.reference.clone()) else { return };
    let before = unescaped(reference.value.as_deref().unwrap_or_default());
    let Some(level) = Sbat::parse(before.as_bytes()) else { return };
    let Some(after) = raised(engine, &level) else { return };
    let proven = engine.bank.hash(&[&variable(before.as_bytes())]) == reference.digest;
    let data = variable(&after);
    let digest = engine.bank.hash(&[&data]);
    let event = Event { pcr: 7, event_type: EventType::EV_EFI_VARIABLE_AUTHORITY, digest, data };
    let label = labels(&[event], engine.bank).and_then(|labels| labels.into_iter().next());
    match (proven, label, engine.slots.get_mut(at)) {
        (true, Some(label), Some(slot)) => {
            slot.replace(digest, &shim.origin);
            slot.reference.value = label.value;
        }
        _ => engine.problem(
            "sbat-level-unproven",
            Some(7),
            K::SbatLevel,
            format!(
                "{} will raise the SBAT level, in a form that the reference boot does not show",
                shim.origin
            ),
            "boot one machine and approve what it measures",
        ),
    }
}

/// UEFI_VARIABLE_DATA of the variable SbatLevel (TCG PC Client Platform Firmware Profile, section 10.2.6).
fn variable(content: &[u8]) -> Vec<u8> {
    let name: Vec<u8> = "SbatLevel".encode_utf16().flat_map(u16::to_le_bytes).collect();
    let mut data = SHIM_LOCK.to_vec();
    data.extend((name.len() as u64 / 2).to_le_bytes());
    data.extend((content.len() as u64).to_le_bytes());
    data.extend(name);
    data.extend(content);
    data
}

/// A text as it was before it was made printable.
pub(crate) fn unescaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("\\u{") {
        let (before, escape) = rest.split_at(at);
        out.push_str(before);
        let end = escape.find('}');
        let code =
            end.and_then(|end| u32::from_str_radix(escape.get(3..end)?, 16).ok()).and_then(char::from_u32);
        match (code, end) {
            (Some(c), Some(end)) => {
                out.push(c);
                rest = escape.get(end + 1..).unwrap_or_default();
            }
            _ => {
                out.push_str("\\u{");
                rest = escape.get(3..).unwrap_or_default();
            }
        }
    }
    out.push_str(rest);
    out
}
