//! Which differences follow from others, and are told with them.

use std::collections::BTreeSet;

use veriboot_eventlog::ComponentKind;

use super::topic::Topic;
use super::{Sides, UNNAMED_IMAGE, is_image, switched_off};
use crate::cmdline::CmdlineDiff;
use crate::diff::Change;
use crate::profile::Enforcement;

/// Moves what follows from another difference into its topic.
pub(super) fn attach_what_follows(topics: &mut Vec<Topic<'_>>, sides: &Sides<'_>) {
    follow_from_no_verification(topics, sides);
    follow_from_command_line(topics);
    follow_from_kernel(topics);
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
pub(super) fn follows(command: &CmdlineDiff<'_>, main: &CmdlineDiff<'_>) -> bool {
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
