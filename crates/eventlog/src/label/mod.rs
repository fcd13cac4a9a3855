//! Names for measured components: kind, name, value and signer of each event, in one pass over a session.

mod ipl;
mod tagged;
mod variable;

use std::borrow::Cow;

use self::ipl::first_word;
use self::tagged::label_tagged;
use self::variable::{label_boot_variable, label_secure_boot, variable_name};
use crate::decode::device_path::DevicePath;
use crate::decode::firmware::Loose;
use crate::decode::ipl::Ipl;
use crate::decode::variable::Variable;
use crate::images::ImageRoles;
use crate::limits::{MAX_NAME_CHARS, MAX_VALUE_CHARS};
use crate::text::{Shown, Text, bounded, guids};
use crate::{ComponentKind, Decoded, Event, EventType};

/// What one event measures, in words: see [`crate::Measurement`], which has the same fields.
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
    /// Set when this event names the authority of the image before it, as shim does.
    pub(crate) signs_previous_image: Option<String>,
}

impl Label {
    pub(crate) fn blank() -> Self {
        Self {
            kind: ComponentKind::Unknown,
            name: Cow::Borrowed(""),
            value: None,
            signer: None,
            signs_previous_image: None,
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
        let mut labels = Self {
            roles: ImageRoles::new(session),
            images: 0,
            last_image: None,
            shim_ran: false,
            last_image_settled: true,
            authority: None,
            section: None,
            kernel_path: None,
            initrd_paths: None,
        };
        for event in session.iter().filter(|e| e.extends() && e.event_type == EventType::EV_IPL) {
            match Ipl::parse_if_telling(event.data) {
                Some(Ipl::KernelCommandLine { text }) => labels.kernel_path = Some(first_word(text.0).0),
                Some(Ipl::Command { text }) => {
                    let (command, rest) = first_word(text.0);
                    match command {
                        b"linux" | b"linuxefi" | b"linux16" if labels.kernel_path.is_none() => {
                            labels.kernel_path = Some(first_word(rest).0);
                        }
                        b"initrd" | b"initrdefi" | b"initrd16" => labels.initrd_paths = Some(rest),
                        _ => {}
                    }
                }
                _ => {}
            }
        }
        labels
    }

    /// Event index of the image that ran last.
    pub(crate) fn last_image(&self) -> Option<u32> {
        self.last_image
    }

    /// Labels the next event; events must come in log order. The label is blank.
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
        if variable.vendor == guids::SHIM_LOCK {
            if variable.name.is("SbatLevel") {
                label.kind = ComponentKind::SbatLevel;
                label.value = Some(value(&Text::trimmed(variable.data)));
                return;
            }
            if variable.authority().is_none() {
                label.kind = ComponentKind::MokState;
                label.value = Some(value(&Loose(variable.data)));
                return;
            }
        }
        label.kind = ComponentKind::Authority;
        match variable.authority() {
            Some(certificate) => {
                let subject = bounded(&certificate.short_name(), MAX_NAME_CHARS);
                label.signer = Some(subject.clone());
                label.value = Some(format!("{subject}, SHA-256 {}", certificate.fingerprint()));
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
