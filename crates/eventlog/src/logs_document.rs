//! The machine-readable form of several logs, or of one that is not firmware's: `veriboot log replay --json` with
//! lists of IMA and user space. The members of SPEC section 10 have the same meaning as in [`crate::Document`].

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::document::{EventDocument, SecureBoot};
use crate::ima::{BootAggregate, ImaEntry, ImaList, Template, TemplateMismatch, check_templates};
use crate::text::Text;
use crate::userspace::{Content, Record, RecordMismatch, UserSpaceLog, check_words};
use crate::{BootLogs, BootStory, Digest, DigestMismatch, EventLog, LogKind, Warning, check_digests, story};

/// Everything that the logs of one boot give, ready for a serde serializer.
#[derive(Serialize)]
pub struct LogsDocument<'a> {
    format: String,
    banks: BTreeMap<&'static str, BTreeMap<String, Digest>>,
    extended_by: BTreeMap<String, BTreeSet<LogKind>>,
    events: Vec<AnyEvent<'a>>,
    secure_boot: SecureBoot,
    warnings: Vec<Warning>,
    digest_mismatches: Vec<DigestMismatch>,
    word_mismatches: Vec<RecordMismatch>,
    template_mismatches: Vec<TemplateMismatch>,
    boot_aggregate: Option<BootAggregate>,
    violations: usize,
    cuts: Vec<CutDocument>,
    story: Option<BootStory>,
}

#[derive(Serialize)]
struct CutDocument {
    log: LogKind,
    code: &'static str,
    offset: usize,
    reason: String,
}

#[derive(Serialize)]
#[serde(untagged)]
enum AnyEvent<'a> {
    Firmware {
        log: LogKind,
        #[serde(flatten)]
        event: EventDocument<'a>,
    },
    Later(LaterEvent<'a>),
}

#[derive(Serialize)]
struct LaterEvent<'a> {
    log: LogKind,
    index: u32,
    offset: usize,
    pcr: Option<u32>,
    #[serde(rename = "type")]
    kind: String,
    digests: BTreeMap<&'static str, Digest>,
    decoded: Meaning<'a>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Meaning<'a> {
    Record(Content<'a>),
    Entry { violation: bool, well_formed: bool, fields: Template<'a> },
}

impl<'a> LogsDocument<'a> {
    /// Replays all banks and decodes every event.
    pub fn new(logs: &BootLogs<'a, 'a>) -> Self {
        let mut out = Self {
            format: String::new(),
            banks: BTreeMap::new(),
            extended_by: BTreeMap::new(),
            events: Vec::new(),
            secure_boot: SecureBoot::default(),
            warnings: Vec::new(),
            digest_mismatches: Vec::new(),
            word_mismatches: Vec::new(),
            template_mismatches: Vec::new(),
            boot_aggregate: None,
            violations: 0,
            cuts: Vec::new(),
            story: None,
        };
        if let Some(log) = logs.firmware {
            out.firmware(log);
        }
        if let Some(log) = logs.user_space {
            out.user_space(log);
        }
        if let Some(list) = logs.ima {
            out.ima(list);
        }
        for bank in logs.banks() {
            let replayed = logs.replay(bank);
            out.warnings.extend(replayed.warnings);
            out.boot_aggregate = replayed.boot_aggregate;
            out.violations = replayed.violations;
            for (pcr, by) in replayed.extended {
                out.extended_by.entry(pcr.to_string()).or_default().extend(by);
            }
            let registers = replayed.pcrs.into_iter().map(|(pcr, value)| (pcr.to_string(), value));
            out.banks.insert(bank.name(), registers.collect());
        }
        out
    }

    fn is(&mut self, format: &str) {
        if !self.format.is_empty() {
            self.format.push('+');
        }
        self.format.push_str(format);
    }

    fn firmware(&mut self, log: &EventLog<'a>) {
        self.is(log.format.as_str());
        let events = log.events.iter().map(|event| EventDocument(*event));
        self.events.extend(events.map(|event| AnyEvent::Firmware { log: LogKind::Firmware, event }));
        self.warnings.extend(log.warnings.iter().cloned());
        self.digest_mismatches = check_digests(log);
        self.cuts.extend(log.cut.map(|cut| CutDocument {
            log: LogKind::Firmware,
            code: cut.code(),
            offset: cut.offset,
            reason: cut.reason.to_string(),
        }));
        let story = story(log);
        self.secure_boot = SecureBoot::new(&story);
        self.story = Some(story);
    }

    fn user_space(&mut self, log: &'a UserSpaceLog<'a>) {
        self.is(log.layout.as_str());
        self.events.extend(log.records.iter().map(|record| AnyEvent::Later(LaterEvent::of_record(record))));
        self.warnings.extend(log.warnings.iter().cloned());
        self.word_mismatches = check_words(log);
        self.cuts.extend(log.cut.map(|cut| CutDocument {
            log: LogKind::UserSpace,
            code: cut.code(),
            offset: cut.offset,
            reason: cut.reason.to_string(),
        }));
    }

    fn ima(&mut self, list: &'a ImaList<'a>) {
        self.is(list.encoding.as_str());
        self.events
            .extend(list.entries.iter().map(|entry| AnyEvent::Later(LaterEvent::of_entry(entry, list))));
        self.template_mismatches = check_templates(list);
        self.cuts.extend(list.cut.map(|cut| CutDocument {
            log: LogKind::Ima,
            code: cut.code(),
            offset: cut.offset,
            reason: cut.reason.to_string(),
        }));
    }
}

impl<'a> LaterEvent<'a> {
    fn of_record(record: &Record<'a>) -> Self {
        Self {
            log: LogKind::UserSpace,
            index: record.index,
            offset: record.offset,
            pcr: record.pcr,
            kind: record.content_type.unwrap_or(Text(b"")).to_string(),
            digests: record.digests.iter().map(|(alg, digest)| (alg.name(), *digest)).collect(),
            decoded: Meaning::Record(record.content()),
        }
    }

    fn of_entry(entry: &'a ImaEntry<'a>, list: &ImaList<'_>) -> Self {
        let fields = entry.decode();
        Self {
            log: LogKind::Ima,
            index: entry.index,
            offset: entry.offset,
            pcr: Some(entry.pcr),
            kind: entry.template.to_string(),
            digests: BTreeMap::from([(list.digest_alg.name(), entry.digest)]),
            decoded: Meaning::Entry {
                violation: entry.is_violation(),
                well_formed: fields.well_formed,
                fields,
            },
        }
    }
}
