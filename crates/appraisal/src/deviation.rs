//! Differences as findings: one per component, in plain words, with everything that follows from it attached.

use std::collections::BTreeSet;

use veriboot_eventlog::{ComponentKind, EventType};
use veriboot_wire::{ChangeAction, Finding, Severity};

use crate::class;
use crate::cmdline::CmdlineDiff;
use crate::code;
use crate::diff::{Change, Item};
use crate::enforcement::Rules;
use crate::known_authorities::known_authority;
use crate::lists::counts_hashes;
use crate::profile::Enforcement;
use crate::proposal::Proposed;
use crate::rule::Evidence;
use crate::text::{MAX_VALUE_CHARS, pcr_list, quoted, shortened};
use crate::weigher::Weigher;

/// Findings about differences; what exceeds it is counted in one more.
const MAX_FINDINGS: usize = 48;
/// Components told apart; what exceeds it is one more component, so that the work stays linear in the log.
const MAX_TOPICS: usize = 256;
/// Changes of one component that are looked at for names.
const MAX_NAMED_CHANGES: usize = 64;
/// Names listed in one message.
const MAX_NAMES: usize = 4;

/// How the event log engine calls an image that was loaded from memory.
const UNNAMED_IMAGE: &str = "image without a path";

/// What two boots are called in messages, and what is known about them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sides<'a> {
    /// "the baseline", "the earlier boot".
    pub reference: &'a str,
    pub secure_boot_before: Option<bool>,
    pub secure_boot_now: Option<bool>,
}

/// All differences of one component that matter equally.
struct Topic<'a> {
    kind: ComponentKind,
    name: &'a str,
    enforcement: Enforcement,
    changes: Vec<Change<'a>>,
    /// Differences of other components that follow from this one.
    attached: Vec<Change<'a>>,
}

/// Differences as findings, and what may be proposed of them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Weighed {
    /// One per component that differs, most telling first.
    pub findings: Vec<Finding>,
    /// Set when there is something to propose and nothing that fails.
    pub proposed: Option<Proposed>,
}

/// Says how much each difference matters and what becomes of it. Without evidence nothing is proposed or accepted: then two boots
/// are compared, and nobody judges.
pub(crate) fn weigh(
    changes: Vec<Change<'_>>,
    sides: &Sides<'_>,
    rules: &Rules<'_>,
    evidence: Option<&Evidence<'_>>,
) -> Weighed {
    let weigher = evidence.map(|evidence| Weigher::new(evidence, rules, &changes, switched_off(sides)));
    let mut topics = group(changes, rules);
    follow_from_no_verification(&mut topics, sides);
    follow_from_command_line(&mut topics);
    follow_from_kernel(&mut topics);
    topics.sort_by_key(|t| weight(t.kind));
    let action_of = |topic: &Topic<'_>| match &weigher {
        Some(weigher) if topic.enforcement == Enforcement::Enforce => Some(weigher.action(topic.all())),
        _ => None,
    };
    let mut actions: Vec<Option<ChangeAction>> = topics.iter().map(action_of).collect();
    if actions.contains(&Some(ChangeAction::Fail)) {
        // What may be proposed is proposed alone: nobody can tell what follows from what.
        for action in actions.iter_mut().filter(|a| **a == Some(ChangeAction::Propose)) {
            *action = Some(ChangeAction::Fail);
        }
    }
    let to_propose: Vec<&Change<'_>> = topics
        .iter()
        .zip(&actions)
        .filter(|(_, action)| **action == Some(ChangeAction::Propose))
        .flat_map(|(topic, _)| topic.all())
        .filter(|change| rules.of(change) == Enforcement::Enforce)
        .collect();
    let mut findings: Vec<Finding> =
        topics.iter().zip(&actions).filter_map(|(topic, action)| topic.finding(sides, *action)).collect();
    findings.sort_by_key(|f| std::cmp::Reverse(f.severity));
    if findings.len() > MAX_FINDINGS {
        let rest = findings.split_off(MAX_FINDINGS);
        let mut more = code::MORE_CHANGES.finding(format!("{} more components differ", rest.len()));
        if !rest.iter().any(Finding::fails) {
            more.severity = Severity::Info;
            more.reason = None;
        }
        findings.push(more);
    }
    let proposed = (!to_propose.is_empty()).then(|| Proposed::new(&to_propose, &findings));
    Weighed { findings, proposed }
}

/// One finding per component that differs between two boots, most telling first.
pub(crate) fn findings(changes: Vec<Change<'_>>, sides: &Sides<'_>, rules: &Rules<'_>) -> Vec<Finding> {
    weigh(changes, sides, rules, None).findings
}

/// The component that a measurement is about. Sections of a unified kernel image are what they hold.
pub(crate) fn subject(item: &Item<'_>) -> ComponentKind {
    if item.kind != ComponentKind::UkiSection {
        return item.kind;
    }
    let holds =
        |section: &str| item.name.split(|c: char| !(c.is_alphanumeric() || c == '.')).any(|w| w == section);
    match () {
        () if holds(".cmdline") => ComponentKind::KernelCommandLine,
        () if holds(".linux") || holds(".uname") => ComponentKind::Kernel,
        () if holds(".initrd") || holds(".ucode") => ComponentKind::Initrd,
        () => ComponentKind::UkiSection,
    }
}

/// Kinds of which each name is a component of its own; of all others the kind is the component.
fn by_name(kind: ComponentKind) -> bool {
    use ComponentKind as K;
    matches!(
        kind,
        K::SecureBootVariable
            | K::OptionRom
            | K::BootLoaderFile
            | K::WindowsModule
            | K::WindowsPolicy
            | K::Unknown
    )
}

fn group<'a>(changes: Vec<Change<'a>>, rules: &Rules<'_>) -> Vec<Topic<'a>> {
    let mut topics: Vec<Topic<'_>> = Vec::new();
    for change in changes {
        let enforcement = rules.of(&change);
        let mut kind = subject(change.item());
        let mut name = if by_name(kind) { change.item().name } else { "" };
        if topics.len() >= MAX_TOPICS && by_name(kind) {
            (kind, name) = (ComponentKind::Unknown, "");
        }
        match topics.iter_mut().find(|t| t.kind == kind && t.name == name && t.enforcement == enforcement) {
            Some(topic) => topic.changes.push(change),
            None => {
                topics.push(Topic { kind, name, enforcement, changes: vec![change], attached: Vec::new() })
            }
        }
    }
    topics
}

fn switched_off(sides: &Sides<'_>) -> bool {
    sides.secure_boot_now == Some(false) && sides.secure_boot_before != Some(false)
}

/// Without Secure Boot nothing is verified: no authority is measured, shim does not load the kernel a second time, and
/// applies the level that it was built with. Where the owner of the machine told shim not to verify, the first two hold.
fn follow_from_no_verification(topics: &mut Vec<Topic<'_>>, sides: &Sides<'_>) {
    let unverified = |t: &Topic<'_>, c: &Change<'_>| match c {
        Change::Removed(old) => {
            t.kind == ComponentKind::Authority || is_image(t.kind) && old.name == UNNAMED_IMAGE
        }
        _ => false,
    };
    if switched_off(sides) {
        attach(topics, ComponentKind::SecureBootState, |t| {
            t.changes.iter().all(|c| unverified(t, c) || t.kind == ComponentKind::SbatLevel)
        });
    } else if topics.iter().any(switches_validation_off) {
        attach(topics, ComponentKind::MokState, |t| t.changes.iter().all(|c| unverified(t, c)));
    }
}

fn switches_validation_off(topic: &Topic<'_>) -> bool {
    topic.kind == ComponentKind::MokState
        && topic.changes.iter().any(|change| {
            change.later().is_some_and(|new| new.name.contains("MokSBState") && new.value == Some("01"))
        })
}

/// The kernel command line before and now, when it changed.
fn command_lines<'a>(topics: &[Topic<'a>]) -> Option<(&'a str, &'a str)> {
    topics.iter().find(|t| t.kind == ComponentKind::KernelCommandLine)?.primary_values()
}

/// The boot loader measures the command line again as its own commands, and the file that it read them from.
fn follow_from_command_line(topics: &mut Vec<Topic<'_>>) {
    let Some((old, new)) = command_lines(topics) else { return };
    let main = CmdlineDiff::between(old, new);
    let Some(config) = topics.iter().find(|t| t.kind == ComponentKind::BootLoaderConfig) else {
        // Nothing but the file is measured.
        return;
    };
    let says_more = config.changes.iter().any(|change| match change {
        Change::Changed(old, new) => match (old.value, new.value) {
            (Some(old), Some(new)) => !follows(&CmdlineDiff::between(old, new), &main),
            _ => !is_configuration_file(new.name),
        },
        other => !is_configuration_file(other.item().name) || other.item().value.is_some(),
    });
    if says_more {
        return;
    }
    attach(topics, ComponentKind::KernelCommandLine, |t| {
        t.kind == ComponentKind::BootLoaderConfig
            || (t.kind == ComponentKind::BootLoaderFile && is_configuration_file(t.name))
    });
}

/// Whether every difference in a boot loader command is one of the command line, or a path of an image.
fn follows(command: &CmdlineDiff<'_>, main: &CmdlineDiff<'_>) -> bool {
    let is_path = |p: &str| p.starts_with(['/', '\\', '(']);
    let added = main.added.iter().copied().chain(main.changed.iter().map(|(_, new)| *new));
    let removed = main.removed.iter().copied().chain(main.changed.iter().map(|(old, _)| *old));
    let (added, removed): (BTreeSet<&str>, BTreeSet<&str>) = (added.collect(), removed.collect());
    let known_new = |p: &&str| added.contains(p) || is_path(p);
    let known_old = |p: &&str| removed.contains(p) || is_path(p);
    command.added.iter().all(known_new)
        && command.removed.iter().all(known_old)
        && command.changed.iter().all(|(old, new)| known_new(new) && known_old(old))
        && (!command.reordered || main.reordered)
}

pub(crate) fn is_configuration_file(name: &str) -> bool {
    let file = name.rsplit(['/', '\\']).next().unwrap_or(name);
    file.ends_with(".cfg") || file.ends_with(".conf")
}

/// The path of the kernel image in the command line follows from another kernel.
fn follow_from_kernel(topics: &mut Vec<Topic<'_>>) {
    let Some((old, new)) = command_lines(topics) else { return };
    let mut diff = CmdlineDiff::between(old, new);
    diff.drop_image_paths();
    // With the same parameters it was the path before them that changed the digest.
    if diff.is_empty() {
        attach(topics, ComponentKind::Kernel, |t| t.kind == ComponentKind::KernelCommandLine);
    }
}

/// Moves the topics that `follows` picks into the topic of `cause`, if there is one.
fn attach<'a>(topics: &mut Vec<Topic<'a>>, cause: ComponentKind, follows: impl Fn(&Topic<'a>) -> bool) {
    if !topics.iter().any(|t| t.kind == cause) {
        return;
    }
    let mut moved = Vec::new();
    let mut strictest = Enforcement::Ignore;
    topics.retain_mut(|topic| {
        let goes = topic.kind != cause && follows(topic);
        if goes {
            strictest = strictest.stricter(topic.enforcement);
            moved.append(&mut topic.changes);
            moved.append(&mut topic.attached);
        }
        !goes
    });
    if let Some(topic) = topics.iter_mut().find(|t| t.kind == cause) {
        topic.attached.append(&mut moved);
        // What follows from a change that does not matter may still matter itself.
        topic.enforcement = topic.enforcement.stricter(strictest);
    }
}

impl<'a> Topic<'a> {
    /// The change that says most: a change with text before anything else, an addition before a removal.
    fn primary(&self) -> Option<&Change<'a>> {
        let says =
            |item: &Item<'_>| item.value.is_some_and(|v| v != item.name) || item.name.contains(['/', '\\']);
        self.changes.iter().min_by_key(|change| match change {
            Change::Changed(old, new) if old.value.is_some() && new.value.is_some() => 0,
            Change::Changed(_, new) if says(new) && new.kind != ComponentKind::BootLoaderConfig => 1,
            Change::Added(new) if says(new) && new.value.is_some() => 2,
            Change::Removed(old) if says(old) && old.value.is_some() => 3,
            Change::Changed(..) => 4,
            Change::Added(_) => 5,
            Change::Removed(_) => 6,
            Change::Moved(..) => 7,
            Change::Described(..) => 8,
        })
    }

    /// Everything that the finding is about.
    fn all(&self) -> impl Iterator<Item = &Change<'a>> {
        self.changes.iter().chain(&self.attached)
    }

    fn primary_values(&self) -> Option<(&'a str, &'a str)> {
        match self.primary()? {
            Change::Changed(old, new) => Some((old.value?, new.value?)),
            _ => None,
        }
    }

    fn finding(&self, sides: &Sides<'_>, action: Option<ChangeAction>) -> Option<Finding> {
        let primary = self.primary()?;
        if self.enforcement == Enforcement::Ignore {
            return None;
        }
        let item = primary.item();
        let off = self.kind == ComponentKind::SecureBootState && switched_off(sides);
        let code = match primary {
            _ if off => code::SECURE_BOOT_DISABLED,
            Change::Changed(..) => code::COMPONENT_CHANGED,
            Change::Added(_) => code::COMPONENT_ADDED,
            Change::Removed(_) => code::COMPONENT_REMOVED,
            Change::Moved(..) => code::COMPONENT_REORDERED,
            Change::Described(..) => code::DESCRIPTION_CHANGED,
        };
        let mut finding = code.finding(if off {
            "Secure Boot was switched off".to_owned()
        } else {
            self.message(primary, sides)
        });
        finding.action = action;
        let severity = match (self.enforcement, action) {
            (Enforcement::Note, _) | (_, Some(ChangeAction::Accept)) => Some(Severity::Info),
            (_, Some(ChangeAction::Propose)) => Some(Severity::Medium),
            _ => None,
        };
        if let Some(severity) = severity {
            finding.severity = severity;
            finding.reason = None;
        }
        finding.pcr = Some(item.pcr);
        finding.event = primary.later().and_then(|new| new.event);
        finding.component = Some(self.component());
        finding.expected = match (off, primary.earlier()) {
            (true, _) => Some("on".to_owned()),
            (false, Some(old)) => Some(content(old)),
            (false, None) => Some("not measured".to_owned()),
        };
        finding.seen = match (off, primary.later()) {
            (true, _) => Some("off".to_owned()),
            (false, Some(new)) => Some(content(new)),
            (false, None) => Some("not measured".to_owned()),
        };
        finding.signer = primary.later().and_then(|new| new.signer).map(|s| shortened(s, MAX_VALUE_CHARS));
        let class = class::of(self.kind, primary, off);
        finding.change = Some(class);
        finding.risk = Some(class::risk(class).to_owned());
        finding.hint = match action {
            Some(ChangeAction::Propose) => Some(APPROVE.to_owned()),
            _ => self.hint(off),
        };
        Some(finding)
    }

    fn component(&self) -> String {
        match self.kind {
            kind if by_name(kind) && !self.name.is_empty() => {
                format!("{} {}", kind.title(), shortened(self.name, 80))
            }
            kind => kind.title().to_owned(),
        }
    }

    fn message(&self, primary: &Change<'_>, sides: &Sides<'_>) -> String {
        let what = self.kind.title();
        let mut text = match primary {
            Change::Changed(old, new) => format!("{what} changed: {}", self.difference(old, new, sides)),
            Change::Added(new) => {
                format!("{what} added: {} is not in {}", self.called(new), sides.reference)
            }
            Change::Removed(old) => {
                format!("{what} missing: {} is in {} and was not measured", self.called(old), sides.reference)
            }
            Change::Moved(_, new) => {
                format!(
                    "{what} out of order: {} was measured at another place than in {}",
                    self.called(new),
                    sides.reference
                )
            }
            Change::Described(old, new) if described(old) == described(new) => format!(
                "{what}: the log gives {} the event type {} instead of {}, with the same digest",
                self.called(new),
                EventType(new.event_type),
                EventType(old.event_type)
            ),
            Change::Described(old, new) => format!(
                "{what}: the log calls what {} has as {} now {}, with the same digest",
                sides.reference,
                described(old),
                described(new)
            ),
        };
        text.push_str(&self.others(primary));
        text
    }

    /// How a measurement is named in a message.
    fn called(&self, item: &Item<'_>) -> String {
        match (item.value, item.name) {
            (Some(value), _) if self.kind == ComponentKind::KernelCommandLine => quoted(value),
            (Some(value), _) if self.kind == ComponentKind::BootLoaderConfig => quoted(value),
            (_, "") => format!("digest {}", item.digest),
            (_, name) => quoted(name),
        }
    }

    fn difference(&self, old: &Item<'_>, new: &Item<'_>, sides: &Sides<'_>) -> String {
        if self.kind == ComponentKind::KernelCommandLine && old.value == new.value && old.value.is_some() {
            return "the parameters are the same, what stands before them (command, image path) is not"
                .to_owned();
        }
        if !(old.items.is_empty() && new.items.is_empty()) {
            return list_difference(old, new);
        }
        match (old.value, new.value) {
            (Some(was), Some(is)) if self.kind == ComponentKind::KernelCommandLine => {
                let mut diff = CmdlineDiff::between(was, is);
                let full = diff.describe();
                if diff.drop_image_paths() && !diff.is_empty() { diff.describe() } else { full }
            }
            (Some(was), Some(is)) if was != is => {
                format!("now {} instead of {}", quoted(&readable(is)), quoted(&readable(was)))
            }
            _ if old.name != new.name => format!("{} instead of {}", quoted(new.name), quoted(old.name)),
            _ if new.name.is_empty() => format!("not the digest of {}", sides.reference),
            _ => format!("{} does not have the digest of {}", quoted(new.name), sides.reference),
        }
    }

    /// What else belongs to this finding: other members of the component, and other PCRs that show it.
    fn others(&self, primary: &Change<'_>) -> String {
        let lead = self.called(primary.item());
        let mut names: Vec<String> = Vec::new();
        for change in self.changes.iter().take(MAX_NAMED_CHANGES) {
            let called = self.called(change.item());
            if called != lead
                && change.item().name != UNNAMED_IMAGE
                && !names.contains(&called)
                && !self.says_the_same(primary, change)
            {
                names.push(called);
            }
        }
        let mut text = String::new();
        if !names.is_empty() {
            let total = names.len() + self.changes.len().saturating_sub(MAX_NAMED_CHANGES);
            names.truncate(MAX_NAMES);
            text.push_str(&format!("; likewise {}", names.join(", ")));
            if total > names.len() {
                text.push_str(&format!(" and {} more", total - names.len()));
            }
        }
        let pcrs: BTreeSet<u32> = self.changes.iter().chain(&self.attached).map(|c| c.item().pcr).collect();
        if pcrs.len() > 1 {
            let pcrs: Vec<u32> = pcrs.into_iter().collect();
            text.push_str(&format!(" (seen in {})", pcr_list(&pcrs)));
        }
        text
    }

    /// Whether another measurement of a command line differs in the same parameters.
    fn says_the_same(&self, primary: &Change<'_>, other: &Change<'_>) -> bool {
        let Some((Some(old), Some(new))) = values_of(primary) else { return false };
        if self.kind != ComponentKind::KernelCommandLine {
            return false;
        }
        match values_of(other) {
            Some((Some(other_old), Some(other_new))) => {
                follows(&CmdlineDiff::between(other_old, other_new), &CmdlineDiff::between(old, new))
            }
            // The digest of the same command line, without its text.
            Some(_) => true,
            None => false,
        }
    }

    fn is_roll_over(&self) -> bool {
        let told = |change: &Change<'_>| match change {
            Change::Changed(old, new) => roll_over(old, new).is_some_and(|told| told.starts_with("this is the roll-over")),
            _ => false,
        };
        self.changes.iter().take(MAX_NAMED_CHANGES).any(told)
    }

    fn hint(&self, off: bool) -> Option<String> {
        use ComponentKind as K;
        let text = match self.kind {
            _ if off => SWITCH_ON,
            K::KernelCommandLine => {
                let danger =
                    self.primary_values().and_then(|(old, new)| CmdlineDiff::between(old, new).danger());
                if let Some(danger) = danger {
                    return Some(format!("{danger}. Find out who changed the boot loader's configuration."));
                }
                "If you changed the boot configuration on purpose, accept this boot as the new baseline."
            }
            K::Kernel | K::Initrd | K::UkiSection | K::BootLoader | K::Shim | K::BootLoaderFile => {
                "If this follows from an update that you rolled out, accept this boot as the new baseline; otherwise \
                 treat the machine as compromised."
            }
            K::Firmware | K::CrtmVersion | K::OptionRom => {
                "If the hypervisor's or machine's firmware was updated, accept this boot as the new baseline."
            }
            K::KeyExchangeKey | K::SignatureDb if self.is_roll_over() => {
                "Firmware updates, `fwupdmgr update` and Windows Update add these before those of 2011 expire in 2026. If one of \
                 them ran, accept this boot as the new baseline, for all VMs of the scale set at once."
            }
            K::PlatformKey
            | K::KeyExchangeKey
            | K::SignatureDb
            | K::SecureBootVariable
            | K::Authority
            | K::MokState => {
                "Whoever holds these keys can sign what boots here: find out who changed them before you accept it."
            }
            K::RevocationDb | K::SbatLevel => {
                "Revocations are normally added by updates; if some are gone, old vulnerable loaders can boot again."
            }
            K::BootLoaderConfig => {
                "Compare the boot loader's configuration with the one that you deployed; accept this boot if the change \
                 is yours."
            }
            _ => return None,
        };
        Some(text.to_owned())
    }
}

fn values_of<'a>(change: &Change<'a>) -> Option<(Option<&'a str>, Option<&'a str>)> {
    match change {
        Change::Changed(old, new) => Some((old.value, new.value)),
        _ => None,
    }
}

/// What becomes of a change that may be proposed.
const APPROVE: &str = "If this is an update that you rolled out, approve the proposal (`veriboot proposal list`, `veriboot \
     proposal approve`): then it belongs to the baseline. Otherwise reject it, and find out who changed the machine.";

/// How to turn Secure Boot on.
pub(crate) const SWITCH_ON: &str = "Switch Secure Boot on in the VM's firmware settings (QEMU/libvirt: OVMF with \
     `secure-boot` and enrolled Microsoft keys; clouds: trusted launch / shielded VM options) and reboot. If this VM must \
     run without it, put it in a group that the service's setting `measured_only_groups` names.";

/// The content of a measurement: its text, or its digest.
fn content(item: &Item<'_>) -> String {
    match item.value {
        Some(value) if !is_image(item.kind) => shortened(&readable(value), MAX_VALUE_CHARS),
        _ => item.digest.to_string(),
    }
}

/// Kinds of which a log knows a file and its digest, and no text that the digest covers.
pub(crate) fn is_image(kind: ComponentKind) -> bool {
    use ComponentKind as K;
    matches!(kind, K::Shim | K::BootLoader | K::Kernel | K::Initrd | K::OptionRom | K::Firmware)
}

/// Escaped line ends of a text of several lines, such as an SBAT level, as separators.
pub(crate) fn readable(value: &str) -> String {
    value.trim_end_matches("\\u{a}").replace("\\u{a}", "; ")
}

fn described(item: &Item<'_>) -> String {
    let name = match item.value {
        Some(value) if value != item.name => {
            format!("{} = {}", shortened(item.name, 60), shortened(value, 60))
        }
        _ => shortened(item.name, 120),
    };
    format!("{} {}", item.kind.title(), quoted(&name))
}

/// Added and removed members of a list.
fn list_difference(old: &Item<'_>, new: &Item<'_>) -> String {
    let roll_over = roll_over(old, new);
    let (old, new) = (old.items, new.items);
    let list = |items: &[String]| {
        let total = items.len();
        let mut text = items.iter().take(MAX_NAMES).map(|i| quoted(i)).collect::<Vec<_>>().join(", ");
        if total > MAX_NAMES {
            text.push_str(&format!(" and {} more", total - MAX_NAMES));
        }
        text
    };
    let counted = |items: &[String]| {
        items.iter().find(|i| counts_hashes(i)).cloned().unwrap_or_else(|| "no hashes".to_owned())
    };
    let named = |of: &[String], not_in: &[String]| -> Vec<String> {
        of.iter().filter(|i| !counts_hashes(i) && !not_in.contains(i)).cloned().collect()
    };
    let (added, removed) = (named(new, old), named(old, new));
    let mut parts = Vec::new();
    if !added.is_empty() {
        parts.push(format!("added {}", list(&added)));
    }
    if !removed.is_empty() {
        parts.push(format!("removed {}", list(&removed)));
    }
    let (hashes_before, hashes_now) = (counted(old), counted(new));
    if hashes_before != hashes_now {
        parts.push(format!("{hashes_now} instead of {hashes_before}"));
    }
    if parts.is_empty() {
        parts.push("members with the same names have other content".to_owned());
    }
    parts.extend(roll_over);
    parts.join("; ")
}

/// Whether Microsoft's certificates of 2023 were added or taken out. A name is anybody's: the certificate itself decides,
/// where there is one.
fn roll_over(old: &Item<'_>, new: &Item<'_>) -> Option<String> {
    let named = |name: &str| {
        name.contains("2023") && (name.contains("Microsoft") || name.contains("Windows UEFI"))
    };
    let has = |items: &[String]| items.iter().any(|name| named(name));
    match (has(old.items), has(new.items)) {
        (true, false) => Some("Microsoft's 2023 certificates are gone".to_owned()),
        (false, true) => {
            let list = new.entry.and_then(|entry| entry.content.signatures());
            let stranger = list.iter().flat_map(|list| &list.certificates).find(|certificate| {
                named(&certificate.subject)
                    && known_authority(&certificate.sha256).is_none_or(|known| known.who != "Microsoft")
            });
            Some(match stranger {
                Some(certificate) => format!(
                    "{} has the name of a certificate of Microsoft, and is another one (SHA-256 {})",
                    quoted(&certificate.subject),
                    certificate.sha256
                ),
                None => "this is the roll-over to Microsoft's 2023 certificates".to_owned(),
            })
        }
        _ => None,
    }
}

/// Order of findings of one severity: what explains the others comes first.
fn weight(kind: ComponentKind) -> usize {
    use ComponentKind as K;
    const ORDER: &[ComponentKind] = &[
        K::SecureBootState,
        K::PlatformKey,
        K::KeyExchangeKey,
        K::SignatureDb,
        K::Firmware,
        K::CrtmVersion,
        K::Shim,
        K::BootLoader,
        K::Kernel,
        K::UkiSection,
        K::KernelCommandLine,
        K::Initrd,
        K::MokState,
        K::BootLoaderConfig,
        K::BootLoaderFile,
        K::SbatLevel,
        K::RevocationDb,
        K::SecureBootVariable,
        K::OptionRom,
        K::WindowsPolicy,
        K::WindowsModule,
        K::Unknown,
        K::Authority,
    ];
    ORDER.iter().position(|k| *k == kind).unwrap_or(ORDER.len())
}
