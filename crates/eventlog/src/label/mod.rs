//! Names for measured components: kind, name, value and signer of each event, in one pass over a session.

mod command;
mod ipl;
mod tagged;
mod variable;

use std::borrow::Cow;

pub use self::command::LoaderCommand;
use self::ipl::{first_word, is_linux_command};
use self::tagged::label_tagged;
use self::variable::{label_boot_variable, label_secure_boot, variable_name};
use crate::decode::device_path::DevicePath;
use crate::decode::firmware::Loose;
use crate::decode::ipl::Ipl;
use crate::decode::variable::Variable;
use crate::images::{ImageRoles, ImagesSeen};
use crate::limits::{MAX_NAME_CHARS, MAX_VALUE_CHARS};
use crate::text::{Shown, Text, bounded, guids};
use crate::{ComponentKind, Decoded, Digest, Event, EventType};

/// What one event measures, in words: see [`crate::Measurement`].
#[derive(Clone, Debug)]
pub struct Label {
    /// Kind of component.
    pub kind: ComponentKind,
    /// What tells several components of one kind apart.
    pub name: Cow<'static, str>,
    /// The content in words.
    pub value: Option<String>,
    /// Subject of the certificate that admitted the component.
    pub signer: Option<String>,
    /// SHA-256 of that certificate, in the event that measures it.
    pub fingerprint: Option<Digest>,
    /// Set when this event names the authority of the image before it, as shim does.
    pub(crate) signs_previous_image: Option<String>,
}

impl Label {
    /// What an event measures by itself, without the events around it.
    pub fn of(event: &Event<'_>) -> Self {
        let mut label = Self::blank();
        Labels::new(&[]).next(event, &mut label);
        label
    }

    pub(crate) fn blank() -> Self {
        Self {
            kind: ComponentKind::Unknown,
            name: Cow::Borrowed(""),
            value: None,
            signer: None,
            fingerprint: None,
            signs_previous_image: None,
        }
    }
}

impl Event<'_> {
    /// Whether what it measures, in words, depends on nothing but its type, its register and its data: not on the events
    /// around it.
    pub fn stands_alone(&self) -> bool {
        match self.event_type {
            EventType::EV_S_CRTM_VERSION
            | EventType::EV_SEPARATOR
            | EventType::EV_ACTION
            | EventType::EV_EFI_ACTION
            | EventType::EV_EFI_GPT_EVENT
            | EventType::EV_EFI_VARIABLE_DRIVER_CONFIG
            | EventType::EV_EFI_VARIABLE_BOOT
            | EventType::EV_EFI_VARIABLE_BOOT2 => true,
            // Commands and command lines.
            EventType::EV_IPL => Ipl::prefix_len(self.data).is_some(),
            _ => false,
        }
    }
}

/// State of the pass.
pub(crate) struct Labels<'a> {
    roles: ImageRoles,
    images: usize,
    last_image: Option<u32>,
    /// Whether shim ran, and whether the authority of the last image is known or cannot follow it any more.
    shim_ran: bool,
    last_image_settled: bool,
    /// Authority that was measured and no image has used.
    authority: Option<String>,
    /// UKI section whose name was measured and whose content comes next.
    section: Option<&'a [u8]>,
    kernel_path: Option<&'a [u8]>,
    initrd_paths: Option<&'a [u8]>,
}

impl<'a> Labels<'a> {
    pub(crate) fn new(session: &[Event<'a>]) -> Self {
        let mut images = ImagesSeen::default();
        let (mut kernel_path, mut initrd_paths) = (None, None);
        for event in session.iter().filter(|event| event.extends()) {
            if event.event_type != EventType::EV_IPL {
                images.see(event);
                continue;
            }
            let Some(ipl) = Ipl::parse_if_telling(event.data) else { continue };
            images.told(&ipl);
            match ipl {
                Ipl::KernelCommandLine { text } => kernel_path = Some(first_word(text.0).0),
                Ipl::Command { text } => {
                    let (command, rest) = first_word(text.0);
                    match command {
                        _ if is_linux_command(command) => {
                            kernel_path = kernel_path.or(Some(first_word(rest).0));
                        }
                        b"initrd" | b"initrdefi" | b"initrd16" => initrd_paths = Some(rest),
                        _ => {}
                    }
                }
                _ => {}
            }
        }
        Self {
            roles: ImageRoles::of(images),
            images: 0,
            last_image: None,
            shim_ran: false,
            last_image_settled: true,
            authority: None,
            section: None,
            kernel_path,
            initrd_paths,
        }
    }

    /// Event index of the image that ran last.
    pub(crate) fn last_image(&self) -> Option<u32> {
        self.last_image
    }

    /// Labels the next event; events must come in log order, except that those which stand alone may be left out. The label
    /// is blank, but for a fingerprint that is known.
    pub(crate) fn next(&mut self, event: &Event<'a>, label: &mut Label) {
        // Most events of a boot are those of its loader.
        if event.event_type == EventType::EV_IPL {
            self.label_ipl(label, &Ipl::parse(event.data));
        } else {
            self.label_decoded(label, event);
        }
        if label.name.is_empty() {
            label.name = label.kind.title().into();
        }
    }

    fn label_decoded(&mut self, label: &mut Label, event: &Event<'a>) {
        match event.decode() {
            Decoded::CrtmVersion { version } => {
                label.kind = ComponentKind::CrtmVersion;
                label.value = Some(value(&version));
            }
            Decoded::CrtmContents { description } => {
                label.kind = ComponentKind::Firmware;
                label.name = name(&description);
            }
            Decoded::FirmwareBlob(blob) => {
                label.kind = match event.event_type {
                    EventType::EV_POST_CODE | EventType::EV_POST_CODE2 if event.pcr == 1 => {
                        ComponentKind::PlatformConfig
                    }
                    _ => ComponentKind::Firmware,
                };
                label.name = blob.description.map_or("firmware code".into(), |d| name(&d));
            }
            Decoded::Platform { description } => label_platform(label, event, &description),
            Decoded::HandedOver(config) => {
                label.name = name(&config.name);
                (label.kind, label.value) = match config.text {
                    Some(text) if config.name.0 == b"td_payload_info" => {
                        (ComponentKind::KernelCommandLine, Some(value(&text)))
                    }
                    text => (ComponentKind::PlatformConfig, text.map(|t| value(&t))),
                };
            }
            Decoded::ConfidentialTechnology { technology } => {
                label.kind = ComponentKind::PlatformConfig;
                label.name = "confidential technology".into();
                label.value = Some(technology.to_owned());
            }
            Decoded::HandoffTables(tables) => {
                label.kind = ComponentKind::PlatformConfig;
                label.name = tables.description.map_or("hand-off tables".into(), |d| name(&d));
                let names: Vec<String> = tables
                    .tables
                    .iter()
                    .map(|(guid, _)| guid.name().map_or(guid.to_string(), str::to_owned))
                    .collect();
                label.value = Some(names.join(", "));
            }
            Decoded::SecureBootVariable(variable) => label_secure_boot(label, event, &variable),
            Decoded::BootVariable(variable) => label_boot_variable(label, &variable),
            Decoded::Authority(authority) => self.label_authority(label, &authority.0),
            Decoded::Image(image) => self.label_image(label, event, &image.path),
            Decoded::PartitionTable(table) => {
                label.kind = ComponentKind::PartitionTable;
                label.name = "boot disk".into();
                let parts: Vec<String> = table
                    .partitions()
                    .map(|p| if p.name.0.is_empty() { p.guid.to_string() } else { p.name.to_string() })
                    .collect();
                label.value = Some(bounded(
                    &format_args!("disk {}: {}", table.disk, parts.join(", ")),
                    MAX_VALUE_CHARS,
                ));
            }
            Decoded::Separator { value, error } => {
                label.kind = ComponentKind::Separator;
                label.name = if error { "error" } else { "separator" }.into();
                label.value = Some(match value.0 {
                    [0, 0, 0, 0] => "00000000".to_owned(),
                    _ => bounded(&value, MAX_NAME_CHARS),
                });
            }
            Decoded::Action { text } => {
                label.kind = if text.0.starts_with(b"Exit Boot Services") {
                    ComponentKind::ExitBootServices
                } else {
                    ComponentKind::FirmwareAction
                };
                label.name = name(&text);
            }
            Decoded::Ipl(ipl) => self.label_ipl(label, &ipl),
            Decoded::Tagged(tagged) => label_tagged(label, event, &tagged),
            Decoded::CompactHash { text } => {
                label.kind = ComponentKind::WindowsPolicy;
                label.name = if event.pcr == 11 { "BitLocker".into() } else { name(&text) };
                label.value = Some(value(&text));
            }
            Decoded::DynamicLaunch { .. } => {
                label.kind = ComponentKind::Firmware;
                label.name = event.event_type.to_string().into();
            }
            Decoded::NoAction { .. } | Decoded::Unknown { .. } => {
                label.name = event.event_type.to_string().into();
            }
        }
    }

    fn label_authority(&mut self, label: &mut Label, variable: &Variable<'_>) {
        label.name = variable_name(&variable.name);
        let of_shim = variable.vendor == guids::SHIM_LOCK;
        if of_shim && variable.name.is("SbatLevel") {
            label.kind = ComponentKind::SbatLevel;
            label.value = Some(value(&Text::trimmed(variable.data)));
            return;
        }
        label.kind = ComponentKind::Authority;
        match variable.authority() {
            None if of_shim => {
                label.kind = ComponentKind::MokState;
                label.value = Some(value(&Loose(variable.data)));
            }
            Some(certificate) => {
                let subject = bounded(&certificate.short_name(), MAX_NAME_CHARS);
                label.signer = Some(subject.clone());
                let fingerprint = label.fingerprint.get_or_insert_with(|| certificate.fingerprint());
                label.value = Some(format!("{subject}, SHA-256 {fingerprint}"));
                // Firmware and current shim measure the authority before the image; shim before 15.3 after it.
                if self.last_image_settled {
                    self.authority = Some(subject);
                } else {
                    self.last_image_settled = true;
                    label.signs_previous_image = Some(subject);
                }
            }
            None => {
                label.value = Some(value(&crate::text::Hex(variable.data)));
                if self.last_image_settled {
                    self.authority = Some("a hash in db".to_owned());
                }
            }
        }
    }

    fn label_image(&mut self, label: &mut Label, event: &Event<'_>, path: &DevicePath<'_>) {
        label.signer = self.authority.take();
        let full = bounded(path, MAX_VALUE_CHARS);
        label.name = match path.file() {
            Some(file) => name(&file),
            None if path.is_empty() => "image without a path".into(),
            None => name(path),
        };
        label.value = (!full.is_empty()).then_some(full);
        if event.event_type != EventType::EV_EFI_BOOT_SERVICES_APPLICATION {
            label.kind = ComponentKind::OptionRom;
            label.name = name(path);
            return;
        }
        label.kind = self.roles.get(self.images);
        self.images += 1;
        self.last_image = Some(event.index);
        let shim = label.kind == ComponentKind::Shim;
        self.shim_ran |= shim;
        self.last_image_settled = shim || !self.shim_ran || label.signer.is_some();
    }
}

fn name(shown: &impl Shown) -> Cow<'static, str> {
    bounded(shown, MAX_NAME_CHARS).into()
}

fn value(shown: &impl Shown) -> String {
    bounded(shown, MAX_VALUE_CHARS)
}

fn label_platform(label: &mut Label, event: &Event<'_>, description: &Loose<'_>) {
    label.kind = ComponentKind::PlatformConfig;
    label.name = if description.is_text() { name(description) } else { event.event_type.to_string().into() };
    match (event.event_type, Text::c_string(description.0).0) {
        (EventType::EV_PLATFORM_CONFIG_FLAGS, b"kernel") => label.kind = ComponentKind::Kernel,
        (EventType::EV_PLATFORM_CONFIG_FLAGS, b"initrd") => label.kind = ComponentKind::Initrd,
        (EventType::EV_PLATFORM_CONFIG_FLAGS, b"DirectBoot Command Line") => {
            label.kind = ComponentKind::KernelCommandLine;
        }
        (EventType::EV_EFI_PLATFORM_FIRMWARE_BLOB | EventType::EV_EFI_PLATFORM_FIRMWARE_BLOB2, _) => {
            label.kind = ComponentKind::Firmware;
        }
        (EventType::EV_CPU_MICROCODE | EventType::EV_NONHOST_CODE, _) => label.kind = ComponentKind::Firmware,
        _ => {}
    }
}
