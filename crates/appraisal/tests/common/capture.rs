//! Captures of any banks, taken apart and put together again, and everything that event data can look like.

use std::path::Path;

use veriboot_appraisal::{Baseline, CompiledBaseline, examine};
use veriboot_eventlog::{EventType, HashAlg, parse};

use super::{Log, SHA256, Tpm};

pub const CAPTURES: &[&str] = &[
    "secure-boot",
    "cmdline",
    "initrd",
    "other-kernel",
    "mok",
    "uki",
    "three-banks",
    "secure-boot-off",
    "direct-kernel",
];

#[derive(Clone, Debug)]
pub struct Raw {
    pub pcr: u32,
    pub event_type: u32,
    pub digests: Vec<(HashAlg, Vec<u8>)>,
    pub data: Vec<u8>,
}

/// A log that is taken apart, changed and put together again.
#[derive(Clone, Debug)]
pub struct Capture {
    pub header: Vec<u8>,
    pub banks: Vec<HashAlg>,
    pub events: Vec<Raw>,
}

impl Capture {
    pub fn of(variant: &str) -> Self {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../testkit/corpus").join(variant);
        Self::parse(&std::fs::read(folder.join("eventlog.bin")).unwrap_or_else(|e| panic!("{variant}: {e}")))
    }

    pub fn parse(bytes: &[u8]) -> Self {
        let log = parse(bytes).unwrap();
        assert!(log.cut.is_none());
        let digests = |event: &veriboot_eventlog::Event<'_>| {
            log.banks.iter().filter_map(|bank| Some((*bank, event.digest(*bank)?.to_vec()))).collect()
        };
        let events = log.events[1..].iter().map(|e| Raw {
            pcr: e.pcr,
            event_type: e.event_type.0,
            digests: digests(e),
            data: e.data.to_vec(),
        });
        let capture = Self {
            header: bytes[..log.events[1].offset].to_vec(),
            banks: log.banks.clone(),
            events: events.collect(),
        };
        assert!(bytes.starts_with(&capture.bytes()));
        capture
    }

    pub fn bytes(&self) -> Vec<u8> {
        let mut out = self.header.clone();
        for event in &self.events {
            out.extend(event.pcr.to_le_bytes());
            out.extend(event.event_type.to_le_bytes());
            out.extend((event.digests.len() as u32).to_le_bytes());
            for (bank, digest) in &event.digests {
                out.extend(bank.tpm_id().to_le_bytes());
                out.extend(digest);
            }
            out.extend((event.data.len() as u32).to_le_bytes());
            out.extend(&event.data);
        }
        out
    }

    pub fn add(&mut self, pcr: u32, event_type: EventType, measured: &[u8], data: &[u8]) {
        let digests =
            self.banks.iter().map(|bank| (*bank, bank.hash(&[measured]).as_ref().to_vec())).collect();
        self.events.push(Raw { pcr, event_type: event_type.0, digests, data: data.to_vec() });
    }

    /// A TPM that was extended with exactly these events.
    pub fn tpm(&self) -> Tpm {
        let mut tpm = Tpm::booted(&Log { banks: self.banks.clone(), events: Vec::new() });
        for event in self.events.iter().filter(|e| e.event_type != EventType::EV_NO_ACTION.0) {
            for (bank, digest) in &event.digests {
                let registers = tpm.pcrs.get_mut(&bank.tpm_id()).unwrap();
                let value = bank.hash(&[&registers[&event.pcr], digest]).as_ref().to_vec();
                registers.insert(event.pcr, value);
            }
        }
        tpm
    }

    pub fn baseline(&self) -> CompiledBaseline {
        Baseline::learn(&examine(&self.bytes()), SHA256).unwrap().compile()
    }

    /// `self` booted, and the PCRs were extended until they hold everything that `genuine` measured, in its order. Each
    /// event that is not genuine is described as `event_type` and `data`.
    pub fn covered_up(&self, genuine: &Self, event_type: EventType, data: &[u8]) -> Self {
        let mut forged = self.clone();
        for pcr in (0..16).filter(|pcr| *pcr != 7) {
            let extends = |e: &&Raw| e.pcr == pcr && e.event_type != EventType::EV_NO_ACTION.0;
            let wanted: Vec<&Raw> = genuine.events.iter().filter(extends).collect();
            let there: Vec<usize> = (0..self.events.len()).filter(|at| extends(&&self.events[*at])).collect();
            let same = wanted
                .iter()
                .zip(&there)
                .take_while(|(wanted, at)| wanted.digests == self.events[**at].digests)
                .count();
            if same == wanted.len() && same == there.len() {
                continue;
            }
            for at in &there[same..] {
                forged.events[*at].event_type = event_type.0;
                forged.events[*at].data = data.to_vec();
            }
            forged.events.extend(wanted[same..].iter().map(|raw| (*raw).clone()));
        }
        forged
    }
}

pub fn utf16(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_le_bytes).collect()
}

/// What event data can look like: everything that any part of the engine gives a meaning to.
pub fn forms() -> Vec<Vec<u8>> {
    let mut forms: Vec<Vec<u8>> = [
        &b""[..],
        &[0; 4],
        &[0; 8],
        &[0xFF; 4],
        &[1, 0, 0, 0],
        &[0; 16],
        &[1],
        b"grubenv\0",
        b"(hd0,gpt2)/boot/grub/grubenv\0",
        b"/boot/grub2/grubenv\0",
        b"counter\0",
        b"boot counter",
        b"monotonic-counter\0",
        b"/vmlinuz\0",
        b"/initrd.img\0",
        b"/grub.cfg\0",
        b"grub_cmd: insmod x\0",
        b"grub_cmd: linux /vmlinuz root=/dev/sda\0",
        b"kernel_cmdline: /vmlinuz root=/dev/sda\0",
        b"module_cmdline: x\0",
        b"grub_linuxefi Kernel\0",
        b"grub_linuxefi Initrd\0",
        b"MokList\0",
        b"MokListTrusted\0",
        b"MokSBState\0",
        b".linux\0",
        b".cmdline\0",
        b"ACPI DATA",
        b"SMBIOS",
        b"kernel\0",
        b"initrd\0",
        b"DirectBoot Command Line\0",
        b"etc/acpi/tables\0",
        b"WBCL",
        b"Calling EFI Application from Boot Option",
        b"Returning from EFI Application from Boot Option",
        b"Exit Boot Services Invocation",
        b"Exit Boot Services Returned with Success",
        b"Booting BCV Device USB",
        b"UEFI Debug Mode",
        b"EFI PART\0\0\x01\0\x5c\0\0\0",
        b"StartupLocality\0\x03",
        b"\x04Fv(7CB8BDC9)\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
        b"td_hob\0",
    ]
    .map(<[u8]>::to_vec)
    .into();
    forms.push(utf16("BootOrder\0"));
    forms.push(utf16("root=/dev/sda counter\0"));
    forms.push(utf16("initrd=x counter\0"));
    for id in [0x8F3B_22EC_u32, 0x8F3B_22ED, 0xF5BC_582A, 0x4001_0001, 0x0002_0002, 0x0001_0001] {
        forms.push([&id.to_le_bytes()[..], &4_u32.to_le_bytes(), &[0; 4]].concat());
    }
    let mut variables = Log { banks: vec![], events: vec![] };
    for vendor in [super::GLOBAL, super::SECURITY, super::SHIM, [5; 16]] {
        for name in
            ["BootOrder", "BootNext", "Boot0001", "SecureBoot", "db", "Counter", "SbatLevel", "MokSBState"]
        {
            variables.variable(1, EventType::EV_EFI_VARIABLE_BOOT, vendor, name, &[0, 0]);
        }
    }
    variables.application("\\EFI\\BOOT\\BOOTX64.EFI", b"");
    variables.application("\\EFI\\debian\\grubenv", b"");
    variables.application("", b"");
    forms.extend(variables.events.into_iter().map(|e| e.data));
    forms
}

pub fn event_types() -> impl Iterator<Item = EventType> {
    let unregistered =
        [0x14, 0x4FE, 0x500, 0x8000_0011, 0x8000_00E5, 0x9000_0000, 0xFFFF_FFFF].map(EventType);
    EventType::ALL.iter().copied().filter(|t| *t != EventType::EV_NO_ACTION).chain(unregistered)
}
