//! What an agent says about the running kernel: whether it takes signed modules only, and what it refused.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The word with which a service says in [`crate::Directions`] that it takes a [`KernelReport`] with evidence.
pub const ACCEPTS_KERNEL: &str = "kernel";
/// Names that one [`ModuleEvents`] lists at most.
pub const MAX_MODULE_NAMES: usize = 8;
/// Characters of each of these names; the kernel's own are shorter (MODULE_NAME_LEN, TASK_COMM_LEN).
pub const MAX_MODULE_NAME_CHARS: usize = 64;

/// A module was loaded by force, without its version checks: bit 1 (`F`) of the kernel's taint, as of the other two in
/// Documentation/admin-guide/tainted-kernels.rst.
pub const TAINT_FORCED_MODULE: u32 = 1 << 1;
/// A module that is not part of the kernel's sources was loaded: bit 12 (`O`). Signed ones set it too.
pub const TAINT_OUT_OF_TREE_MODULE: u32 = 1 << 12;
/// A module without a signature that the kernel could verify was loaded: bit 13 (`E`).
pub const TAINT_UNSIGNED_MODULE: u32 = 1 << 13;
/// The bits of the kernel's taint that are about modules.
pub const TAINT_OF_MODULES: u32 = TAINT_FORCED_MODULE | TAINT_OUT_OF_TREE_MODULE | TAINT_UNSIGNED_MODULE;

/// What the running kernel of a Linux guest says about the modules that it takes, in the words of the agent. Nothing proves
/// it: whoever controls the guest writes what they like. It can make an assessment worse, never better. What is absent is
/// not known.
///
/// It travels with evidence to a service whose directions accept `kernel`. Unknown members are ignored, so that agents may
/// say more.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct KernelReport {
    /// Level of lockdown (`/sys/kernel/security/lockdown`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lockdown: Option<LockdownLevel>,
    /// Whether every module needs a signature (`/sys/module/module/parameters/sig_enforce`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub module_signatures_enforced: Option<bool>,
    /// The bits of `/proc/sys/kernel/tainted` that are about modules: 2 loaded by force, 4096 from outside of the kernel's
    /// sources, 8192 unsigned.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub taint: Option<u32>,
    /// How much of the kernel's log of this boot was read for the two members below.
    pub log: KernelLogRead,
    /// Modules that the kernel refused to load.
    #[serde(skip_serializing_if = "ModuleEvents::is_empty")]
    pub refused: ModuleEvents,
    /// Modules that it loaded without a signature that it could verify. The kernel logs the first one only.
    #[serde(skip_serializing_if = "ModuleEvents::is_empty")]
    pub unsigned: ModuleEvents,
}

/// Level of the kernel's lockdown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum LockdownLevel {
    /// Off.
    None,
    /// What changes the running kernel is off, unsigned modules among it.
    Integrity,
    /// What reads the kernel's memory is off too.
    Confidentiality,
}

impl LockdownLevel {
    /// As the kernel writes it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Integrity => "integrity",
            Self::Confidentiality => "confidentiality",
        }
    }
}

/// How much of the kernel's log of this boot an agent read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum KernelLogRead {
    /// All of it.
    Whole,
    /// Older messages were gone before the agent came to them, or not all were read yet.
    Partial,
    /// None of it: there is no `/dev/kmsg`, or the agent may not read it.
    #[default]
    Unreadable,
}

/// Events of one kind in the kernel's log since the boot. The kernel limits how often it logs one: the count is a lower
/// bound.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct ModuleEvents {
    /// How many.
    pub count: u32,
    /// Modules that were named, at most 8.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub modules: Vec<String>,
    /// Processes that were named in place of modules, at most 8: lockdown names these.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub processes: Vec<String>,
    /// Seconds from the start of the kernel to the first one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_s: Option<u32>,
    /// Seconds from the start of the kernel to the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_s: Option<u32>,
}

impl ModuleEvents {
    /// Whether there was none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Adds one, `at_s` seconds after the start of the kernel.
    pub fn add(&mut self, module: Option<&str>, process: Option<&str>, at_s: u32) {
        self.count = self.count.saturating_add(1);
        name(&mut self.modules, module);
        name(&mut self.processes, process);
        self.first_s = Some(self.first_s.map_or(at_s, |first| first.min(at_s)));
        self.last_s = Some(self.last_s.map_or(at_s, |last| last.max(at_s)));
    }

    /// What two reports of one boot know together: both tell of the same events, and neither takes one back.
    #[must_use]
    pub fn joined(mut self, other: &Self) -> Self {
        self.count = self.count.max(other.count);
        other.modules.iter().for_each(|one| name(&mut self.modules, Some(one)));
        other.processes.iter().for_each(|one| name(&mut self.processes, Some(one)));
        self.first_s = self.first_s.into_iter().chain(other.first_s).min();
        self.last_s = self.last_s.max(other.last_s);
        self
    }
}

/// Adds a name to a list, once and while there is room.
fn name(names: &mut Vec<String>, new: Option<&str>) {
    if let Some(new) = new.filter(|new| names.len() < MAX_MODULE_NAMES && names.iter().all(|old| old != new))
    {
        names.push(new.to_owned());
    }
}

impl KernelReport {
    /// Whether the kernel says that it takes signed modules only: by lockdown or by enforced signatures, each of which does
    /// it alone. `None` when it is not known.
    pub fn enforces(&self) -> Option<bool> {
        match (self.lockdown, self.module_signatures_enforced) {
            (Some(LockdownLevel::Integrity | LockdownLevel::Confidentiality), _) | (_, Some(true)) => {
                Some(true)
            }
            (Some(LockdownLevel::None), Some(false)) => Some(false),
            (None, _) | (_, None) => None,
        }
    }

    /// Whether a module is loaded whose signature nobody verified.
    pub fn has_unsigned(&self) -> bool {
        let bits = TAINT_FORCED_MODULE | TAINT_UNSIGNED_MODULE;
        !self.unsigned.is_empty() || self.taint.is_some_and(|taint| taint & bits != 0)
    }

    /// A later report of the same boot, held against this one: what happened once stays, as it does in the kernel, and what
    /// is no longer said stays as it was.
    #[must_use]
    pub fn followed_by(&self, later: Self) -> Self {
        Self {
            lockdown: later.lockdown.or(self.lockdown),
            module_signatures_enforced: later.module_signatures_enforced.or(self.module_signatures_enforced),
            taint: match (self.taint, later.taint) {
                (Some(before), Some(now)) => Some(before | now),
                (before, now) => now.or(before),
            },
            log: later.log,
            refused: later.refused.joined(&self.refused),
            unsigned: later.unsigned.joined(&self.unsigned),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn events(count: u32, modules: &[&str]) -> ModuleEvents {
        let modules = modules.iter().map(|&m| m.to_owned()).collect();
        ModuleEvents { count, modules, first_s: Some(count), last_s: Some(10 * count), ..Default::default() }
    }

    #[test]
    fn either_of_the_two_enforces_and_what_is_unknown_says_nothing() {
        use LockdownLevel::{Confidentiality, Integrity, None as Off};
        for (lockdown, signatures, enforces) in [
            (Some(Integrity), Some(false), Some(true)),
            (Some(Confidentiality), None, Some(true)),
            (Some(Off), Some(true), Some(true)),
            (None, Some(true), Some(true)),
            (Some(Off), Some(false), Some(false)),
            (Some(Off), None, None),
            (None, Some(false), None),
            (None, None, None),
        ] {
            let report =
                KernelReport { lockdown, module_signatures_enforced: signatures, ..Default::default() };
            assert_eq!(report.enforces(), enforces, "{lockdown:?} {signatures:?}");
        }
    }

    #[test]
    fn only_forced_and_unsigned_modules_taint() {
        let tainted = |taint| KernelReport { taint: Some(taint), ..Default::default() }.has_unsigned();
        assert!(tainted(TAINT_UNSIGNED_MODULE) && tainted(TAINT_FORCED_MODULE) && tainted(u32::MAX));
        assert!(!tainted(TAINT_OUT_OF_TREE_MODULE) && !tainted(0));
        assert!(KernelReport { unsigned: events(1, &[]), ..Default::default() }.has_unsigned());
    }

    #[test]
    fn a_later_report_takes_nothing_back() {
        let first = KernelReport {
            lockdown: Some(LockdownLevel::Integrity),
            module_signatures_enforced: Some(false),
            taint: Some(TAINT_UNSIGNED_MODULE),
            log: KernelLogRead::Whole,
            refused: events(3, &["rootkit"]),
            unsigned: events(1, &["other"]),
        };
        let silenced = first.followed_by(KernelReport::default());
        assert_eq!(silenced, KernelReport { log: KernelLogRead::Unreadable, ..first.clone() });
        let later = KernelReport {
            lockdown: Some(LockdownLevel::None),
            module_signatures_enforced: Some(true),
            taint: Some(TAINT_OUT_OF_TREE_MODULE),
            log: KernelLogRead::Partial,
            refused: events(2, &["second"]),
            unsigned: ModuleEvents::default(),
        };
        let both = first.followed_by(later);
        assert_eq!(both.lockdown, Some(LockdownLevel::None));
        assert_eq!(both.module_signatures_enforced, Some(true));
        assert_eq!(both.taint, Some(TAINT_UNSIGNED_MODULE | TAINT_OUT_OF_TREE_MODULE));
        assert_eq!((both.refused.count, both.refused.first_s, both.refused.last_s), (3, Some(2), Some(30)));
        assert_eq!(both.refused.modules, ["second", "rootkit"]);
        assert_eq!(both.unsigned, first.unsigned);
    }

    /// Requests and answers as releases wrote them that knew no report.
    #[test]
    fn older_agents_and_services_go_on() {
        use crate::{Directions, EvidenceRequest};
        let evidence = r#"{"nonce":"AA==","quote":"AQ==","signature":"Ag==","pcrs":{},"machine":{"hostname":"web-0","os":"linux",
            "os_version":"","kernel":"","arch":"","platform":"","boot_id":"","agent_version":"0.1.0","machine_uuid":""}}"#;
        let read: EvidenceRequest = serde_json::from_str(evidence).unwrap();
        assert_eq!(read.kernel, None);
        let same: serde_json::Value = serde_json::from_str(evidence).unwrap();
        assert_eq!(serde_json::to_value(&read).unwrap(), same, "without a report, no byte more");
        let directions = r#"{"challenge":{"nonce":"AA==","expires_in_s":60,"banks":["sha256"],"pcrs":[0]},"interval_s":300,
            "now":"2026-11-21T18:04:00.000Z"}"#;
        let read: Directions = serde_json::from_str(directions).unwrap();
        assert!(read.accepts.is_empty(), "a service that does not ask is told nothing");
        // Unknown members of answers are ignored, so an older agent reads what a newer service says; a request with one is
        // refused, which is why no agent sends a report unasked.
        let more = directions.replacen('{', r#"{"accepts":["kernel"],"later":1,"#, 1);
        assert_eq!(serde_json::from_str::<Directions>(&more).unwrap().accepts, [ACCEPTS_KERNEL]);
        let unknown = evidence.replacen('{', r#"{"later":1,"#, 1);
        assert!(serde_json::from_str::<EvidenceRequest>(&unknown).is_err());
        // What later agents add to a report is ignored.
        let report: KernelReport =
            serde_json::from_str(r#"{"log":"partial","refused":{"count":2,"later":1},"later":{}}"#).unwrap();
        assert_eq!((report.log, report.refused.count), (KernelLogRead::Partial, 2));
    }

    #[test]
    fn names_are_few_and_told_once() {
        let mut all = ModuleEvents::default();
        for n in 0..1000_u32 {
            all.add(Some(&format!("m{}", n % 100)), Some("modprobe"), 1000 - n);
        }
        assert_eq!((all.count, all.modules.len(), all.processes.len()), (1000, MAX_MODULE_NAMES, 1));
        assert_eq!((all.first_s, all.last_s), (Some(1), Some(1000)));
        let more = ModuleEvents { count: u32::MAX, modules: vec!["x".into(); 99], ..Default::default() };
        assert_eq!(all.joined(&more).modules.len(), MAX_MODULE_NAMES);
    }
}
