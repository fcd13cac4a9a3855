//! Rules that name the certificates which may be in PK, KEK and db, or may have admitted what ran.

use std::collections::BTreeSet;

use veriboot_eventlog::{ComponentKind, Digest};
use veriboot_wire::{ChangeClass, Finding, counted};

use super::Authority;
use crate::authority::{Doubt, admitted};
use crate::code;
use crate::known_authorities::known_authority;
use crate::report::{Entry, LogReport};
use crate::structure_checks::SECURE_BOOT_PCR;
use crate::text::quoted;

/// Certificates named in one message.
const MAX_NAMED: usize = 4;

/// Kinds of which a rule by authority is held against every log. Of images it permits changes only: PCR 7 tells who
/// admitted them.
pub(super) const fn are_demanded(kind: ComponentKind) -> bool {
    matches!(
        kind,
        ComponentKind::PlatformKey
            | ComponentKind::KeyExchangeKey
            | ComponentKind::SignatureDb
            | ComponentKind::Authority
    )
}

/// What `trusted` does not name.
pub(super) fn violations(
    kind: ComponentKind,
    trusted: &BTreeSet<Digest>,
    report: &LogReport,
) -> Option<Finding> {
    if kind == ComponentKind::Authority {
        return authorities(trusted, report);
    }
    let entry = report.entries.iter().find(|entry| entry.kind == kind && entry.pcr == SECURE_BOOT_PCR);
    let list = match entry.and_then(|entry| entry.content.signatures()) {
        Some(list) if list.complete => list,
        _ => {
            return Some(finding(
                kind,
                entry,
                format!("Nothing shows what is in {}", kind.title()),
                "not shown",
            ));
        }
    };
    let strangers = names(list.certificates.iter().filter(|c| !trusted.contains(&c.sha256)));
    let bare = list.members.len().saturating_sub(list.certificates.len());
    let message = match (strangers.is_empty(), bare) {
        (true, 0) => return None,
        (false, _) => format!("{} has certificates that no rule names: {strangers}", kind.title()),
        (true, _) => {
            format!("{} has {}, and rules name certificates only", kind.title(), counted(bare, "bare hash"))
        }
    };
    let seen = if strangers.is_empty() { counted(bare, "hash") } else { strangers };
    Some(finding(kind, entry, message, &seen))
}

fn authorities(trusted: &BTreeSet<Digest>, report: &LogReport) -> Option<Finding> {
    let kind = ComponentKind::Authority;
    let entry_of = |event: u32| report.entries.iter().find(|entry| entry.event == event);
    match admitted(report) {
        Err(doubt) => {
            let event = match &doubt {
                Doubt::Unreadable { event } | Doubt::BareHash { event, .. } => entry_of(*event),
                _ => None,
            };
            let message = format!("Nothing shows that known authorities admitted what ran: {doubt}");
            Some(finding(kind, event, message, "not shown"))
        }
        Ok(all) => {
            let strangers: Vec<&Authority> =
                all.into_iter().filter(|authority| !trusted.contains(&authority.sha256)).collect();
            let first = strangers.first()?;
            let is_first = |entry: &&Entry| entry.content.certificate() == Some(*first);
            let entry = report.entries.iter().find(is_first);
            let names = names(strangers.into_iter());
            let message = format!("An authority that no rule names admitted something: {names}");
            Some(finding(kind, entry, message, &names))
        }
    }
}

fn finding(kind: ComponentKind, entry: Option<&Entry>, message: String, seen: &str) -> Finding {
    let mut finding = code::RULE_VIOLATED.finding(message);
    finding.pcr = Some(SECURE_BOOT_PCR);
    finding.event = entry.map(|entry| entry.event);
    finding.component = Some(kind.title().to_owned());
    finding.expected = Some("certificates that the rule names".to_owned());
    finding.seen = Some(seen.to_owned());
    finding.signer = entry.and_then(|entry| entry.signer.clone());
    finding.change = Some(ChangeClass::SecureBootKeyChange);
    finding.risk = Some(crate::class::risk(ChangeClass::SecureBootKeyChange).to_owned());
    finding.hint = Some(
        "Find out who enrolled it. If it is yours or your vendor's, name it by its SHA-256 in a rule of the baseline or the \
         profile."
            .to_owned(),
    );
    finding
}

/// Names with digests, and whose they are where that is known.
fn names<'a>(certificates: impl Iterator<Item = &'a Authority>) -> String {
    let all: Vec<&Authority> = certificates.collect();
    let told = all.iter().take(MAX_NAMED).map(|authority| {
        let who =
            known_authority(&authority.sha256).map_or_else(String::new, |known| format!(" of {}", known.who));
        format!("{}{who} (SHA-256 {})", quoted(&authority.subject), authority.sha256)
    });
    let mut text = told.collect::<Vec<_>>().join(", ");
    if all.len() > MAX_NAMED {
        text.push_str(&format!(" and {} more", all.len() - MAX_NAMED));
    }
    text
}
