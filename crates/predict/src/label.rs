//! Kind, name and value of a measurement that has not happened yet: a log with the event is written and read by the same
//! code that will read the real one.

use veriboot_appraisal::examine;
use veriboot_eventlog::{ComponentKind, Digest, EventType, HashAlg};

/// An event that will be in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Event {
    pub pcr: u32,
    pub event_type: EventType,
    pub digest: Digest,
    pub data: Vec<u8>,
}

/// What a log with this event says about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Label {
    pub kind: ComponentKind,
    pub name: String,
    pub value: Option<String>,
}

/// One label per event. `None` where the events are more than a log may have.
pub(crate) fn labels(events: &[Event], bank: HashAlg) -> Option<Vec<Label>> {
    let mut log = Vec::new();
    let mut header = b"Spec ID Event03\0".to_vec();
    // Platform class, minor, major, errata, size of a native integer, algorithms.
    header.extend([0, 0, 0, 0, 0, 2, 0, 2, 1, 0, 0, 0]);
    header.extend(bank.tpm_id().to_le_bytes());
    header.extend(u16::try_from(bank.size()).ok()?.to_le_bytes());
    header.push(0);
    log.extend(0_u32.to_le_bytes());
    log.extend(EventType::EV_NO_ACTION.0.to_le_bytes());
    log.extend([0; 20]);
    log.extend(u32::try_from(header.len()).ok()?.to_le_bytes());
    log.extend(header);
    for event in events {
        log.extend(event.pcr.to_le_bytes());
        log.extend(event.event_type.0.to_le_bytes());
        log.extend(1_u32.to_le_bytes());
        log.extend(bank.tpm_id().to_le_bytes());
        log.extend(event.digest.as_ref());
        log.extend(u32::try_from(event.data.len()).ok()?.to_le_bytes());
        log.extend(&event.data);
    }
    let report = examine(&log);
    let entries: Vec<Label> = report
        .entries
        .iter()
        .map(|entry| Label { kind: entry.kind, name: entry.name.to_string(), value: entry.value.clone() })
        .collect();
    (entries.len() == events.len()).then_some(entries)
}

/// Data of an EV_IPL event with which GRUB extends PCR 8: a prefix that is not hashed, the text, NUL.
pub(crate) fn grub_text(prefix: &str, text: &str, bank: HashAlg) -> Event {
    Event {
        pcr: 8,
        event_type: EventType::EV_IPL,
        digest: bank.hash(&[text.as_bytes()]),
        data: [prefix.as_bytes(), text.as_bytes(), b"\0"].concat(),
    }
}

/// Data of an EV_IPL event with which GRUB extends PCR 9: the digest is that of the file, the data its path.
pub(crate) fn grub_file(path: &str, digest: Digest) -> Event {
    Event { pcr: 9, event_type: EventType::EV_IPL, digest, data: [path.as_bytes(), b"\0"].concat() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_those_of_a_log() {
        let bank = HashAlg::Sha256;
        let events = [
            grub_text("grub_cmd: ", "set timeout=0", bank),
            grub_text("grub_cmd: ", "linux /vmlinuz-6 ro quiet", bank),
            grub_file("/vmlinuz-6", bank.hash(&[b"kernel"])),
            grub_text("kernel_cmdline: ", "/vmlinuz-6 ro quiet", bank),
            grub_text("grub_cmd: ", "initrd /odd-name", bank),
            grub_file("/odd-name", bank.hash(&[b"initrd"])),
        ];
        let labels = labels(&events, bank).unwrap();
        let kinds: Vec<ComponentKind> = labels.iter().map(|label| label.kind).collect();
        use ComponentKind as K;
        assert_eq!(
            kinds,
            [
                K::BootLoaderConfig,
                K::KernelCommandLine,
                K::Kernel,
                K::KernelCommandLine,
                K::BootLoaderConfig,
                K::Initrd
            ]
        );
        assert_eq!(labels[1].value.as_deref(), Some("ro quiet"));
        assert_eq!(labels[2].name, "/vmlinuz-6");
    }
}
