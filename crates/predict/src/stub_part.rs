//! What EFI stubs measure: sections of a unified kernel image in PCR 11, command lines in PCR 9 and 12, initrds in PCR 9.

use veriboot_appraisal::Reference;
use veriboot_eventlog::{ComponentKind as K, Digest, EventType, HashAlg};

use crate::engine::Engine;
use crate::grub_part::load_options;
use crate::input::{Origin, What};
use crate::label::{Event, labels};
use crate::pe::Image;
use crate::prediction::{RowChange, Slot};

/// Sections in the order in which systemd-stub measures them, and the first version that measures each (systemd-stub(7)).
const SECTIONS: &[(&str, u32)] = &[
    (".linux", 0),
    (".osrel", 0),
    (".cmdline", 0),
    (".initrd", 0),
    (".ucode", 256),
    (".splash", 0),
    (".dtb", 0),
    (".uname", 254),
    (".sbat", 254),
    (".pcrpkey", 0),
];
/// Sections that choose between several variants inside one image.
const VARIANTS: &[&str] = &[".profile", ".dtbauto", ".hwids"];
const SECTIONS_PCR: u32 = 11;

/// Predicts everything that stubs do.
pub(crate) fn predict(engine: &mut Engine<'_>) {
    let cmdline = sections(engine);
    command_lines(engine, cmdline);
    initrds(engine);
}

/// UTF-16 with the NUL that ends it.
fn wide(text: &str) -> Vec<u8> {
    text.encode_utf16().chain([0]).flat_map(u16::to_le_bytes).collect()
}

pub(crate) fn wide_digest(text: &str, bank: HashAlg) -> Digest {
    bank.hash(&[&wide(text)])
}

/// The sections of a new unified kernel image. Gives its command line.
fn sections(engine: &mut Engine<'_>) -> Option<(String, Origin)> {
    let uki = engine.uki.clone()?;
    let image = Image::parse(&uki.bytes).ok()?;
    let present = image.sections();
    let section = |name: &str| present.iter().find(|(seen, _)| seen == name).map(|(_, content)| *content);
    if let Some((variant, _)) = present.iter().find(|(name, _)| VARIANTS.contains(&name.as_str())) {
        engine.problem(
            "uki-variants",
            Some(SECTIONS_PCR),
            K::UkiSection,
            format!(
                "{} has a section {variant}, so the machine decides which parts of it are measured",
                uki.origin
            ),
            "boot one machine and approve what it measures",
        );
    }
    let version = stub_version(section(".sdmagic").unwrap_or_default());
    let old: Vec<usize> = engine
        .slots
        .iter()
        .enumerate()
        .filter(|(_, slot)| {
            let r = &slot.reference;
            r.pcr == SECTIONS_PCR
                && r.kind == K::UkiSection
                && r.event_type == EventType::EV_IPL.0
                && r.name.starts_with('.')
        })
        .map(|(at, _)| at)
        .collect();
    let was = |name: &str| {
        old.iter().find_map(|at| engine.slots.get(*at).filter(|slot| slot.reference.name == name)).cloned()
    };
    // How names are written is seen on the first one.
    let narrow = |name: &str| [name.as_bytes(), b"\0"].concat();
    let is_wide =
        was(".linux (name)").is_some_and(|slot| slot.reference.digest == wide_digest(".linux", engine.bank));
    let mut pieces: Vec<(Slot, Event)> = Vec::new();
    for (name, since) in SECTIONS {
        let Some(content) = section(name) else { continue };
        // Without a version the reference boot says which sections are measured.
        let measured = version.map_or_else(|| was(name).is_some(), |version| version >= *since);
        if !measured {
            continue;
        }
        let data = if is_wide { wide(name) } else { narrow(name) };
        for (shown, digest) in [
            (format!("{name} (name)"), engine.bank.hash(&[&data])),
            ((*name).to_owned(), engine.bank.hash(&[content])),
        ] {
            let event =
                Event { pcr: SECTIONS_PCR, event_type: EventType::EV_IPL, digest, data: data.clone() };
            let mut slot = was(&shown).unwrap_or_else(|| new_section(&shown, digest));
            slot.replace(digest, &uki.origin);
            slot.from = Some(uki.origin.to_string());
            pieces.push((slot, event));
        }
    }
    let events: Vec<Event> = pieces.iter().map(|(_, event)| event.clone()).collect();
    for ((slot, _), label) in pieces.iter_mut().zip(labels(&events, engine.bank).unwrap_or_default()) {
        slot.reference.name = label.name;
        slot.reference.value = label.value;
    }
    let new: Vec<Slot> = pieces.into_iter().map(|(slot, _)| slot).collect();
    let first = old.first().copied().unwrap_or(engine.slots.len());
    let mut slots = Vec::new();
    for (at, slot) in std::mem::take(&mut engine.slots).into_iter().enumerate() {
        if at == first {
            slots.extend(new.iter().cloned());
        }
        if !old.contains(&at) {
            slots.push(slot);
        } else if !new.iter().any(|new| new.reference.name == slot.reference.name) {
            engine.removed.push(Slot { change: RowChange::Removed, ..slot });
        }
    }
    engine.slots = slots;
    let text = String::from_utf8_lossy(section(".cmdline")?).into_owned();
    Some((text.trim_end_matches(['\0', '\n', ' ']).to_owned(), uki.origin))
}

fn new_section(name: &str, digest: Digest) -> Slot {
    let reference = Reference {
        pcr: SECTIONS_PCR,
        event_type: EventType::EV_IPL.0,
        kind: K::UkiSection,
        name: name.to_owned(),
        value: None,
        signer: None,
        items: Vec::new(),
        signatures: Vec::new(),
        digest,
        varies: None,
    };
    Slot { reference, before: None, change: RowChange::Added, from: None }
}

/// Version out of `#### LoaderInfo: systemd-stub 252.39-1 ####`.
fn stub_version(magic: &[u8]) -> Option<u32> {
    let text = String::from_utf8_lossy(magic);
    let version = text.split("systemd-stub ").nth(1)?;
    version.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

/// Command lines as UTF-16: of systemd-boot in PCR 12, of the kernel's stub in PCR 9.
fn command_lines(engine: &mut Engine<'_>, of_uki: Option<(String, Origin)>) {
    let old: Vec<String> = engine
        .slots
        .iter()
        .filter(|slot| slot.reference.kind == K::KernelCommandLine)
        .filter_map(|slot| slot.reference.value.clone())
        .map(|value| crate::secure_boot::unescaped(&value))
        .collect();
    let entry = engine.inputs.artifacts.iter().find_map(|artifact| match &artifact.what {
        What::LoaderEntry(entry) => Some((entry.options.clone(), artifact.origin.clone())),
        _ => None,
    });
    let given = engine.inputs.cmdline.clone().map(|text| (text, "--cmdline".to_owned()));
    let mut new = of_uki.map(|(text, origin)| (text, origin.to_string()));
    if !engine.has_grub() {
        if entry.is_some() {
            engine.artifact(&|what| matches!(what, What::LoaderEntry(_)), "");
        }
        new = new.or(entry.map(|(text, origin)| (text, origin.to_string()))).or(given);
    }
    let words = engine.kernel_words.clone();
    for at in 0..engine.slots.len() {
        let Some(reference) = engine.slots.get(at).map(|slot| slot.reference.clone()) else { continue };
        let of_stub = reference.pcr == 9 && reference.event_type == EventType::EV_EVENT_TAG.0;
        if reference.kind != K::KernelCommandLine || !(of_stub || reference.pcr == 12) {
            continue;
        }
        let text = if let Some(words) = &words {
            if words.before == words.after {
                continue;
            }
            load_options(&words.before, engine.bank, &reference.digest)
                .map(|form| (form(&words.after), "GRUB configuration".to_owned()))
        } else if let Some((text, origin)) = &new {
            let suffix = SUFFIXES.iter().find(|suffix| {
                old.iter()
                    .chain([text])
                    .any(|old| wide_digest(&format!("{old}{suffix}"), engine.bank) == reference.digest)
            });
            suffix.map(|suffix| (format!("{text}{suffix}"), origin.clone()))
        } else {
            continue;
        };
        let Some((text, origin)) = text else {
            engine.problem(
                "cmdline-unproven",
                Some(reference.pcr),
                K::KernelCommandLine,
                "The command line of the reference boot is not shown by its log, so the form of the new one is not known",
                "boot one machine and approve what it measures",
            );
            continue;
        };
        let digest = wide_digest(&text, engine.bank);
        if digest == reference.digest {
            continue;
        }
        let event = Event { pcr: 12, event_type: EventType::EV_IPL, digest, data: wide(&text) };
        let value = labels(&[event], engine.bank).and_then(|labels| labels.into_iter().next()?.value);
        if let Some(slot) = engine.slots.get_mut(at) {
            slot.before = Some(slot.reference.digest);
            slot.reference.digest = digest;
            slot.change = RowChange::Changed;
            slot.from = Some(origin);
            if !of_stub {
                slot.reference.value = value;
            }
        }
    }
}

/// What loaders add to a command line.
const SUFFIXES: &[&str] = &["", " ", " initrd=initrd"];

/// The initrd that the kernel's stub loads: what another measurement of the reference boot shows, or the files.
fn initrds(engine: &mut Engine<'_>) {
    for at in 0..engine.slots.len() {
        let Some(reference) = engine.slots.get(at).map(|slot| slot.reference.clone()) else { continue };
        if reference.kind != K::Initrd || reference.event_type != EventType::EV_EVENT_TAG.0 {
            continue;
        }
        let twin = engine.slots.iter().find(|slot| {
            let is_content = slot.reference.kind == K::Initrd || slot.reference.name == ".initrd";
            is_content
                && slot.reference.event_type == EventType::EV_IPL.0
                && slot.before.unwrap_or(slot.reference.digest) == reference.digest
        });
        if let Some(twin) = twin {
            let (digest, from, change) = (twin.reference.digest, twin.from.clone(), twin.change);
            if let Some(slot) = engine.slots.get_mut(at)
                && change != RowChange::Same
                && digest != slot.reference.digest
            {
                slot.before = Some(slot.reference.digest);
                slot.reference.digest = digest;
                slot.change = RowChange::Changed;
                slot.from = from;
            }
            continue;
        }
        let given: Vec<_> = engine.inputs.artifacts.iter().filter(|a| a.what == What::Initrd).collect();
        let parts: Vec<&[u8]> = given.iter().map(|artifact| artifact.bytes.as_slice()).collect();
        let origin = given.first().map(|artifact| artifact.origin.clone());
        let digest = engine.bank.hash(&parts);
        let names: Vec<String> = given.iter().map(|artifact| artifact.origin.name().to_owned()).collect();
        match origin {
            Some(origin) => {
                for name in names {
                    engine.artifact(&|what| *what == What::Initrd, &name);
                }
                if let Some(slot) = engine.slots.get_mut(at) {
                    slot.replace(digest, &origin);
                }
            }
            None if engine
                .slots
                .iter()
                .any(|s| s.reference.kind == K::Kernel && s.change != RowChange::Same) =>
            {
                engine.problem(
                    "initrd-missing",
                    Some(9),
                    K::Initrd,
                    "The kernel changes, and the initrd that it will load was not given",
                    "give it with --initrd; the boot deviates in PCR 9 otherwise",
                );
            }
            None => {}
        }
    }
}
