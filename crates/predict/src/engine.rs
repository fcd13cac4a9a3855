//! From a reference boot and files to the measurements of the next boot.
//!
//! Everything that the files do not replace stays as the reference boot measured it, in its order. A text is replaced only
//! in a form that gives the digest of the reference boot when it is filled with the reference boot's own words.

use std::collections::{BTreeMap, BTreeSet};

use veriboot_appraisal::{Baseline, Reference, ReferenceBoot, Source, SourceFile};
use veriboot_eventlog::{ComponentKind as K, Digest, EventType, HashAlg};

use crate::disk::PartitionKind;
use crate::input::{Artifact, Inputs, Origin, What};
use crate::pe::{Image, ImageRole};
use crate::prediction::{ImageReport, Prediction, RowChange, Slot, Unpredicted};
use crate::{grub_part, limits, secure_boot, stub_part};

/// Why nothing can be predicted at all.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PredictError {
    /// No boot to start from.
    #[error("the baseline has no accepted boot that measures a boot loader or kernel in PCR 4")]
    NoReferenceBoot,
    /// Nothing to predict from.
    #[error("no file was given to predict from")]
    NothingGiven,
}

impl PredictError {
    /// Stable identifier in kebab case.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::NoReferenceBoot => "no-reference-boot",
            Self::NothingGiven => "nothing-given",
        }
    }
}

/// PCR of boot loaders and kernels.
pub(crate) const IMAGES_PCR: u32 = 4;

/// Predicts the next boot after the newest one that the baseline accepts.
pub fn predict(baseline: &Baseline, inputs: &Inputs) -> Result<Prediction, PredictError> {
    if inputs.is_empty() {
        return Err(PredictError::NothingGiven);
    }
    let (slots, secure_boot) = reference(baseline).ok_or(PredictError::NoReferenceBoot)?;
    let mut engine = Engine {
        bank: baseline.bank,
        secure_boot,
        inputs,
        slots,
        removed: Vec::new(),
        problems: Vec::new(),
        images: Vec::new(),
        uki: None,
        kernel_words: None,
        used: BTreeSet::new(),
    };
    engine.loaders();
    grub_part::predict(&mut engine);
    stub_part::predict(&mut engine);
    secure_boot::predict(&mut engine);
    engine.unused();
    Ok(engine.finish(baseline))
}

/// The newest boot: the newest sequence that is accepted in each PCR, those of one boot together and in their order.
fn reference(baseline: &Baseline) -> Option<(Vec<Slot>, Option<bool>)> {
    let has_images = |boot: &&ReferenceBoot| boot.measurements.iter().any(is_image);
    let main = baseline.boots.iter().rev().find(has_images)?;
    let mut covered: BTreeSet<u32> = BTreeSet::new();
    let mut slots = Vec::new();
    let mut secure_boot = main.secure_boot;
    for boot in std::iter::once(main).chain(baseline.boots.iter().rev()) {
        let spoken: BTreeSet<u32> = match &boot.pcrs {
            Some(pcrs) => pcrs.clone(),
            None => (0..24).chain(boot.measurements.iter().map(|m| m.pcr)).collect(),
        };
        let new = boot.measurements.iter().filter(|m| spoken.contains(&m.pcr) && !covered.contains(&m.pcr));
        slots.extend(new.cloned().map(Slot::kept));
        secure_boot = secure_boot.or(boot.secure_boot);
        covered.extend(spoken);
    }
    Some((slots, secure_boot))
}

fn is_image(reference: &Reference) -> bool {
    reference.pcr == IMAGES_PCR && reference.event_type == EventType::EV_EFI_BOOT_SERVICES_APPLICATION.0
}

/// The work in progress.
pub(crate) struct Engine<'i> {
    pub bank: HashAlg,
    pub secure_boot: Option<bool>,
    pub inputs: &'i Inputs,
    pub slots: Vec<Slot>,
    pub removed: Vec<Slot>,
    pub problems: Vec<Unpredicted>,
    pub images: Vec<ImageReport>,
    /// The unified kernel image that will be started, when it is given.
    pub uki: Option<Artifact>,
    /// What GRUB's `linux` says, when GRUB runs.
    pub kernel_words: Option<grub_part::KernelWords>,
    /// Artifacts that were used, by index.
    used: BTreeSet<usize>,
}

impl Engine<'_> {
    /// Notes what cannot be predicted, once.
    pub fn problem(
        &mut self,
        code: &'static str,
        pcr: Option<u32>,
        component: K,
        message: impl Into<String>,
        hint: &'static str,
    ) {
        let problem = Unpredicted { code, pcr, component, message: message.into(), hint };
        if !self.problems.contains(&problem) {
            self.problems.push(problem);
        }
    }

    /// Whether GRUB ran in the reference boot.
    pub fn has_grub(&self) -> bool {
        self.slots.iter().any(|slot| slot.reference.pcr == 8 && slot.reference.name.starts_with("GRUB "))
    }

    /// Whether a unified kernel image ran in the reference boot.
    pub fn has_uki(&self) -> bool {
        self.slots.iter().any(|slot| slot.reference.kind == K::UkiSection && slot.reference.pcr == 11)
    }

    /// Shim, boot loader and what firmware or systemd-boot starts, in PCR 4.
    fn loaders(&mut self) {
        let grub = self.has_grub();
        let uki = self.has_uki();
        let mut inner_kernel: Option<(Digest, Origin)> = None;
        for at in 0..self.slots.len() {
            let Some(reference) = self.slots.get(at).map(|slot| slot.reference.clone()) else { continue };
            if !is_image(&reference) {
                continue;
            }
            let roles: &[ImageRole] = match reference.kind {
                K::Shim => &[ImageRole::Shim],
                K::BootLoader if grub => &[ImageRole::Grub],
                K::BootLoader => &[ImageRole::SystemdBoot, ImageRole::Grub],
                // GRUB's kernel is found by its commands.
                K::Kernel if grub => continue,
                K::Kernel if uki => {
                    if let Some((digest, origin)) = &inner_kernel
                        && !reference.name.starts_with(['\\', '/'])
                    {
                        if let Some(slot) = self.slots.get_mut(at) {
                            slot.replace(*digest, origin);
                        }
                        continue;
                    }
                    &[ImageRole::Uki]
                }
                K::Kernel => &[ImageRole::Kernel],
                _ => continue,
            };
            let Some(artifact) = self.image(roles, &reference) else { continue };
            if roles == [ImageRole::Uki] {
                self.uki = Some(artifact.clone());
                let inner = Image::parse(&artifact.bytes).ok().and_then(|image| image.section(".linux"));
                inner_kernel = inner.and_then(|linux| {
                    Some((Image::parse(linux).ok()?.authenticode(self.bank).ok()?, artifact.origin.clone()))
                });
            }
            self.start(at, &artifact);
        }
    }

    /// The image that replaces the one of a PCR 4 event: among the files by role, then by name; else in the disk image.
    fn image(&mut self, roles: &[ImageRole], reference: &Reference) -> Option<Artifact> {
        let wanted = plain_name(&reference.name);
        let inputs = self.inputs;
        let fits = |artifact: &Artifact| matches!(artifact.what, What::Image(role) if roles.contains(&role));
        let candidates: Vec<(usize, &Artifact)> =
            inputs.artifacts.iter().enumerate().filter(|(_, artifact)| fits(artifact)).collect();
        let named = candidates.iter().find(|(_, artifact)| plain_name(artifact.origin.name()) == wanted);
        let chosen = match (named, candidates.as_slice()) {
            (Some(named), _) => Some(*named),
            (None, [only]) => Some(*only),
            (None, []) => None,
            (None, several) => {
                let names: Vec<String> = several.iter().map(|(_, a)| a.origin.to_string()).collect();
                self.used.extend(several.iter().map(|(index, _)| *index));
                self.problem(
                    "file-ambiguous",
                    Some(IMAGES_PCR),
                    reference.kind,
                    format!("Several files could be started as {}: {}", reference.name, names.join(", ")),
                    "give the one that will be started with --efi, or a disk image with --disk",
                );
                return None;
            }
        };
        if let Some((index, artifact)) = chosen {
            // The other images of a package are not for this machine.
            self.used.extend(candidates.iter().map(|(index, _)| *index));
            self.used.insert(index);
            return Some(artifact.clone());
        }
        self.efi_file(&reference.name, reference.value.as_deref())
    }

    /// A file of the EFI system partition of the disk image, by the path in a PCR 4 event.
    fn efi_file(&mut self, path: &str, device_path: Option<&str>) -> Option<Artifact> {
        let (_, disk) = self.inputs.disk.as_ref()?;
        if !path.starts_with(['\\', '/']) {
            return None;
        }
        let named = device_path.and_then(|path| path.split("HD(").nth(1)?.split(',').next()?.parse().ok());
        let places: Vec<u32> = named
            .into_iter()
            .chain(disk.partitions(PartitionKind::EfiSystem))
            .chain(disk.partitions(PartitionKind::Boot))
            .collect();
        for partition in places {
            match self.inputs.on_disk(Some(partition), path) {
                Ok(Some(found)) => return Some(found),
                Ok(None) => {}
                Err(error) => self.disk_problem(&error.to_string(), error.code()),
            }
        }
        self.problem(
            "file-not-in-image",
            Some(IMAGES_PCR),
            K::BootLoader,
            format!("The disk image has no {path}, which the reference boot started"),
            "if the machine will boot another path, boot it once and approve it; the firmware's choice is not predicted",
        );
        None
    }

    pub fn disk_problem(&mut self, message: &str, code: &'static str) {
        self.problem(
            code,
            None,
            K::BootLoaderFile,
            message.to_owned(),
            "make the image again, or give its files one by one",
        );
    }

    /// Puts the Authenticode digest of an image into a PCR 4 event.
    pub fn start(&mut self, at: usize, artifact: &Artifact) {
        let kind = self.slots.get(at).map_or(K::Kernel, |slot| slot.reference.kind);
        match self.authenticode(artifact, kind) {
            Some(digest) => {
                if let Some(slot) = self.slots.get_mut(at) {
                    slot.replace(digest, &artifact.origin);
                }
            }
            None => self.not_startable(artifact, kind),
        }
    }

    fn not_startable(&mut self, artifact: &Artifact, kind: K) {
        self.problem(
            "not-an-efi-image",
            Some(IMAGES_PCR),
            kind,
            format!("{} is not an EFI image, so firmware cannot start it", artifact.origin),
            "give the image that is started",
        );
    }

    /// The digest of an image, and a report about it.
    pub fn authenticode(&mut self, artifact: &Artifact, kind: K) -> Option<Digest> {
        let image = Image::parse(&artifact.bytes).ok()?;
        let digest = image.authenticode(self.bank).ok()?;
        self.report(artifact, &image, digest, kind);
        Some(digest)
    }

    /// An artifact of this kind: by its name, or the only one. What was looked at counts as used.
    pub fn artifact(&mut self, wanted: &dyn Fn(&What) -> bool, name: &str) -> Option<Artifact> {
        let inputs = self.inputs;
        let candidates: Vec<(usize, &Artifact)> =
            inputs.artifacts.iter().enumerate().filter(|(_, a)| wanted(&a.what)).collect();
        let name = plain_name(name);
        let named = candidates.iter().find(|(_, a)| plain_name(a.origin.name()) == name);
        let chosen = named.or(match candidates.as_slice() {
            [only] => Some(only),
            _ => None,
        })?;
        self.used.insert(chosen.0);
        Some(chosen.1.clone())
    }

    /// Whether there is an artifact of this kind.
    pub fn has(&self, wanted: &dyn Fn(&What) -> bool) -> bool {
        self.inputs.artifacts.iter().any(|a| wanted(&a.what))
    }

    /// Files that were given and replace nothing.
    fn unused(&mut self) {
        let inputs = self.inputs;
        for (index, artifact) in inputs.artifacts.iter().enumerate() {
            // Packages carry more than one machine uses.
            let minor = artifact.origin.member.is_some() && artifact.what == What::Image(ImageRole::Other);
            if self.used.contains(&index) || minor {
                continue;
            }
            let kind = match artifact.what {
                What::Image(ImageRole::Shim) => K::Shim,
                What::Image(ImageRole::Kernel | ImageRole::Uki) => K::Kernel,
                What::Image(_) => K::BootLoader,
                What::Initrd => K::Initrd,
                What::GrubConfig | What::LoaderEntry(_) => K::BootLoaderConfig,
            };
            self.problem(
                "file-not-used",
                None,
                kind,
                format!("{} replaces nothing that the reference boot measured", artifact.origin),
                "leave it out, or give what refers to it: the boot loader configuration, or a disk image",
            );
        }
    }

    fn finish(self, baseline: &Baseline) -> Prediction {
        let changed = self.slots.iter().filter(|slot| slot.change != RowChange::Same).chain(&self.removed);
        let pcrs: BTreeSet<u32> = changed.map(|slot| slot.reference.pcr).collect();
        let touched: Vec<&Slot> =
            self.slots.iter().filter(|slot| pcrs.contains(&slot.reference.pcr)).collect();
        let from: Vec<Origin> = self.inputs.origins().to_vec();
        let boot = (!pcrs.is_empty()).then(|| ReferenceBoot {
            source: Source::Predicted { from: files(&from), base: baseline.name.clone() },
            secure_boot: self.secure_boot,
            measurements: touched.iter().map(|slot| slot.reference.clone()).collect(),
            pcrs: Some(pcrs),
        });
        Prediction {
            measurements: touched.iter().map(|slot| slot.row()).collect(),
            removed: self.removed.iter().map(Slot::row).collect(),
            unpredicted: self.problems,
            images: self.images,
            from,
            boot,
        }
    }
}

fn files(from: &[Origin]) -> Vec<SourceFile> {
    let by_file: BTreeMap<&str, String> =
        from.iter().map(|origin| (origin.file.as_str(), origin.sha256.to_string())).collect();
    let files = by_file.into_iter().take(limits::MAX_INPUTS);
    files.map(|(name, sha256)| SourceFile { name: name.to_owned(), sha256 }).collect()
}

/// A file name without folders, case and `.signed`.
pub(crate) fn plain_name(path: &str) -> String {
    let name = path.rsplit(['/', '\\', ')']).next().unwrap_or(path).to_ascii_lowercase();
    name.strip_suffix(".signed").map(str::to_owned).unwrap_or(name)
}
