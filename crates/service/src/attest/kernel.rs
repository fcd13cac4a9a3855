//! What an agent says about the running kernel: made fit to be stored, and kept for as long as the boot lasts.
//!
//! Nothing proves it and no verdict rests on it. It can only make an assessment worse than what the boot proves, so a guest
//! that lies gains nothing; and what it said once stays until the next boot, so that falling silent gains nothing either.

use std::borrow::Cow;

use veriboot_store::vms::VmRow;
use veriboot_tpm::Quote;
use veriboot_wire::{KernelReport, MAX_MODULE_NAME_CHARS, MAX_MODULE_NAMES, ModuleEvents, TAINT_OF_MODULES};

use super::text;

/// A report of a stranger, every member bounded.
pub(super) fn bounded(report: KernelReport) -> KernelReport {
    KernelReport {
        taint: report.taint.map(|taint| taint & TAINT_OF_MODULES),
        refused: events(report.refused),
        unsigned: events(report.unsigned),
        ..report
    }
}

fn events(events: ModuleEvents) -> ModuleEvents {
    if events.is_empty() {
        return ModuleEvents::default();
    }
    ModuleEvents { modules: names(&events.modules), processes: names(&events.processes), ..events }
}

fn names(names: &[String]) -> Vec<String> {
    names.iter().take(MAX_MODULE_NAMES).map(|name| text::plain(name, MAX_MODULE_NAME_CHARS)).collect()
}

/// What is known about the running kernel after a believed quote: what the agent says now, and what it said before in the
/// same boot.
pub(super) fn after<'a>(
    before: &'a VmRow,
    quote: &Quote,
    said: Option<&'a KernelReport>,
) -> Option<Cow<'a, KernelReport>> {
    let same_boot =
        before.reset_count.zip(before.restart_count) == Some((quote.reset_count, quote.restart_count));
    let known = before.kernel.as_ref().filter(|_| same_boot);
    match (known, said) {
        (Some(known), Some(said)) if known != said => Some(Cow::Owned(known.followed_by(said.clone()))),
        (Some(known), _) => Some(Cow::Borrowed(known)),
        (None, said) => said.map(Cow::Borrowed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hostile_report_is_small_and_plain() {
        let huge = ModuleEvents {
            count: u32::MAX,
            modules: vec!["\u{1b}[2Jm".repeat(10_000); 10_000],
            processes: vec!["\u{202e}p".into(); 10_000],
            first_s: Some(u32::MAX),
            last_s: Some(0),
        };
        let report = bounded(KernelReport {
            taint: Some(u32::MAX),
            refused: huge.clone(),
            unsigned: ModuleEvents { count: 0, ..huge },
            ..KernelReport::default()
        });
        assert_eq!(report.taint, Some(TAINT_OF_MODULES));
        assert_eq!((report.refused.modules.len(), report.refused.processes.len()), (MAX_MODULE_NAMES, 8));
        for name in report.refused.modules.iter().chain(&report.refused.processes) {
            assert!(name.chars().count() <= MAX_MODULE_NAME_CHARS);
            assert!(!name.contains(['\u{1b}', '\u{202e}']), "{name:?}");
        }
        assert_eq!(report.unsigned, ModuleEvents::default(), "names of nothing are not kept");
        assert!(serde_json::to_string(&report).unwrap().len() < 4096);
    }
}
