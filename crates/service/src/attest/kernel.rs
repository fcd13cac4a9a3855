//! What an agent says about the running kernel: made fit to be stored, and kept for as long as the boot lasts.
//!
//! Nothing proves it and no verdict rests on it. It can only make an assessment worse than what the boot proves, so a guest
//! that lies gains nothing; and what it said once stays until a boot is proven, so that falling silent gains nothing either.

use std::borrow::Cow;

use veriboot_store::vms::KernelSaid;
use veriboot_wire::{
    Blob, KernelReport, MAX_MODULE_NAME_CHARS, MAX_MODULE_NAMES, ModuleEvents, TAINT_OF_MODULES,
};

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

/// What is known about the running kernel after a believed quote by this key with this resetCount: what the agent says now,
/// and what it said before, unless a boot between the two is proven.
///
/// Only that is proof of one: the same key signed another resetCount. restartCount also grows where a machine is suspended,
/// and its kernel goes on. A guest may enrol with as many keys as it likes, and those outside of the endorsement hierarchy
/// each obfuscate the counters in their own way: what was said goes on under another key, until that one shows a boot.
pub(super) fn after<'a>(
    before: Option<&'a KernelSaid>,
    ak_name: &[u8],
    reset_count: u32,
    said: Option<&KernelReport>,
) -> Option<Cow<'a, KernelSaid>> {
    let booted = |known: &KernelSaid| known.ak_name.0 == ak_name && known.reset_count != reset_count;
    let known = before.filter(|known| !booted(known));
    let report = match (known, said) {
        (Some(known), Some(said)) if known.report != *said => known.report.followed_by(said.clone()),
        (Some(known), _) if known.ak_name.0 == ak_name => return Some(Cow::Borrowed(known)),
        (Some(known), _) => known.report.clone(),
        (None, said) => said?.clone(),
    };
    Some(Cow::Owned(KernelSaid { ak_name: Blob(ak_name.to_vec()), reset_count, report }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tainted(bits: u32) -> KernelReport {
        KernelReport { taint: Some(bits), ..KernelReport::default() }
    }

    fn said(ak: u8, reset_count: u32, bits: u32) -> KernelSaid {
        KernelSaid { ak_name: Blob(vec![ak]), reset_count, report: tainted(bits) }
    }

    #[test]
    fn only_another_reset_of_the_same_key_forgets() {
        let before = said(1, 5, 2);
        let after = |ak: u8, reset: u32, report: Option<u32>| {
            let report = report.map(tainted);
            super::after(Some(&before), &[ak], reset, report.as_ref()).map(Cow::into_owned)
        };
        for silent in [None, Some(0), Some(2)] {
            assert_eq!(after(1, 5, silent), Some(said(1, 5, 2)));
            assert_eq!(after(2, 5, silent), Some(said(2, 5, 2)), "another key");
            assert_eq!(after(2, 900, silent), Some(said(2, 900, 2)), "another key that counts otherwise");
        }
        assert_eq!(after(2, 900, Some(4096)), Some(said(2, 900, 4098)), "joined");
        assert_eq!(after(1, 5, Some(4096)), Some(said(1, 5, 4098)));
        assert_eq!(after(1, 6, None), None);
        assert_eq!(after(1, 6, Some(0)), Some(said(1, 6, 0)));
        assert_eq!(after(1, 4, Some(0)), Some(said(1, 4, 0)), "a snapshot is of another boot");
        assert_eq!(super::after(None, &[1], 6, None), None);
    }

    #[test]
    fn one_that_says_nothing_of_its_boot_is_kept() {
        let stored: KernelSaid = serde_json::from_str(r#"{"taint":2,"log":"whole"}"#).unwrap();
        let kept = super::after(Some(&stored), &[1], 0, None).unwrap().into_owned();
        assert_eq!((kept.ak_name.0.as_slice(), kept.report.taint), ([1].as_slice(), Some(2)));
        let text = serde_json::to_string(&kept).unwrap();
        assert_eq!(serde_json::from_str::<KernelSaid>(&text).unwrap(), kept);
        assert_eq!(serde_json::from_str::<KernelReport>(&text).unwrap(), kept.report);
    }

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
