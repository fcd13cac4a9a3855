//! First layer: where the events of a log are. Fails only at a byte offset and keeps everything before it.
//!
//! Zero-copy and linear in the size of the log. Sources: TCG PC Client Platform Firmware Profile 1.06, section 10.2
//! (SHA-1 format), 10.3 (crypto-agile format); UEFI 2.11, section 38.4 (confidential computing event log).

use std::fmt;

use serde::{Serialize, Serializer};

use crate::limits::{MAX_ALGORITHMS, MAX_EVENTS, MAX_LOG_BYTES, MAX_SESSIONS, MAX_WARNINGS};
use crate::reader::Reader;
use crate::structure_error::{StructureError, StructureReason};
use crate::{EventType, HashAlg, Warning};

/// Signature of the event that starts a crypto-agile log.
const SPEC_ID_EVENT03: &[u8] = b"Spec ID Event03\0";
/// Bytes of an event in the SHA-1 format before its data.
const SHA1_EVENT_HEADER: usize = 4 + 4 + 20 + 4;
/// PCR index that Windows writes for events that were not extended.
pub const PCR_NOT_EXTENDED: u32 = u32::MAX;

/// Layout of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Format {
    /// SHA-1 only: TCG_PCClientPCREvent records.
    Tcg12,
    /// Crypto-agile: a Spec ID event, then TCG_PCR_EVENT2 records over PCRs.
    Tcg2,
    /// Crypto-agile records over the measurement registers of a confidential VM; index = RTMR + 1.
    Ccel,
}

impl Format {
    /// The word for it: `tcg1.2`, `tcg2`, `ccel`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Tcg12 => "tcg1.2",
            Self::Tcg2 => "tcg2",
            Self::Ccel => "ccel",
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl Serialize for Format {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// A log whose structure was read.
#[derive(Clone, Debug)]
pub struct EventLog<'a> {
    /// Layout.
    pub format: Format,
    /// Banks that the header names, in its order; SHA-1 for [`Format::Tcg12`]. Of the last session.
    pub banks: Vec<HashAlg>,
    /// Every event, the Spec ID event included, in log order.
    pub events: Vec<Event<'a>>,
    /// What was unusual, in log order; at most [`MAX_WARNINGS`] and one that counts the rest.
    pub warnings: Vec<Warning>,
    /// Where and why reading stopped before the end of the log.
    pub cut: Option<StructureError>,
    /// Bytes after the last event: padding, or what could not be read.
    pub trailing: usize,
    /// Index of the event that starts the last session. Events before it belong to an earlier boot or resume and
    /// are not replayed.
    pub session_start: usize,
    /// Sessions in the log; 1 unless several logs were concatenated.
    pub sessions: usize,
}

/// One record of a log.
#[derive(Clone, Copy, Debug)]
pub struct Event<'a> {
    /// Position in the log from 0; the Spec ID event counts.
    pub index: u32,
    /// Byte offset of the record in the log.
    pub offset: usize,
    /// PCR index, or register index of a confidential VM, as the log has it.
    pub pcr: u32,
    /// Type.
    pub event_type: EventType,
    /// Digests by bank.
    pub digests: Digests<'a>,
    /// The event data.
    pub data: &'a [u8],
}

impl<'a> Event<'a> {
    /// The digest for a bank; `None` where the event has none.
    pub fn digest(&self, alg: HashAlg) -> Option<&'a [u8]> {
        self.digests.get(alg)
    }

    /// Whether a TPM was extended with this event: not EV_NO_ACTION, and a PCR that exists.
    pub fn extends(&self) -> bool {
        self.event_type != EventType::EV_NO_ACTION && self.pcr != PCR_NOT_EXTENDED
    }
}

/// The digests of one event, borrowed from the log.
#[derive(Clone, Copy, Debug)]
pub struct Digests<'a> {
    raw: &'a [u8],
    /// One more than the offset in `raw` of the digest of each algorithm in [`HashAlg::ALL`]; 0 for none.
    places: [u16; 5],
}

impl<'a> Digests<'a> {
    #[cfg(test)]
    pub(crate) const NONE: Self = Self { raw: &[], places: [0; 5] };

    fn sha1(raw: &'a [u8]) -> Self {
        Self { raw, places: [1, 0, 0, 0, 0] }
    }

    /// The digest for a bank.
    pub fn get(&self, alg: HashAlg) -> Option<&'a [u8]> {
        let place = usize::from(*self.places.get(alg.slot())?).checked_sub(1)?;
        self.raw.get(place..place.checked_add(alg.size())?)
    }

    /// Every digest of a known algorithm, in the order of [`HashAlg::ALL`].
    pub fn iter(&self) -> impl Iterator<Item = (HashAlg, &'a [u8])> + '_ {
        HashAlg::ALL.into_iter().filter_map(|alg| Some((alg, self.get(alg)?)))
    }

    /// The digest block as the log has it.
    pub fn raw(&self) -> &'a [u8] {
        self.raw
    }
}

/// Sizes of the digests that a Spec ID event lists.
#[derive(Clone, Copy)]
struct AlgorithmTable {
    sizes: [(u16, u16); MAX_ALGORITHMS],
    len: usize,
}

impl AlgorithmTable {
    fn size_of(&self, id: u16) -> Option<(usize, bool)> {
        let listed = self.sizes.iter().take(self.len).find(|(alg, _)| *alg == id).map(|(_, size)| *size);
        match (listed, HashAlg::from_tpm_id(id)) {
            (Some(size), _) => Some((usize::from(size), true)),
            (None, Some(alg)) => Some((alg.size(), false)),
            (None, None) => None,
        }
    }
}

/// Reads the structure of a log.
///
/// # Errors
/// Only when not even the first event can be read. A log that becomes unreadable later gives its readable part, and
/// [`EventLog::cut`] says where and why.
pub fn parse(bytes: &[u8]) -> Result<EventLog<'_>, StructureError> {
    let fail = |reason| StructureError { offset: 0, reason };
    if bytes.is_empty() {
        return Err(fail(StructureReason::Empty));
    }
    if bytes.len() > MAX_LOG_BYTES {
        return Err(fail(StructureReason::TooLarge { bytes: bytes.len() }));
    }
    if is_padding(bytes) {
        return Err(fail(StructureReason::OnlyPadding));
    }
    let mut parser = Parser {
        bytes,
        at: 0,
        events: Vec::with_capacity((bytes.len() / 128).min(1_024)),
        warnings: Warnings::default(),
        table: None,
        banks: vec![HashAlg::Sha1],
        session_start: 0,
        sessions: 1,
    };
    let first = parser.sha1_event().map_err(fail)?;
    if first.data.starts_with(SPEC_ID_EVENT03) && first.event_type == EventType::EV_NO_ACTION {
        parser.start_session(&first).map_err(fail)?;
    }
    parser.events.push(first);
    let cut = parser.events_until_end();
    if parser.events.len() == 1
        && parser.table.is_none()
        && let Some(cut) = cut
        && first.event_type.name().is_none()
    {
        // One record that happens to fit and has no known type is not a log.
        return Err(cut);
    }
    Ok(parser.finish(cut))
}

struct Parser<'a> {
    bytes: &'a [u8],
    at: usize,
    events: Vec<Event<'a>>,
    warnings: Warnings,
    table: Option<AlgorithmTable>,
    banks: Vec<HashAlg>,
    session_start: usize,
    sessions: usize,
}

impl<'a> Parser<'a> {
    fn rest(&self) -> &'a [u8] {
        self.bytes.get(self.at..).unwrap_or_default()
    }

    fn events_until_end(&mut self) -> Option<StructureError> {
        loop {
            let rest = self.rest();
            if rest.is_empty() || self.at_padding(rest) {
                return None;
            }
            let offset = self.at;
            let read = if self.events.len() >= MAX_EVENTS {
                Err(StructureReason::TooManyEvents)
            } else {
                self.next_event(rest)
            };
            match read {
                Ok(event) => self.events.push(event),
                Err(reason) => return Some(StructureError { offset, reason }),
            }
        }
    }

    fn next_event(&mut self, rest: &'a [u8]) -> Result<Event<'a>, StructureReason> {
        if self.table.is_none() {
            return self.sha1_event();
        }
        if starts_session(rest) && self.sessions < MAX_SESSIONS {
            let header = self.sha1_event()?;
            self.start_session(&header)?;
            self.session_start = self.events.len();
            self.sessions += 1;
            self.warnings.push(Warning::at(
                "several-sessions",
                Some(&header),
                "another log starts here; only the events from here on are replayed",
            ));
            return Ok(header);
        }
        self.agile_event()
    }

    /// TCG_PCClientPCREvent.
    fn sha1_event(&mut self) -> Result<Event<'a>, StructureReason> {
        let mut reader = Reader::new(self.rest());
        let head = (|| Some((reader.u32()?, reader.u32()?, reader.take(20)?, reader.u32()?)))();
        let (pcr, event_type, digest, claimed) = head.ok_or(StructureReason::HeaderCut)?;
        let data = take_data(&mut reader, claimed)?;
        Ok(self.event(pcr, event_type, Digests::sha1(digest), data, &reader))
    }

    /// TCG_PCR_EVENT2.
    fn agile_event(&mut self) -> Result<Event<'a>, StructureReason> {
        let table = self.table.as_ref().ok_or(StructureReason::SpecIdMalformed)?;
        let mut reader = Reader::new(self.rest());
        let head = (|| Some((reader.u32()?, reader.u32()?, reader.u32()?)))();
        let (pcr, event_type, count) = head.ok_or(StructureReason::HeaderCut)?;
        if usize::try_from(count).map_or(true, |count| count > MAX_ALGORITHMS) {
            return Err(StructureReason::TooManyDigests { claimed: count });
        }
        let block = reader.rest();
        let mut places = [0_u16; 5];
        let (mut unlisted, mut doubled) = (false, false);
        for _ in 0..count {
            let id = reader.u16().ok_or(StructureReason::DigestsCut)?;
            let place = block.len() - reader.rest().len();
            let (size, listed) =
                table.size_of(id).ok_or(StructureReason::UnknownAlgorithm { algorithm: id })?;
            reader.take(size).ok_or(StructureReason::DigestsCut)?;
            unlisted |= !listed;
            if let Some(slot) = HashAlg::from_tpm_id(id).and_then(|alg| places.get_mut(alg.slot())) {
                doubled |= *slot != 0;
                if *slot == 0 {
                    *slot = u16::try_from(place + 1).map_err(|_| StructureReason::SpecIdMalformed)?;
                }
            }
        }
        let raw = block.get(..block.len() - reader.rest().len()).unwrap_or_default();
        let claimed = reader.u32().ok_or(StructureReason::HeaderCut)?;
        let data = take_data(&mut reader, claimed)?;
        let event = self.event(pcr, event_type, Digests { raw, places }, data, &reader);
        if unlisted {
            self.warnings.push(Warning::at(
                "unlisted-algorithm",
                Some(&event),
                "a digest of an algorithm that the header does not list",
            ));
        }
        if doubled {
            self.warnings.push(Warning::at(
                "digest-doubled",
                Some(&event),
                "two digests of the same algorithm; the first one counts",
            ));
        }
        Ok(event)
    }

    fn event(
        &mut self,
        pcr: u32,
        event_type: u32,
        digests: Digests<'a>,
        data: &'a [u8],
        after: &Reader<'a>,
    ) -> Event<'a> {
        let event = Event {
            index: u32::try_from(self.events.len()).unwrap_or(u32::MAX),
            offset: self.at,
            pcr,
            event_type: EventType(event_type),
            digests,
            data,
        };
        self.at = self.bytes.len() - after.rest().len();
        event
    }

    /// TCG_EfiSpecIdEvent.
    fn start_session(&mut self, header: &Event<'a>) -> Result<(), StructureReason> {
        let mut reader = Reader::new(header.data);
        let count = (|| {
            reader.take(SPEC_ID_EVENT03.len())?;
            reader.take(4 + 1 + 1 + 1 + 1)?;
            reader.u32()
        })();
        let count = count.and_then(|n| usize::try_from(n).ok()).ok_or(StructureReason::SpecIdMalformed)?;
        if count == 0 || count > MAX_ALGORITHMS {
            return Err(StructureReason::SpecIdMalformed);
        }
        let mut table = AlgorithmTable { sizes: [(0, 0); MAX_ALGORITHMS], len: count };
        let mut banks = Vec::with_capacity(count);
        for entry in table.sizes.iter_mut().take(count) {
            let (id, size) = (reader.u16(), reader.u16());
            let (Some(id), Some(size)) = (id, size) else { return Err(StructureReason::SpecIdMalformed) };
            *entry = (id, size);
            match HashAlg::from_tpm_id(id) {
                Some(algorithm) if algorithm.size() != usize::from(size) => {
                    return Err(StructureReason::DigestSize { algorithm, claimed: size });
                }
                Some(algorithm) if !banks.contains(&algorithm) => banks.push(algorithm),
                Some(_) => {}
                None => self.warnings.push(Warning::at(
                    "unknown-bank",
                    Some(header),
                    format!("the header lists the unknown algorithm 0x{id:04x}; its digests are kept, not replayed"),
                )),
            }
        }
        self.table = Some(table);
        self.banks = banks;
        Ok(())
    }

    /// Firmware fills the rest of its area with 0x00 or 0xFF. An event of type 0 in PCR 0 without digests and data
    /// does not exist, and neither does type 0xFFFFFFFF.
    fn at_padding(&mut self, rest: &[u8]) -> bool {
        let head = rest.get(..16.min(rest.len())).unwrap_or_default();
        let pad = match head.first() {
            Some(first @ (0x00 | 0xFF)) if head.iter().all(|b| b == first) => *first,
            _ => return false,
        };
        if self.table.is_none() && pad == 0 && !rest.iter().take(SHA1_EVENT_HEADER).all(|b| *b == 0) {
            return false;
        }
        if !is_filled_with(rest, pad) {
            self.warnings.push(Warning {
                code: "data-after-padding",
                event: None,
                offset: self.at,
                message: format!("{} bytes after the last event are not all padding; not read", rest.len()),
            });
        }
        true
    }

    fn finish(self, cut: Option<StructureError>) -> EventLog<'a> {
        let mut warnings = self.warnings;
        let session = self.events.get(self.session_start..).unwrap_or_default();
        let format = match self.table {
            None => Format::Tcg12,
            Some(_) if is_confidential(session, &self.banks) => Format::Ccel,
            Some(_) => Format::Tcg2,
        };
        if let Some(cut) = &cut {
            warnings.push(Warning {
                code: cut.code(),
                event: None,
                offset: cut.offset,
                message: format!("{}; {} events before it were read", cut.reason, self.events.len()),
            });
        }
        EventLog {
            format,
            banks: self.banks,
            trailing: self.bytes.len() - self.at,
            session_start: self.session_start,
            sessions: self.sessions,
            events: self.events,
            warnings: warnings.finish(),
            cut,
        }
    }
}

/// A confidential VM has registers 1 to 4 and one bank. A PCR log always extends PCR 0, which no CCEL has.
fn is_confidential(events: &[Event<'_>], banks: &[HashAlg]) -> bool {
    let [bank] = banks else { return false };
    let mut seen = false;
    for event in events.iter().filter(|event| event.extends()) {
        if !(1..=4).contains(&event.pcr) {
            return false;
        }
        seen |= event.pcr == 1;
    }
    seen && matches!(bank, HashAlg::Sha384 | HashAlg::Sha512 | HashAlg::Sm3_256)
}

fn take_data<'a>(reader: &mut Reader<'a>, claimed: u32) -> Result<&'a [u8], StructureReason> {
    let available = reader.rest().len();
    usize::try_from(claimed)
        .ok()
        .and_then(|len| reader.take(len))
        .ok_or(StructureReason::DataCut { claimed, available })
}

/// Whether the bytes start with a Spec ID event in the SHA-1 layout.
fn starts_session(rest: &[u8]) -> bool {
    let mut reader = Reader::new(rest);
    let head = (|| {
        let _pcr = reader.u32()?;
        if reader.u32()? != EventType::EV_NO_ACTION.0 {
            return None;
        }
        let zero = reader.take(20)?.iter().all(|b| *b == 0);
        let _size = reader.u32()?;
        Some(zero && reader.rest().starts_with(SPEC_ID_EVENT03))
    })();
    head == Some(true)
}

fn is_padding(bytes: &[u8]) -> bool {
    is_filled_with(bytes, 0x00) || is_filled_with(bytes, 0xFF)
}

/// Block by block, without a branch per byte: areas of 1 MiB are mostly padding.
fn is_filled_with(bytes: &[u8], pad: u8) -> bool {
    bytes.chunks(256).all(|block| block.iter().fold(0, |seen, byte| seen | (byte ^ pad)) == 0)
}

#[derive(Default)]
struct Warnings {
    kept: Vec<Warning>,
    more: usize,
}

impl Warnings {
    fn push(&mut self, warning: Warning) {
        if self.kept.len() < MAX_WARNINGS { self.kept.push(warning) } else { self.more += 1 }
    }

    fn finish(mut self) -> Vec<Warning> {
        if self.more > 0 {
            self.kept.push(Warning {
                code: "more-warnings",
                event: None,
                offset: 0,
                message: format!("{} more warnings", self.more),
            });
        }
        self.kept
    }
}
