//! Differences as findings: one per component, in plain words, with everything that follows from it attached.

mod following;
mod hints;
mod settings;
mod topic;
mod words;

use veriboot_eventlog::ComponentKind;
use veriboot_wire::{ChangeAction, Finding, Severity, counted};

use self::following::attach_what_follows;
use self::topic::Topic;
use crate::code;
use crate::diff::{Change, Item};
use crate::enforcement::Rules;
use crate::profile::Enforcement;
use crate::proposal::{MAX_PROPOSED, Proposed, count_new};
use crate::rule::Evidence;
use crate::weigher::Weigher;

pub(crate) use self::following::is_configuration_file;
pub(crate) use self::hints::SWITCH_ON;
pub(crate) use self::words::{is_image, readable};

/// Findings about differences; what exceeds it is counted in one more.
const MAX_FINDINGS: usize = 48;
/// Components told apart; what exceeds it is one more component, so that the work stays linear in the log.
const MAX_TOPICS: usize = 256;

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
    attach_what_follows(&mut topics, sides);
    topics.sort_by_key(|t| weight(t.kind));
    let action_of = |topic: &Topic<'_>| match &weigher {
        Some(weigher) if topic.enforcement == Enforcement::Enforce => Some(weigher.action(topic.all())),
        _ => None,
    };
    let mut actions: Vec<Option<ChangeAction>> = topics.iter().map(action_of).collect();
    if actions.contains(&Some(ChangeAction::Fail)) {
        // What may be proposed is proposed alone: nobody can tell what follows from what.
        refuse(&mut actions);
    }
    let proposable = |actions: &[Option<ChangeAction>]| -> Vec<&Change<'_>> {
        let proposed = topics.iter().zip(actions).filter(|(_, a)| **a == Some(ChangeAction::Propose));
        let changes = proposed.flat_map(|(topic, _)| topic.all());
        changes.filter(|change| rules.of(change) == Enforcement::Enforce).collect()
    };
    let mut to_propose = proposable(&actions);
    if count_new(&to_propose) > MAX_PROPOSED {
        refuse(&mut actions);
        to_propose.clear();
    }
    let mut findings: Vec<Finding> =
        topics.iter().zip(&actions).filter_map(|(topic, action)| topic.finding(sides, *action)).collect();
    findings.sort_by_key(|f| std::cmp::Reverse(f.severity));
    if findings.len() > MAX_FINDINGS {
        let rest = findings.split_off(MAX_FINDINGS);
        let mut more = code::MORE_CHANGES
            .finding(format!("Beside these, {} changed", counted(rest.len(), "more component")));
        if !rest.iter().any(Finding::fails) {
            more.severity = Severity::Info;
            more.reason = None;
        }
        findings.push(more);
    }
    let proposed = weigher.as_ref().filter(|_| !to_propose.is_empty()).map(|weigher| {
        Proposed::new(&to_propose, &findings, |change| weigher.is_fixed_by_a_signature(change))
    });
    Weighed { findings, proposed }
}

/// What could be proposed fails.
fn refuse(actions: &mut [Option<ChangeAction>]) {
    for action in actions.iter_mut().filter(|a| **a == Some(ChangeAction::Propose)) {
        *action = Some(ChangeAction::Fail);
    }
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
