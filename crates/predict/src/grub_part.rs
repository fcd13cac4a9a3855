//! What GRUB will measure: its commands in PCR 8, the files that it reads in PCR 9, the kernel that it starts in PCR 4.

use std::collections::BTreeSet;

use veriboot_appraisal::Reference;
use veriboot_eventlog::{ComponentKind as K, Digest, EventType, HashAlg};

use crate::engine::{Engine, IMAGES_PCR, plain_name};
use crate::grub::{Guide, Ran, Running, Script, World, parse, run};
use crate::input::{Artifact, Inputs, What};
use crate::label::{Event, grub_file, grub_text, labels};
use crate::pe::ImageRole;
use crate::prediction::{RowChange, Slot};
use crate::secure_boot::unescaped;

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
            reference.kind == K::Kernel && reference.event_type == EventType::EV_EFI_BOOT_SERVICES_APPLICATION.0
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
    let on_disk = files
        .iter()
        .find(|(_, path)| disk_file(engine.inputs, path).is_some())
        .map(|(slot, _)| *slot);
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
    const HINT: &str = "give the configuration that will be there with --grub-cfg, or the disk image with --disk";
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
                format!("{} will have another path than {path}, so the GRUB configuration will be another one", kernel.origin),
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

/// A measurement of the next boot, and its event where its text is known.
struct Piece {
    slot: Slot,
    event: Option<Event>,
    relabel: bool,
}

/// From commands to measurements.
fn assemble(engine: &mut Engine<'_>, guide: &[Guide], list: &[Ran], starts: &Configurations) -> Vec<Piece> {
    let reference = reference_commands(guide);
    let old_linux = reference.iter().find(|ran| is_linux(ran));
    let old_initrd = reference.iter().find(|ran| is_initrd(ran));
    let origin = starts.start.and_then(|start| starts.artifact_of(engine, start)).map(|a| a.origin.to_string());
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
    let effects = if ran.effects.is_empty() { old.map(|old| old.effects.clone()).unwrap_or_default() } else { ran.effects.clone() };
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
                            format!("{} is not an EFI image, so its measurement in PCR 4 is not known", kernel.origin),
                            "give the kernel that GRUB loads",
                        ),
                    }
                }
                pieces.push(Piece { slot, event: None, relabel: false });
            }
            (COMMANDS_PCR, K::KernelCommandLine) => {
                let form = FORMS.iter().find(|form| {
                    engine.bank.hash(&[form(&before).as_bytes()]) == slot.reference.digest
                });
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
const FORMS: &[Form] = &[
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
        let escaped: String =
            word.chars().flat_map(|c| if matches!(c, '\\' | '\'' | '"') { vec!['\\', c] } else { vec![c] }).collect();
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
    let kernel_changed = pieces
        .iter()
        .any(|p| p.slot.reference.kind == K::Kernel && p.slot.reference.pcr == FILES_PCR && p.slot.change != RowChange::Same);
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
    let names: Vec<String> =
        engine.inputs.artifacts.iter().filter(|a| a.what == What::Initrd).map(|a| a.origin.name().to_owned()).collect();
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

/// Puts the new measurements where the old ones were.
fn splice(engine: &mut Engine<'_>, old: &[usize], pieces: Vec<Piece>) {
    let old: BTreeSet<usize> = old.iter().copied().collect();
    let kept: BTreeSet<(u32, Digest)> =
        pieces.iter().map(|p| (p.slot.reference.pcr, p.slot.before.unwrap_or(p.slot.reference.digest))).collect();
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
