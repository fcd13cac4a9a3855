//! Tagged events: of the kernel's EFI stub, of loaders, and of Windows.

use super::{Label, name, value};
use crate::decode::sipa::{TaggedEvents, TaggedValue};
use crate::decode::tagged::Tagged;
use crate::limits::MAX_VALUE_CHARS;
use crate::{ComponentKind, Event};

pub(super) fn label_tagged(label: &mut Label, event: &Event<'_>, tagged: &Tagged<'_>) {
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
