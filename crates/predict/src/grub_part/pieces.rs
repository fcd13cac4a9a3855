//! From the commands that GRUB will run to the measurements that they cause.

use veriboot_appraisal::Reference;
use veriboot_eventlog::{ComponentKind as K, Digest};

use super::{
    COMMANDS_PCR, Configurations, FILES_PCR, KernelWords, configuration, disk_file, is_initrd, is_linux,
    reference_commands,
};
use crate::engine::{Engine, IMAGES_PCR};
use crate::grub::{Guide, Ran, Running};
use crate::input::{Artifact, What};
use crate::label::{Event, grub_file, grub_text, labels};
use crate::pe::ImageRole;
use crate::prediction::{RowChange, Slot};

/// A measurement of the next boot, and its event where its text is known.
pub(super) struct Piece {
    pub slot: Slot,
    event: Option<Event>,
    relabel: bool,
}

/// From commands to measurements.
pub(super) fn assemble(
    engine: &mut Engine<'_>,
    guide: &[Guide],
    list: &[Ran],
    starts: &Configurations,
) -> Vec<Piece> {
    let reference = reference_commands(guide);
    let old_linux = reference.iter().find(|ran| is_linux(ran));
    let old_initrd = reference.iter().find(|ran| is_initrd(ran));
    let origin =
        starts.start.and_then(|start| starts.artifact_of(engine, start)).map(|a| a.origin.to_string());
    let origin = origin.or_else(|| engine.inputs.cmdline.is_some().then(|| "--cmdline".to_owned()));
    let mut pieces = Vec::new();
    for ran in list {
        if !ran.words.is_empty() {
            pieces.extend(command(engine, ran, origin.as_deref()));
        }
        if is_linux(ran) {
            linux(engine, ran, old_linux, &mut pieces);
        } else if is_initrd(ran) {
            initrd(engine, ran, old_initrd, &mut pieces);
        } else {
            for effect in &ran.effects {
                pieces.extend(other_effect(engine, *effect, starts));
            }
        }
    }
    let events: Vec<Event> = pieces.iter().filter_map(|piece| piece.event.clone()).collect();
    match labels(&events, engine.bank) {
        Some(labels) => {
            let known = pieces.iter_mut().filter(|piece| piece.event.is_some());
            for (piece, label) in known.zip(labels).filter(|(piece, _)| piece.relabel) {
                piece.slot.reference.kind = label.kind;
                piece.slot.reference.name = label.name;
                piece.slot.reference.value = label.value;
            }
        }
        None => engine.problem(
            "too-many-measurements",
            Some(COMMANDS_PCR),
            K::BootLoaderConfig,
            "The GRUB configuration runs more commands than an event log may have",
            "use a smaller configuration",
        ),
    }
    pieces
}

fn command(engine: &Engine<'_>, ran: &Ran, origin: Option<&str>) -> Option<Piece> {
    let event = grub_text("grub_cmd: ", &ran.text, engine.bank);
    match ran.running {
        Running::Same(at) => {
            let slot = engine.slots.get(at)?.clone();
            // An unproven text is not known, and its label stays.
            let event = (slot.reference.digest == event.digest).then_some(event);
            Some(Piece { slot, event, relabel: false })
        }
        Running::Instead(at) => {
            let mut slot = engine.slots.get(at)?.clone();
            slot.before = Some(slot.reference.digest);
            slot.reference.digest = event.digest;
            slot.change = RowChange::Changed;
            slot.from = origin.map(str::to_owned);
            Some(Piece { slot, event: Some(event), relabel: true })
        }
        Running::New => Some(Piece { slot: added(&event, origin), event: Some(event), relabel: true }),
    }
}

fn added(event: &Event, origin: Option<&str>) -> Slot {
    let reference = Reference {
        pcr: event.pcr,
        event_type: event.event_type.0,
        kind: K::BootLoaderConfig,
        name: String::new(),
        value: None,
        signer: None,
        items: Vec::new(),
        signatures: Vec::new(),
        digest: event.digest,
        varies: None,
    };
    Slot { reference, before: None, change: RowChange::Added, from: origin.map(str::to_owned) }
}

/// What `linux` causes: the file, the image, the command line.
fn linux(engine: &mut Engine<'_>, ran: &Ran, old: Option<&Ran>, pieces: &mut Vec<Piece>) {
    let Some(path) = ran.words.get(1).cloned() else { return };
    let effects = if ran.effects.is_empty() {
        old.map(|old| old.effects.clone()).unwrap_or_default()
    } else {
        ran.effects.clone()
    };
    let before = old.map(kernel_words).unwrap_or_default();
    let after = kernel_words(ran);
    let kernel = engine
        .artifact(&|what| *what == What::Image(ImageRole::Kernel), &path)
        .or_else(|| disk_file(engine.inputs, &path));
    if kernel.is_none() && path != before.0 {
        engine.problem(
            "kernel-missing",
            Some(IMAGES_PCR),
            K::Kernel,
            format!("GRUB will load {path}, which was not given"),
            "give it with --kernel, --deb, --rpm or --disk",
        );
    }
    for effect in effects {
        let Some(mut slot) = engine.slots.get(effect).cloned() else { continue };
        match (slot.reference.pcr, slot.reference.kind) {
            (FILES_PCR, _) => {
                let digest = kernel.as_ref().map(|kernel| engine.bank.hash(&[&kernel.bytes]));
                pieces.push(file(slot, &path, digest.zip(kernel.as_ref())));
            }
            (IMAGES_PCR, _) => {
                if let Some(kernel) = &kernel {
                    match engine.authenticode(kernel, K::Kernel) {
                        Some(digest) => slot.replace(digest, &kernel.origin),
                        None => engine.problem(
                            "not-an-efi-image",
                            Some(IMAGES_PCR),
                            K::Kernel,
                            format!(
                                "{} is not an EFI image, so its measurement in PCR 4 is not known",
                                kernel.origin
                            ),
                            "give the kernel that GRUB loads",
                        ),
                    }
                }
                pieces.push(Piece { slot, event: None, relabel: false });
            }
            (COMMANDS_PCR, K::KernelCommandLine) => {
                let form = FORMS
                    .iter()
                    .find(|form| engine.bank.hash(&[form(&before).as_bytes()]) == slot.reference.digest);
                let event = form.map(|form| grub_text("kernel_cmdline: ", &form(&after), engine.bank));
                if event.is_none() && before != after {
                    engine.problem(
                        "cmdline-unproven",
                        Some(COMMANDS_PCR),
                        K::KernelCommandLine,
                        "GRUB measured the kernel command line in a form that is not known",
                        "boot one machine and approve what it measures",
                    );
                }
                let changed = event.as_ref().filter(|event| event.digest != slot.reference.digest);
                let relabel = changed.is_some();
                if let Some(event) = changed {
                    slot.before = Some(slot.reference.digest);
                    slot.reference.digest = event.digest;
                    slot.change = RowChange::Changed;
                    slot.from = pieces.last().and_then(|_| ran_origin(pieces));
                }
                pieces.push(Piece { slot, event, relabel });
            }
            _ => pieces.push(Piece { slot, event: None, relabel: false }),
        }
    }
    engine.kernel_words = Some(KernelWords { before, after });
}

/// Where the last changed command comes from.
fn ran_origin(pieces: &[Piece]) -> Option<String> {
    let command = pieces.iter().rev().find(|piece| piece.slot.reference.pcr == COMMANDS_PCR)?;
    command.slot.from.clone()
}

/// Makes a text of image path and arguments.
pub(crate) type Form = fn(&(String, String)) -> String;

/// Forms in which GRUB measures a command line.
pub(super) const FORMS: &[Form] = &[
    |(path, arguments)| joined(path, arguments),
    |(path, arguments)| joined(&format!("BOOT_IMAGE={path}"), arguments),
    |(_, arguments)| arguments.clone(),
];

fn joined(path: &str, arguments: &str) -> String {
    if arguments.is_empty() { path.to_owned() } else { format!("{path} {arguments}") }
}

/// Path and arguments, the latter quoted as GRUB hands them to the kernel.
fn kernel_words(ran: &Ran) -> (String, String) {
    let quoted = |word: &String| {
        let escaped: String = word
            .chars()
            .flat_map(|c| if matches!(c, '\\' | '\'' | '"') { vec!['\\', c] } else { vec![c] })
            .collect();
        if word.contains(' ') { format!("\"{escaped}\"") } else { escaped }
    };
    let arguments: Vec<String> = ran.words.iter().skip(2).map(quoted).collect();
    (ran.words.get(1).cloned().unwrap_or_default(), arguments.join(" "))
}

/// What `initrd` causes: one file event per path.
fn initrd(engine: &mut Engine<'_>, ran: &Ran, old: Option<&Ran>, pieces: &mut Vec<Piece>) {
    let templates: Vec<Slot> = ran
        .effects
        .iter()
        .chain(old.iter().flat_map(|old| &old.effects))
        .filter_map(|effect| engine.slots.get(*effect))
        .filter(|slot| slot.reference.pcr == FILES_PCR)
        .cloned()
        .collect();
    let kernel_changed = pieces.iter().any(|p| {
        p.slot.reference.kind == K::Kernel
            && p.slot.reference.pcr == FILES_PCR
            && p.slot.change != RowChange::Same
    });
    let paths: Vec<&String> = ran.words.iter().skip(1).filter(|word| !word.starts_with("--")).collect();
    for (at, path) in paths.iter().enumerate() {
        let same_place = templates.iter().find(|slot| slot.reference.name == **path);
        let Some(template) = same_place.or(templates.get(at)).or(templates.last()).cloned() else { continue };
        let found = engine
            .artifact(&|what| *what == What::Initrd, path)
            .or_else(|| nth_initrd(engine, at, paths.len()))
            .or_else(|| disk_file(engine.inputs, path));
        if found.is_none() && (template.reference.name != **path || kernel_changed) {
            engine.problem(
                "initrd-missing",
                Some(FILES_PCR),
                K::Initrd,
                format!("GRUB will read {path} with another kernel than before, and no initrd was given"),
                "give it with --initrd or --disk; the boot deviates in PCR 9 otherwise",
            );
        }
        let digest = found.as_ref().map(|found| engine.bank.hash(&[&found.bytes]));
        pieces.push(file(template, path, digest.zip(found.as_ref())));
    }
    let others: Vec<usize> = ran
        .effects
        .iter()
        .copied()
        .filter(|effect| engine.slots.get(*effect).is_some_and(|slot| slot.reference.pcr != FILES_PCR))
        .collect();
    pieces.extend(others.into_iter().filter_map(|effect| {
        Some(Piece { slot: engine.slots.get(effect)?.clone(), event: None, relabel: false })
    }));
}

/// The initrds that were given, in their order, where there are as many as GRUB reads.
fn nth_initrd(engine: &mut Engine<'_>, at: usize, count: usize) -> Option<Artifact> {
    let names: Vec<String> = engine
        .inputs
        .artifacts
        .iter()
        .filter(|a| a.what == What::Initrd)
        .map(|a| a.origin.name().to_owned())
        .collect();
    let name = (names.len() == count).then(|| names.get(at).cloned())??;
    engine.artifact(&|what| *what == What::Initrd, &name)
}

/// A file event like this one, with another path and, where it is known, another content.
fn file(mut slot: Slot, path: &str, content: Option<(Digest, &Artifact)>) -> Piece {
    let renamed = slot.reference.name != path;
    match content {
        Some((digest, artifact)) => slot.replace(digest, &artifact.origin),
        None if renamed => slot.change = RowChange::Changed,
        None => {}
    }
    if renamed && slot.change == RowChange::Same {
        slot.change = RowChange::Changed;
    }
    let event = grub_file(path, slot.reference.digest);
    Piece { slot, event: Some(event), relabel: renamed }
}

/// A file that another command reads: a configuration, a font, a module.
fn other_effect(engine: &mut Engine<'_>, effect: usize, starts: &Configurations) -> Option<Piece> {
    let slot = engine.slots.get(effect)?.clone();
    if slot.reference.pcr != FILES_PCR {
        return Some(Piece { slot, event: None, relabel: false });
    }
    let path = slot.reference.name.clone();
    let found = configuration(engine, starts, &path).or_else(|| match slot.reference.kind {
        K::Initrd => engine.artifact(&|what| *what == What::Initrd, &path),
        _ => None,
    });
    let digest = found.as_ref().map(|found| engine.bank.hash(&[&found.bytes]));
    Some(file(slot, &path, digest.zip(found.as_ref())))
}
