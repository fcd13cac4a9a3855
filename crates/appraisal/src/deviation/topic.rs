//! All differences of one component, and the finding that is made of them.

use veriboot_eventlog::ComponentKind;
use veriboot_wire::{ChangeAction, Finding, Severity};

use super::hints::APPROVE;
use super::words::content;
use super::{Sides, by_name, switched_off};
use crate::class;
use crate::code;
use crate::diff::{Change, Item};
use crate::profile::Enforcement;
use crate::text::{MAX_VALUE_CHARS, shortened};

/// All differences of one component that matter equally.
pub(super) struct Topic<'a> {
    pub kind: ComponentKind,
    pub name: &'a str,
    pub enforcement: Enforcement,
    pub changes: Vec<Change<'a>>,
    /// Differences of other components that follow from this one.
    pub attached: Vec<Change<'a>>,
}

impl<'a> Topic<'a> {
    /// The change that says most: a change with text before anything else, an addition before a removal.
    pub fn primary(&self) -> Option<&Change<'a>> {
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
    pub fn all(&self) -> impl Iterator<Item = &Change<'a>> {
        self.changes.iter().chain(&self.attached)
    }

    pub fn primary_values(&self) -> Option<(&'a str, &'a str)> {
        match self.primary()? {
            Change::Changed(old, new) => Some((old.value?, new.value?)),
            _ => None,
        }
    }

    pub fn finding(&self, sides: &Sides<'_>, action: Option<ChangeAction>) -> Option<Finding> {
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
        finding.hint = Some(match action {
            Some(ChangeAction::Propose) => APPROVE.to_owned(),
            _ => self.hint(off),
        });
        Some(finding)
    }

    pub fn component(&self) -> String {
        match self.kind {
            kind if by_name(kind) && !self.name.is_empty() => {
                format!("{} {}", kind.title(), shortened(self.name, 80))
            }
            kind => kind.title().to_owned(),
        }
    }
}
