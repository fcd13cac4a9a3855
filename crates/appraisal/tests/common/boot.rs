//! Captures of one bank, taken apart, changed and put together again: logs that replay to the PCRs of a machine that booted
//! something else, with whatever types, names and texts look best.

use std::path::Path;

use veriboot_appraisal::{Baseline, Judgement, Profile, examine, judge};
use veriboot_eventlog::{EventType, parse};

use super::SHA256;

#[derive(Clone, Debug)]
pub struct Ev {
    pub pcr: u32,
    pub event_type: u32,
    pub digest: Vec<u8>,
    pub data: Vec<u8>,
}

/// A capture of one bank, taken apart.
#[derive(Clone, Debug)]
pub struct Boot {
    pub header: Vec<u8>,
    pub events: Vec<Ev>,
}

impl Boot {
    pub fn of(variant: &str) -> Self {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../testkit/corpus").join(variant);
        Self::read(&std::fs::read(folder.join("eventlog.bin")).unwrap_or_else(|e| panic!("{variant}: {e}")))
    }

    pub fn read(bytes: &[u8]) -> Self {
        let log = parse(bytes).unwrap();
        assert_eq!(log.banks, [SHA256]);
        let events = log.events[1..].iter().map(|e| Ev {
            pcr: e.pcr,
            event_type: e.event_type.0,
            digest: e.digest(SHA256).unwrap().to_vec(),
            data: e.data.to_vec(),
        });
        Self { header: bytes[..log.events[1].offset].to_vec(), events: events.collect() }
    }

    pub fn bytes(&self) -> Vec<u8> {
        let mut out = self.header.clone();
        for event in &self.events {
            out.extend(event.pcr.to_le_bytes());
            out.extend(event.event_type.to_le_bytes());
            out.extend(1_u32.to_le_bytes());
            out.extend(SHA256.tpm_id().to_le_bytes());
            out.extend(&event.digest);
            out.extend((event.data.len() as u32).to_le_bytes());
            out.extend(&event.data);
        }
        out
    }

    pub fn baseline(&self) -> Baseline {
        Baseline::learn(&examine(&self.bytes()), SHA256).unwrap()
    }

    /// Positions of the images in PCR 4.
    pub fn images(&self) -> Vec<usize> {
        let image = EventType::EV_EFI_BOOT_SERVICES_APPLICATION.0;
        (0..self.events.len())
            .filter(|at| self.events[*at].pcr == 4 && self.events[*at].event_type == image)
            .collect()
    }

    pub fn find(&self, pcr: u32, data: &[u8]) -> usize {
        let found = |e: &Ev| e.pcr == pcr && e.data.windows(data.len()).any(|w| w == data);
        self.events.iter().position(found).unwrap_or_else(|| panic!("PCR {pcr} has no such event"))
    }

    pub fn with(&self, change: impl FnOnce(&mut Self)) -> Self {
        let mut other = self.clone();
        change(&mut other);
        other
    }
}

pub fn digest(text: &str) -> Vec<u8> {
    SHA256.hash(&[text.as_bytes()]).as_ref().to_vec()
}

pub fn judged(baseline: &Baseline, boot: &Boot, profile: &Profile) -> Judgement {
    judge(&examine(&boot.bytes()), SHA256, Some(&baseline.clone().compile()), profile)
}

/// Neither the judgement nor the log itself lets the boot pass.
pub fn passes(baseline: Option<&Baseline>, boot: &Boot, profile: &Profile) -> bool {
    let report = examine(&boot.bytes());
    let compiled = baseline.map(|baseline| baseline.clone().compile());
    let judgement = judge(&report, SHA256, compiled.as_ref(), profile);
    judgement.accepts() && !report.findings.iter().any(|f| f.fails())
}

pub fn told(judgement: &Judgement) -> String {
    judgement
        .findings
        .iter()
        .map(|f| format!("{} {:?} {:?}: {}\n", f.severity, f.change, f.action, f.message))
        .collect()
}

/// Types under which an event can be shown.
pub const TYPES: &[EventType] = &[
    EventType::EV_EFI_BOOT_SERVICES_APPLICATION,
    EventType::EV_EFI_BOOT_SERVICES_DRIVER,
    EventType::EV_EFI_VARIABLE_DRIVER_CONFIG,
    EventType::EV_EFI_VARIABLE_AUTHORITY,
    EventType::EV_EFI_VARIABLE_BOOT,
    EventType::EV_EFI_ACTION,
    EventType::EV_ACTION,
    EventType::EV_SEPARATOR,
    EventType::EV_IPL,
    EventType::EV_EVENT_TAG,
    EventType::EV_COMPACT_HASH,
    EventType::EV_EFI_GPT_EVENT,
    EventType::EV_PLATFORM_CONFIG_FLAGS,
    EventType::EV_POST_CODE,
    EventType(0x1234),
];

/// Every way to show event `at`: its own data, none, and that of every other event of its PCR and of PCRs 4, 7 and 8.
pub fn forged(boot: &Boot, at: usize) -> Vec<Boot> {
    let mut texts: Vec<Vec<u8>> = vec![boot.events[at].data.clone(), Vec::new(), vec![0; 4]];
    let pcr = boot.events[at].pcr;
    texts.extend(
        boot.events.iter().filter(|e| e.pcr == pcr || matches!(e.pcr, 7 | 8)).map(|e| e.data.clone()),
    );
    texts.dedup();
    let forms = TYPES.iter().flat_map(|event_type| texts.iter().map(move |text| (event_type, text)));
    forms
        .map(|(event_type, text)| {
            boot.with(|boot| {
                boot.events[at].event_type = event_type.0;
                boot.events[at].data.clone_from(text);
            })
        })
        .collect()
}

/// Rules, and everything else is noted.
pub fn rules_and_note(text: &str) -> Baseline {
    let head = "schema = \"veriboot-baseline/2\"\nbank = \"sha256\"\nunlisted = \"note\"\n\
                [[rules]]\ncomponent = \"secure-boot-state\"\nstate = { secure-boot = \"on\" }\n";
    Baseline::from_toml(&format!("{head}{text}")).unwrap()
}
