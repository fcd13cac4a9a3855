//! What GRUB will measure: its commands in PCR 8, the files that it reads in PCR 9, the kernel that it starts in PCR 4.

mod pieces;

use std::collections::BTreeSet;

use veriboot_appraisal::Reference;
use veriboot_eventlog::{ComponentKind as K, Digest, EventType, HashAlg};

use crate::engine::{Engine, IMAGES_PCR, plain_name};
use crate::grub::{Guide, Ran, Running, Script, World, parse, run};
use crate::input::{Artifact, Inputs, What};
use crate::pe::ImageRole;
use crate::prediction::{RowChange, Slot};
use crate::secure_boot::unescaped;
use pieces::{FORMS, Form, Piece, assemble};

/// PCR of the boot loader's commands.
const COMMANDS_PCR: u32 = 8;
/// PCR of the files that the boot loader reads.
const FILES_PCR: u32 = 9;

/// The kernel of the reference boot and that of the next one, as GRUB's `linux` names them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct KernelWords {
    pub before: (String, String),
    pub after: (String, String),
}

/// Predicts everything that GRUB does.
pub(crate) fn predict(engine: &mut Engine<'_>) {
    if !engine.has_grub() {
        return;
    }
    let slots = grub_slots(engine);
    let guide = guide(engine, &slots);
    let starts = configurations(engine, &guide);
    let mut list = match starts.start {
        None => reference_commands(&guide),
        Some(start) => {
            let first = starts.artifact_of(engine, start);
            match interpret(engine, &guide, start, &starts, first) {
                Ok(list) => list,
                Err(why) => {
                    engine.problem(
                        "grub-config-unpredicted",
                        Some(COMMANDS_PCR),
                        K::BootLoaderConfig,
                        format!("The commands of the GRUB configuration cannot be predicted: {why}"),
                        "boot one machine with it and approve what it measures",
                    );
                    reference_commands(&guide)
                }
            }
        }
    };
    if starts.start.is_none() {
        without_configuration(engine, &mut list);
    } else if engine.inputs.cmdline.is_some() {
        engine.problem(
            "cmdline-not-used",
            None,
            K::KernelCommandLine,
            "The GRUB configuration says the command line, so the one that was given is not used",
            "leave out --cmdline",
        );
    }
    let pieces = assemble(engine, &guide, &list, &starts);
    splice(engine, &slots, pieces);
}

/// Measurements that GRUB causes, by place in the engine's list.
fn grub_slots(engine: &Engine<'_>) -> Vec<usize> {
    let of_grub = |reference: &Reference| match reference.pcr {
        COMMANDS_PCR | FILES_PCR => reference.event_type == EventType::EV_IPL.0,
        IMAGES_PCR => {
            reference.kind == K::Kernel
                && reference.event_type == EventType::EV_EFI_BOOT_SERVICES_APPLICATION.0
        }
        _ => false,
    };
    engine.slots.iter().enumerate().filter(|(_, slot)| of_grub(&slot.reference)).map(|(at, _)| at).collect()
}

/// Commands of the reference boot with their texts, and what each caused.
fn guide(engine: &Engine<'_>, slots: &[usize]) -> Vec<Guide> {
    let kernels: Vec<&str> = engine
        .slots
        .iter()
        .filter(|slot| slot.reference.pcr == FILES_PCR && slot.reference.kind == K::Kernel)
        .map(|slot| slot.reference.name.as_str())
        .collect();
    let item = |slot: &usize| {
        let reference = &engine.slots.get(*slot)?.reference;
        let value = reference.value.as_deref().unwrap_or_default();
        let texts: Vec<String> = if reference.pcr != COMMANDS_PCR {
            return Some(Guide::Effect { slot: *slot });
        } else if let Some(word) = reference.name.strip_prefix("GRUB command ") {
            let text = unescaped(value);
            return Some(Guide::Command {
                slot: *slot,
                text: Some(text).filter(|text| engine.bank.hash(&[text.as_bytes()]) == reference.digest),
                digest: reference.digest,
                word: word.to_owned(),
            });
        } else if reference.name == "GRUB linux command" {
            let arguments = unescaped(value);
            let words = ["linux", "linuxefi", "linux16"];
            words
                .iter()
                .flat_map(|word| kernels.iter().map(move |kernel| format!("{word} {kernel}")))
                .map(|start| if arguments.is_empty() { start } else { format!("{start} {arguments}") })
                .collect()
        } else {
            return Some(Guide::Effect { slot: *slot });
        };
        let text = texts.into_iter().find(|text| engine.bank.hash(&[text.as_bytes()]) == reference.digest);
        let word = text.as_deref().and_then(|text| text.split(' ').next()).unwrap_or("linux").to_owned();
        Some(Guide::Command { slot: *slot, text, digest: reference.digest, word })
    };
    slots.iter().filter_map(item).collect()
}

/// Which configuration files of the reference boot are replaced.
struct Configurations {
    /// Slot of the first file that is interpreted.
    start: Option<usize>,
    /// Path of the file that was given with `--grub-cfg`.
    given: Option<(usize, String)>,
}

impl Configurations {
    fn artifact_of(&self, engine: &mut Engine<'_>, slot: usize) -> Option<Artifact> {
        let path = engine.slots.get(slot)?.reference.name.clone();
        configuration(engine, self, &path)
    }
}

fn configurations(engine: &Engine<'_>, guide: &[Guide]) -> Configurations {
    let files: Vec<(usize, String)> = guide
        .iter()
        .filter_map(|item| match item {
            Guide::Effect { slot } => {
                let reference = &engine.slots.get(*slot)?.reference;
                let is_config = reference.pcr == FILES_PCR && reference.kind == K::BootLoaderConfig;
                is_config.then(|| (*slot, reference.name.clone()))
            }
            Guide::Command { .. } => None,
        })
        .collect();
    let given = engine.has(&|what| *what == What::GrubConfig).then(|| {
        let main = files.iter().rev().find(|(_, path)| plain_name(path) == "grub.cfg");
        main.or(files.last()).cloned()
    });
    let given = given.flatten();
    let on_disk =
        files.iter().find(|(_, path)| disk_file(engine.inputs, path).is_some()).map(|(slot, _)| *slot);
    let start = given.iter().map(|(slot, _)| *slot).chain(on_disk).min();
    Configurations { start, given }
}

/// Partition number and path out of a path of GRUB: `(hd0,gpt2)/boot/x`.
fn local(path: &str) -> (Option<u32>, &str) {
    match path.strip_prefix('(').and_then(|rest| rest.split_once(')')) {
        Some((device, path)) => {
            let digits = device.rsplit(',').next().unwrap_or_default();
            (digits.trim_start_matches(|c: char| c.is_ascii_alphabetic()).parse().ok(), path)
        }
        None => (None, path),
    }
}

fn disk_file(inputs: &Inputs, path: &str) -> Option<Artifact> {
    let (partition, path) = local(path);
    inputs.on_disk(partition, path).ok().flatten()
}

/// The configuration file of this path, from what was given.
fn configuration(engine: &mut Engine<'_>, starts: &Configurations, path: &str) -> Option<Artifact> {
    if starts.given.as_ref().is_some_and(|(_, given)| given == path) {
        return engine.artifact(&|what| *what == What::GrubConfig, "grub.cfg");
    }
    disk_file(engine.inputs, path)
}

/// The commands of the reference boot, as if they ran again.
fn reference_commands(guide: &[Guide]) -> Vec<Ran> {
    let mut list: Vec<Ran> = Vec::new();
    for item in guide {
        match item {
            Guide::Command { slot, text, word, .. } => list.push(Ran {
                text: text.clone().unwrap_or_default(),
                words: text.as_deref().map_or_else(|| vec![word.clone()], split),
                running: Running::Same(*slot),
                effects: Vec::new(),
            }),
            Guide::Effect { slot } => match list.last_mut() {
                Some(ran) => ran.effects.push(*slot),
                None => list.push(Ran {
                    text: String::new(),
                    words: Vec::new(),
                    running: Running::New,
                    effects: vec![*slot],
                }),
            },
        }
    }
    list
}

fn split(text: &str) -> Vec<String> {
    text.split(' ').map(str::to_owned).collect()
}

/// Runs the configuration that replaces the one at this slot; what came before it stays.
fn interpret(
    engine: &mut Engine<'_>,
    guide: &[Guide],
    start: usize,
    starts: &Configurations,
    first: Option<Artifact>,
) -> Result<Vec<Ran>, String> {
    let first = first.ok_or("the file is not there")?;
    let script = parse(&first.bytes).map_err(|e| format!("{}: {e}", first.origin))?;
    let at = guide.iter().position(|item| matches!(item, Guide::Effect { slot } if *slot == start));
    let later = guide.iter().skip(at.unwrap_or_default() + 1);
    let effects = later.take_while(|item| matches!(item, Guide::Effect { .. })).count();
    let (before, after) = guide.split_at(at.map_or(0, |at| at + 1 + effects));
    let inputs = engine.inputs;
    let given = starts.given.as_ref().map(|(_, path)| path.clone());
    let config =
        inputs.artifacts.iter().find(|artifact| artifact.what == What::GrubConfig).map(|a| a.bytes.clone());
    let script_of = |path: &str| -> Option<Result<Script, String>> {
        let bytes = match (&given, &config) {
            (Some(given), Some(config)) if given == path => config.clone(),
            _ => disk_file(inputs, path)?.bytes,
        };
        Some(parse(&bytes).map_err(|e| e.to_string()))
    };
    let file_exists = |path: &str| {
        let (partition, inside) = local(path);
        inputs.disk.as_ref()?;
        inputs.on_disk(Some(partition?), inside).ok().map(|file| file.is_some())
    };
    let world = World { bank: engine.bank, file_exists: &file_exists, script: &script_of };
    let outcome = run(&script, after, &world)?;
    let mut list = reference_commands(before);
    list.extend(outcome.ran);
    if !outcome.kernel {
        list.extend(reference_commands(after.get(outcome.cursor..).unwrap_or_default()));
    }
    Ok(list)
}

/// No configuration was given: the reference boot's own commands run, with another command line where one was given.
fn without_configuration(engine: &mut Engine<'_>, list: &mut [Ran]) {
    const HINT: &str =
        "give the configuration that will be there with --grub-cfg, or the disk image with --disk";
    let cmdline = engine.inputs.cmdline.clone();
    for ran in list.iter_mut().filter(|ran| is_linux(ran)) {
        let Some(path) = ran.words.get(1).cloned() else { continue };
        if let (Some(cmdline), Running::Same(slot)) = (&cmdline, ran.running) {
            let mut words = vec![ran.words.first().cloned().unwrap_or_default(), path.clone()];
            words.extend(cmdline.split_whitespace().map(str::to_owned));
            if words != ran.words {
                ran.words = words;
                ran.text = ran.words.join(" ");
                ran.running = Running::Instead(slot);
                engine.problem(
                    "grub-config-missing",
                    Some(FILES_PCR),
                    K::BootLoaderConfig,
                    "The command line is written in the GRUB configuration, whose new digest is not known",
                    HINT,
                );
            }
        }
        let is_kernel = |what: &What| *what == What::Image(ImageRole::Kernel);
        let versioned = plain_name(&path).chars().any(|c| c.is_ascii_digit());
        if let Some(kernel) = engine.artifact(&is_kernel, &path)
            && versioned
            && plain_name(kernel.origin.name()) != plain_name(&path)
        {
            engine.problem(
                "grub-config-missing",
                Some(COMMANDS_PCR),
                K::BootLoaderConfig,
                format!(
                    "{} will have another path than {path}, so the GRUB configuration will be another one",
                    kernel.origin
                ),
                HINT,
            );
        }
    }
}

fn is_linux(ran: &Ran) -> bool {
    matches!(ran.words.first().map(String::as_str), Some("linux" | "linuxefi" | "linux16"))
}

fn is_initrd(ran: &Ran) -> bool {
    matches!(ran.words.first().map(String::as_str), Some("initrd" | "initrdefi" | "initrd16"))
}

/// Puts the new measurements where the old ones were.
fn splice(engine: &mut Engine<'_>, old: &[usize], pieces: Vec<Piece>) {
    let old: BTreeSet<usize> = old.iter().copied().collect();
    let kept: BTreeSet<(u32, Digest)> = pieces
        .iter()
        .map(|p| (p.slot.reference.pcr, p.slot.before.unwrap_or(p.slot.reference.digest)))
        .collect();
    let at = old.first().copied().unwrap_or_default();
    let mut removed = Vec::new();
    let mut slots = Vec::with_capacity(engine.slots.len());
    let mut pieces = Some(pieces);
    for (index, slot) in std::mem::take(&mut engine.slots).into_iter().enumerate() {
        if index == at {
            slots.extend(pieces.take().into_iter().flatten().map(|piece| piece.slot));
        }
        if !old.contains(&index) {
            slots.push(slot);
        } else if !kept.contains(&(slot.reference.pcr, slot.reference.digest)) {
            removed.push(Slot { change: RowChange::Removed, ..slot });
        }
    }
    engine.slots = slots;
    engine.removed.extend(removed);
}

/// Text measured by the kernel's EFI stub for GRUB: the form is proven on the reference boot by [`crate::stub_part`].
pub(crate) fn load_options(words: &(String, String), bank: HashAlg, wanted: &Digest) -> Option<Form> {
    FORMS.iter().copied().find(|form| crate::stub_part::wide_digest(&form(words), bank) == *wanted)
}
