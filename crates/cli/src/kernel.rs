//! What an agent says about the running kernel, in words.

use veriboot_wire::{KernelLogRead, KernelReport, ModuleEvents, TAINT_OUT_OF_TREE_MODULE, counted};

use crate::output::safe;

/// One line. It is the guest's own word, and says so.
pub fn words(report: Option<&KernelReport>) -> String {
    let Some(report) = report else { return "the agent says nothing about it".to_owned() };
    let mut parts = Vec::new();
    if let Some(level) = report.lockdown {
        parts.push(format!("lockdown {}", level.as_str()));
    }
    match report.module_signatures_enforced {
        Some(true) => parts.push("module signatures enforced".to_owned()),
        Some(false) => parts.push("module signatures not enforced".to_owned()),
        None => {}
    }
    if !report.refused.is_empty() {
        parts.push(format!("{} refused{}", counted(report.refused.count, "module"), names(&report.refused)));
    }
    if report.has_unsigned() {
        parts.push(format!("has a module that nobody verified{}", names(&report.unsigned)));
    } else if report.taint.is_some_and(|taint| taint & TAINT_OUT_OF_TREE_MODULE != 0) {
        parts.push("has a signed module from outside of its sources".to_owned());
    }
    match report.log {
        KernelLogRead::Whole => {}
        KernelLogRead::Partial => parts.push("older messages of its log are gone".to_owned()),
        KernelLogRead::Unreadable => parts.push("its log was not read".to_owned()),
    }
    if parts.is_empty() {
        parts.push("nothing to complain of".to_owned());
    }
    format!("{} (by the agent's word)", parts.join(", "))
}

fn names(events: &ModuleEvents) -> String {
    let names: Vec<String> = events.modules.iter().chain(&events.processes).map(|name| safe(name)).collect();
    if names.is_empty() { String::new() } else { format!(" ({})", names.join(", ")) }
}

#[cfg(test)]
mod tests {
    use veriboot_wire::LockdownLevel;

    use super::*;

    #[test]
    fn it_says_what_was_said_and_by_whom() {
        assert_eq!(words(None), "the agent says nothing about it");
        let fine = KernelReport {
            lockdown: Some(LockdownLevel::Integrity),
            module_signatures_enforced: Some(true),
            taint: Some(TAINT_OUT_OF_TREE_MODULE),
            log: KernelLogRead::Whole,
            ..KernelReport::default()
        };
        assert_eq!(
            words(Some(&fine)),
            "lockdown integrity, module signatures enforced, has a signed module from outside of its sources (by the \
             agent's word)"
        );
        let mut refused = ModuleEvents::default();
        refused.add(Some("evil\u{1b}[2J"), Some("insmod"), 7);
        refused.add(Some("evil\u{1b}[2J"), None, 8);
        let bad = KernelReport { refused, taint: Some(1 << 13), ..KernelReport::default() };
        let said = words(Some(&bad));
        assert!(said.starts_with("2 modules refused (") && said.contains("insmod"), "{said}");
        assert!(said.contains("nobody verified") && said.contains("its log was not read"), "{said}");
        assert!(!said.contains('\u{1b}'), "{said:?}");
        let whole = KernelReport { log: KernelLogRead::Whole, ..KernelReport::default() };
        assert_eq!(words(Some(&whole)), "nothing to complain of (by the agent's word)");
    }
}
