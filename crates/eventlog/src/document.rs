//! The machine-readable form of a replayed log: the contract of `veriboot log replay --json` (SPEC section 10).

use std::collections::BTreeMap;

use serde::ser::SerializeStruct as _;
use serde::{Serialize, Serializer};

use crate::text::Hex;
use crate::{
    BootStory, Decoded, Digest, DigestMismatch, Event, EventLog, KeyStory, Warning, check_digests,
    ima_boot_aggregate, replay, story,
};

const PCR10_PREDICTED: &str = "PCR 10 is not in this log; its value is a prediction: the boot_aggregate that Linux IMA \
    extends first. It stays 0 without IMA and moves on with an IMA policy";

/// Everything that a log gives, ready for a serde serializer.
#[derive(Serialize)]
pub struct Document<'a> {
    format: &'static str,
    banks: BTreeMap<&'static str, BTreeMap<String, Digest>>,
    inactive_banks: Vec<&'static str>,
    events: Vec<EventDocument<'a>>,
    secure_boot: SecureBoot,
    warnings: Vec<Warning>,
    digest_mismatches: Vec<DigestMismatch>,
    cut: Option<CutDocument>,
    trailing_bytes: usize,
    sessions: usize,
    replayed_from_event: usize,
    story: BootStory,
}

#[derive(Default, Serialize)]
pub(crate) struct SecureBoot {
    enabled: Option<bool>,
    mode: Option<&'static str>,
    keys: KeyStory,
    sbat_level: Option<String>,
}

#[derive(Serialize)]
struct CutDocument {
    code: &'static str,
    offset: usize,
    reason: String,
}

pub(crate) struct EventDocument<'a>(pub(crate) Event<'a>);

impl<'a> Document<'a> {
    /// Replays all active banks and decodes every event.
    pub fn new(log: &EventLog<'a>) -> Self {
        let mut warnings = log.warnings.clone();
        let mut banks = BTreeMap::new();
        let mut inactive_banks = Vec::new();
        for bank in &log.banks {
            let mut replay = replay(log, *bank);
            warnings.append(&mut replay.warnings);
            if replay.active {
                let predicted = ima_boot_aggregate(log, &replay);
                let mut registers: BTreeMap<String, Digest> =
                    replay.pcrs.into_iter().map(|(pcr, value)| (pcr.to_string(), value)).collect();
                if let Some(value) = predicted {
                    registers.insert("10".to_owned(), value);
                    warnings.push(Warning::at("pcr10-predicted", None, format!("{bank} {PCR10_PREDICTED}")));
                }
                banks.insert(bank.name(), registers);
            } else {
                inactive_banks.push(bank.name());
            }
        }
        let story = story(log);
        let secure_boot = SecureBoot::new(&story);
        Self {
            format: log.format.as_str(),
            banks,
            inactive_banks,
            events: log.events.iter().map(|event| EventDocument(*event)).collect(),
            secure_boot,
            warnings,
            digest_mismatches: check_digests(log),
            cut: log.cut.map(|cut| CutDocument {
                code: cut.code(),
                offset: cut.offset,
                reason: cut.reason.to_string(),
            }),
            trailing_bytes: log.trailing,
            sessions: log.sessions,
            replayed_from_event: log.session_start,
            story,
        }
    }
}

impl SecureBoot {
    pub(crate) fn new(story: &BootStory) -> Self {
        Self {
            enabled: story.secure_boot,
            mode: story.secure_boot_mode,
            keys: story.keys.clone(),
            sbat_level: story.sbat_level.clone(),
        }
    }
}

impl Serialize for EventDocument<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let event = &self.0;
        let decoded = event.decode();
        let mut out = serializer.serialize_struct("Event", 8)?;
        out.serialize_field("index", &event.index)?;
        out.serialize_field("offset", &event.offset)?;
        out.serialize_field("pcr", &event.pcr)?;
        out.serialize_field("type", &event.event_type)?;
        out.serialize_field("type_id", &event.event_type.0)?;
        let digests: BTreeMap<_, _> =
            event.digests.iter().filter_map(|(alg, bytes)| Some((alg.name(), Digest::new(bytes)?))).collect();
        out.serialize_field("digests", &digests)?;
        out.serialize_field("size", &event.data.len())?;
        match &decoded {
            Decoded::Unknown { .. } => out.serialize_field("data", &Hex(event.data))?,
            _ => out.skip_field("data")?,
        }
        out.serialize_field("decoded", &decoded)?;
        out.end()
    }
}
