//! Rules that are held against every log: revisions, settings, parameters of the kernel command line.
//!
//! What a demand is held against is proven by digests. A log that does not show what a demand asks about violates it: an
//! attacker could have taken it out.

use std::collections::BTreeMap;

use veriboot_eventlog::{ComponentKind, EventType, Format};
use veriboot_wire::{ChangeClass, Finding, counted};

use super::{Minimum, Parameters, Rule, Says, StateFlag, Switch};
use crate::authority::of_images;
use crate::cmdline::{self, CmdlineDiff};
use crate::code;
use crate::content::{Content, STUB_PCR};
use crate::diff::{Change, Item};
use crate::report::{Entry, LogReport};
use crate::settings;
use crate::structure_checks::{SECURE_BOOT_PCR, SHIM_STATE_PCR};
use crate::text::quoted;

/// Findings that one rule makes; more of the same are counted in the last.
const MAX_VIOLATIONS: usize = 8;

/// What this rule demands and the log does not show.
pub(super) fn violations(rule: &Rule, report: &LogReport) -> Vec<Finding> {
    let mut found = match &rule.says {
        Says::Minimum(minimum) if rule.component == ComponentKind::SbatLevel => sbat(minimum, report),
        Says::Minimum(minimum) => dbx(minimum, report),
        Says::Parameters(parameters) => command_line(parameters, report),
        Says::State(state) => state_of(state, report),
        Says::Digests(_) | Says::Authorities(_) | Says::Any(_) => Vec::new(),
    };
    let more = found.len().saturating_sub(MAX_VIOLATIONS);
    found.truncate(MAX_VIOLATIONS);
    if let (Some(last), true) = (found.last_mut(), more > 0) {
        last.message.push_str(&format!("; and {more} more"));
    }
    for violation in &mut found {
        violation.component.get_or_insert_with(|| rule.component.title().to_owned());
        let risk = violation.change.map(|class| crate::class::risk(class).to_owned());
        violation.risk = violation.risk.take().or(risk);
        if let Some(description) = &rule.description {
            violation.message.push_str(&format!(" (rule: {description})"));
        }
    }
    found
}

fn violated(message: String, entry: Option<&Entry>, expected: String, seen: String) -> Finding {
    let mut finding = code::RULE_VIOLATED.finding(message);
    finding.pcr = entry.map(|entry| entry.pcr);
    finding.event = entry.map(|entry| entry.event);
    finding.expected = Some(expected);
    finding.seen = Some(seen);
    finding
}

/// The entry that has the level: shim's own comes first, and what cannot be read before it may be it.
fn sbat_level(report: &LogReport) -> Option<&Entry> {
    of_images(report).find(|entry| matches!(entry.content, Content::Sbat(_) | Content::Opaque))
}

/// The entry that has the revocation list.
fn revocation_list(report: &LogReport) -> Option<&Entry> {
    let is_dbx = |entry: &&Entry| entry.kind == ComponentKind::RevocationDb && entry.pcr == SECURE_BOOT_PCR;
    report.entries.iter().find(is_dbx)
}

fn sbat(minimum: &Minimum, report: &LogReport) -> Vec<Finding> {
    let shown = sbat_level(report).and_then(|entry| match &entry.content {
        Content::Sbat(level) => Some((entry, level)),
        _ => None,
    });
    let Some((entry, level)) = shown else {
        if settings::is_windows(report) {
            return Vec::new();
        }
        let message = "No SBAT level is measured: shim is older than 15.3, or did not run".to_owned();
        let mut finding = violated(message, None, minimum.to_string(), "not measured".to_owned());
        finding.hint =
            Some("Update shim: since 15.3 it refuses loaders with known holes by SBAT.".to_owned());
        finding.change = Some(ChangeClass::SbatUpdate);
        return vec![finding];
    };
    let seen = entry.value.as_deref().map(crate::deviation::readable).unwrap_or_default();
    let mut low: Vec<String> = Vec::new();
    if let Some(wanted) = minimum.level
        && level.date.is_none_or(|date| date < wanted)
    {
        low.push(format!("it is of {}, and {wanted} is the least", level.date.unwrap_or(0)));
    }
    for (component, wanted) in &minimum.generations {
        let has = level.generations.get(component).copied().unwrap_or(0);
        if has < *wanted {
            low.push(format!("{component} is at {has}, and {wanted} is the least"));
        }
    }
    if level.malformed_lines > 0 {
        low.push("it has lines that cannot be read".to_owned());
    }
    if low.is_empty() {
        return Vec::new();
    }
    let message = format!("The SBAT level is too low: {}", low.join("; "));
    let mut finding = violated(message, Some(entry), minimum.to_string(), seen);
    finding.hint = Some(
        "Update shim, and let it install its current level: `mokutil --set-sbat-policy latest`, then reboot."
            .to_owned(),
    );
    finding.change = Some(ChangeClass::SbatUpdate);
    vec![finding]
}

fn dbx(minimum: &Minimum, report: &LogReport) -> Vec<Finding> {
    let measured = revocation_list(report);
    let shown = measured.and_then(|entry| Some((entry, entry.content.signatures()?)));
    let hint =
        "Install the current revocation list: `fwupdmgr update`, or the update of the operating system.";
    let Some((entry, list)) = shown.filter(|(_, list)| list.complete) else {
        let message = "The revocation list (dbx) is not measured, or cannot be read".to_owned();
        let mut finding = violated(message, measured, minimum.to_string(), "not shown".to_owned());
        finding.change = Some(ChangeClass::DbxUpdate);
        finding.hint = Some(hint.to_owned());
        return vec![finding];
    };
    let mut low: Vec<String> = Vec::new();
    if let Some(wanted) = minimum.entries
        && list.members.len() < wanted
    {
        low.push(format!("it has {}, and {wanted} is the least", entries(list.members.len())));
    }
    let missing: Vec<String> =
        minimum.hashes.iter().filter(|hash| !list.has(hash)).map(ToString::to_string).collect();
    if let Some(first) = missing.first() {
        low.push(format!("{} of the entries it must have are missing, such as {first}", missing.len()));
    }
    if low.is_empty() {
        return Vec::new();
    }
    let message = format!("The revocation list (dbx) revokes too little: {}", low.join("; "));
    let mut finding = violated(message, Some(entry), minimum.to_string(), entries(list.members.len()));
    finding.hint = Some(hint.to_owned());
    finding.change = Some(ChangeClass::DbxUpdate);
    vec![finding]
}

/// A number of entries in words.
pub(super) fn entries(count: usize) -> String {
    counted(count, "entry")
}

fn state_of(state: &BTreeMap<StateFlag, Switch>, report: &LogReport) -> Vec<Finding> {
    let shown = settings::of_report(report);
    let mut found = Vec::new();
    let no_secure_boot = state.get(&StateFlag::SecureBoot) == Some(&Switch::On)
        && shown.get(StateFlag::SecureBoot).value != Some(Switch::On);
    for (flag, wanted) in state {
        let is = shown.get(*flag);
        // Without Secure Boot the other modes say nothing: one finding is enough.
        if no_secure_boot
            && flag.component() == ComponentKind::SecureBootState
            && *flag != StateFlag::SecureBoot
        {
            continue;
        }
        if is.applies && is.value != Some(*wanted) {
            let seen = is.value.map_or("not shown", Switch::as_str);
            let mut finding = violated(
                flag.complaint(*wanted, is.value),
                None,
                wanted.as_str().to_owned(),
                seen.to_owned(),
            );
            finding.pcr = is.pcr;
            finding.event = is.event;
            finding.change = Some(flag.change());
            finding.risk = Some(crate::class::risk(flag.change()).to_owned());
            finding.hint = Some(flag.hint().to_owned());
            finding.component = Some(flag.title().to_owned());
            found.push(finding);
        }
    }
    found
}

/// Kernel command lines as far as digests prove their text.
pub(super) enum CommandLines<'r> {
    /// At least one, each with its event.
    Shown(Vec<(&'r Entry, &'r str)>),
    /// The boot loader measured something in their place that cannot be read.
    Unreadable(&'r Entry),
    /// None is measured as text: Windows, or a unified kernel image, whose signature covers its own.
    None,
}

/// PCRs of what boot loaders measure as text: GRUB's commands and command line, the options of systemd-stub.
const TEXT_PCRS: [u32; 2] = [8, STUB_PCR];

fn command_lines(report: &LogReport) -> CommandLines<'_> {
    if report.format == Some(Format::Ccel) || settings::is_windows(report) {
        return CommandLines::None;
    }
    let texts = || report.entries.iter().filter(|entry| TEXT_PCRS.contains(&entry.pcr));
    let hides = |entry: &&Entry| entry.content != Content::Text || !is_whole(entry) || !is_as_written(entry);
    if let Some(hidden) = texts().find(hides) {
        return CommandLines::Unreadable(hidden);
    }
    let lines: Vec<(&Entry, &str)> = texts().filter_map(|entry| Some((entry, line_of(entry)?))).collect();
    if lines.is_empty() { CommandLines::None } else { CommandLines::Shown(lines) }
}

/// Whether the log shows a text in the form that whoever measures there gives it. The form is in no digest.
fn is_as_written(entry: &Entry) -> bool {
    let stub = entry.pcr == STUB_PCR;
    entry.event_type == EventType::EV_IPL && (!stub || entry.kind == ComponentKind::KernelCommandLine)
}

/// The parameters, where a text is a command line or hands one over. Whether the log calls it a command or a command line
/// is in no digest; the text is.
fn line_of(entry: &Entry) -> Option<&str> {
    let text = entry.value.as_deref()?;
    if entry.kind == ComponentKind::KernelCommandLine {
        return Some(text);
    }
    let first = text.split_whitespace().next()?;
    let is_line = matches!(first, "linux" | "linuxefi" | "linux16") || first.starts_with(['/', '(']);
    is_line.then(|| text.trim_start().strip_prefix(first)).flatten()
}

/// Whether the text in the report is all of it.
fn is_whole(entry: &Entry) -> bool {
    entry.value.as_deref().is_some_and(|text| !text.ends_with('…'))
}

fn command_line(parameters: &Parameters, report: &LogReport) -> Vec<Finding> {
    let mut found = Vec::new();
    let lines = match command_lines(report) {
        CommandLines::Shown(lines) => lines,
        CommandLines::Unreadable(entry) => {
            let message =
                format!("Event {} hides what the boot loader did: its text cannot be shown", entry.event);
            let mut finding =
                violated(message, Some(entry), "commands as text".to_owned(), "a digest".to_owned());
            finding.change = Some(ChangeClass::CmdlineChange);
            return vec![finding];
        }
        CommandLines::None if parameters.required.is_empty() => return found,
        CommandLines::None => {
            let message = "No kernel command line is shown, and some parameters are required".to_owned();
            let mut finding = violated(message, None, parameters.to_string(), "not shown".to_owned());
            finding.change = Some(ChangeClass::CmdlineChange);
            return vec![finding];
        }
    };
    for (entry, line) in lines {
        let has = cmdline::parameters(line);
        let missing: Vec<String> = parameters
            .required
            .iter()
            .filter(|pattern| !has.iter().any(|parameter| pattern.meets(parameter)))
            .map(|pattern| quoted(pattern.as_str()))
            .collect();
        let forbidden: Vec<String> = has
            .iter()
            .filter(|parameter| parameters.forbidden.iter().any(|pattern| pattern.meets(parameter)))
            .map(|parameter| quoted(parameter))
            .collect();
        let dangerous: Vec<String> = if parameters.forbid_dangerous {
            has.iter().filter_map(|parameter| cmdline::weakens(parameter)).collect()
        } else {
            Vec::new()
        };
        let mut wrong = Vec::new();
        if !missing.is_empty() {
            wrong.push(format!("{} missing", missing.join(", ")));
        }
        if !forbidden.is_empty() {
            wrong.push(format!("{} forbidden", forbidden.join(", ")));
        }
        wrong.extend(dangerous);
        if !wrong.is_empty() {
            let message = format!("The kernel command line breaks a rule: {}", wrong.join("; "));
            let mut finding =
                violated(message, Some(entry), parameters.to_string(), crate::text::shortened(line, 1024));
            finding.change = Some(ChangeClass::CmdlineChange);
            finding.risk = Some(crate::class::risk(ChangeClass::CmdlineChange).to_owned());
            finding.hint =
                Some("Find out who changed the boot loader's configuration, and set it right.".to_owned());
            found.push(finding);
        }
    }
    found.dedup_by(|a, b| a.message == b.message);
    found
}

/// Whether the later side of a difference is what this rule asks for, so that the difference is explained.
pub(super) fn explains(rule: &Rule, change: &Change<'_>, report: &LogReport) -> bool {
    let (Some(new), false) = (change.later(), matches!(change, Change::Described(..))) else { return false };
    match (&rule.says, new.entry.map(|entry| &entry.content)) {
        (Says::Minimum(_), Some(Content::Sbat(_) | Content::Signatures(_))) => {
            // The one that the rule was held against, and no other: each costs reading it.
            let held = match rule.component {
                ComponentKind::SbatLevel => sbat_level(report),
                _ => revocation_list(report),
            };
            new.pcr == SECURE_BOOT_PCR
                && new.kind == rule.component
                && held.is_some_and(|held| Some(held.event) == new.event)
                && violations(rule, report).is_empty()
        }
        (Says::State(state), Some(Content::Settings(settings))) if in_secure_boot_pcrs(new) => {
            !settings.is_empty()
                && settings.iter().all(|(flag, on)| state.get(flag) == Some(&Switch::from(*on)))
        }
        (Says::State(state), Some(Content::VendorKeysOnly)) => {
            state.get(&StateFlag::MachineOwnerKeys) == Some(&Switch::Off)
        }
        (Says::Parameters(parameters), Some(Content::Text)) => allowed(parameters, change),
        _ => false,
    }
}

fn in_secure_boot_pcrs(item: &Item<'_>) -> bool {
    item.pcr == SECURE_BOOT_PCR || item.pcr == SHIM_STATE_PCR
}

/// Whether nothing but allowed parameters differ, in the command line or in the command that hands it over.
fn allowed(parameters: &Parameters, change: &Change<'_>) -> bool {
    let Change::Changed(old, new) = change else { return false };
    let (Some(was), Some(is)) = (old.value, new.value) else { return false };
    let same =
        old.kind == new.kind && old.pcr == new.pcr && old.gap == new.gap && new.entry.is_some_and(is_whole);
    let hands_over =
        |text: &str| matches!(text.split_whitespace().next(), Some("linux" | "linuxefi" | "linux16"));
    let fits = match new.kind {
        ComponentKind::KernelCommandLine => true,
        ComponentKind::BootLoaderConfig => hands_over(was) && hands_over(is),
        _ => false,
    };
    let diff = CmdlineDiff::between(was, is);
    let met = |parameter: &str| parameters.allowed.iter().any(|pattern| pattern.meets(parameter));
    same && fits
        && !diff.is_empty()
        && !diff.reordered
        && diff.added.iter().chain(&diff.removed).all(|parameter| met(parameter))
        && diff.changed.iter().all(|(old, new)| met(old) && met(new))
}
