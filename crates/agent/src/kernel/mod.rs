//! What the running kernel says about the modules that it takes: [`veriboot_wire::KernelReport`].
//!
//! Everything is read without waiting and within bounds, and nothing that fails here keeps a machine from attesting: what
//! cannot be read is not known. The kernel's log is a ring that forgets. What was found in it is kept for as long as the boot
//! lasts, in memory and in the state folder, also when the ring turned over or the agent was started again.

mod log;
mod message;

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use veriboot_wire::{
    KernelLogRead, KernelReport, LockdownLevel, MAX_MODULE_NAME_CHARS, ModuleEvents, TAINT_OF_MODULES,
};

use crate::state::StateDir;
use crate::text::printable;
use log::KernelLog;
use message::{AboutModule, Record, about_module};

/// Bytes that are read of a file in `/proc` or `/sys`.
const MAX_VALUE_BYTES: u64 = 256;

/// Watches the kernel that this process runs on.
#[derive(Debug)]
pub(crate) struct Kernel {
    root: PathBuf,
    log: Option<KernelLog>,
    seen: Option<Seen>,
}

/// What was found in the log of one boot.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Seen {
    /// The boot, as the kernel names it.
    boot_id: String,
    /// Number of the first record that was not read yet.
    next: u64,
    /// Whether records went before they were read.
    lost: bool,
    refused: ModuleEvents,
    unsigned: ModuleEvents,
}

impl Kernel {
    /// The kernel that shows itself below this folder: `/`.
    pub(crate) fn new(root: &Path) -> Self {
        Self { root: root.to_owned(), log: None, seen: None }
    }

    /// What it says now; `None` where it says nothing at all, as on other systems.
    pub(crate) fn report(&mut self, state: &StateDir) -> Option<KernelReport> {
        let log = self.read_log(state);
        let seen = self.seen.clone().unwrap_or_default();
        let report = KernelReport {
            lockdown: self.value("sys/kernel/security/lockdown").and_then(|text| lockdown(&text)),
            module_signatures_enforced: self
                .value("sys/module/module/parameters/sig_enforce")
                .and_then(|text| flag(&text)),
            taint: self.value("proc/sys/kernel/tainted").and_then(|text| taint(&text)),
            log,
            refused: seen.refused,
            unsigned: seen.unsigned,
        };
        (report != KernelReport::default()).then_some(report)
    }

    /// Reads on in the log, and keeps what was found.
    fn read_log(&mut self, state: &StateDir) -> KernelLogRead {
        let boot_id = self.value("proc/sys/kernel/random/boot_id").unwrap_or_default();
        let kept = self.seen.take().or_else(|| {
            let kept: Option<Seen> = state.kernel().unwrap_or_else(|error| {
                tracing::debug!(code = error.code(), %error, "what the kernel said before cannot be read");
                None
            });
            kept.filter(|_| !boot_id.is_empty())
        });
        let before = kept.filter(|seen| seen.boot_id == boot_id);
        let mut seen = before.clone().unwrap_or_else(|| Seen { boot_id, ..Seen::default() });
        if self.log.is_none() {
            self.log = KernelLog::open(&self.root.join("dev/kmsg"));
        }
        let read = match self.log.as_mut().map(|log| log.read(&mut |record| seen.note(&record))) {
            None => KernelLogRead::Unreadable,
            Some(Ok(true)) if !seen.lost => KernelLogRead::Whole,
            Some(Ok(_)) => KernelLogRead::Partial,
            Some(Err(error)) => {
                tracing::debug!(%error, "cannot read the kernel's log");
                self.log = None;
                KernelLogRead::Unreadable
            }
        };
        if before.as_ref() != Some(&seen)
            && let Err(error) = state.set_kernel(&seen)
        {
            tracing::debug!(code = error.code(), %error, "what the kernel said cannot be kept");
        }
        self.seen = Some(seen);
        read
    }

    /// A short text that the kernel shows.
    fn value(&self, path: &str) -> Option<String> {
        let mut text = String::new();
        let file = File::open(self.root.join(path)).ok()?;
        file.take(MAX_VALUE_BYTES).read_to_string(&mut text).ok()?;
        Some(text.trim().to_owned())
    }
}

impl Seen {
    fn note(&mut self, record: &Record<'_>) {
        // After a new start the ring is read from its beginning.
        if record.sequence < self.next {
            return;
        }
        self.lost |= record.sequence > self.next;
        self.next = record.sequence.saturating_add(1);
        if !record.of_kernel {
            return;
        }
        let name = |name: &str| printable(name, MAX_MODULE_NAME_CHARS);
        match about_module(record.text) {
            Some(AboutModule::Refused { module, process }) => {
                let (module, process) = (module.map(name), process.map(name));
                self.refused.add(module.as_deref(), process.as_deref(), record.at_s);
            }
            Some(AboutModule::Unsigned { module }) => {
                self.unsigned.add(Some(&name(module)), None, record.at_s);
            }
            None => {}
        }
    }
}

/// `none [integrity] confidentiality`: the one in brackets is on (security/lockdown/lockdown.c since 5.4).
fn lockdown(text: &str) -> Option<LockdownLevel> {
    let levels = [LockdownLevel::None, LockdownLevel::Integrity, LockdownLevel::Confidentiality];
    let mut on = text.split_ascii_whitespace().filter_map(|word| word.strip_prefix('[')?.strip_suffix(']'));
    let level = on.next().and_then(|word| levels.into_iter().find(|level| level.as_str() == word));
    level.filter(|_| on.next().is_none())
}

/// A boolean parameter of a module.
fn flag(text: &str) -> Option<bool> {
    match text {
        "Y" => Some(true),
        "N" => Some(false),
        _ => None,
    }
}

/// The bits of `/proc/sys/kernel/tainted` that are about modules.
fn taint(text: &str) -> Option<u32> {
    let bits: u64 = text.parse().ok()?;
    u32::try_from(bits & u64::from(TAINT_OF_MODULES)).ok()
}

#[cfg(test)]
mod tests;
