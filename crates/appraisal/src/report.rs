//! What one event log says, in an owned form that can be kept by the digest of the log.

use std::borrow::Cow;
use std::fmt;
use std::ops::Deref;
use std::sync::{Arc, OnceLock};

use veriboot_eventlog::{
    ComponentKind, Digest, DigestMismatch, Event, EventLog, EventType, Format, HashAlg, Hashes, Known, Label,
    LoaderCommand, Replay, hashes_knowing, labelled, parse,
};
use veriboot_wire::{Finding, counted};

use crate::content::{self, Content, STUB_PCR, SignatureId};
use crate::memo::{Memo, Seen};
use crate::structure_checks;
use crate::text::{self, shortened};
use crate::{code, lists};

/// Warnings and digest mismatches that become findings of their own; the rest is counted.
const MAX_LISTED: usize = 16;
/// Room for commands of the boot loader, when there is one: a menu has so many bytes of them.
const COMMANDS_BYTES: usize = 8 * 1024;
/// What an allocation costs beside its content.
const ALLOCATION: usize = 32;
/// Events of one boot that are judged. Real machines write some hundred; what is compared grows faster than the log.
pub const MAX_EVENTS: usize = 8192;

/// An examined event log. Depends on nothing but the bytes of the log, so it can be cached by their digest.
#[derive(Clone, Debug)]
pub struct LogReport {
    /// SHA-256 of the whole log, lower-case hex.
    pub sha256: String,
    /// Bytes of the log.
    pub bytes: usize,
    /// Events of the last session. Above [`MAX_EVENTS`] there are no entries, and a finding.
    pub events: usize,
    /// Layout; `None` when the log could not be read.
    pub format: Option<Format>,
    /// Whether the log shows Secure Boot on or off; `None` when it does not say, or says both.
    pub secure_boot: Option<bool>,
    /// Whether shim was told not to verify what it starts (MokSBState): Secure Boot is on in name only.
    pub shim_validation_off: bool,
    /// Findings about the log itself, without any baseline or profile.
    pub findings: Vec<Finding>,
    /// What was measured, in log order: every event of the last session that extends a register that exists.
    pub entries: Vec<Entry>,
    /// Banks that the log extends.
    pub banks: Vec<BankReport>,
}

/// One measured component, for all banks. Its [`Component`] is read through it.
#[derive(Clone)]
pub struct Entry {
    /// Index of the event in the log.
    pub event: u32,
    /// PCR, or register of a confidential VM.
    pub pcr: u32,
    /// Type of the event.
    pub event_type: EventType,
    /// Kind of component.
    pub kind: ComponentKind,
    said: Said,
}

/// What an event says: of its own, the same as in other logs, or not put into words before somebody asks.
#[derive(Clone)]
enum Said {
    Own(Component),
    Shared(Arc<Component>),
    Later(Later),
}

/// A command of the boot loader. Nearly all that anybody asks is whether it is the one that a baseline knows.
#[derive(Clone)]
struct Later {
    /// Commands of the log, one after the other.
    texts: Arc<OnceLock<Vec<u8>>>,
    from: usize,
    to: usize,
    words: OnceLock<Box<Component>>,
}

impl Later {
    fn command(&self) -> Option<LoaderCommand<'_>> {
        LoaderCommand::from_text(self.texts.get()?.get(self.from..self.to)?)
    }

    fn words(&self) -> &Component {
        self.words.get_or_init(|| {
            let mut label = self.command().map(|command| command.label());
            Box::new(Component {
                name: label.as_mut().map(|label| std::mem::take(&mut label.name)).unwrap_or_default(),
                value: label.and_then(|label| label.value),
                signer: None,
                items: Vec::new(),
                content: Content::Text,
            })
        })
    }
}

/// A command whose words can wait. What the PCR of systemd-stub holds is proven in another way.
fn command<'a>(event: &Event<'a>) -> Option<LoaderCommand<'a>> {
    if event.pcr == STUB_PCR { None } else { LoaderCommand::of(event) }
}

fn is_command(event: &Event<'_>) -> bool {
    event.pcr != STUB_PCR && LoaderCommand::is_measured_by(event)
}

/// Whether an event is the separator of a boot without errors, of which every log has eight.
pub(crate) fn is_separator(event: &Event<'_>) -> bool {
    event.event_type == EventType::EV_SEPARATOR && event.data == [0; 4]
}

/// What such a separator says. Its words are the same in every register.
fn separator(event: &Event<'_>) -> &'static Arc<Component> {
    static SEPARATOR: OnceLock<Arc<Component>> = OnceLock::new();
    SEPARATOR.get_or_init(|| Arc::new(component_of(event).1))
}

/// What an event measures, beside its kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Component {
    /// What tells several components of one kind apart. Printable, bounded.
    pub name: Cow<'static, str>,
    /// The content in words, where the log has it. Printable, bounded.
    pub value: Option<String>,
    /// Subject of the certificate that admitted the component.
    pub signer: Option<String>,
    /// Members of a list in plain words: the certificates and the number of hashes of db, dbx, KEK, PK and MOK lists.
    pub items: Vec<String>,
    /// What the digest proves about the content.
    pub content: Content,
}

impl Deref for Entry {
    type Target = Component;

    fn deref(&self) -> &Component {
        match &self.said {
            Said::Own(component) => component,
            Said::Shared(component) => component,
            Said::Later(command) => command.words(),
        }
    }
}

impl Entry {
    /// Whether it has this name and this value. Words that wait for somebody to ask are not made.
    pub(crate) fn is_called(&self, name: &str, value: Option<&str>) -> bool {
        if let Said::Later(later) = &self.said
            && let Some(command) = later.command()
        {
            return command.is_called(name, value);
        }
        self.name == name && self.value.as_deref() == value
    }

    /// The text of a command whose words wait for somebody to ask.
    pub(crate) fn command_text(&self) -> Option<&[u8]> {
        match &self.said {
            Said::Later(later) => later.texts.get()?.get(later.from..later.to),
            Said::Own(_) | Said::Shared(_) => None,
        }
    }

    /// Changes what its digest proves.
    pub(crate) fn set_content(&mut self, content: Content) {
        self.said = Said::Own(Component { content, ..Component::clone(self) });
    }

    /// The signer of an image; images do not stand alone.
    fn signer_mut(&mut self) -> Option<&mut Option<String>> {
        match &mut self.said {
            Said::Own(component) => Some(&mut component.signer),
            Said::Shared(_) | Said::Later(_) => None,
        }
    }

    /// Bytes that it has on the heap, estimated from above, with words that are not made yet.
    pub fn heap_bytes(&self) -> usize {
        match &self.said {
            Said::Own(component) => component.heap_bytes(),
            Said::Shared(component) => component.heap_bytes(),
            Said::Later(later) => {
                let words = later.command().map_or(0, |command| command.max_label_bytes());
                size_of::<Component>() + 3 * ALLOCATION + (later.to - later.from) + words
            }
        }
    }
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        (self.event, self.pcr, self.event_type, self.kind)
            == (other.event, other.pcr, other.event_type, other.kind)
            && **self == **other
    }
}

impl Eq for Entry {}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entry")
            .field("event", &self.event)
            .field("pcr", &self.pcr)
            .field("event_type", &self.event_type)
            .field("kind", &self.kind)
            .field("name", &self.name)
            .field("value", &self.value)
            .field("signer", &self.signer)
            .field("items", &self.items)
            .field("content", &self.content)
            .finish()
    }
}

impl Component {
    fn of(event: &Event<'_>, label: &mut Label) -> Self {
        Self {
            items: lists::items(label.kind, event),
            content: content::of_event(event, label.fingerprint),
            name: std::mem::take(&mut label.name),
            value: label.value.take(),
            signer: label.signer.take(),
        }
    }

    /// Bytes that it has on the heap, estimated from above.
    pub(crate) fn heap_bytes(&self) -> usize {
        let text = |text: &String| text.capacity() + ALLOCATION;
        let item = |item: &String| size_of::<String>() + text(item);
        ALLOCATION
            + self.name.len()
            + self.value.as_ref().map_or(0, text)
            + self.signer.as_ref().map_or(0, text)
            + self.items.iter().map(item).sum::<usize>()
            + self.content.heap_bytes()
    }
}

/// What an event says that stands alone, or by itself without the events around it.
pub(crate) fn component_of(event: &Event<'_>) -> (ComponentKind, Component) {
    let mut label = Label::of(event);
    (label.kind, Component::of(event, &mut label))
}

/// One bank of a log.
#[derive(Clone, Debug)]
pub struct BankReport {
    /// Registers after replay.
    pub replay: Replay,
    /// Digest of each of [`LogReport::entries`], in their order.
    pub digests: Vec<Option<Digest>>,
    /// PCR 5 if the ExitBootServices events came after the log was saved.
    pub pcr5_after_exit: Option<Digest>,
}

impl Entry {
    /// Members of a revocation list, as far as its digest proves them; none when it could not be read whole.
    pub(crate) fn revoked(&self) -> Vec<SignatureId> {
        if self.kind != ComponentKind::RevocationDb {
            return Vec::new();
        }
        self.content.signatures().filter(|list| list.complete).map(|list| list.members).unwrap_or_default()
    }
}

impl LogReport {
    /// The bank, if the log extends it.
    pub fn bank(&self, bank: HashAlg) -> Option<&BankReport> {
        self.banks.iter().find(|b| b.replay.bank == bank)
    }

    /// Whether there is nothing to read: no bytes, or padding only.
    pub fn is_missing(&self) -> bool {
        self.findings.iter().any(|f| f.code == code::LOG_MISSING.code)
    }

    /// The first entry of a kind.
    pub(crate) fn first(&self, kind: ComponentKind) -> Option<&Entry> {
        self.entries.iter().find(|e| e.kind == kind)
    }
}

/// Examines a log. Never fails: a log that cannot be read is a finding in the report.
pub fn examine(bytes: &[u8]) -> LogReport {
    examine_with(bytes, &Memo::new(0)).report
}

/// An examined log, and what of it is worth to be learned.
#[derive(Debug)]
pub struct Examined {
    /// What the log says. The same whatever the memo has.
    pub report: LogReport,
    /// How many events were found in the memo.
    pub known: usize,
    /// Indices of events that were not found in the memo, for [`Memo::learn`].
    pub unknown: Vec<u32>,
}

/// Examines a log with the help of what earlier logs said. Never fails.
pub fn examine_with(bytes: &[u8], memo: &Memo) -> Examined {
    examine_known(bytes, None, memo)
}

/// [`examine_with`] for a log whose SHA-256 the caller has computed from these bytes.
pub fn examine_known(bytes: &[u8], sha256: Option<Digest>, memo: &Memo) -> Examined {
    let mut report = LogReport {
        sha256: String::new(),
        bytes: bytes.len(),
        events: 0,
        format: None,
        secure_boot: None,
        shim_validation_off: false,
        findings: Vec::new(),
        entries: Vec::new(),
        banks: Vec::new(),
    };
    let (mut known, mut unknown) = (0, Vec::new());
    match parse(bytes) {
        Ok(log) => {
            let remembered = Remembered::of(&log, memo);
            let hashes = hashes_knowing(bytes, &log, sha256, |event| remembered.get(event).is_some());
            report.sha256 = hashes.sha256.to_string();
            let mismatches: Vec<u32> = hashes.mismatches.iter().take(MAX_LISTED).map(|m| m.event).collect();
            fill(&mut report, &log, hashes, &remembered);
            known = remembered.seen.iter().flatten().count();
            unknown = new_events(&report.entries, &log, &remembered, memo);
            unknown.retain(|index| !mismatches.contains(index));
        }
        Err(error) => {
            report.sha256 = sha256.unwrap_or_else(|| HashAlg::Sha256.hash(&[bytes])).to_string();
            let blank = bytes.iter().all(|b| *b == 0) || bytes.iter().all(|b| *b == 0xFF);
            let mut finding = if blank {
                code::LOG_MISSING.finding(format!("There is no event log: {}", error.reason))
            } else {
                code::LOG_UNREADABLE.finding(format!("The event log cannot be read: {error}"))
            };
            finding.seen = Some(format!("{} bytes", bytes.len()));
            report.findings.push(finding);
        }
    }
    Examined { report, known, unknown }
}

/// Events of a log that a memo has.
struct Remembered<'m> {
    /// Of each event of the last session; empty when the memo has none.
    seen: Vec<Option<&'m Seen>>,
    /// Index of the first of them.
    from: usize,
}

impl<'m> Remembered<'m> {
    fn of(log: &EventLog<'_>, memo: &'m Memo) -> Self {
        let seen = match memo.is_empty() {
            true => Vec::new(),
            false => log.session().iter().map(|event| memo.find(event)).collect(),
        };
        Self { seen, from: log.session_start }
    }

    fn get(&self, event: &Event<'_>) -> Option<&'m Seen> {
        let at = usize::try_from(event.index).ok()?.checked_sub(self.from)?;
        self.seen.get(at).copied().flatten()
    }

    fn known(&self, event: &Event<'_>) -> Known {
        match self.get(event) {
            None if is_separator(event) || is_command(event) => Known::Label,
            None => Known::Nothing,
            Some(_) if event.stands_alone() => Known::Label,
            Some(seen) => {
                seen.component.content.certificate().map_or(Known::Nothing, |c| Known::Fingerprint(c.sha256))
            }
        }
    }
}

/// Events that the memo should have.
fn new_events(entries: &[Entry], log: &EventLog<'_>, remembered: &Remembered<'_>, memo: &Memo) -> Vec<u32> {
    if !memo.keeps_anything() {
        return Vec::new();
    }
    let is_new = |entry: &&Entry| match &entry.said {
        // Found in the memo, or the separator.
        Said::Shared(_) => false,
        Said::Own(_) | Said::Later(_) => event(log, entry.event)
            .is_some_and(|event| remembered.get(event).is_none() && memo.would_keep(event)),
    };
    entries.iter().filter(is_new).map(|entry| entry.event).collect()
}

fn fill(report: &mut LogReport, log: &EventLog<'_>, hashes: Hashes, remembered: &Remembered<'_>) {
    let Hashes { replays, mismatches, .. } = hashes;
    report.format = Some(log.format);
    report.events = log.session().len();
    let active: Vec<HashAlg> = replays.iter().map(|replay| replay.bank).collect();
    let primary = active.iter().copied().find(|b| *b == HashAlg::Sha256).or_else(|| active.first().copied());
    // Registers are below 32.
    let registers = replays.first().into_iter().flat_map(|replay| replay.pcrs.keys());
    let registers = registers.fold(0_u32, |all, pcr| all | 1_u32.checked_shl(*pcr).unwrap_or(0));
    let exists = |pcr: u32| 1_u32.checked_shl(pcr).is_some_and(|pcr| registers & pcr != 0);
    if report.events <= MAX_EVENTS {
        for bank in primary.into_iter().chain(active.iter().copied().filter(|b| Some(*b) != primary)) {
            add_entries(report, log, bank, remembered, exists);
        }
    }
    for replay in replays {
        let digest = |entry: &Entry| Digest::new(event(log, entry.event)?.digest(replay.bank)?);
        let digests = report.entries.iter().map(digest).collect();
        let pcr5_after_exit = replay.pcr5_with_exit_boot_services(log);
        report.banks.push(BankReport { replay, digests, pcr5_after_exit });
    }
    same_image_twice(report);

    too_many_events(report);
    if log.session().iter().any(|event| event.extends() && !exists(event.pcr)) {
        unknown_registers(report, log);
    }
    cut_and_trailing(report, log);
    digest_mismatches(report, mismatches);
    content::mark_vendor_keys(&mut report.entries, log);
    structure_checks::run(report, log);
    warnings(report, log);
}

/// GRUB loads the kernel through firmware and shim, so it is measured twice, the second time without a name.
fn same_image_twice(report: &mut LogReport) {
    let Some(bank) = report.banks.first() else { return };
    let kernel = report.entries.iter().zip(&bank.digests).find_map(|(entry, digest)| {
        digest.filter(|_| {
            entry.kind == ComponentKind::Kernel
                && entry.event_type == EventType::EV_EFI_BOOT_SERVICES_APPLICATION
        })
    });
    let Some(kernel) = kernel else { return };
    for (entry, digest) in report.entries.iter_mut().zip(&bank.digests) {
        if entry.kind == ComponentKind::BootLoader && *digest == Some(kernel) {
            entry.kind = ComponentKind::Kernel;
        }
    }
}

/// Adds what `bank` measures and no bank before it did; normally every event has a digest for every bank.
fn add_entries(
    report: &mut LogReport,
    log: &EventLog<'_>,
    bank: HashAlg,
    remembered: &Remembered<'_>,
    exists: impl Fn(u32) -> bool,
) {
    let extends = |e: &&Event<'_>| e.extends() && exists(e.pcr) && e.digest(bank).is_some();
    let extending = log.session().iter().filter(extends).map(|e| e.index);
    let known: Vec<u32> = report.entries.iter().map(|e| e.event).collect();
    if !known.is_empty() && extending.clone().all(|index| known.binary_search(&index).is_ok()) {
        return;
    }
    let (texts, mut commands) = (Arc::new(OnceLock::new()), Vec::new());
    let add = |all: &mut Vec<Entry>, event: &Event<'_>, label: &mut Label| {
        if !extends(&event) || known.binary_search(&event.index).is_ok() {
            return;
        }
        // Each way makes the entry in its place.
        let mut push = |kind, said| {
            all.push(Entry { event: event.index, pcr: event.pcr, event_type: event.event_type, kind, said });
        };
        if let Some(seen) = remembered.get(event).filter(|_| event.stands_alone()) {
            push(seen.kind, Said::Shared(Arc::clone(&seen.component)));
        } else if let Some(command) = command(event) {
            if commands.is_empty() {
                commands.reserve(COMMANDS_BYTES);
            }
            let from = commands.len();
            commands.extend_from_slice(command.text());
            let (texts, to) = (Arc::clone(&texts), commands.len());
            push(LoaderCommand::KIND, Said::Later(Later { texts, from, to, words: OnceLock::new() }));
        } else if is_separator(event) {
            push(ComponentKind::Separator, Said::Shared(Arc::clone(separator(event))));
        } else {
            push(label.kind, Said::Own(Component::of(event, label)));
        }
    };
    let known_label = |event: &Event<'_>| remembered.known(event);
    let measured =
        labelled(
            log,
            known_label,
            add,
            |entry, event| {
                if entry.event == event { entry.signer_mut() } else { None }
            },
        );
    commands.shrink_to_fit();
    let _ = texts.set(commands);
    if known.is_empty() {
        report.entries = measured;
    } else {
        report.entries.extend(measured);
        report.entries.sort_by_key(|e| e.event);
    }
}

fn event<'l, 'a>(log: &'l EventLog<'a>, index: u32) -> Option<&'l Event<'a>> {
    let at = usize::try_from(index).ok()?;
    log.events.get(at).filter(|e| e.index == index)
}

fn too_many_events(report: &mut LogReport) {
    if report.events > MAX_EVENTS {
        report.findings.push(code::TOO_MANY_EVENTS.finding(format!(
            "The event log has {} events; logs with more than {MAX_EVENTS} are not judged",
            report.events
        )));
    }
}

/// Firmware has no such event, and no quote can say anything about it.
fn unknown_registers(report: &mut LogReport, log: &EventLog<'_>) {
    let Some(registers) = report.banks.first().map(|bank| &bank.replay.pcrs) else { return };
    let mut unknown =
        log.session().iter().filter(|e| e.extends() && !registers.contains_key(&e.pcr)).peekable();
    let Some((pcr, index)) = unknown.peek().map(|e| (e.pcr, e.index)) else { return };
    let count = unknown.count();
    let mut finding = code::REGISTER_UNKNOWN.finding(match count {
        1 => format!("An event of the log extends register {pcr}, which does not exist"),
        _ => format!("{count} events of the log extend registers that do not exist, such as {pcr}"),
    });
    finding.event = Some(index);
    finding.component = Some("event log".to_owned());
    report.findings.push(finding);
}

fn cut_and_trailing(report: &mut LogReport, log: &EventLog<'_>) {
    if let Some(cut) = &log.cut {
        let mut finding = code::LOG_CUT.finding(format!(
            "Reading the event log stopped after {}: {cut}",
            counted(log.events.len(), "event")
        ));
        finding.hint =
            Some("Read the log again from the firmware; a log that stays cut was damaged or edited.".into());
        report.findings.push(finding);
    }
}

/// Held against the data in every bank: an edit that fits one bank's digest must not hide behind it while another bank is
/// the one that the quote proves.
fn digest_mismatches(report: &mut LogReport, mut mismatches: Vec<DigestMismatch>) {
    mismatches.sort_by_key(|m| m.event);
    mismatches.dedup_by_key(|m| m.event);
    for mismatch in &mismatches {
        if let Ok(at) = report.entries.binary_search_by_key(&mismatch.event, |entry| entry.event)
            && let Some(entry) = report.entries.get_mut(at)
        {
            entry.set_content(Content::Opaque);
        }
    }
    let (known, mismatches): (Vec<_>, Vec<_>) = mismatches.into_iter().partition(|m| m.quirk.is_some());
    for mismatch in known.into_iter().take(MAX_LISTED) {
        let mut finding = code::LOG_WARNING.finding(format!(
            "The digest of event {} is not that of its text, as some firmware does it; its text is not proven",
            mismatch.event
        ));
        finding.pcr = Some(mismatch.pcr);
        finding.event = Some(mismatch.event);
        report.findings.push(finding);
    }
    let total = mismatches.len();
    for mismatch in mismatches.into_iter().take(MAX_LISTED) {
        let entry = report.entries.iter().find(|e| e.event == mismatch.event);
        let what = entry.map_or("an unknown component", |e| e.kind.title());
        let mut finding = code::DIGEST_MISMATCH.finding(format!(
            "The log's text about the {what} (PCR {}, event {}) does not have the digest that stands beside it: the log was edited{}",
            mismatch.pcr,
            mismatch.event,
            if total > MAX_LISTED { format!("; {total} events are affected in all") } else { String::new() },
        ));
        finding.pcr = Some(mismatch.pcr);
        finding.event = Some(mismatch.event);
        finding.component = Some(what.to_owned());
        finding.expected = Some(mismatch.expected.to_string());
        finding.seen = Some(mismatch.seen.to_string());
        report.findings.push(finding);
    }
}

fn warnings(report: &mut LogReport, log: &EventLog<'_>) {
    let inactive: Vec<HashAlg> = log.banks.iter().copied().filter(|b| report.bank(*b).is_none()).collect();
    for bank in inactive {
        report.findings.push(code::BANK_INACTIVE.finding(format!(
            "The log names the {} bank, but no event extends it; it is not compared",
            bank.name()
        )));
    }
    let of_replay = report.banks.iter().flat_map(|b| &b.replay.warnings);
    let all: Vec<_> = log.warnings.iter().chain(of_replay).cloned().collect();
    for warning in all.iter().take(MAX_LISTED) {
        let mut finding = code::LOG_WARNING.finding(text::capitalised(&shortened(&warning.message, 512)));
        finding.event = warning.event;
        report.findings.push(finding);
    }
    if let Some(more) = all.len().checked_sub(MAX_LISTED).filter(|n| *n > 0) {
        report
            .findings
            .push(code::LOG_WARNING.finding(format!("{} like these", counted(more, "more warning"))));
    }
}
