//! Names for measured components: kind, name, value and signer of each event, in one pass over a session.

use std::borrow::Cow;

use crate::decode::device_path::DevicePath;
use crate::decode::firmware::Loose;
use crate::decode::ipl::Ipl;
use crate::decode::sipa::{TaggedEvents, TaggedValue};
use crate::decode::tagged::Tagged;
use crate::decode::variable::{Content, Variable};
use crate::images::{ImageRoles, file_name, is_initrd_name, is_kernel_name};
use crate::limits::{MAX_NAME_CHARS, MAX_VALUE_CHARS};
use crate::text::{Shown, Text, Utf16, bounded, guids, push_bounded};
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

    fn label_ipl(&mut self, label: &mut Label, ipl: &Ipl<'a>) {
        if let Ipl::Section { name: section } = ipl {
            label.kind = ComponentKind::UkiSection;
            // systemd-stub measures the name of a section, then its content, with the same event data.
            let content = self.section.take() == Some(section.0);
            label.name = if content { name(section) } else { format!("{section} (name)").into() };
            self.section = (!content).then_some(section.0);
            return;
        }
        match ipl {
            Ipl::Command { text } => {
                let (command, rest) = first_word(text.0);
                match command {
                    b"linux" | b"linuxefi" | b"linux16" => {
                        label.kind = ComponentKind::KernelCommandLine;
                        label.name = "GRUB linux command".into();
                        label.value = Some(value(&Text(first_word(rest).1)));
                    }
                    _ => {
                        label.kind = ComponentKind::BootLoaderConfig;
                        label.name = grub_command(command);
                        label.value = Some(value(text));
                    }
                }
            }
            Ipl::KernelCommandLine { text } => {
                label.kind = ComponentKind::KernelCommandLine;
                label.name = "GRUB kernel_cmdline".into();
                label.value = Some(value(&Text(first_word(text.0).1)));
            }
            Ipl::ModuleCommandLine { text } => {
                label.kind = ComponentKind::BootLoaderConfig;
                label.name = "GRUB module_cmdline".into();
                label.value = Some(value(text));
            }
            Ipl::File { path } => {
                label.kind = self.file_kind(*path);
                label.name = name(path);
            }
            Ipl::Mok { name: variable } => {
                label.kind = ComponentKind::MokState;
                label.name = name(variable);
            }
            Ipl::Wide { text } => label_wide(label, *text),
            Ipl::Text { text } => match text.0 {
                b"grub_linuxefi Kernel" => {
                    label.kind = ComponentKind::Kernel;
                    label.name = self.kernel_path.map_or_else(|| name(text), |path| name(&Text(path)));
                }
                b"grub_linuxefi Initrd" => {
                    label.kind = ComponentKind::Initrd;
                    label.name = self.initrd_paths.map_or_else(|| name(text), |paths| name(&Text(paths)));
                }
                _ => {
                    label.kind = ComponentKind::BootLoaderFile;
                    label.name = name(text);
                }
            },
            Ipl::Section { .. } | Ipl::Unknown { .. } => label.name = "EV_IPL".into(),
        }
    }

    fn file_kind(&self, path: Text<'_>) -> ComponentKind {
        let local = without_device(path.0);
        if self.kernel_path.is_some_and(|kernel| without_device(kernel) == local) {
            return ComponentKind::Kernel;
        }
        let mut initrds = self.initrd_paths.unwrap_or_default().split(|b| *b == b' ');
        if initrds.any(|initrd| !initrd.is_empty() && without_device(initrd) == local) {
            return ComponentKind::Initrd;
        }
        let file = file_name(path);
        if is_initrd_name(&file) {
            ComponentKind::Initrd
        } else if is_kernel_name(&file) {
            ComponentKind::Kernel
        } else if file.contains(".cfg") || file.ends_with(".conf") {
            ComponentKind::BootLoaderConfig
        } else {
            ComponentKind::BootLoaderFile
        }
    }
}

/// `GRUB command set`: most events of a Linux boot, so the names of the usual commands are written down.
fn grub_command(command: &[u8]) -> Cow<'static, str> {
    macro_rules! known {
        ($($command:literal)+) => {
            match std::str::from_utf8(command) {
                $(Ok($command) => return Cow::Borrowed(concat!("GRUB command ", $command)),)+
                _ => {}
            }
        };
    }
    known!(
        "set" "if" "[" "search" "insmod" "menuentry" "load_env" "save_env" "export" "echo" "initrd" "then" "else" "fi"
        "elif" "true" "false" "test" "setparams" "submenu" "function" "terminal_input" "terminal_output" "gfxmode"
        "load_video" "loadfont" "font" "source" "configfile" "linuxefi" "initrdefi" "regexp" "probe" "background_color"
        "gfxpayload" "recordfail" "savedefault" "blscfg" "increment" "unset" "for" "while" "return" "normal" "boot"
        "play" "serial" "terminal" "keymap" "loopback" "multiboot2" "module2" "chainloader" "fwsetup"
    );
    let mut name = String::with_capacity(16 + command.len().min(64));
    name.push_str("GRUB command ");
    push_bounded(&mut name, &Text(command), MAX_NAME_CHARS);
    name.into()
}

fn name(shown: &impl Shown) -> Cow<'static, str> {
    bounded(shown, MAX_NAME_CHARS).into()
}

/// The name of a variable.
fn variable_name(name: &Utf16<'_>) -> Cow<'static, str> {
    let known = [
        "SecureBoot",
        "PK",
        "KEK",
        "db",
        "dbx",
        "BootOrder",
        "Shim",
        "SbatLevel",
        "MokList",
        "MokListTrusted",
    ];
    match known.into_iter().find(|known| name.is(known)) {
        Some(known) => known.into(),
        None => self::name(name),
    }
}

fn value(shown: &impl Shown) -> String {
    bounded(shown, MAX_VALUE_CHARS)
}

/// The first word and what follows it, without the blank between them.
pub(crate) fn first_word(text: &[u8]) -> (&[u8], &[u8]) {
    let end = text.iter().position(|b| *b == b' ').unwrap_or(text.len());
    let (word, rest) = text.split_at_checked(end).unwrap_or((text, &[]));
    (word, rest.strip_prefix(b" ").unwrap_or(rest))
}

/// A GRUB path without its device: `(hd0,gpt2)/vmlinuz` gives `/vmlinuz`.
fn without_device(path: &[u8]) -> &[u8] {
    match path.iter().position(|b| *b == b')') {
        Some(end) if path.first() == Some(&b'(') => path.get(end + 1..).unwrap_or_default(),
        _ => path,
    }
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

fn label_secure_boot(label: &mut Label, event: &Event<'_>, variable: &Variable<'_>) {
    label.name = variable_name(&variable.name);
    let genuine = variable.is_secure_boot_configuration();
    let of = |known: &str| genuine && variable.name.is(known);
    label.kind = if of("SecureBoot") {
        ComponentKind::SecureBootState
    } else if of("PK") {
        ComponentKind::PlatformKey
    } else if of("KEK") {
        ComponentKind::KeyExchangeKey
    } else if of("db") {
        ComponentKind::SignatureDb
    } else if of("dbx") {
        ComponentKind::RevocationDb
    } else if variable.vendor == guids::SHIM_LOCK {
        ComponentKind::MokState
    } else if event.pcr == 7 || genuine {
        ComponentKind::SecureBootVariable
    } else {
        ComponentKind::PlatformConfig
    };
    label.value = Some(content_words(&variable.content(), variable.data));
}

/// A variable's content in words.
fn content_words(content: &Content<'_>, data: &[u8]) -> String {
    match content {
        Content::Flag(Some(true)) => "on".to_owned(),
        Content::Flag(Some(false)) => "off".to_owned(),
        Content::Flag(None) => "empty".to_owned(),
        Content::Signatures(database) => {
            let mut words: Vec<String> =
                database.certificates().map(|c| bounded(&c.short_name(), MAX_NAME_CHARS)).collect();
            if let ([_], 0) = (words.as_slice(), database.hash_count()) {
                return words.pop().unwrap_or_default();
            }
            match database.hash_count() {
                0 => {}
                1 => words.push("1 hash".to_owned()),
                count => words.push(format!("{count} hashes")),
            }
            let words = words.join(", ");
            match words.len() {
                0 => "empty".to_owned(),
                1..=MAX_VALUE_CHARS => words,
                _ => bounded(&words, MAX_VALUE_CHARS),
            }
        }
        Content::BootOrder(order) => {
            let words: Vec<String> = order.iter().take(256).map(|n| format!("Boot{n:04X}")).collect();
            words.join(", ")
        }
        Content::BootEntry(entry) => {
            let optional = if entry.optional_data.is_empty() { "" } else { " with " };
            bounded(
                &format_args!("{}: {}{optional}{}", entry.description, entry.path, entry.optional_data),
                MAX_VALUE_CHARS,
            )
        }
        Content::Text(text) => value(text),
        Content::Unknown => value(&Loose(data)),
    }
}

fn label_boot_variable(label: &mut Label, variable: &Variable<'_>) {
    label.name = variable_name(&variable.name);
    label.kind = if variable.name.is("BootOrder") || variable.name.is("BootNext") {
        ComponentKind::BootOrder
    } else if variable.boot_number().is_some() {
        ComponentKind::BootEntry
    } else if variable.vendor == guids::SHIM_LOCK {
        ComponentKind::MokState
    } else {
        ComponentKind::PlatformConfig
    };
    label.value = Some(content_words(&variable.content(), variable.data));
}

/// UTF-16 events are the command line itself or a description by systemd-stub.
fn label_wide(label: &mut Label, text: Utf16<'_>) {
    let shown = name(&text);
    let description =
        shown.ends_with(" initrd") || shown.ends_with("credentials") || shown.ends_with("extensions");
    if description {
        label.kind = ComponentKind::UkiSection;
        label.name = shown;
    } else {
        label.kind = ComponentKind::KernelCommandLine;
        label.name = "load options".into();
        label.value = Some(value(&text));
    }
}

fn label_tagged(label: &mut Label, event: &Event<'_>, tagged: &Tagged<'_>) {
    let (kind, title): (_, &dyn std::fmt::Display) = match tagged {
        Tagged::KernelInitrd { .. } => (ComponentKind::Initrd, &"initrd of the EFI stub"),
        Tagged::KernelLoadOptions { .. } => {
            (ComponentKind::KernelCommandLine, &"load options of the EFI stub")
        }
        Tagged::LoaderConfig { text } => (ComponentKind::BootLoaderConfig, text),
        Tagged::DevicetreeAddon { text }
        | Tagged::InitrdAddon { text }
        | Tagged::MicrocodeAddon { text }
        | Tagged::UkiProfile { text } => (ComponentKind::UkiSection, text),
        Tagged::AttestationAgent { text } => {
            label.value = Some(value(text));
            (ComponentKind::Unknown, &"attestation agent")
        }
        Tagged::Windows { events } => {
            label_windows(label, event, events);
            return;
        }
        Tagged::Other { .. } | Tagged::Malformed { .. } => (ComponentKind::Unknown, &"EV_EVENT_TAG"),
    };
    label.kind = kind;
    label.name = name(&title);
}

/// PCR 12 holds settings, 13 modules, 14 authorities. Settings that change at every boot stay out of the value.
fn label_windows(label: &mut Label, event: &Event<'_>, events: &TaggedEvents<'_>) {
    (label.kind, label.name) = match event.pcr {
        13 => (ComponentKind::WindowsModule, "modules loaded".into()),
        14 => (ComponentKind::Authority, "Windows authorities".into()),
        _ => (ComponentKind::WindowsPolicy, "boot configuration".into()),
    };
    let mut words = crate::text::Words::new(MAX_VALUE_CHARS);
    events.walk(&mut |event| {
        if let Some(module) = event.module() {
            let digest = crate::text::Hex(module.digest.unwrap_or_default());
            match module.path {
                Some(path) => words.push(&format_args!("{path} {digest}")),
                None => words.push(&format_args!("module {digest}")),
            }
            return;
        }
        // Loaded modules are summed up above; counters and addresses differ at every boot.
        let volatile =
            matches!(event.id, 0x0002_0002 | 0x0002_0006 | 0x0002_0007 | 0x0007_0000..=0x0007_FFFF);
        if volatile || matches!(event.value(), TaggedValue::Container(_)) {
            return;
        }
        match event.name() {
            Some(name) => words.push(&format_args!("{name}={}", event.value())),
            None => words.push(&format_args!("0x{:08x}={}", event.id, event.value())),
        }
    });
    label.value = Some(words.finish());
}
